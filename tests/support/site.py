"""Whole server processes with workers that follow a script, which tests kill, starve and cut off."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from support.databases import Postgres, serve_postgres

if sys.platform != "win32":
    import resource

STARTS_WITHIN_S = 240
"""Far more than it takes, even at the lowest priority on a busy machine."""

ROUTE = "/v2beta/stable-image/generate/core"
SERVER = """
import json, os, sys
import keelbill.api.platform as platform
from keelbill.cli.main import main
from keelbill.serving.scripted import Fault, ScriptedPool
pool = json.loads(os.environ["SCRIPT"])
faults = [Fault(**fault) for fault in pool.pop("faults", [])]
platform._pool = lambda settings, blobs: ScriptedPool(**pool, faults=faults, read=blobs.read)
exec(os.environ.get("PRELUDE", ""))
main(["serve", "--port", sys.argv[1]])
"""
COMMAND = "import sys; from keelbill.cli.main import main; main(sys.argv[1:])"


class Site:
    """A data folder, and the server process that runs on it now.

    Args:
        home: The data folder.
        database_url: Of PostgreSQL; else a SQLite file in the folder.
    """

    def __init__(self, home: Path, database_url: str = "") -> None:
        self.home = home
        self.database_url = database_url
        self.key = ""
        self.process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = home.parent / f"server-{self.port}.log"

    def environment(self, **settings: object) -> dict[str, str]:
        """Return the environment of a server with these settings."""
        base = {**os.environ, "KEELBILL_HOME": str(self.home), "KEELBILL_BILLING": "unlimited"}
        if self.database_url:
            base["KEELBILL_DATABASE_URL"] = self.database_url
        return base | {f"KEELBILL_{name.upper()}": str(value) for name, value in settings.items()}

    def start(
        self, *, script: dict[str, Any] | None = None, prelude: str = "", wants_key: bool = True, **settings: object
    ) -> None:
        """Start a server and wait until it runs.

        Args:
            script: Arguments of `ScriptedPool`; ``faults`` as dictionaries.
            prelude: Python that runs in the server's process before it starts.
            wants_key: Whether to wait for the key that a new folder's server prints.
            settings: Of the server.
        """
        play = json.dumps({"workers": 2, "slots": 4, "step_s": 0.03} | (script or {}))
        printed = self.home.parent / f"printed-{self.port}"
        with self.log_file.open("a") as log, printed.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(self.port)],
                stdout=out,
                stderr=log,
                env=self.environment(**{"rate_limit": 100_000, **settings}) | {"SCRIPT": play, "PRELUDE": prelude},
            )
        self.wait_until_ready()
        until_s = time.monotonic() + 30
        while wants_key and not self.key and time.monotonic() < until_s:
            found = re.search(r"sk-\w+", printed.read_text())
            self.key = found.group() if found else ""
            time.sleep(0.02)
        assert self.key or not wants_key

    def wait_until_ready(self) -> None:
        """Wait for the server's own word."""
        until_s = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < until_s:
            try:
                if httpx.get(self.url + "/startupz", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(self.log_file.read_text())
        raise TimeoutError(f"the server did not start within {STARTS_WITHIN_S} seconds")

    def wait_until_it_takes_work(self, timeout_s: float = 60.0) -> None:
        """Wait until nothing fails any more."""
        until_s = time.monotonic() + timeout_s
        while (answer := self.get("/readyz")).status_code != 200:
            if time.monotonic() > until_s:
                raise TimeoutError(answer.text)
            time.sleep(0.1)

    def ask(self, name: str = "", timeout_s: float = 60.0, prompt: str = "") -> httpx.Response:
        """Ask for a picture; a name is its idempotency key."""
        headers = {"authorization": f"Bearer {self.key}", "accept": "image/*"}
        return httpx.post(
            self.url + ROUTE,
            headers=headers | ({"idempotency-key": name} if name else {}),
            files={"prompt": (None, prompt or f"a kite {name}"), "seed": (None, "7")},
            timeout=timeout_s,
        )

    def get(self, path: str, **more: Any) -> httpx.Response:
        """Read something with the first account's key."""
        return httpx.get(self.url + path, headers={"authorization": f"Bearer {self.key}"}, timeout=60, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        """Send something with the first account's key."""
        return httpx.post(self.url + path, headers={"authorization": f"Bearer {self.key}"}, timeout=60, **more)

    def delete(self, path: str) -> httpx.Response:
        """Delete something with the first account's key."""
        return httpx.delete(self.url + path, headers={"authorization": f"Bearer {self.key}"}, timeout=60)

    def signal(self, number: signal.Signals) -> None:
        """Send the server a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def ends(self, timeout_s: float = 60.0) -> int:
        """Wait for the end of the server and return its status."""
        assert self.process is not None
        return self.process.wait(timeout_s)

    def close(self) -> None:
        """Kill the server if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def limit_files(self, limit_bytes: int | None) -> None:
        """Let no file of the server grow beyond a size, as if its disk were full there; nothing lifts the limit."""
        assert self.process is not None
        assert sys.platform == "linux"
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        soft = resource.RLIM_INFINITY if limit_bytes is None else limit_bytes
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (soft, hard))

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a ``keelbill`` command on the same data."""
        return subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=self.environment(),
            timeout=60,
        )

    def verify(self) -> str:
        """Return what ``keelbill ledger verify`` prints."""
        done = self.command("ledger", "verify")
        return done.stdout.strip() or done.stderr

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Ask the database itself."""
        if self.database_url:
            with psycopg.connect(self.database_url, autocommit=True) as connection:
                return connection.execute(query.encode()).fetchall()
        database = sqlite3.connect(self.home / "keelbill.db", timeout=10)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    def until(self, query: str, expected: list[tuple[object, ...]], timeout_s: float = 60.0) -> None:
        """Wait until a query has an answer.

        Raises:
            TimeoutError: It has another.
        """
        until_s = time.monotonic() + timeout_s
        while (found := self.rows(query)) != expected:
            if time.monotonic() > until_s:
                raise TimeoutError(f"{query}: {found}, not {expected}")
            time.sleep(0.05)

    def wait_for(self, running: int, waiting: int = 0) -> None:
        """Wait until so many jobs run and so many wait."""
        self._wait(lambda queue: (queue["running"], queue["jobs"]) == (running, waiting))

    def _wait(self, is_so: Callable[[Any], bool]) -> None:
        until_s = time.monotonic() + 20
        while not is_so(queue := httpx.get(self.url + "/api/status").json()["queue"]):
            if time.monotonic() > until_s:
                raise TimeoutError(str(queue))
            time.sleep(0.02)

    def check_charges(self) -> int:
        """Compare captured holds, ended jobs and pictures; return how many pictures there are."""
        captured = {row[0] for row in self.rows("SELECT job_id FROM hold WHERE state = 'captured'")}
        succeeded = {row[0] for row in self.rows("SELECT id FROM job WHERE state = 'succeeded'")}
        pictures = {row[0]: row[1] for row in self.rows("SELECT job_id, blob_ref FROM picture")}
        assert captured == succeeded == pictures.keys()
        stored = {path.name for path in (self.home / "blobs").rglob("*") if path.is_file()}
        assert {str(ref) for ref in pictures.values()} <= stored
        return len(pictures)

    def holds(self) -> dict[str, int]:
        """Return how many holds are in which state."""
        found = self.rows("SELECT state, count(*) FROM hold GROUP BY state")
        return {str(state): int(str(count)) for state, count in found}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A data folder on SQLite."""
    made = Site(tmp_path / "home")
    yield made
    made.close()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that only this test uses, so that it may be stopped."""
    with serve_postgres() as server:
        yield server


Sites = Callable[[], Site]


@pytest.fixture
def sites(tmp_path: Path, own_postgres: Postgres) -> Iterator[Sites]:
    """Makes server processes over one PostgreSQL database and one data folder."""
    url = own_postgres.url(own_postgres.create(tables=False))
    made: list[Site] = []

    def make() -> Site:
        made.append(Site(tmp_path / "home", url))
        if len(made) > 1:
            made[-1].key = made[0].key
        return made[-1]

    yield make
    for each in made:
        each.close()
