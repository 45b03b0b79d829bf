"""Many processes and one wallet: duplicates, kills and the last credit; then everything is recomputed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from keelbill.core.errors import PaymentRequired
from keelbill.core.types import micro
from keelbill.db.base import Database, open_database
from keelbill.ledger.errors import AlreadyReserved, HoldNotOpen
from keelbill.ledger.models import hold
from support.databases import Postgres
from support.ledgers import ORG, OTHER, Bank

HERE = Path(__file__).parents[1]


def hammer(url: str, number: int, seconds: float) -> None:
    """Reserve, capture and void jobs whose names others use too; write each acknowledged charge to standard output."""
    bank = Bank(open_database(url))
    chance, until = random.Random(number), time.monotonic() + seconds
    turn = 0
    while time.monotonic() < until:
        turn += 1
        shared = chance.random() < 0.3
        job = f"shared {chance.randrange(200)}" if shared else f"{number} {turn}"
        try:
            bank.reserve(job, "1", ORG if chance.random() < 0.8 else OTHER)
        except (AlreadyReserved, PaymentRequired):
            if not shared:
                continue
        if chance.random() < 0.2:
            bank.void(job)
            continue
        try:
            bank.capture(job)
        except HoldNotOpen:
            continue
        sys.stdout.write(job + "\n")
        sys.stdout.flush()
    bank.database.close_now()


def start(url: str, number: int, seconds: float) -> subprocess.Popen[str]:
    program = f"from faults.test_ledger_hammer import hammer; hammer({url!r}, {number}, {seconds})"
    path = os.pathsep.join([str(HERE), *sys.path])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)


def acknowledged(processes: list[subprocess.Popen[str]]) -> list[str]:
    charged = []
    for process in processes:
        out, _ = process.communicate(timeout=60)
        charged += out.splitlines()
    return charged


def captured(database: Database) -> set[str]:
    return set(database.read_now(lambda c: c.scalars(select(hold.c.job_id).where(hold.c.state == "captured")).all()))


def test_processes_share_a_wallet(bank: Bank, database_url: str) -> None:
    bank.open(ORG, "400")
    bank.open(OTHER, "50")
    count = 4 if bank.database.dialect == "sqlite" else 8
    processes = [start(database_url, number, 2.5) for number in range(count)]
    charged = acknowledged(processes)
    assert all(process.returncode == 0 for process in processes)
    assert len(charged) == len(set(charged)) > 0  # nothing was charged twice
    assert set(charged) == captured(bank.database)
    bank.assert_sound()


def test_killed_processes_leave_sound_books(bank: Bank, database_url: str) -> None:
    bank.open(ORG, "100000")
    bank.open(OTHER, "100000")
    processes = [start(database_url, number, 30) for number in range(3)]
    time.sleep(3)
    for process in processes:
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    charged = acknowledged(processes)
    bank.assert_sound()
    assert set(charged) <= captured(bank.database)  # every acknowledged charge exists
    open_holds = bank.database.read_now(lambda c: c.scalar(select(func.count()).where(hold.c.state == "held")))
    bank.clock.advance(3600)
    assert bank.database.write_now(bank.ledger.sweep) == open_holds
    balance = sum(float(bank.numbers_of(org)[1]) for org in (ORG, OTHER))
    assert balance == 0
    bank.assert_sound()


@pytest.mark.parametrize("callers", [40])
async def test_spending_to_the_last_credit(bank: Bank, callers: int) -> None:
    bank.open(amount="65")

    async def charge(number: int) -> bool:
        try:
            await bank.database.write(
                lambda c: bank.ledger.reserve(
                    c, org_id=ORG, job_id=str(number), amount=micro("6.5"), price_version="now", member_id="m"
                )
            )
        except PaymentRequired:
            return False
        await bank.database.write(lambda c: bank.ledger.capture(c, str(number)))
        return True

    assert sum(await asyncio.gather(*(charge(number) for number in range(callers)))) == 10
    assert bank.numbers_of() == ("0", "0", "0")
    bank.assert_sound()


async def test_capture_and_void_at_once(bank: Bank) -> None:
    bank.open(amount="100")
    for number in range(10):
        bank.reserve(str(number), "6.5")

    async def capture(job: str) -> bool:
        try:
            await bank.database.write(lambda c: bank.ledger.capture(c, job))
        except HoldNotOpen:
            return False
        return True

    async def void(job: str) -> bool:
        return await bank.database.write(lambda c: bank.ledger.void(c, job, "race"))

    for number in range(10):
        job = str(number)
        done = await asyncio.gather(capture(job), void(job), capture(job), void(job))
        assert sum(done) == 1
    bank.assert_sound()


def test_connections_are_killed(postgres: Postgres) -> None:
    """Connections die in the middle of charges; what was acknowledged is there."""
    from keelbill.db.base import metadata

    name = postgres.create(tables=False)
    url = postgres.url(name)
    made = open_database(url)
    metadata.create_all(made.engine)
    bank = Bank(made)
    bank.open(ORG, "100000")
    bank.open(OTHER, "100000")
    process = start(url, 1, 3)
    for _ in range(6):
        time.sleep(0.4)
        made.read_now(
            lambda c: c.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).all()
        )
    charged = acknowledged([process])
    assert set(charged) <= captured(made)
    bank.assert_sound()
    made.close_now()
    postgres.drop(name)
