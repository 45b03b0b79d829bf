"""Measure the API process: requests a second and waiting, with a scripted engine and full durability.

    python benchmarks/gateway.py [--seconds 4] [--runs 3] [--only balance]

Server and load generator share this machine. Each number is the median of the runs and stands beside its goal and the
commit cost of the disk, without which it means nothing. Nothing is painted: this is the platform's own part.

"server us" is the server's processor time for each answer, in microseconds and over all its threads. It says much the
same on a busy machine, where the rates do not, and stands beside a fixed loop that shows how busy processors slow down.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import cast

SD3 = "/v2beta/stable-image/generate/sd3"
BOUNDARY = "keelbill-benchmark"
PICTURE_BYTES = 100_000


# ---------------------------------------------------------------- the server, in a process of its own


def serve(home: Path) -> None:
    """Run a server with a scripted engine; print its port and two keys, one of them with the usual rate limit."""
    import uvicorn
    from sqlalchemy import Connection

    from keelbill.api.app import create_app, spare_collections
    from keelbill.api.guard import ConnectionLimits, guarded
    from keelbill.api.platform import build_platform
    from keelbill.core.settings import Settings
    from keelbill.core.types import micro
    from keelbill.identity.schemas import KeyOptions
    from keelbill.serving.scripted import ScriptedPool
    from keelbill.telemetry import logs

    settings = Settings(home=home, rate_limit=100_000, rate_window_s=10.0, max_account_jobs=256)
    logs.configure("json", stream=(home / "server.log").open("w"))
    pool = ScriptedPool(workers=1, slots=64, picture_bytes=PICTURE_BYTES)
    platform = build_platform(settings, pool=pool, migrates=True)
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    limits = ConnectionLimits(per_address=1024, total=2048)
    config = uvicorn.Config(
        create_app(platform),
        http=guarded(limits),
        loop="uvloop",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)

            def prepare(connection: Connection) -> tuple[str, str]:
                first = platform.accounts.bootstrap(connection)
                platform.ledger.adjust(connection, first.org_id, micro(10_000_000), "benchmark", "load")
                options = KeyOptions(name="limited", rate_limit=150)
                _, limited = platform.keys.make(connection, first.org_id, first.user_id, options)
                return first.key_secret, limited

            key, limited = await platform.db.write(prepare)
            spare_collections()
            print(json.dumps({"port": listener.getsockname()[1], "key": key, "limited": limited}), flush=True)

    Server(config).run(sockets=[listener])


# ---------------------------------------------------------------- the load


@dataclass
class Run:
    """What one run gave: times of answered requests in milliseconds, by status."""

    seconds: float
    times_ms: dict[int, list[float]]
    cpu_s: float = float("nan")

    @property
    def server_us(self) -> float:
        """Microseconds of the server's processor time for each answer."""
        return self.cpu_s * 1e6 / max(sum(map(len, self.times_ms.values())), 1)

    def rate(self, status: int = 200) -> float:
        """Answers a second."""
        return len(self.times_ms.get(status, ())) / self.seconds

    def percentile(self, share: float, status: int = 200) -> float:
        """Milliseconds below which a share of the answers came."""
        ordered = sorted(self.times_ms.get(status, [float("nan")]))
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


class Client(asyncio.Protocol):
    """One connection that sends the same request again as soon as it was answered."""

    def __init__(
        self, request: bytes, times_ms: dict[int, list[float]], until_s: float, done: asyncio.Future[None]
    ) -> None:
        self.request = request
        self.times_ms = times_ms
        self.until_s = until_s
        self.done = done
        self.head = b""
        self.missing = -1
        self.status = 0
        self.sent_s = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast(asyncio.Transport, transport)
        self.ask()

    def ask(self) -> None:
        """Send the request."""
        assert self.transport is not None
        self.sent_s = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Count down to the end of the answer."""
        if self.missing < 0:
            self.head += data
            head, found, rest = self.head.partition(b"\r\n\r\n")
            if not found:
                return
            self.status = int(head[9:12])
            start = head.lower().index(b"content-length:") + 15
            self.missing = int(head[start:].split(b"\r\n", 1)[0]) - len(rest)
        else:
            self.missing -= len(data)
        if self.missing > 0:
            return
        now_s = time.perf_counter()
        self.times_ms.setdefault(self.status, []).append((now_s - self.sent_s) * 1000)
        self.head, self.missing = b"", -1
        if now_s < self.until_s:
            self.ask()
        elif self.transport is not None:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if not self.done.done():
            self.done.set_result(None)


async def load(port: int, request: bytes, connections: int, seconds: float) -> Run:
    """Send a request over so many connections for so long."""
    loop = asyncio.get_running_loop()
    times_ms: dict[int, list[float]] = {}
    begin = time.perf_counter()
    ends = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        ends.append(done)
        await loop.create_connection(partial(Client, request, times_ms, begin + seconds, done), "127.0.0.1", port)
    await asyncio.gather(*ends)
    return Run(time.perf_counter() - begin, times_ms)


def get(path: str, key: str) -> bytes:
    """Return a request without a body."""
    return f"GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\r\n".encode()


def post(key: str, fields: dict[str, str], image: bytes = b"") -> bytes:
    """Return a request for a picture."""
    parts = [
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        for name, text in fields.items()
    ]
    if image:
        head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
        parts.append(head.encode() + image + b"\r\n")
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    head = (
        f"POST {SD3} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\naccept: image/*\r\n"
        f"content-type: multipart/form-data; boundary={BOUNDARY}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def photograph(size_bytes: int) -> bytes:
    """Return a JPEG of about so many bytes."""
    from PIL import Image

    side = 1024
    noise = Image.frombytes("RGB", (side, side), random.Random(1).randbytes(side * side * 3))
    for quality in range(95, 5, -5):
        out = BytesIO()
        noise.save(out, "JPEG", quality=quality)
        if out.tell() <= size_bytes:
            return out.getvalue()
    return out.getvalue()


def cpu_s(pid: int) -> float:
    """Return the processor time that a process took so far, in seconds; not a number where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def reference_ms() -> float:
    """Return the processor time of a million turns of a loop in milliseconds (median of 5)."""
    times = []
    for _ in range(5):
        begin, total = time.thread_time(), 0
        for number in range(1_000_000):
            total += number
        times.append((time.thread_time() - begin) * 1000)
    return median(times)


