"""Two server processes over one PostgreSQL: each sees, answers and cancels the other's jobs; none runs twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from keelbill.core.errors import Cancelled
from keelbill.core.types import micro
from keelbill.db import notices
from keelbill.db.base import Database, open_database
from keelbill.jobs import service
from keelbill.jobs.schemas import Idempotency
from keelbill.serving import messages
from keelbill.serving.scripted import ScriptedPool
from support.databases import Postgres
from support.jobhouse import PRICE, House, wish

KEY = Idempotency("order", "a" * 64)


class Pair:
    """Two houses with a database connection of their own each."""

    def __init__(self, here: House, there: House) -> None:
        self.here = here
        self.there = there


@asynccontextmanager
async def pair(postgres: Postgres, folder: Path, *, step_s: float = 0.05, steps: int = 4) -> AsyncIterator[Pair]:
    name = postgres.create()
    databases: list[Database] = [open_database(postgres.url(name)) for _ in range(2)]
    houses = [House(database, folder, pool=ScriptedPool(step_s=step_s, steps=steps)) for database in databases]
    listening = []
    for house in houses:
        await house.janitor.recover()
        await house.gateway.start()
        listening.append(asyncio.create_task(notices.listen(house.database, house.book.bulletin.hear)))
    for house in houses:
        await house.database.write(house.book.leases.seen)
    await asyncio.sleep(0.3)
    try:
        async with asyncio.timeout(30):
            yield Pair(*houses)
    finally:
        for house, task in zip(houses, listening, strict=True):
            task.cancel()
            await house.gateway.stop()
        await asyncio.gather(*listening, return_exceptions=True)
        for database in databases:
            await database.close()
        postgres.drop(name)


async def test_they_know_of_each_other(postgres: Postgres, tmp_path: Path) -> None:
    async with pair(postgres, tmp_path) as both:
        assert both.here.book.leases.has_company
        assert both.there.book.leases.has_company


async def test_a_job_is_seen_and_answered_in_the_other(postgres: Postgres, tmp_path: Path) -> None:
    async with pair(postgres, tmp_path) as both:
        ann = both.here.account("25")
        ticket = await both.here.jobs.submit(ann, wish(is_async=True))
        assert (await both.there.jobs.get(ann, ticket.job_id)).state in {"queued", "running"}
        assert [job.id for job in await both.there.jobs.list(ann)] == [ticket.job_id]
        events = [event async for event in both.there.jobs.events(ann, ticket.job_id)]
        assert isinstance(events[-1], messages.Succeeded)
        outcome = await both.there.jobs.result(ann, ticket.job_id)
        assert outcome is not None
        assert (outcome.charged, outcome.image[:4]) == (PRICE, b"\x89PNG")


async def test_the_same_key_in_both_makes_one_picture(postgres: Postgres, tmp_path: Path) -> None:
    async with pair(postgres, tmp_path) as both:
        ann = both.here.account("25")
        outcomes = await asyncio.gather(
            *(house.jobs.run(ann, wish(), KEY) for house in (both.here, both.there) for _ in range(3))
        )
        assert len({outcome.job_id for outcome in outcomes}) == 1
        assert len({outcome.image for outcome in outcomes}) == 1
        assert sorted(outcome.replayed for outcome in outcomes) == [False] + [True] * 5
        assert both.there.balance(ann).posted == micro("18.5")
        assert len(both.here.pool.started) + len(both.there.pool.started) == 1


async def test_a_word_comes_before_the_next_look(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LOOK_S", 60.0)
    async with pair(postgres, tmp_path, step_s=0.2) as both:
        ann = both.here.account("25")
        ticket = await both.here.jobs.submit(ann, wish(), KEY)
        outcome = await both.there.jobs.run(ann, wish(), KEY)
        assert (outcome.job_id, outcome.replayed) == (ticket.job_id, True)


async def test_a_running_job_is_cancelled_from_the_other(postgres: Postgres, tmp_path: Path) -> None:
    async with pair(postgres, tmp_path, step_s=0.02, steps=1000) as both:
        ann = both.here.account("25")
        waiting = asyncio.create_task(both.here.jobs.run(ann, wish()))
        while not both.here.pool.workers()[0].running:
            await asyncio.sleep(0.01)
        (job,) = await both.there.jobs.list(ann)
        watching = asyncio.create_task(_events(both.here, ann, job.id))
        await asyncio.sleep(0.1)
        assert await both.there.jobs.cancel(ann, job.id)
        with pytest.raises(Cancelled):
            await waiting
        assert isinstance((await watching)[-1], messages.Cancelled)
        while both.here.pool.workers()[0].running:  # its worker stops too
            await asyncio.sleep(0.01)
        assert both.there.job(job.id).state == "cancelled"
        assert (both.there.balance(ann).posted, both.there.balance(ann).held) == (micro(25), 0)
        assert not await both.there.jobs.cancel(ann, job.id)


async def test_a_waiting_job_is_cancelled_from_the_other(postgres: Postgres, tmp_path: Path) -> None:
    async with pair(postgres, tmp_path, step_s=0.02, steps=1000) as both:
        ann = both.here.account("25")
        first = await both.here.jobs.submit(ann, wish(is_async=True))
        await both.here.until(first.job_id, "running")
        second = await both.here.jobs.submit(ann, wish(is_async=True))
        assert await both.there.jobs.cancel(ann, second.job_id)
        while both.here.gateway.position(second.job_id) is not None:
            await asyncio.sleep(0.01)
        assert both.there.job(second.job_id).state == "cancelled"
        assert both.there.balance(ann).held == PRICE


async def test_nobody_hears_and_it_is_found_out_all_the_same(postgres: Postgres, tmp_path: Path) -> None:
    """Without a message, the lease that cannot be renewed ends the job."""
    async with pair(postgres, tmp_path, step_s=0.02, steps=1000) as both:
        both.here.book.bulletin.on_ended = lambda job_id: None
        both.here.gateway.lease_s = 0.6
        ann = both.here.account("25")
        ticket = await both.here.jobs.submit(ann, wish(is_async=True))
        await both.here.until(ticket.job_id, "running")
        assert await both.there.jobs.cancel(ann, ticket.job_id)
        while both.here.pool.workers()[0].running:
            await asyncio.sleep(0.02)
        assert both.there.job(ticket.job_id).state == "cancelled"


async def test_many_jobs_from_both_sides_run_once_each(postgres: Postgres, tmp_path: Path) -> None:
    async with pair(postgres, tmp_path, step_s=0.0) as both:
        ann = both.here.account("200")
        houses = (both.here, both.there)
        outcomes = await asyncio.gather(*(houses[i % 2].jobs.run(ann, wish(seed=i)) for i in range(12)))
        assert len({outcome.job_id for outcome in outcomes}) == 12
        started = both.here.pool.started + both.there.pool.started
        assert sorted(started) == sorted(outcome.job_id for outcome in outcomes)
        assert both.here.balance(ann).posted == micro(200) - 12 * PRICE
        assert both.here.sound()


async def _events(house: House, who: object, job_id: str) -> list[messages.Event]:
    return [event async for event in house.jobs.events(who, job_id)]  # type: ignore[arg-type]
