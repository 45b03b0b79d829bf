"""Watchers of a job, quick and slow."""

from __future__ import annotations

import asyncio

import pytest

from keelbill.core.errors import Unavailable
from keelbill.serving.audience import Audience
from keelbill.serving.messages import Cancelled, Event, Failed, Progress, Queued, Started
from support.jobbook import ManualClock

END = Cancelled("enough")


async def heard(audience: Audience) -> list[Event]:
    return [event async for event in audience.events()]


async def test_a_slow_reader_misses_steps_and_never_the_end() -> None:
    audience = Audience(ManualClock())
    audience.tell(Started("w", 1))
    events = audience.events()
    assert await anext(events) == Started("w", 1)
    for step in range(1, 1001):
        audience.tell(Progress(step, 1000))
    audience.tell(END)
    assert [event async for event in events] == [Progress(1000, 1000), END]


async def test_every_reader_hears_everything_it_has_time_for() -> None:
    audience = Audience(ManualClock())
    readers = [asyncio.create_task(heard(audience)) for _ in range(3)]
    told: list[Event] = [Queued(1, 0.0), Started("w", 1), Progress(1, 2), Progress(2, 2), END]
    for event in told:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        audience.tell(event)
    assert [await reader for reader in readers] == [told] * 3
    assert not audience


async def test_previews_at_most_four_times_a_second() -> None:
    clock = ManualClock()
    audience = Audience(clock)
    audience.tell(Started("w", 1))
    events = audience.events()
    await anext(events)
    shown = []
    for step in range(1, 21):
        audience.tell(Progress(step, 20, b"preview"))
        event = await anext(events)
        assert isinstance(event, Progress)
        shown.append(event.preview is not None)
        clock.move(0.1)
    assert sum(shown) == 7  # two seconds, a tenth apart: every third
    await events.aclose()  # type: ignore[attr-defined]


async def test_a_large_preview_is_dropped_and_its_step_is_not() -> None:
    audience = Audience(ManualClock())
    audience.tell(Progress(1, 2, b"x" * (64 * 1024 + 1)))
    events = audience.events()
    assert await anext(events) == Progress(1, 2)
    await events.aclose()  # type: ignore[attr-defined]


async def test_nothing_is_said_after_the_end() -> None:
    audience = Audience(ManualClock())
    audience.tell(END)
    audience.tell(Failed("late", "Too late."))
    assert await heard(audience) == [END]
    assert await audience.end() == END


async def test_a_reader_that_leaves_is_forgotten() -> None:
    audience = Audience(ManualClock())
    audience.tell(Started("w", 1))
    events = audience.events()
    await anext(events)
    assert audience
    await events.aclose()  # type: ignore[attr-defined]
    assert not audience


async def test_closing_sends_everybody_away_without_an_end() -> None:
    audience = Audience(ManualClock())
    reader = asyncio.create_task(heard(audience))
    waiter = asyncio.create_task(audience.end())
    await asyncio.sleep(0)
    audience.close()
    assert await reader == []
    with pytest.raises(Unavailable):
        await waiter