def commit_ms(folder: Path) -> float:
    """Return what one durable commit of a small row costs on a folder's disk, in milliseconds (median of 200)."""
    connection = sqlite3.connect(folder / "commit.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t (a)")
    times = []
    for _ in range(200):
        begin = time.perf_counter()
        connection.execute("INSERT INTO t VALUES (1)")
        times.append((time.perf_counter() - begin) * 1000)
    connection.close()
    return median(times)


# ---------------------------------------------------------------- the table


@dataclass
class Bench:
    """A server under load."""

    port: int
    key: str
    limited: str
    seconds: float
    pid: int

    async def load(self, request: bytes, connections: int) -> Run:
        """Load the server for the whole time and note what it worked meanwhile."""
        before = cpu_s(self.pid)
        run = await load(self.port, request, connections, self.seconds)
        run.cpu_s = cpu_s(self.pid) - before
        return run

    async def balance(self) -> dict[str, float]:
        """Key check and one read."""
        run = await self.load(get("/v1/user/balance", self.key), 32)
        return {"req/s": run.rate(), "p99 ms": run.percentile(0.99), "server us": run.server_us}

    async def generate_8(self) -> dict[str, float]:
        """Hold, queue, capture, picture."""
        run = await self.load(post(self.key, {"prompt": "a red apple"}), 8)
        return {
            "req/s": run.rate(),
            "p50 ms": run.percentile(0.5),
            "p99 ms": run.percentile(0.99),
            "server us": run.server_us,
        }

    async def generate_1(self) -> dict[str, float]:
        """The platform's own part of one request."""
        run = await self.load(post(self.key, {"prompt": "a red apple"}), 1)
        return {"p50 ms": run.percentile(0.5), "p99 ms": run.percentile(0.99), "server us": run.server_us}

    async def upload(self) -> dict[str, float]:
        """An input picture of a megabyte, decoded in the sandbox and stored."""
        fields = {"prompt": "a red apple", "mode": "image-to-image", "strength": "0.5"}
        run = await self.load(post(self.key, fields, photograph(2**20)), 8)
        return {"req/s": run.rate(), "p99 ms": run.percentile(0.99), "server us": run.server_us}

    async def flood(self) -> dict[str, float]:
        """A key over its limit, while another account reads its balance."""
        read = get("/v1/user/balance", self.key)
        alone = await load(self.port, read, 1, self.seconds / 2)
        flood, beside = await asyncio.gather(
            self.load(get("/v1/user/balance", self.limited), 8),
            load(self.port, read, 1, self.seconds),
        )
        return {
            "429/s": flood.rate(429),
            "server us": flood.cpu_s * 1e6 / sum(len(t) for run in (flood, beside) for t in run.times_ms.values()),
            "others p99 alone ms": alone.percentile(0.99),
            "others p99 beside ms": beside.percentile(0.99),
        }


GOALS = {
    "balance": "GET balance, 32 connections: >= 4,000 req/s, p99 <= 15 ms",
    "generate_8": "POST generate, 100 kB answer, 8 connections: >= 1,000 req/s, p50 <= 8 ms, p99 <= 20 ms",
    "generate_1": "the same, 1 connection: p50 <= 2.5 ms, p99 <= 8 ms at 0.3 ms a commit",
    "upload": "POST with a 1 MB picture: >= 60 req/s, p99 <= 250 ms",
    "flood": "429 under flood, 8 connections: >= 5,000 a second; others' p99 at most +50 %",
}


async def measure(bench: Bench, only: str, runs: int) -> None:
    """Print the table."""
    for name, goal in GOALS.items():
        if only and name != only:
            continue
        case: Callable[[], Awaitable[dict[str, float]]] = getattr(bench, name)
        found = [await case() for _ in range(runs)]
        medians = {unit: median(result[unit] for result in found) for unit in found[0]}
        print(f"{goal}\n    " + ", ".join(f"{unit} {value:,.1f}" for unit, value in medians.items()), flush=True)


def main() -> None:
    """Measure, or be the server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a run")
    parser.add_argument("--runs", type=int, default=3, help="runs of which the median is printed")
    parser.add_argument("--only", choices=sorted(GOALS), default="", help="one row")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    with tempfile.TemporaryDirectory(prefix="keelbill-bench-") as folder:
        home = Path(folder)
        load_1m = os.getloadavg()[0]
        print(
            f"commit {commit_ms(home):.2f} ms, fixed loop {reference_ms():.0f} ms; {os.cpu_count()} cores, "
            f"load {load_1m:.1f} before; {arguments.runs} runs"
        )
        server = subprocess.Popen([sys.executable, __file__, "--serve", folder], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            told = json.loads(server.stdout.readline())
            bench = Bench(told["port"], told["key"], told["limited"], arguments.seconds, server.pid)
            import uvloop

            uvloop.run(measure(bench, arguments.only, arguments.runs))
        finally:
            server.terminate()
            server.wait(30)


if __name__ == "__main__":
    main()
