"""``keelbill serve`` as a process: its greeting, its speed, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import httpx
import pytest

START = "import sys; from keelbill.cli.main import main; main(sys.argv[1:])"
SD3 = "/v2beta/stable-image/generate/sd3"


class Process:
    """A server in a process of its own."""

    def __init__(self, home: Path, *arguments: str, **environment: str) -> None:
        self.home = home
        self._log = home.parent / f"{home.name}-{time.monotonic_ns()}.log"
        with self._log.open("w") as log:
            self.process = self._start(log, *arguments, **environment)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _start(self, log: IO[str], *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", START, "serve", "--port", "0", "--scripted", *arguments],
            env=os.environ | {"KEELBILL_HOME": str(self.home)} | environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def said(self) -> str:
        return "\n".join(self.lines)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_until_up(self) -> str:
        """Return the server's address."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(r"running at (\S+)", self.said):
                time.sleep(0.2)  # the rest of the greeting
                return found[1]
            time.sleep(0.02)
        raise AssertionError(self.said + self.log)

    @property
    def key(self) -> str:
        found = re.search(r"^  (sk-\w+)$", self.said, re.MULTILINE)
        assert found is not None
        return found[1]

    def stop(self, *signals: signal.Signals, pause_s: float = 0.0) -> int:
        """Send signals and return the exit code."""
        for sent in signals or (signal.SIGTERM,):
            self.process.send_signal(sent)
            time.sleep(pause_s)
        code = self.process.wait(40)
        self._reader.join(60)
        return code


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*arguments: str, **environment: str) -> Process:
        process = Process(tmp_path / "home", *arguments, **environment)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait()
        assert process.process.stdout is not None
        process._reader.join(60)
        process.process.stdout.close()


class TestGreeting:
    def test_new_home(self, start: Callable[..., Process], tmp_path: Path) -> None:
        process = start()
        url = process.wait_until_up()
        assert httpx.get(url + "/healthz").json()["status"] == "ok"
        command = process.said[process.said.index("  curl") : process.said.index("\n\nClaim")]
        made = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert made.returncode == 0, made.stderr
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
        assert f"{url}/set-up#token=" in process.said
        assert process.stop() == 0
        assert process.key not in process.log
        assert "red apple" not in process.log

    def test_second_start_tells_no_key(self, start: Callable[..., Process]) -> None:
        first = start()
        first.wait_until_up()
        key = first.key
        assert first.stop() == 0
        again = start()
        url = again.wait_until_up()
        assert "sk-" not in again.said
        assert httpx.get(url + "/v1/user/balance", headers={"authorization": key}).json() == {"credits": 25}
        again.stop()

    def test_home_is_private(self, start: Callable[..., Process]) -> None:
        process = start()
        process.wait_until_up()
        assert process.home.stat().st_mode & 0o077 == 0
        process.stop()


class TestStart:
    def test_no_networks_in_the_server_process(self) -> None:
        code = (
            "import sys; import keelbill.cli.serve, keelbill.api.app, keelbill.api.guard; "
            "import keelbill.api.openai.routes, keelbill.api.stability.v1, keelbill.serving.local; "
            "print([n for n in ('torch', 'transformers', 'onnxruntime', 'keelbill.engine') if n in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.strip() == "[]"

    def test_home_that_is_in_use(self, start: Callable[..., Process]) -> None:
        start().wait_until_up()
        second = start()
        assert second.process.wait(30) == 2
        assert "keelbill: " in second.log
        assert "PostgreSQL" in second.log
        assert "Traceback" not in second.log

    def test_port_that_is_taken(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            done = subprocess.run(
                [sys.executable, "-c", START, "serve", "--scripted", "--port", str(taken.getsockname()[1])],
                env=os.environ | {"KEELBILL_HOME": str(tmp_path / "home")},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        assert done.returncode == 2
        assert "cannot be listened on" in done.stderr
        assert not (tmp_path / "home").exists()


class TestEnd:
    @pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
    def test_idle(self, start: Callable[..., Process], sent: signal.Signals) -> None:
        process = start()
        process.wait_until_up()
        begin = time.monotonic()
        assert process.stop(sent) == 0
        assert time.monotonic() - begin < 5

    def test_idle_connection_does_not_hold_it_up(self, start: Callable[..., Process]) -> None:
        process = start()
        url = process.wait_until_up()
        with httpx.Client(base_url=url) as client:
            client.get("/healthz")
            begin = time.monotonic()
            assert process.stop() == 0
            assert time.monotonic() - begin < 5
