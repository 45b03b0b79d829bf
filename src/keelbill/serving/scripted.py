"""A pool of workers that follows a script: flat pictures at once, and faults on demand. Knows no model and no torch.

Everything above the pool is tested with it, and `scripted_engine` serves it, so that a server can be tried or
measured without painting.
"""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo

from keelbill.core.types import Size
from keelbill.imaging.blur import blur
from keelbill.imaging.decode import ImageFormat, open_header
from keelbill.imaging.encode import encode
from keelbill.imaging.metadata import Recipe, png_info
from keelbill.serving.messages import (
    Cancelled,
    Event,
    Failed,
    GraphTask,
    ImageTask,
    JobSpec,
    Progress,
    Started,
    Succeeded,
    WorkerInfo,
)
from keelbill.serving.pool import OnCapacity, OnEvent, OnLost
from keelbill.serving.scripted_graph import ScriptedGraphs, painters

MODEL: Final = "scripted"
MODEL_HASH: Final = sha256(MODEL.encode()).hexdigest()
TINY: Final = Size(16, 16)
_FACTOR: Final = 4
"""By which "enlarge" multiplies the sides when the task names no size."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Args:
        kind: ``lose`` ends the worker, ``hang`` stops it until it counts as lost, ``fail`` and ``oom`` end the job,
            ``filter`` makes the classifier object.
        step: After which step, from 0 (before the first).
        when: Only for jobs whose prompt contains this text; empty for any.
        times: How many runs it spoils.
    """

    kind: Literal["lose", "hang", "fail", "oom", "filter"]
    step: int = 1
    when: str = ""
    times: int = 1


@dataclass
class _Worker:
    name: str
    capacity_bytes: int = 0
    ready: bool = True
    jobs: dict[str, _Run] = field(default_factory=dict)


