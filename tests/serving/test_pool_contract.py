"""What every pool of workers keeps: the one of the script, of real processes, and of a cluster of three machines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from keelbill.imaging.decode import decode
from keelbill.imaging.metadata import read
from keelbill.serving.cluster import ClusterPool
from keelbill.serving.local import LocalPool
from keelbill.serving.messages import Cancelled, Failed, Progress, Started, Succeeded, WorkerInfo
from keelbill.serving.scripted import Fault, ScriptedPool
from support.cluster import cluster_of, mini_cluster_pool
from support.pools import Audience, mini_pool, small_job, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

AnyPool = ScriptedPool | LocalPool | ClusterPool


class Stage:
    """A started pool and what it says."""

    def __init__(self, pool: AnyPool) -> None:
        self.pool = pool
        self.audience = Audience()

    async def start(self) -> None:
        await self.pool.start(self.audience.on_event, self.audience.on_lost, self.audience.on_capacity)
        await until(lambda: self.pool.workers() and self.worker.ready and self.worker.slots > 0, 90)

    @property
    def worker(self) -> WorkerInfo:
        return self.pool.workers()[0]

    async def done(self, *names: str) -> None:
        await until(lambda: all(self.audience.end(name) for name in names))

    def picture(self, name: str) -> Succeeded:
        end = self.audience.end(name)
        assert isinstance(end, Succeeded), end
        return end


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["scripted", "local", "cluster"])
async def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    home: Path = tmp_path_factory.mktemp("home")
    pools: dict[str, Callable[[], AnyPool]] = {
        "scripted": lambda: ScriptedPool(
            slots=4, step_s=0.002, faults=[Fault("fail", when="unpaintable")], native_side=128
        ),
        "local": lambda: mini_pool(home),
    }
    async with AsyncExitStack() as stack:
        if request.param == "cluster":
            cluster = stack.enter_context(cluster_of(2))
            pools["cluster"] = lambda: mini_cluster_pool(cluster.address)
        made = Stage(pools[request.param]())
        await made.start()
        yield made
        await made.pool.stop()
        assert not any(worker.ready for worker in made.pool.workers())


async def test_events_come_in_order_and_under_their_epoch(stage: Stage) -> None:
    stage.pool.run(stage.worker.name, small_job("order", epoch=5))
    await stage.done("order")
    events = stage.audience.of("order")
    assert events[0] == Started(stage.worker.name, 1)
    steps = [(event.step, event.total) for event in events if isinstance(event, Progress)]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert isinstance(events[-1], Succeeded)
    assert {epoch for name, epoch, _ in stage.audience.events if name == "order"} == {5}


async def test_the_picture_has_exactly_the_asked_size_and_carries_its_recipe(stage: Stage) -> None:
    job = small_job("size", width=100, height=60, recipe_prompt="what I wrote", output_format="webp")
    stage.pool.run(stage.worker.name, job)
    await stage.done("size")
    picture = stage.picture("size")
    assert (picture.width, picture.height, picture.media_type) == (100, 60, "image/webp")
    assert decode(picture.image).shape == (60, 100, 3)
    recipe = read(picture.image)
    assert recipe is not None
    assert (recipe.prompt, recipe.seed, recipe.width, recipe.height, recipe.steps) == ("what I wrote", 7, 100, 60, 3)
    assert (recipe.model, recipe.model_hash) == (picture.model, picture.model_hash)


async def test_the_same_task_gives_the_same_bytes_alone_and_in_a_crowd(stage: Stage) -> None:
    stage.pool.run(stage.worker.name, small_job("alone", steps=4))
    await stage.done("alone")
    crowd = [
        small_job("crowd1", width=96, height=64, steps=6, prompt="a boat on a lake"),
        small_job("crowd2", steps=4),
        small_job("crowd3", cfg=1.0, steps=2, prompt="snow"),
    ]
    for job in crowd:
        stage.pool.run(stage.worker.name, job)
    await stage.done("crowd1", "crowd2", "crowd3")
    assert stage.picture("alone").image == stage.picture("crowd2").image
    assert stage.picture("alone").image != stage.picture("crowd1").image


async def test_another_seed_is_another_picture(stage: Stage) -> None:
    stage.pool.run(stage.worker.name, small_job("seed7"))
    stage.pool.run(stage.worker.name, small_job("seed8", seed=8))
    await stage.done("seed7", "seed8")
    assert stage.picture("seed7").image != stage.picture("seed8").image


async def test_cancel_ends_a_job_at_its_next_step_and_frees_its_place(stage: Stage) -> None:
    stage.pool.run(stage.worker.name, small_job("gone", steps=900))
    await until(lambda: any(isinstance(event, Progress) for event in stage.audience.of("gone")))
    stage.pool.cancel("gone", "the user left")
    await until(lambda: stage.audience.end("gone"))
    assert stage.audience.end("gone") == Cancelled("the user left")
    assert stage.worker.running == ()


async def test_cancelling_what_does_not_run_is_passed_over(stage: Stage) -> None:
    stage.pool.cancel("nobody", "why not")
    stage.pool.run(stage.worker.name, small_job("after"))
    await stage.done("after")
    assert stage.audience.of("nobody") == []


async def test_previews_are_small_and_only_when_asked(stage: Stage) -> None:
    stage.pool.run(stage.worker.name, small_job("quiet"))
    stage.pool.run(stage.worker.name, small_job("shown", previews=True))
    await stage.done("quiet", "shown")
    quiet = [event.preview for event in stage.audience.of("quiet") if isinstance(event, Progress)]
    shown = [event.preview for event in stage.audience.of("shown") if isinstance(event, Progress)]
    assert not any(quiet)
    pictures = [preview for preview in shown if preview]
    assert pictures
    assert all(preview.startswith(b"\xff\xd8") and len(preview) <= 64 * 1024 for preview in pictures)


async def test_a_job_that_cannot_be_done_leaves_its_worker_alive(stage: Stage) -> None:
    stage.pool.run(stage.worker.name, small_job("never", prompt="unpaintable", kind="style", steps=3))
    await stage.done("never")
    assert isinstance(stage.audience.end("never"), Failed)
    stage.pool.run(stage.worker.name, small_job("next"))
    await stage.done("next")
    assert isinstance(stage.audience.end("next"), Succeeded)
    assert stage.audience.lost == []


async def test_workers_say_what_runs_and_what_is_free(stage: Stage) -> None:
    stage.pool.run(stage.worker.name, small_job("long", steps=900))
    assert stage.worker.running == ("long",)
    assert stage.worker.slots <= 3
    stage.pool.cancel("long", "enough")
    await stage.done("long")
    await until(lambda: stage.worker.slots == 4)


async def test_acknowledging_is_taken_quietly(stage: Stage) -> None:
    stage.pool.run(stage.worker.name, small_job("kept"))
    await stage.done("kept")
    stage.pool.acknowledge("kept", 1)
    await asyncio.sleep(0)
    assert stage.worker.ready
