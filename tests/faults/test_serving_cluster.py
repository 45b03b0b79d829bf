"""Actors and machines of a cluster that are killed, stopped, or join late, behind a real gateway."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from keelbill.core.errors import Unavailable
from keelbill.serving import rehearsal
from keelbill.serving.cluster import ClusterPool, Place, places
from keelbill.serving.gateway import Gateway
from keelbill.serving.member import Patience
from keelbill.serving.messages import Event, ImageTask, JobSpec, Progress, Retrying, Setup, Started, Succeeded
from support.cluster import SmallCluster, cluster_of, mini_cluster_pool
from support.jobbook import MemoryBook
from support.pools import small_job, until


class Site:
    """A gateway with a cluster's workers and a book in memory."""

    def __init__(self, pool: ClusterPool) -> None:
        self.pool = pool
        self.book = MemoryBook()
        self.gateway = Gateway(pool, self.book)
        self.said: list[Event] = []

    async def watch(self, job_id: str) -> None:
        async for event in self.gateway.events(job_id):
            self.said.append(event)

    async def under_way(self) -> str:
        """Wait until the job has made some steps; return its worker."""
        await until(lambda: sum(isinstance(event, Progress) for event in self.said) >= 3)
        return next(worker.name for worker in self.pool.workers() if worker.running)

    async def has_workers(self, count: int) -> None:
        await until(lambda: sum(w.ready and w.slots > 0 for w in self.pool.workers()) == count, 60)


@pytest.fixture(scope="module")
def cluster() -> Iterator[SmallCluster]:
    with cluster_of(2) as made:
        yield made


@asynccontextmanager
async def site(cluster: SmallCluster, patience: Patience | None = None) -> AsyncIterator[Site]:
    made = Site(mini_cluster_pool(cluster.address, build=rehearsal.build, jobs=16, patience=patience))
    await made.gateway.start()
    try:
        async with asyncio.timeout(240):
            await made.has_workers(2)
            yield made
    finally:
        await made.gateway.stop()


@pytest.mark.slow
async def test_empty_jobs_one_after_the_other(cluster: SmallCluster) -> None:
    async with site(cluster) as at:
        for number in range(60):
            await at.gateway.submit(
                JobSpec(job_id=str(number), org_id="o", task=ImageTask(width=16, height=16, steps=1))
            )
            assert isinstance(await at.gateway.result(str(number)), Succeeded)
        assert {row.charges for row in at.book.rows.values()} == {1}


@pytest.mark.slow
async def test_a_killed_actor_is_noticed_and_its_job_made_again(cluster: SmallCluster) -> None:
    async with site(cluster) as at:
        await at.gateway.submit(small_job(steps=400))
        watching = asyncio.create_task(at.watch("a"))
        worker = await at.under_way()
        first = at.pool.pid(worker)
        os.kill(first, signal.SIGKILL)
        await until(lambda: Retrying(2, "killed") in at.said)
        assert isinstance(await at.gateway.result("a"), Succeeded)
        await watching
        assert (at.book.rows["a"].charges, at.book.rows["a"].epoch) == (1, 2)
        await at.has_workers(2)
        assert at.pool.pid(worker) != first


@pytest.mark.slow
async def test_a_stopped_actor_is_replaced(cluster: SmallCluster) -> None:
    async with site(cluster, Patience(beat_s=5.0)) as at:
        await at.gateway.submit(small_job(steps=400))
        watching = asyncio.create_task(at.watch("a"))
        pid = at.pool.pid(await at.under_way())
        os.kill(pid, signal.SIGSTOP)
        try:
            await until(lambda: Retrying(2, "no heartbeat") in at.said, 120)
            assert isinstance(await at.gateway.result("a"), Succeeded)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        await watching
        assert at.book.rows["a"].charges == 1


@pytest.mark.slow
async def test_a_machine_that_vanishes_and_one_that_joins(cluster: SmallCluster) -> None:
    async with site(cluster, Patience(beat_s=20)) as at:
        await at.gateway.submit(small_job(steps=2000))
        watching = asyncio.create_task(at.watch("a"))
        worker = await at.under_way()
        node = at.pool.node(worker)
        await asyncio.to_thread(cluster.kill, node)
        await until(lambda: any(isinstance(event, Retrying) for event in at.said), 120)
        joined = cluster.add()  # Ray wants the main thread; signs of life wait meanwhile
        await until(lambda: any(at.pool.node(w.name) == joined and w.ready for w in at.pool.workers()), 120)
        assert isinstance(await at.gateway.result("a"), Succeeded)
        await watching
        starts = [event for event in at.said if isinstance(event, Started)]
        assert starts[-1].worker != worker
        assert at.book.rows["a"].charges == 1
        await until(lambda: worker not in {w.name for w in at.pool.workers()}, 120)


@pytest.mark.slow
async def test_input_pictures_travel_with_their_job(cluster: SmallCluster) -> None:
    from keelbill.core.types import Size
    from keelbill.imaging.decode import ImageFormat, decode
    from keelbill.imaging.encode import encode
    from keelbill.serving.scripted import flat

    picture = encode(flat(ImageTask(prompt="input"), Size(40, 24)), ImageFormat.PNG)
    template = Setup(name="", home="", blobs="", model="keelbill-mini", device="cpu", beat_s=0.5)
    pool = ClusterPool(template, {"ref": picture}.__getitem__, cluster.address, build=rehearsal.build)
    gateway = Gateway(pool, MemoryBook())
    await gateway.start()
    try:
        await until(lambda: any(w.ready for w in pool.workers()), 60)
        await gateway.submit(small_job(kind="enlarge", image="ref", width=0, height=0))
        end = await gateway.result("a")
        assert isinstance(end, Succeeded)
        assert decode(end.image).shape == (96, 160, 3)
    finally:
        await gateway.stop()


@pytest.mark.slow
async def test_there_is_no_cluster_at_the_address() -> None:
    pool = mini_cluster_pool("127.0.0.1:1", build=rehearsal.build)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await pool.start(lambda *_: None, lambda *_: None)


class TestPlaces:
    """Which machines get how many workers."""

    @staticmethod
    def node(name: str, alive: bool = True, **resources: float) -> dict[str, object]:
        return {"NodeID": name, "Alive": alive, "Resources": resources}

    def test_one_worker_for_each_accelerator_and_none_on_machines_without(self) -> None:
        found = places([self.node("head", CPU=4.0), self.node("big", CPU=16.0, GPU=2.0)])
        assert found == [Place("big", 0, 1, 8), Place("big", 1, 1, 8)]

    def test_one_worker_for_each_machine_where_there_are_no_accelerators(self) -> None:
        assert places([self.node("head"), self.node("a", CPU=4.0)]) == [Place("a", 0, 0, 4)]

    def test_a_resource_decides_instead(self) -> None:
        nodes = [self.node("a", CPU=8.0, keelbill=2.0), self.node("b", CPU=8.0, GPU=4.0, keelbill=0.0)]
        assert places(nodes) == [Place("a", 0, 0, 4), Place("a", 1, 0, 4)]

    def test_machines_that_left_get_none(self) -> None:
        assert places([self.node("gone", alive=False, CPU=8.0)]) == []
