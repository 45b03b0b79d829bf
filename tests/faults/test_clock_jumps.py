"""The machine's time of day jumps by hours, both ways, while a server works."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from support.site import Site, site

__all__ = ["site"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
]

JUMPING = """
import time
from datetime import timedelta
from pathlib import Path
from keelbill.core.clock import SystemClock
real_now, real_ms = SystemClock.now, SystemClock.now_ms
jump_s = lambda: int(Path(os.environ["JUMP_FILE"]).read_text() or 0)
SystemClock.now = lambda self: real_now(self) + timedelta(seconds=jump_s())
SystemClock.now_ms = lambda self: real_ms(self) + jump_s() * 1000
"""


class Time:
    """What the server's clock is off by."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump(0)

    def jump(self, hours: int) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(hours * 3600))
        fresh.replace(self._file)


@pytest.fixture
def time_of_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Time:
    monkeypatch.setenv("JUMP_FILE", str(tmp_path / "jump"))
    return Time(tmp_path / "jump")


@pytest.mark.parametrize("hours", [5, -5])
def test_while_a_picture_is_made(site: Site, time_of_day: Time, hours: int) -> None:
    site.start(script={"step_s": 0.4}, prelude=JUMPING, billing="credits")
    with ThreadPoolExecutor(1) as client:
        asked = client.submit(site.ask, "patient")
        site.wait_for(1)
        time_of_day.jump(hours)
        answer = asked.result(30)
    assert answer.status_code == 200, answer.text
    assert site.get("/v1/user/balance").json() == {"credits": 22}
    again = site.ask("patient")
    assert (again.status_code, again.content) == (200, answer.content)
    time_of_day.jump(0)
    assert site.ask().status_code == 200
    assert site.get("/v1/user/balance").json() == {"credits": 19}
    assert site.verify() == "the books agree"
    assert site.check_charges() == 2


@pytest.mark.parametrize("hours", [5, -5])
def test_over_a_restart(site: Site, time_of_day: Time, hours: int) -> None:
    """The lease of the killed server's job means nothing to the next one, whatever the time of day says."""
    site.start(script={"step_s": 0.4}, prelude=JUMPING, billing="credits")
    with ThreadPoolExecutor(1) as client:
        asked = client.submit(site.ask, "patient")
        site.wait_for(1)
        site.close()
        assert isinstance(asked.exception(30), httpx.TransportError)
    time_of_day.jump(hours)
    site.start(prelude=JUMPING, billing="credits")
    assert site.ask("patient").status_code == 200
    assert site.get("/v1/user/balance").json() == {"credits": 22}
    site.until("SELECT count(*) FROM hold WHERE state = 'held'", [(0,)])
    assert site.verify() == "the books agree"
    assert site.check_charges() == 1


@pytest.mark.parametrize("hours", [5, -5])
def test_the_rate_limit_neither_sticks_nor_opens(site: Site, time_of_day: Time, hours: int) -> None:
    site.start(script={"step_s": 0.0}, prelude=JUMPING, rate_limit=3, rate_window_s=4)
    statuses = [site.ask().status_code for _ in range(3)]
    time_of_day.jump(hours)
    limited = site.ask()
    assert (statuses, limited.status_code) == ([200, 200, 200], 429)
    assert 1 <= int(limited.headers["retry-after"]) <= 4
    time.sleep(int(limited.headers["retry-after"]) + 0.2)
    assert site.ask().status_code == 200
