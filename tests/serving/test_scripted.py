"""The pool that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from io import BytesIO

from PIL import Image

from keelbill.imaging.decode import ImageFormat, decode
from keelbill.imaging.encode import encode
from keelbill.imaging.metadata import read
from keelbill.serving.messages import (
    Cancelled,
    Event,
    Failed,
    ImageTask,
    JobSpec,
    Progress,
    Started,
    Succeeded,
)
from keelbill.serving.scripted import Fault, ScriptedPool, flat


class Audience:
    """Notes what a pool says."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, Event]] = []
        self.lost: list[tuple[str, Mapping[str, int], str]] = []

    def on_event(self, job_id: str, epoch: int, event: Event) -> None:
        self.events.append((job_id, epoch, event))

    def on_lost(self, worker: str, epochs: Mapping[str, int], reason: str) -> None:
        self.lost.append((worker, epochs, reason))

    def of(self, job_id: str) -> list[Event]:
        return [event for job, _, event in self.events if job == job_id]


async def until(true: Callable[[], object], timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.001)


def job(job_id: str = "a", **values: object) -> JobSpec:
    task = ImageTask(**{"prompt": "a red kite", "width": 32, "height": 16, "seed": 7, **values})  # type: ignore[arg-type]
    return JobSpec(job_id=job_id, org_id="org", task=task, epoch=3)


async def play(pool: ScriptedPool, *jobs: JobSpec) -> Audience:
    audience = Audience()
    await pool.start(audience.on_event, audience.on_lost)
    for one in jobs:
        pool.run("scripted-0", one)
    await until(lambda: audience.lost or not pool.workers()[0].running)
    await pool.stop()
    return audience


async def test_a_picture_in_order() -> None:
    audience = await play(ScriptedPool(steps=3), job())
    assert [type(event) for event in audience.of("a")] == [Started, Progress, Progress, Progress, Succeeded]
    assert {epoch for _, epoch, _ in audience.events} == {3}


async def test_the_picture_has_the_asked_size_and_its_recipe() -> None:
    audience = await play(ScriptedPool(), job(recipe_prompt="red kite"))
    done = audience.of("a")[-1]
    assert isinstance(done, Succeeded)
    assert (done.width, done.height, done.media_type, done.seed) == (32, 16, "image/png", 7)
    assert decode(done.image).shape == (16, 32, 3)
    recipe = read(done.image)
    assert recipe is not None
    assert (recipe.prompt, recipe.seed, recipe.width, recipe.height) == ("red kite", 7, 32, 16)


async def test_the_same_task_gives_the_same_bytes_and_another_seed_does_not() -> None:
    audience = await play(ScriptedPool(slots=3), job("a"), job("b"), job("c", seed=8))
    a, b, c = (audience.of(name)[-1] for name in "abc")
    assert isinstance(a, Succeeded)
    assert a == b
    assert a != c


async def test_pictures_of_a_given_number_of_bytes() -> None:
    audience = await play(ScriptedPool(picture_bytes=50_000), job())
    done = audience.of("a")[-1]
    assert isinstance(done, Succeeded)
    assert len(done.image) == 50_000
    assert Image.open(BytesIO(done.image)).size == (16, 16)


async def test_a_picture_takes_the_size_of_its_input() -> None:
    source = encode(flat(ImageTask(), job(width=20, height=10).task.size), ImageFormat.PNG)
    pool = ScriptedPool(slots=2, read=lambda ref: source)
    audience = await play(
        pool,
        job("a", width=0, height=0, image="ref", kind="outpaint", left=4, down=6),
        job("b", width=0, height=0, image="ref", kind="enlarge"),
    )
    a, b = audience.of("a")[-1], audience.of("b")[-1]
    assert isinstance(a, Succeeded)
    assert isinstance(b, Succeeded)
    assert (a.width, a.height) == (24, 16)
    assert (b.width, b.height) == (80, 40)


async def test_previews_only_when_asked() -> None:
    audience = await play(ScriptedPool(steps=1, slots=2), job("a"), job("b", previews=True))
    quiet, shown = audience.of("a")[1], audience.of("b")[1]
    assert isinstance(quiet, Progress)
    assert isinstance(shown, Progress)
    assert quiet.preview is None
    assert shown.preview is not None
    assert shown.preview.startswith(b"\xff\xd8")


async def test_cancel_at_the_next_step() -> None:
    audience = Audience()
    pool = ScriptedPool(step_s=600, steps=1000)
    await pool.start(audience.on_event, audience.on_lost)
    pool.run("scripted-0", job())
    await asyncio.sleep(0.01)
    pool.cancel("a", "the user left")
    await until(lambda: isinstance(audience.of("a")[-1], Cancelled), timeout_s=60)
    assert audience.of("a")[-1] == Cancelled("the user left")
    await pool.stop()


async def test_a_lost_worker_takes_its_jobs_along_and_comes_back() -> None:
    pool = ScriptedPool(slots=2, faults=[Fault("lose", step=2, when="kite")], restart_s=0.01)
    audience = Audience()
    await pool.start(audience.on_event, audience.on_lost)
    pool.run("scripted-0", job("a"))
    pool.run("scripted-0", job("b", prompt="a boat", steps=1000))
    await until(lambda: audience.lost)
    assert audience.lost == [("scripted-0", {"a": 3, "b": 3}, "killed")]
    assert not pool.workers()[0].ready
    await until(lambda: pool.workers()[0].ready)
    assert pool.workers()[0].running == ()
    assert not any(isinstance(event, Succeeded) for event in audience.of("a") + audience.of("b"))
    await pool.stop()


async def test_a_hanging_worker_counts_as_lost_in_time() -> None:
    audience = await play(ScriptedPool(faults=[Fault("hang")], lost_after_s=0.02), job())
    assert audience.lost[0][2] == "no heartbeat"


async def test_failing_and_running_out_of_memory() -> None:
    faults = [Fault("fail", when="boat"), Fault("oom", step=0, when="tree")]
    pool = ScriptedPool(slots=2, faults=faults)
    audience = await play(pool, job("a", prompt="a boat"), job("b", prompt="a tree"))
    a, b = audience.of("a")[-1], audience.of("b")[-1]
    assert isinstance(a, Failed)
    assert isinstance(b, Failed)
    assert (a.code, a.retriable) == ("internal_error", False)
    assert (b.code, b.retriable) == ("out_of_memory", True)


async def test_a_filtered_picture_is_blurred_and_says_so() -> None:
    audience = await play(ScriptedPool(faults=[Fault("filter")]), job())
    done = audience.of("a")[-1]
    assert isinstance(done, Succeeded)
    assert done.filtered


async def test_a_fault_spoils_only_so_many_runs() -> None:
    audience = await play(ScriptedPool(slots=3, faults=[Fault("fail", times=2)]), job("a"), job("b"), job("c"))
    assert [type(audience.of(name)[-1]) for name in "abc"] == [Failed, Failed, Succeeded]
