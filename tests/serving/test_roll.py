"""Jobs that a server remembers, and for how long."""

from __future__ import annotations

import pytest

from keelbill.core.clock import SystemClock
from keelbill.core.errors import NotFound
from keelbill.serving import roll as roll_module
from keelbill.serving.audience import Audience
from keelbill.serving.messages import Cancelled, Succeeded
from keelbill.serving.roll import Job, Roll
from support.pools import small_job


def job(name: str) -> Job:
    return Job(small_job(name), Audience(SystemClock()), is_sync=True, submitted_s=5.0)


def picture(size: int) -> Succeeded:
    return Succeeded(image=bytes(size), media_type="image/png", width=1, height=1, seed=1, model="m", model_hash="h")


def ended(roll: Roll, name: str, now_s: float, size: int = 10) -> Job:
    made, end = job(name), picture(size)
    roll.enter(made)
    roll.end(made, end, now_s)
    made.audience.tell(end)
    roll.trim()
    return made


async def test_active_jobs_keep_the_server_busy() -> None:
    roll = Roll()
    assert roll.idle.is_set()
    a, b = job("a"), job("b")
    roll.enter(a)
    roll.enter(b)
    assert not roll.idle.is_set()
    roll.end(a, Cancelled("enough"), 1.0)
    assert not roll.idle.is_set()
    roll.forget(b)
    assert roll.idle.is_set()


async def test_what_ended_is_known_for_a_minute() -> None:
    roll = Roll()
    first, second = ended(roll, "a", 100.0), ended(roll, "b", 130.0)
    roll.forget_late(159.9)
    assert roll.known("a") is first
    roll.forget_late(160.0)
    with pytest.raises(NotFound, match="'a'"):
        roll.known("a")
    assert roll.known("b") is second


async def test_the_oldest_pictures_go_when_they_are_too_large_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll_module, "KEPT_BYTES", 100)
    roll = Roll()
    ended(roll, "a", 1.0, 60)
    ended(roll, "b", 2.0, 60)
    with pytest.raises(NotFound):
        roll.known("a")
    ended(roll, "c", 3.0, 40)
    assert {roll.known(name).id for name in ("b", "c")} == {"b", "c"}


async def test_a_job_that_came_again_is_not_forgotten_with_its_first_end() -> None:
    roll = Roll()
    ended(roll, "a", 1.0)
    again = job("a")
    roll.enter(again)
    roll.forget_late(1000.0)
    assert roll.known("a") is again


async def test_states_and_costs() -> None:
    roll = Roll()
    waiting, running = job("a"), job("b")
    for each in (waiting, running):
        roll.enter(each)
    running.state, running.began_s = "running", 7.0
    assert roll.of("queued") == [waiting]
    assert roll.of("queued", "running") == [waiting, running]
    assert list(roll.costs()) == [(running.spec.cost_ms, 7.0)]
    assert waiting.deadline_at_s == 5.0 + waiting.spec.deadline_s
