"""What an operator does to the queue: pauses it, moves jobs, looks at it."""

from __future__ import annotations

import asyncio

import pytest

from keelbill.serving.gateway import Gateway
from keelbill.serving.messages import Cancelled, ImageTask, JobSpec, Succeeded
from keelbill.serving.queue import FairQueue
from keelbill.serving.scripted import ScriptedPool
from support.jobbook import MemoryBook


def spec(job_id: str, org: str = "org", priority: int = 0) -> JobSpec:
    task = ImageTask(prompt="a red kite", width=16, height=16, seed=7)
    return JobSpec(job_id=job_id, org_id=org, task=task, priority=priority)


def queue_of(*jobs: JobSpec) -> FairQueue:
    queue = FairQueue()
    for job in jobs:
        queue.push(job)
    return queue


def names(queue: FairQueue) -> list[str]:
    return [job.job_id for job in queue.order()]


def test_a_job_that_does_not_wait_cannot_be_moved() -> None:
    queue = queue_of(spec("a"))
    assert not queue.move("b", "front")
    assert names(queue) == ["a"]


def test_to_the_front_is_before_every_account() -> None:
    queue = queue_of(spec("a"), spec("b"), spec("c", "other"), spec("d", priority=5))
    for job_id in ("c", "b"):
        assert queue.move(job_id, "front")
    assert names(queue)[:3] == ["b", "c", "d"]
    assert queue.move("c", "front")
    assert names(queue)[:2] == ["c", "b"]
    assert len(queue) == 4
    assert queue.total_ms == 4000


def test_to_the_back_is_behind_the_own_account() -> None:
    queue = queue_of(spec("a"), spec("b"), spec("c"))
    queue.move("a", "back")
    assert names(queue) == ["b", "c", "a"]
    queue.move("a", "front")
    queue.move("a", "back")
    assert names(queue) == ["b", "c", "a"]
    assert [queue.pop(0.0), queue.pop(0.0), queue.pop(0.0), queue.pop(0.0)][3] is None


@pytest.fixture
def gateway() -> Gateway:
    return Gateway(ScriptedPool(step_s=0.001), MemoryBook())


async def test_a_paused_queue_begins_nothing_until_it_is_resumed(gateway: Gateway) -> None:
    await gateway.start()
    gateway.pause()
    await gateway.submit(spec("a"))
    await gateway.submit(spec("b"))
    await gateway.tick()
    assert [(job.spec.job_id, job.is_running) for job in gateway.jobs()] == [("a", False), ("b", False)]
    assert gateway.move("b", "front")
    assert [job.spec.job_id for job in gateway.jobs()] == ["b", "a"]
    assert gateway.cancel("a", "not wanted")
    assert isinstance(await gateway.result("a"), Cancelled)
    gateway.resume()
    assert isinstance(await gateway.result("b"), Succeeded)
    assert gateway.jobs() == []
    await gateway.stop()


async def test_what_runs_finishes_while_the_queue_is_paused() -> None:
    pool = ScriptedPool(step_s=0.02)
    gateway = Gateway(pool, MemoryBook())
    await gateway.start()
    await gateway.submit(spec("a"))
    async with asyncio.timeout(60):
        while not gateway.jobs()[0].is_running or not any(worker.running for worker in gateway.workers()):
            await asyncio.sleep(0.001)
    gateway.pause()
    await gateway.submit(spec("b"))
    running, waiting = gateway.jobs()
    assert (running.spec.job_id, running.worker) == ("a", gateway.workers()[0].name)
    assert (waiting.spec.job_id, waiting.worker) == ("b", "")
    assert isinstance(await gateway.result("a"), Succeeded)
    assert [job.spec.job_id for job in gateway.jobs()] == ["b"]
    await gateway.stop()
