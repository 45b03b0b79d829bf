"""Whole server processes that are killed, drained and starved, with clients that insist.

After every kill the books agree, and at the end every charge has its picture and every picture its charge.
`KEELBILL_TEST_KILLS` sets the number of kills.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
]

KILLS = int(os.environ.get("KEELBILL_TEST_KILLS", "4"))
SEED = int(os.environ.get("KEELBILL_TEST_SEED", "7"))
ROUTE = "/v2beta/stable-image/generate/core"
SERVER = """
import sys
import keelbill.api.platform as platform
from keelbill.cli.main import main
from keelbill.serving.scripted import Fault, ScriptedPool
step_s, losses = float(sys.argv[2]), int(sys.argv[3])
faults = [Fault("lose", step=2, times=losses)]
platform._pool = lambda settings, blobs: ScriptedPool(2, slots=4, step_s=step_s, faults=faults, read=blobs.read)
main(["serve", "--port", sys.argv[1]])
"""


class Site:
    """A data folder, and the server process that runs on it now."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.key = ""
        self.process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def environment(self, **settings: object) -> dict[str, str]:
        base = {**os.environ, "KEELBILL_HOME": str(self.home), "KEELBILL_BILLING": "unlimited"}
        return base | {f"KEELBILL_{name.upper()}": str(value) for name, value in settings.items()}

    def start(self, *, step_s: float = 0.03, losses: int = 0, **settings: object) -> None:
        folder = self.home.parent
        with (folder / "server.log").open("a") as log, (folder / "printed").open("w") as printed:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(self.port), str(step_s), str(losses)],
                stdout=printed,
                stderr=log,
                env=self.environment(rate_limit=100_000, **settings),
            )
        self.wait_until_ready()
        until_s = time.monotonic() + 30
        while not self.key and time.monotonic() < until_s:
            found = re.search(r"sk-\w+", (folder / "printed").read_text())
            self.key = found.group() if found else ""
        assert self.key

    def wait_until_ready(self) -> None:
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s:
            try:
                if httpx.get(self.url + "/startupz", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise TimeoutError("the server did not start within a minute")

    def ask(self, name: str, timeout_s: float = 60.0) -> httpx.Response:
        return httpx.post(
            self.url + ROUTE,
            headers={"authorization": f"Bearer {self.key}", "accept": "image/*", "idempotency-key": name},
            files={"prompt": (None, f"a kite {name}")},
            timeout=timeout_s,
        )

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def ends(self, timeout_s: float = 60.0) -> int:
        assert self.process is not None
        return self.process.wait(timeout_s)

    def verify(self) -> str:
        """Return what ``keelbill ledger verify`` prints."""
        done = subprocess.run(
            [sys.executable, "-c", "from keelbill.cli.main import main; main()", "ledger", "verify"],
            capture_output=True,
            text=True,
            check=False,
            env=self.environment(),
            timeout=60,
        )
        return done.stdout.strip() or done.stderr

    def rows(self, query: str) -> list[tuple[object, ...]]:
        database = sqlite3.connect(self.home / "keelbill.db")
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    def check_charges(self) -> int:
        """Compare captured holds, ended jobs and pictures; return how many pictures there are."""
        captured = {row[0] for row in self.rows("SELECT job_id FROM hold WHERE state = 'captured'")}
        succeeded = {row[0] for row in self.rows("SELECT id FROM job WHERE state = 'succeeded'")}
        pictures = {row[0]: row[1] for row in self.rows("SELECT job_id, blob_ref FROM picture")}
        assert captured == succeeded == pictures.keys()
        stored = {path.name for path in (self.home / "blobs").rglob("*") if path.is_file()}
        assert {str(ref) for ref in pictures.values()} <= stored
        return len(pictures)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "home")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def test_a_server_killed_at_random_instants(site: Site) -> None:
    chance = random.Random(SEED)
    asked: set[str] = set()
    acknowledged: dict[str, bytes] = {}

    def insist(name: str) -> None:
        try:
            answer = site.ask(name)
        except httpx.TransportError:
            return  # the server was killed; the name is asked for again
        if answer.status_code == 200:
            assert acknowledged.setdefault(name, answer.content) == answer.content
        else:
            assert answer.status_code in {409, 500, 503}, answer.text

    for kill in range(KILLS):
        site.start(losses=chance.choice([0, 0, 1]))
        names = [f"{kill}-{place}" for place in range(4)]
        asked |= set(names)
        with ThreadPoolExecutor(8) as clients:
            waiting = [clients.submit(insist, name) for name in [*names, *sorted(asked - acknowledged.keys())[:4]]]
            time.sleep(chance.uniform(0.0, 0.6))
            site.signal(signal.SIGKILL)
            site.ends()
            for each in waiting:
                each.result()
        assert site.verify() == "the books agree", f"after kill {kill}, seed {SEED}"

    site.start()
    until_s = time.monotonic() + 60
    while asked - acknowledged.keys() and time.monotonic() < until_s:
        for name in sorted(asked - acknowledged.keys()):
            insist(name)
    again = {name: site.ask(name).content for name in sorted(acknowledged)[:5]}
    site.signal(signal.SIGTERM)
    assert site.ends() == 0
    assert acknowledged.keys() == asked
    assert all(acknowledged[name] == content for name, content in again.items())
    assert site.verify() == "the books agree"
    assert site.check_charges() == len(asked)
    assert site.rows("SELECT count(*) FROM hold WHERE state = 'held'") == [(0,)]


def test_drained_at_the_first_signal(site: Site) -> None:
    site.start(step_s=0.3)
    with ThreadPoolExecutor(1) as client:
        running = client.submit(site.ask, "running")
        wait_for_a_running_job(site)
        site.signal(signal.SIGTERM)
        time.sleep(0.3)
        late = site.ask("late")
        assert late.status_code == 503
        assert int(late.headers["retry-after"]) >= 1
        assert httpx.get(site.url + "/readyz").status_code == 503
        assert running.result().status_code == 200
    assert site.ends() == 0
    assert site.verify() == "the books agree"
    assert site.check_charges() == 1


def test_a_second_signal_does_not_wait(site: Site) -> None:
    site.start(step_s=5.0)
    with ThreadPoolExecutor(1) as client:
        running = client.submit(site.ask, "running")
        wait_for_a_running_job(site)
        site.signal(signal.SIGTERM)
        time.sleep(0.3)
        site.signal(signal.SIGTERM)
        assert running.result().status_code == 503
    assert site.ends() == 0
    assert site.verify() == "the books agree"
    assert site.rows("SELECT state FROM hold") == [("voided",)]


def test_the_client_is_gone(site: Site) -> None:
    site.start(step_s=0.5)
    with httpx.Client() as client, pytest.raises(httpx.ReadTimeout):
        client.post(
            site.url + ROUTE,
            headers={"authorization": f"Bearer {site.key}", "accept": "image/*"},
            files={"prompt": (None, "nobody waits")},
            timeout=0.7,
        )
    until_s = time.monotonic() + 15
    while site.rows("SELECT state FROM hold") != [("voided",)] and time.monotonic() < until_s:
        time.sleep(0.1)
    assert site.rows("SELECT state FROM hold") == [("voided",)]
    assert site.rows("SELECT state FROM job") == [("cancelled",)]
    site.signal(signal.SIGTERM)
    assert site.ends() == 0


def wait_for_a_running_job(site: Site) -> None:
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        if httpx.get(site.url + "/api/status").json()["queue"]["running"]:
            return
        time.sleep(0.05)
    raise TimeoutError("no job began within 20 seconds")
