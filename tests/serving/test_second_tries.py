"""Second tries: elsewhere after memory ran out, and alone after a worker was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from keelbill.serving.gateway import Gateway
from keelbill.serving.messages import Event, Failed, ImageTask, JobSpec, Retrying, Started, Succeeded, WorkerInfo
from keelbill.serving.placing import Needs, choose
from keelbill.serving.scripted import Fault, ScriptedPool
from support.jobbook import MemoryBook

SMALL, LARGE = 8 * 2**30, 80 * 2**30


def spec(job_id: str, prompt: str = "a red kite", steps: int = 4, org: str = "org") -> JobSpec:
    return JobSpec(job_id=job_id, org_id=org, task=ImageTask(prompt=prompt, width=16, height=16, seed=7, steps=steps))


class Site:
    def __init__(self, pool: ScriptedPool) -> None:
        self.pool = pool
        self.book = MemoryBook()
        self.gateway = Gateway(pool, self.book)
        self.said: dict[str, list[Event]] = {}
        self.gateway.listeners.append(lambda job, event: self.said.setdefault(job.job_id, []).append(event))

    def workers_of(self, job_id: str) -> list[str]:
        return [event.worker for event in self.said.get(job_id, []) if isinstance(event, Started)]

    def neighbours(self, worker: str) -> set[str]:
        return {job_id for each in self.pool.workers() if each.name == worker for job_id in each.running}


@asynccontextmanager
async def site(pool: ScriptedPool) -> AsyncIterator[Site]:
    made = Site(pool)
    await made.gateway.start()
    try:
        async with asyncio.timeout(60):
            yield made
    finally:
        await made.gateway.stop()


def short_of_memory(*capacities: int, slots: int = 1, step_s: float = 0.005) -> ScriptedPool:
    faults = [Fault("oom", when="huge", times=100)]
    return ScriptedPool(len(capacities), capacities=capacities, slots=slots, step_s=step_s, faults=faults)


class TestOutOfMemory:
    async def test_a_worker_with_more_memory_makes_it(self) -> None:
        async with site(short_of_memory(SMALL, LARGE)) as at:
            await at.gateway.submit(spec("a", "huge"))
            assert isinstance(await at.gateway.result("a"), Succeeded)
            assert at.workers_of("a") == ["scripted-0", "scripted-1"]
            assert Retrying(2, "out of memory") in at.said["a"]
            row = at.book.rows["a"]
            assert (row.charges, row.voids, row.attempt, row.epoch) == (1, 0, 2, 2)
            assert ("a", 1) in at.pool.acknowledged

    @pytest.mark.parametrize("capacities", [(SMALL,), (SMALL, SMALL), (0, 0)])
    async def test_without_one_it_fails_at_once(self, capacities: tuple[int, ...]) -> None:
        async with site(short_of_memory(*capacities)) as at:
            await at.gateway.submit(spec("a", "huge"))
            end = await at.gateway.result("a")
            assert isinstance(end, Failed)
            assert end.code == "out_of_memory"
            assert (at.book.rows["a"].charges, at.book.rows["a"].voids) == (0, 1)

    async def test_it_waits_for_the_larger_one_while_others_use_the_smaller(self) -> None:
        async with site(short_of_memory(SMALL, LARGE, step_s=0.01)) as at:
            await at.gateway.submit(spec("a", "huge", steps=2))
            await at.gateway.submit(spec("large one is busy", steps=30))
            others = [f"other {number}" for number in range(3)]
            for name in others:
                await at.gateway.submit(spec(name, steps=1))
            ends = [await at.gateway.result(name) for name in ("a", *others)]
            assert all(isinstance(end, Succeeded) for end in ends)
            assert at.workers_of("a")[-1] == "scripted-1"
            assert all(at.workers_of(name) == ["scripted-0"] for name in others)

    async def test_cancelled_while_it_waits_for_the_larger_one(self) -> None:
        async with site(short_of_memory(SMALL, LARGE, step_s=0.01)) as at:
            await at.gateway.submit(spec("a", "huge", steps=2))
            await at.gateway.submit(spec("large one is busy", steps=1000))
            while Retrying(2, "out of memory") not in at.said.get("a", []):
                await asyncio.sleep(0.005)
            assert at.gateway.position("a") is not None
            assert at.gateway.cancel("a", "enough")
            await at.gateway.result("a")
            assert (at.book.rows["a"].state, at.book.rows["a"].voids) == ("cancelled", 1)


class TestAfterALoss:
    async def test_neighbours_of_a_job_that_kills_workers_are_made(self) -> None:
        """All of them were in the step in which the worker died; only one of them is to blame."""
        pool = ScriptedPool(slots=4, step_s=0.005, faults=[Fault("lose", step=2, when="poison", times=100)])
        async with site(pool) as at:
            names = ["b", "poison", "c", "d"]
            for name in names:
                await at.gateway.submit(spec(name, name))
            ends = {name: await at.gateway.result(name) for name in names}
            assert isinstance(ends["poison"], Failed)
            assert ends["poison"].code == "worker_lost_twice"
            assert all(isinstance(ends[name], Succeeded) for name in "bcd")
            assert [at.book.rows[name].charges for name in names] == [1, 0, 1, 1]

    async def test_nothing_else_runs_beside_it(self) -> None:
        pool = ScriptedPool(2, slots=4, step_s=0.005, faults=[Fault("lose", step=1, when="lost", times=1)])
        async with site(pool) as at:
            await at.gateway.submit(spec("a", "lost", steps=20))
            crowds: list[set[str]] = []

            def look(job: JobSpec, event: Event) -> None:
                if len(at.workers_of("a")) == 2 and not isinstance(at.said["a"][-1], Succeeded):
                    crowds.append(at.neighbours(at.workers_of("a")[-1]))

            at.gateway.listeners.append(look)
            for number in range(40):
                await at.gateway.submit(spec(f"other {number}", org=f"org{number % 5}"))
            assert isinstance(await at.gateway.result("a"), Succeeded)
            ends = [await at.gateway.result(f"other {number}") for number in range(40)]
            assert all(isinstance(end, Succeeded) for end in ends)
            assert crowds
            assert all(crowd <= {"a"} for crowd in crowds)

    async def test_it_gets_its_turn_although_others_keep_coming(self) -> None:
        pool = ScriptedPool(1, slots=4, step_s=0.005, faults=[Fault("lose", step=1, when="lost", times=1)])
        async with site(pool) as at:
            await at.gateway.submit(spec("a", "lost", steps=3))
            is_done = asyncio.Event()

            async def keep_coming(org: str) -> None:
                number = 0
                while not is_done.is_set():
                    number += 1
                    await at.gateway.submit(spec(f"{org} {number}", org=org))
                    await at.gateway.result(f"{org} {number}")

            crowd = [asyncio.create_task(keep_coming(f"org{number}")) for number in range(8)]
            end = await at.gateway.result("a")
            is_done.set()
            await asyncio.gather(*crowd)
            assert isinstance(end, Succeeded)


class TestChoose:
    A = WorkerInfo(name="a", device="x", models=("m",), slots=4, capacity_bytes=SMALL)
    B = WorkerInfo(name="b", device="x", models=("n",), slots=4, capacity_bytes=LARGE)

    def test_the_one_with_the_model(self) -> None:
        assert choose("n", Needs(), [self.A, self.B], {"a": 0, "b": 3}) is self.B

    def test_else_the_one_with_the_fewest_jobs(self) -> None:
        assert choose("o", Needs(), [self.A, self.B], {"a": 2, "b": 1}) is self.B

    def test_never_one_with_too_little_memory(self) -> None:
        assert choose("m", Needs(more_than_bytes=SMALL), [self.A, self.B], {"a": 0, "b": 3}) is self.B
        assert choose("m", Needs(more_than_bytes=LARGE), [self.A, self.B], {"a": 0, "b": 0}) is None

    def test_alone_means_empty(self) -> None:
        assert choose("m", Needs(alone=True), [self.A, self.B], {"a": 1, "b": 0}) is self.B
        assert choose("m", Needs(alone=True), [self.A, self.B], {"a": 1, "b": 1}) is None