@dataclass
class _Run:
    job: JobSpec
    task: asyncio.Task[None] | None = None
    cancelled: str | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class ScriptedPool:
    """Workers of a play, on the event loop of whoever starts them.

    Args:
        workers: How many.
        slots: Jobs that each takes at a time.
        step_s: Seconds of one step; 0 does not sleep.
        steps: Of a job that names none.
        picture_bytes: Makes every picture a tiny PNG of this many bytes; nothing paints the asked size.
        faults: What goes wrong, each for the first runs that it fits.
        native_side: Side of a picture in pixels where neither the task nor its input says.
        read: Reads an input picture by its reference, for tasks that take their size from it.
        lost_after_s: Seconds until a hanging worker counts as lost.
        restart_s: Seconds until a lost worker is back.
        capacities: Bytes of memory of each worker, in turn; unknown where none is given. Faults of memory befall only
            the workers with the least.
    """

    def __init__(
        self,
        workers: int = 1,
        *,
        slots: int = 1,
        step_s: float = 0.0,
        steps: int = 4,
        picture_bytes: int | None = None,
        faults: Iterable[Fault] = (),
        native_side: int = 64,
        read: Callable[[str], bytes] | None = None,
        lost_after_s: float = 0.2,
        restart_s: float = 0.05,
        capacities: Sequence[int] = (),
    ) -> None:
        self.slots = slots
        self.step_s = step_s
        self.steps = steps
        self.picture_bytes = picture_bytes
        self.native_side = native_side
        self.lost_after_s = lost_after_s
        self.restart_s = restart_s
        self.acknowledged: list[tuple[str, int]] = []
        self.started: list[str] = []
        self._read = read
        self._faults = [[fault, fault.times] for fault in faults]
        capacities = list(capacities) + [0] * (workers - len(capacities))
        self._workers = {f"scripted-{i}": _Worker(f"scripted-{i}", capacities[i]) for i in range(workers)}
        self._restarts: set[asyncio.Task[None]] = set()
        self._graphs = ScriptedGraphs()
        self._on_event: OnEvent | None = None
        self._on_lost: OnLost | None = None
        self._on_capacity: OnCapacity = lambda: None

    # ------------------------------------------------------------ the pool

    async def start(self, on_event: OnEvent, on_lost: OnLost, on_capacity: OnCapacity = lambda: None) -> None:
        """Note whom to tell."""
        self._on_event, self._on_lost, self._on_capacity = on_event, on_lost, on_capacity

    async def stop(self) -> None:
        """End every worker; what runs ends without a word."""
        tasks = [run.task for worker in self._workers.values() for run in worker.jobs.values() if run.task]
        tasks += self._restarts
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for worker in self._workers.values():
            worker.ready = False
            worker.jobs.clear()

    def run(self, worker: str, job: JobSpec) -> None:
        """Begin a job."""
        at = self._workers[worker]
        if not at.ready:
            if self._on_lost:
                self._on_lost(worker, {job.job_id: job.epoch}, "killed")
            return
        run = _Run(job)
        at.jobs[job.job_id] = run
        self.started.append(job.job_id)
        run.task = asyncio.get_running_loop().create_task(self._play(at, run))

    def cancel(self, job_id: str, reason: str) -> None:
        """End a job at its next step."""
        for worker in self._workers.values():
            if run := worker.jobs.get(job_id):
                run.cancelled = reason
                run.wake.set()

    def acknowledge(self, job_id: str, epoch: int) -> None:
        """Note that a result is stored."""
        self.acknowledged.append((job_id, epoch))

    def workers(self) -> list[WorkerInfo]:
        """Return all workers; a lost one is not ready until it is back."""
        return [
            WorkerInfo(
                name=worker.name,
                device="script",
                models=(MODEL,),
                running=tuple(worker.jobs),
                slots=self.slots - len(worker.jobs),
                ready=worker.ready,
                capacity_bytes=worker.capacity_bytes,
            )
            for worker in self._workers.values()
        ]

    # ------------------------------------------------------------ the play

    def lose(self, worker: str, reason: str = "killed") -> None:
        """Lose a worker now, as a fault would."""
        at = self._workers[worker]
        epochs = {job_id: run.job.epoch for job_id, run in at.jobs.items()}
        runs = list(at.jobs.values())
        at.jobs.clear()
        at.ready = False
        restart = asyncio.get_running_loop().create_task(self._restart(at))
        self._restarts.add(restart)
        restart.add_done_callback(self._restarts.discard)
        if self._on_lost:
            self._on_lost(worker, epochs, reason)
        for run in runs:
            if run.task and run.task is not asyncio.current_task():
                run.task.cancel()

    async def _restart(self, worker: _Worker) -> None:
        await asyncio.sleep(self.restart_s)
        worker.ready = True
        self._on_capacity()

    def _say(self, worker: _Worker, run: _Run, event: Event) -> None:
        if worker.jobs.get(run.job.job_id) is run and self._on_event:
            if isinstance(event, Succeeded | Failed | Cancelled):
                del worker.jobs[run.job.job_id]
            self._on_event(run.job.job_id, run.job.epoch, event)

    def _fault(self, task: ImageTask, worker: _Worker) -> Fault | None:
        is_large = worker.capacity_bytes > min(other.capacity_bytes for other in self._workers.values())
        for entry in self._faults:
            fault, left = entry
            if isinstance(fault, Fault) and fault.kind == "oom" and is_large:
                continue
            if (
                isinstance(fault, Fault)
                and isinstance(left, int)
                and left > 0
                and fault.when in (task.graph.prompt if task.graph else task.prompt)
            ):
                entry[1] = left - 1
                return fault
        return None

    async def _play(self, worker: _Worker, run: _Run) -> None:
        task = run.job.task
        fault = self._fault(task, worker)
        steps = task.steps or self.steps
        self._say(worker, run, Started(worker.name, run.job.attempt))
        if task.graph is not None:
            await self._play_graph(worker, run, task.graph, fault)
            return
        for step in range(steps + 1):
            if step:
                await self._step(run)
                if run.cancelled is not None:
                    self._say(worker, run, Cancelled(run.cancelled))
                    return
                preview = _flat_jpeg(task) if task.previews else None
                self._say(worker, run, Progress(step, steps, preview))
            if fault and fault.step == step and fault.kind != "filter":
                await self._suffer(worker, run, fault)
                return
        filtered = fault is not None and fault.kind == "filter"
        if self.picture_bytes is None:
            result = await asyncio.to_thread(self._paint, task, steps, filtered)
        else:
            result = self._paint(task, steps, filtered)
        self._say(worker, run, result if run.cancelled is None else Cancelled(run.cancelled))

    async def _play_graph(self, worker: _Worker, run: _Run, graph: GraphTask, fault: Fault | None) -> None:
        task, current = run.job.task, ""
        painting, has_painted = painters(graph), False
        for news in self._graphs.play(graph, previews=task.previews, default_steps=self.steps):
            current = news.node or current
            has_painted |= news.kind == "node" and news.node in painting
            if news.kind == "progress":
                await self._step(run)
            if run.cancelled is not None:
                self._say(worker, run, Cancelled(run.cancelled))
                return
            self._say(worker, run, news)
            if fault and news.kind == "progress" and news.value == fault.step:
                if fault.kind == "fail":
                    detail = json.dumps({"node_id": current, "exception_type": "GenerationFailed"})
                    failed = Failed("internal_error", "The script says that this node fails.", detail=detail)
                    self._say(worker, run, failed)
                else:
                    await self._suffer(worker, run, fault)
                return
        done = Succeeded(
            image=b"",
            media_type="",
            width=task.width,
            height=task.height,
            seed=task.seed,
            model=MODEL,
            model_hash=MODEL_HASH,
            is_billable=has_painted,
        )
        self._say(worker, run, done)

    async def _step(self, run: _Run) -> None:
        if self.step_s:
            try:
                await asyncio.wait_for(run.wake.wait(), self.step_s)
            except TimeoutError:
                return

    async def _suffer(self, worker: _Worker, run: _Run, fault: Fault) -> None:
        if fault.kind == "fail":
            self._say(worker, run, Failed("internal_error", "The script says that this job fails."))
        elif fault.kind == "oom":
            self._say(worker, run, Failed("out_of_memory", "The script says that memory is short.", retriable=True))
        elif fault.kind == "lose":
            self.lose(worker.name)
        else:
            await asyncio.sleep(self.lost_after_s)
            self.lose(worker.name, "no heartbeat")

    # ------------------------------------------------------------ the picture

    def _paint(self, task: ImageTask, steps: int, filtered: bool) -> Succeeded:
        size = TINY if self.picture_bytes is not None else self._size(task)
        pixels = flat(task, size)
        recipe = Recipe(
            prompt=task.recipe_prompt or task.prompt,
            negative=task.negative_prompt,
            model=MODEL,
            model_hash=MODEL_HASH,
            seed=task.seed,
            width=size.width,
            height=size.height,
            steps=steps,
            cfg=1.0 if task.cfg is None else task.cfg,
            strength=task.strength,
            image_hash=task.image,
            mask_hash=task.mask,
            device="script",
            engine="keelbill scripted",
        )
        kind = ImageFormat.PNG if self.picture_bytes is not None else ImageFormat(task.output_format)
        if self.picture_bytes is not None:
            data = _padded(pixels, recipe, self.picture_bytes)
        else:
            data = encode(blur(pixels) if filtered else pixels, kind, recipe)
        return Succeeded(
            image=data,
            media_type=f"image/{kind}",
            width=size.width,
            height=size.height,
            seed=task.seed,
            model=MODEL,
            model_hash=MODEL_HASH,
            filtered=filtered,
            score=0.99 if filtered else 0.01,
            seconds=steps * self.step_s,
            phases={"denoise": steps * self.step_s * 1000},
        )

    def _size(self, task: ImageTask) -> Size:
        if task.width and task.height:
            return task.size
        size = Size(self.native_side, self.native_side)
        if task.image and self._read:
            size = Size(*open_header(self._read(task.image)).size)
        if task.kind == "outpaint":
            return Size(size.width + task.left + task.right, size.height + task.up + task.down)
        if task.kind in {"enlarge", "upscale"}:
            return Size(size.width * _FACTOR, size.height * _FACTOR)
        return size


