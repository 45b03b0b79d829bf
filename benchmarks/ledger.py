"""Measures charges per second: reserve, then capture, both durable. Prints the ratio to the disk's own commits.

Run ``python benchmarks/ledger.py [--callers 64] [--seconds 5] [--url postgresql://…]``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

from keelbill.core.clock import SystemClock
from keelbill.core.ids import new_id
from keelbill.core.settings import Settings
from keelbill.core.types import micro
from keelbill.db.base import Database, metadata, open_database
from keelbill.ledger.audit import audit
from keelbill.ledger.models import Kind, System
from keelbill.ledger.movements import Movement
from keelbill.ledger.prices import PriceList
from keelbill.ledger.service import Ledger


def raw_commits_per_s(folder: Path, seconds: float) -> float:
    """Return how often this disk can append a page and sync it."""
    handle = os.open(folder / "raw", os.O_CREAT | os.O_WRONLY)
    began, commits = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        os.write(handle, b"x" * 4096)
        os.fdatasync(handle)
        commits += 1
    os.close(handle)
    return commits / (time.perf_counter() - began)


async def charge(database: Database, ledger: Ledger, org_id: str, until: float, waits: list[float]) -> int:
    """Charge one organisation again and again; return how often."""
    done, price, version = 0, ledger.prices.price("sd3.5-large"), ledger.prices.version
    while time.perf_counter() < until:
        job, began = new_id(), time.perf_counter()
        await database.write(
            lambda c, job=job: ledger.reserve(  # type: ignore[misc]
                c, org_id=org_id, job_id=job, amount=price, price_version=version, key_id="key", member_id="member"
            )
        )
        await database.write(lambda c, job=job: ledger.capture(c, job))  # type: ignore[misc]
        waits.append(time.perf_counter() - began)
        done += 1
    return done


async def measure(url: str, callers: int, wallets: int, seconds: float) -> tuple[float, float, float, int]:
    """Return charges per second, their median and 99th percentile in milliseconds, and mismatches afterwards."""
    database = open_database(url)
    metadata.create_all(database.engine)
    clock = SystemClock()
    ledger = Ledger(clock, PriceList.load(clock=clock), Settings())
    orgs = [new_id() for _ in range(wallets)]
    for org_id in orgs:
        movement = Movement(Kind.TOPUP, System.PAYMENTS, micro(10_000_000))
        database.write_now(lambda c, org=org_id: ledger.open_wallet(c, org))  # type: ignore[misc]
        database.write_now(lambda c, org=org_id, m=movement: ledger.credit(c, org, m))  # type: ignore[misc]
    waits: list[float] = []
    began = time.perf_counter()
    counts = await asyncio.gather(
        *(charge(database, ledger, orgs[n % wallets], began + seconds, waits) for n in range(callers))
    )
    took = time.perf_counter() - began
    waits.sort()
    mismatches = len(audit(database))
    await database.close()
    return sum(counts) / took, waits[len(waits) // 2] * 1e3, waits[int(len(waits) * 0.99)] * 1e3, mismatches


def main() -> None:
    """Run the measurement three times and print every run."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--callers", type=int, default=64)
    options.add_argument("--wallets", type=int, default=64)
    options.add_argument("--seconds", type=float, default=4)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--url", default="")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for run in range(chosen.runs):
            commits = raw_commits_per_s(Path(folder), 1)
            url = chosen.url or f"sqlite:///{folder}/{run}.db"
            rate, median, tail, wrong = asyncio.run(measure(url, chosen.callers, chosen.wallets, chosen.seconds))
            print(
                f"{rate:8.0f} charges/s  p50 {median:6.1f} ms  p99 {tail:6.1f} ms  mismatches {wrong}  "
                f"raw commits {commits:6.0f}/s  ratio {rate / commits:.2f}"
            )


if __name__ == "__main__":
    main()
