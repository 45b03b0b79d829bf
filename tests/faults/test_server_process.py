"""A server as a process of its own: told to end while it paints, or killed, and its books proved meanwhile."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.forms import form

pytestmark = pytest.mark.slow

COMMAND = "import sys; from keelbill.cli.main import main; main(sys.argv[1:])"
SLOW = """
import os
import keelbill.serving.scripted as scripted
class Slow(scripted.ScriptedPool):
    def __init__(self, **chosen):
        super().__init__(**chosen | {"workers": 1, "slots": 1, "step_s": float(os.environ["STEP_S"])})
scripted.ScriptedPool = Slow
"""
SD3 = "/v2beta/stable-image/generate/sd3"
STEPS = 4


class Server:
    """A server with one worker that paints one picture at a time, each in four steps.

    Args:
        home: Its data folder.
        step_s: Of a step.
        settings: Environment variables of the server.
    """

    def __init__(self, home: Path, step_s: float, **settings: str) -> None:
        self.home = home
        self.env = os.environ | {"KEELBILL_HOME": str(home), "STEP_S": str(step_s)} | settings
        self.out, self.log_file = home.parent / f"{home.name}.out", home.parent / f"{home.name}.log"
        with self.out.open("w") as out, self.log_file.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SLOW + COMMAND, "serve", "--port", "0", "--scripted"],
                env=self.env,
                stdout=out,
                stderr=log,
            )
        self.url = self._up()
        found = re.search(r"^  (sk-\w+)$", self.out.read_text(), re.MULTILINE)
        key_file = home.parent / "key"
        if found:
            key_file.write_text(found[1])
        self.client = httpx.Client(
            base_url=self.url, headers={"authorization": f"Bearer {key_file.read_text()}"}, timeout=60
        )
        self.threads = ThreadPoolExecutor(4)

    def _up(self) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            text = self.out.read_text()
            if (found := re.search(r"running at (\S+)\n", text)) and ("curl" not in text or "/set-up#" in text):
                return found[1]
            time.sleep(0.05)
        raise AssertionError(self.out.read_text() + self.log_file.read_text())

    def picture(self, **headers: str) -> Future[httpx.Response]:
        """Ask for a picture in a thread."""
        return self.threads.submit(self.client.post, SD3, **form(prompt="a red apple"), headers=headers)

    def status(self) -> Any:
        return self.client.get("/api/status").json()

    def wait_for(self, running: int, waiting: int) -> None:
        """Wait until so many pictures are painted and so many wait."""
        deadline = time.monotonic() + 60
        while (queue := self.status()["queue"])["running"] != running or queue["jobs"] != waiting:
            assert time.monotonic() < deadline, queue
            time.sleep(0.02)

    def log(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log_file.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def balance(self) -> float:
        """Ask the server, or if it has ended, its database."""
        if self.process.poll() is None:
            return float(self.client.get("/v1/user/balance").json()["credits"])
        books = sqlite3.connect(self.home / "keelbill.db")
        try:
            posted, held = books.execute("SELECT posted, held FROM wallet WHERE id >= 0").fetchone()
            assert held == 0
        finally:
            books.close()
        return float(posted) / 1_000_000

    def verify(self) -> subprocess.CompletedProcess[str]:
        """Run ``keelbill ledger verify`` on the same data."""
        return subprocess.run(
            [sys.executable, "-c", COMMAND, "ledger", "verify"],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.threads.shutdown()
        self.client.close()


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Server] = []

    def start(step_s: float = 0.5, **settings: str) -> Server:
        server = Server(tmp_path / "home", step_s, **settings)
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()


class TestDrain:
    def test_running_one_finishes_and_waiting_one_is_told(self, start: Start) -> None:
        server = start()
        running = server.picture()
        server.wait_for(1, 0)
        waiting = server.picture()
        server.wait_for(1, 1)
        server.process.send_signal(signal.SIGTERM)
        refused = waiting.result(60)
        ready, late = server.client.get("/readyz"), server.client.post(SD3, **form(prompt="too late"))
        assert not running.done()
        assert running.result(60).status_code == 200
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["name"] == "service_unavailable"
        assert ready.status_code == 503
        assert ready.json()["failing"] == ["draining"]
        assert late.status_code == 503
        assert "retry-after" in late.headers
        assert server.process.wait(40) == 0
        assert server.balance() == 25 - 6.5
        assert server.verify().returncode == 0

    def test_second_signal_does_not_wait(self, start: Start) -> None:
        server = start(5.0)
        running = server.picture()
        server.wait_for(1, 0)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert server.process.poll() is None
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(40) == 0
        assert time.monotonic() - begin < 12  # at most one step, and the hard end of those that do not stop
        answer = running.result(60)
        assert answer.status_code == 503
        assert server.balance() == 25
        assert server.verify().returncode == 0

    def test_time_that_is_up(self, start: Start) -> None:
        server = start(1.0, KEELBILL_DRAIN_S="1")
        running = server.picture()
        server.wait_for(1, 0)
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(40) == 0
        assert 1 <= time.monotonic() - begin < 10
        assert running.result(60).status_code == 503
        assert server.balance() == 25


class TestBooks:
    def test_proved_while_the_server_works(self, start: Start) -> None:
        server = start(0.02)
        stop = threading.Event()

        def work() -> int:
            done = 0
            while not stop.is_set() and done < 3:
                done += server.picture().result(60).status_code == 200
            return done

        working = server.threads.submit(work)
        try:
            proofs = [server.verify() for _ in range(2)]
        finally:
            stop.set()
        assert [proof.returncode for proof in proofs] == [0, 0]
        assert proofs[0].stdout == "the books agree\n"
        assert working.result(60) >= 1

    def test_after_a_kill_and_after_the_next_start(self, start: Start) -> None:
        server = start(0.3)
        asked = server.picture(**{"idempotency-key": "one"})
        server.wait_for(1, 0)
        server.process.kill()
        server.process.wait()
        with pytest.raises(httpx.TransportError):
            asked.result(60)
        assert server.verify().returncode == 0
        again = start(0.02)
        answer = again.picture(**{"idempotency-key": "one"}).result(40)
        assert answer.status_code == 200
        assert again.balance() == 25 - 6.5
        assert again.verify().returncode == 0

    def test_books_that_differ(self, start: Start) -> None:
        server = start(0.02)
        assert server.picture().result(60).status_code == 200
        books = sqlite3.connect(server.home / "keelbill.db", timeout=10)
        with books:
            books.execute("UPDATE wallet SET posted = posted + 1 WHERE id >= 0")
        books.close()
        proof = server.verify()
        assert proof.returncode == 1
        assert "mismatches" in proof.stdout
        assert "wallet 0: posted is the sum of its transfers" in proof.stdout
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(40) == 0
        again = start(0.02)
        deadline = time.monotonic() + 60
        while again.client.get("/readyz").json()["degraded"] != ["ledger"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert again.log("books_differ")


class TestDisk:
    def test_too_little_space(self, start: Start) -> None:
        server = start(0.02, KEELBILL_MIN_FREE_DISK_BYTES=str(2**60))
        said = [line for line in server.log_file.read_text().splitlines() if not line.startswith("{")]
        ready = server.client.get("/readyz")
        refused = server.picture().result(60)
        assert said[0].endswith("is starting; its workers take some seconds to load.")
        assert said[1].startswith("No pictures will be made: ")
        assert "KEELBILL_MIN_FREE_DISK_BYTES" in said[1]
        assert ready.status_code == 503
        assert ready.json()["failing"] == ["disk"]
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        assert server.balance() == 25
        assert server.client.get("/api/jobs").status_code == 200


class TestRequestLog:
    def test_paid_requests_of_every_door(self, start: Start) -> None:
        server = start(0.0, KEELBILL_FREE_CREDITS="100")
        client = server.client
        prompt = {"prompt": "a red apple"}
        small = {"width": 64, "height": 64}
        answers = {
            SD3: client.post(SD3, **form(**prompt)),
            "/v1/generation/{engine_id}/text-to-image": client.post(
                "/v1/generation/stable-diffusion-v1-6/text-to-image",
                json={"text_prompts": [{"text": "a red apple"}], "width": 512, "height": 512},
            ),
            "/v1/images/generations": client.post("/v1/images/generations", json=prompt),
            "/api/jobs": client.post("/api/jobs", json=prompt | small),
        }
        assert {path: answer.status_code // 100 for path, answer in answers.items()} == dict.fromkeys(answers, 2)
        replay = {"idempotency-key": "k"}
        for _ in range(2):
            client.post(SD3, **form(**prompt), headers=replay)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(40) == 0
        lines = server.log("request")
        for path in answers:
            line = next(line for line in lines if line["route"] == path)
            assert line["credits"] > 0, line
            assert re.fullmatch(r"[0-9a-f]{32}", line["job"]), line
            assert re.fullmatch(r"sk-\w{4}…\w{4}", line["key_stub"]), line
            assert re.fullmatch(r"[0-9a-f]{32}", line["org"]), line
        first, second = [line for line in lines if line["route"] == SD3][-2:]
        assert (first["credits"], second["credits"]) == (6.5, 0)
        assert first["job"] == second["job"]
        assert "red apple" not in server.log_file.read_text()