def flat(task: ImageTask, size: Size) -> NDArray[np.uint8]:
    """Paint a picture of one colour that prompt and seed decide.

    Returns:
        Pixels with shape ``(H, W, 3)``.
    """
    digest = sha256(f"{task.seed}\n{task.prompt}\n{task.negative_prompt}".encode()).digest()
    return np.full((size.height, size.width, 3), list(digest[:3]), dtype=np.uint8)


def _flat_jpeg(task: ImageTask) -> bytes:
    return encode(flat(task, TINY), ImageFormat.JPEG)


def _padded(pixels: NDArray[np.uint8], recipe: Recipe, size_bytes: int) -> bytes:
    """Write a PNG by hand, filled with a text chunk up to a number of bytes; it is never cut.

    The usual encoder takes ten times as long for so small a picture, which a load test would count as the server's.
    """
    height, width, _ = pixels.shape
    rows = b"".join(b"\x00" + row.tobytes() for row in pixels)  # each row begins with its filter, 0
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    info: PngInfo = png_info(recipe)
    texts = [_chunk(bytes(kind), bytes(data)) for kind, data, *_ in info.chunks]
    tail = _chunk(b"IDAT", zlib.compress(rows, 1)) + _chunk(b"IEND", b"")
    short = b"".join((b"\x89PNG\r\n\x1a\n", head, *texts))
    spare = size_bytes - len(short) - len(tail) - len(b"padding\x00") - 12  # a chunk has length, type and check sum
    return short + (_chunk(b"tEXt", b"padding\x00" + b"x" * spare) if spare > 0 else b"") + tail


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(data, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", check)))
