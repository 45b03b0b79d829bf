"""The process that paints: takes jobs between two denoising steps and reports what happens. Knows no queue, no money.

Run as ``python -m keelbill.serving.worker FD`` with a connected local socket. It ends when the other side is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Literal

import psutil  # type: ignore[import-untyped]  # ships no annotations
import torch

from keelbill.core.errors import AppError
from keelbill.core.settings import read_settings
from keelbill.core.types import Size
from keelbill.engine.batch import Batch, Finished, Stepped
from keelbill.engine.batch import Failed as BatchFailed
from keelbill.graph.cache import Caches
from keelbill.graph.packs import load_enabled
from keelbill.imaging.decode import ImageFormat
from keelbill.imaging.encode import encode, to_pixels
from keelbill.imaging.resize import stretch
from keelbill.serving.bench import Bench
from keelbill.serving.finish import Finisher, image_classifier
from keelbill.serving.graph_run import GraphRun
from keelbill.serving.image_service import ImageService
from keelbill.serving.messages import (
    Beat,
    Cancel,
    Cancelled,
    Event,
    Failed,
    FromWorker,
    GraphTask,
    JobSpec,
    Progress,
    Retrying,
    Run,
    Said,
    Setup,
    Started,
    Stop,
    Succeeded,
    ToWorker,
)
from keelbill.serving.offline import keep_offline
from keelbill.serving.sittings import Ask, Counter, Sittings
from keelbill.serving.studio import Studio, Studios, capacity_bytes, describe, loader
from keelbill.serving.tasks import Plan, plan
from keelbill.serving.wire import pack, read_order
from keelbill.storage.blobs import BlobStore
from keelbill.storage.hub import Hub
from keelbill.storage.shelves import Shelves

if TYPE_CHECKING:
    from torch import Tensor


Send = Callable[[FromWorker], None]

PREVIEW_EVERY_S: Final = 0.25
PREVIEW_SIDE: Final = 256
STEP_TARGET_S: Final = {"cpu": 1.0}
OTHER_STEP_TARGET_S: Final = 0.25
_LEARNING: Final = 0.2
_SHORT_OF_MEMORY: Final = (torch.OutOfMemoryError, MemoryError)
_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG of prctl(2)


@dataclass
class _Painting:
    job: JobSpec
    studio: Studio
    plan: Plan
    ticket: int = -1
    phases: dict[str, float] = field(default_factory=dict)
    preview_at_s: float = 0.0
    is_alone: bool = False
    cancelled: str | None = None


@dataclass(frozen=True)
class _Drafted:
    job: JobSpec
    is_alone: bool
    future: Future[Plan]


@dataclass(frozen=True)
class _Done:
    painting: _Painting
    future: Future[Succeeded]


@dataclass(frozen=True)
class _GraphDone:
    job: JobSpec
    end: Succeeded | Failed | Cancelled


class Worker:
    """Paints what it is told to, several pictures at a time.

    Args:
        setup: Who it is.
        send: Passes its reports on; called by several threads.
        studios: Its models.
        read: Reads an input picture by its reference.
        finisher: Makes files of latents.
        shelves: The model files that graphs name.
    """

    def __init__(
        self,
        setup: Setup,
        send: Send,
        studios: Studios,
        read: Callable[[str], bytes],
        finisher: Finisher,
        shelves: Shelves | None = None,
    ) -> None:
        self.setup = setup
        self.inbox: SimpleQueue[ToWorker | _Drafted | _Done | _GraphDone | Ask] = SimpleQueue()
        self._send = send
        self._studios = studios
        self._read = read
        self._finisher = finisher
        self._shelves = shelves or Shelves(Hub(Path(setup.home)))
        self._helper = ThreadPoolExecutor(1, "finish")
        self._enlarging = ThreadPoolExecutor(1, "enlarge")
        """Finishes pictures that have to be enlarged, so that the others need not wait for that."""
        self._drafter = ThreadPoolExecutor(1, "draft")
        self._drafting: dict[str, str | None] = {}
        """Jobs whose input pictures are being read, with the reason if they were cancelled."""
        self._paintings: dict[str, _Painting] = {}
        self._finishing: dict[str, _Painting] = {}
        self._alone: deque[JobSpec] = deque()
        self._graphs: dict[str, GraphRun] = {}
        self._caches = Caches()
        self._sittings = Sittings(studios)
        self._counter = Counter(self.inbox.put, self._sittings, self._studio)
        self._activity: Literal["idle", "loading", "painting"] = "idle"
        self._steps = 0
        self._step_s = 0.0
        self._s_per_value = 0.0
        self._device = setup.device

    # ------------------------------------------------------------ the loop

    def run(self) -> None:
        """Work until told to stop."""
        with contextlib.suppress(AppError, *_SHORT_OF_MEMORY):  # the first job that needs it is told why
            self._load(self._studios.default)
        while self._take(wait=not self._paintings and not self._sittings and not self._may_begin_alone()):
            self._begin_alone()
            for batch in self._sittings.busy():
                self._step(batch)
        for graph in self._graphs.values():
            graph.interrupt("the worker ends")
        self._drafter.shutdown(cancel_futures=True)
        self._helper.shutdown(cancel_futures=True)
        self._enlarging.shutdown(cancel_futures=True)

    def beat(self) -> Beat:
        """Return a sign of life."""
        return Beat(
            device=self._device,
            models=self._studios.names,
            slots=self._slots(),
            memory_bytes=psutil.Process().memory_info().rss,
            accelerator_bytes=torch.cuda.memory_reserved() if torch.cuda.is_initialized() else 0,
            capacity_bytes=capacity_bytes(self._device),
            activity=self._activity,
            steps=self._steps,
            step_s=self._step_s,
        )

    def _take(self, *, wait: bool) -> bool:
        """Take all messages that have come; false when told to stop."""
        while True:
            try:
                message = self.inbox.get(block=wait)
            except Empty:
                return True
            wait = False
            if isinstance(message, Stop):
                return False
            if isinstance(message, Run):
                self._begin(message.job)
            elif isinstance(message, Cancel):
                self._cancel(message)
            elif isinstance(message, _Drafted):
                self._drafted(message)
            elif isinstance(message, _Done):
                self._finished(message)
            elif isinstance(message, Ask):
                message.work()
            elif isinstance(message, _GraphDone):
                del self._graphs[message.job.job_id]
                self._say(message.job, message.end)

    # ------------------------------------------------------------ beginning

    def _load(self, name: str) -> None:
        self._activity = "loading"
        self._send(self.beat())
        try:
            self._device = describe(self._studios.get(name).device)
        finally:
            self._activity = "painting" if self._paintings else "idle"
            self._send(self.beat())

    def _begin(self, job: JobSpec, *, is_alone: bool = False) -> None:
        task = job.task
        if not is_alone:
            self._say(job, Started(self.setup.name, job.attempt))
        if task.graph is not None:
            self._begin_graph(job, task.graph)
            return
        with self._told(job, is_alone=is_alone):
            model = self._studio(task.model).model
            if not task.image:
                self._admit(job, plan(task, model, self._read), is_alone=is_alone)
                return
            self._drafting[job.job_id] = None
            future = self._drafter.submit(plan, task, model, self._read)
            future.add_done_callback(lambda done: self.inbox.put(_Drafted(job, is_alone, done)))

    def _begin_graph(self, job: JobSpec, task: GraphTask) -> None:
        above = job.task.filter_above
        remote = ImageService(self.setup.service, job.secret) if self.setup.service else None
        bench = Bench(
            self._counter,
            self._finisher,
            self._shelves,
            self._read,
            task.files,
            filter_above=above,
            remote=remote,
            default=self.setup.model,
        )
        self._graphs[job.job_id] = run = GraphRun(
            job, task, bench, self._caches, lambda event: self._say(job, event),
            lambda end: self.inbox.put(_GraphDone(job, end)),
        )  # fmt: skip
        run.start()

    def _drafted(self, draft: _Drafted) -> None:
        cancelled = self._drafting.pop(draft.job.job_id)
        if cancelled is not None:
            self._say(draft.job, Cancelled(cancelled))
            return
        with self._told(draft.job, is_alone=draft.is_alone):
            self._admit(draft.job, draft.future.result(), is_alone=draft.is_alone)

    def _admit(self, job: JobSpec, how: Plan, *, is_alone: bool) -> None:
        studio = self._studios.get(job.task.model)
        painting = _Painting(job, studio, how, is_alone=is_alone)
        if how.request is None:
            self._finish(painting, None)
            return
        begun_s = time.monotonic()
        sampling = studio.pipeline.prepare(how.request)
        painting.phases["text"] = (time.monotonic() - begun_s) * 1000
        painting.ticket = studio.batch.admit(sampling)
        self._paintings[job.job_id] = painting
        self._activity = "painting"

    @contextlib.contextmanager
    def _told(self, job: JobSpec, *, is_alone: bool) -> Iterator[None]:
        """Tell what keeps a job from beginning."""
        try:
            yield
        except AppError as error:
            self._say(job, Failed(error.code, str(error)))
        except _SHORT_OF_MEMORY:
            self._short_of_memory(job, is_alone=is_alone)

    def _may_begin_alone(self) -> bool:
        return bool(self._alone) and not (self._paintings or self._finishing or self._drafting or self._graphs)

    def _begin_alone(self) -> None:
        if self._may_begin_alone():
            self._begin(self._alone.popleft(), is_alone=True)

    def _cancel(self, message: Cancel) -> None:
        painting = self._paintings.pop(message.job_id, None)
        if painting is not None:
            painting.studio.batch.cancel(painting.ticket)
            self._say(painting.job, Cancelled(message.reason))
        elif message.job_id in self._drafting:
            self._drafting[message.job_id] = message.reason
        elif message.job_id in self._finishing:
            self._finishing[message.job_id].cancelled = message.reason
        elif message.job_id in self._graphs:
            self._graphs[message.job_id].interrupt(message.reason)
        for job in [job for job in self._alone if job.job_id == message.job_id]:
            self._alone.remove(job)
            self._say(job, Cancelled(message.reason))

    # ------------------------------------------------------------ painting

    def _studio(self, name: str) -> Studio:
        """Return a model's studio, loading the model if need be.

        Raises:
            UnknownModel: It is not installed.
            BadWeights: Its files cannot be used.
        """
        if not self._studios.has(name):
            self._load(name)
        return self._studios.get(name)

    def _step(self, batch: Batch) -> None:
        begun_s = time.monotonic()
        by_ticket = {p.ticket: p for p in self._paintings.values() if p.studio.batch is batch}
        try:
            events = batch.step()
        except _SHORT_OF_MEMORY as error:
            for painting in by_ticket.values():
                batch.cancel(painting.ticket)
                del self._paintings[painting.job.job_id]
                self._short_of_memory(painting.job, is_alone=painting.is_alone)
            self._sittings.fail(batch, error)
            return
        took_s = time.monotonic() - begun_s
        values = sum(event.denoised.numel() for event in events if isinstance(event, Stepped))
        self._learn(took_s, values)
        for event in events:
            if self._sittings.hear(batch, event):
                continue
            painting = by_ticket[event.ticket]
            if isinstance(event, Stepped):
                share_ms = took_s * 1000 * event.denoised.numel() / values
                painting.phases["denoise"] = painting.phases.get("denoise", 0.0) + share_ms
                self._say(painting.job, Progress(event.step, event.steps, self._preview(painting, event)))
            elif isinstance(event, Finished):
                del self._paintings[painting.job.job_id]
                self._finish(painting, event.latents)
            elif isinstance(event, BatchFailed):
                del self._paintings[painting.job.job_id]
                self._say(painting.job, Failed(event.error.code, str(event.error)))
        if not self._paintings:
            self._activity = "idle"

    def _learn(self, took_s: float, values: int) -> None:
        self._steps += 1
        self._step_s = took_s if not self._step_s else self._step_s + _LEARNING * (took_s - self._step_s)
        if values:
            per_value = took_s / values
            known = self._s_per_value or per_value
            self._s_per_value = known + _LEARNING * (per_value - known)

    def _slots(self) -> int:
        """Return how many more jobs keep a step within its target; none while a model is loaded."""
        if self._activity == "loading":
            return 0
        running = len(self._paintings) + len(self._finishing) + len(self._drafting) + len(self._graphs)
        free = max(0, self.setup.jobs - running) if not self._alone else 0
        if not self._paintings or not self._step_s:
            return free
        target_s = STEP_TARGET_S.get(self._device.split()[0], OTHER_STEP_TARGET_S)
        per_job_s = self._step_s / len(self._paintings)
        return max(0, min(free, int((target_s - self._step_s) / per_job_s)))

    def _preview(self, painting: _Painting, event: Stepped) -> bytes | None:
        now_s = time.monotonic()
        preview = painting.studio.model.preview
        if not painting.job.task.previews or preview is None or now_s - painting.preview_at_s < PREVIEW_EVERY_S:
            return None
        painting.preview_at_s = now_s
        pixels = to_pixels(preview(event.denoised).cpu().numpy())
        height, width = pixels.shape[:2]
        scale = PREVIEW_SIDE / max(height, width)
        return encode(stretch(pixels, Size(round(width * scale), round(height * scale))), ImageFormat.JPEG)

    def _short_of_memory(self, job: JobSpec, *, is_alone: bool) -> None:
        """Free what can be freed; the job starts again when it has the worker for itself, once."""
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if is_alone:
            size = job.task.size
            self._say(job, Failed("out_of_memory", f"A picture of {size} does not fit this device.", retriable=True))
        else:
            self._say(job, Retrying(job.attempt, "out of memory"))
            self._alone.append(job)

    # ------------------------------------------------------------ finishing

    def _finish(self, painting: _Painting, latents: Tensor | None) -> None:
        self._finishing[painting.job.job_id] = painting
        helper = self._helper if painting.plan.is_quick else self._enlarging
        future = helper.submit(
            self._finisher.finish, painting.job.task, painting.plan, painting.studio, latents, painting.phases
        )
        future.add_done_callback(lambda done: self.inbox.put(_Done(painting, done)))

    def _finished(self, done: _Done) -> None:
        painting = done.painting
        del self._finishing[painting.job.job_id]
        try:
            result: Event = done.future.result()
        except AppError as error:
            result = Failed(error.code, str(error))
        except _SHORT_OF_MEMORY:
            self._short_of_memory(painting.job, is_alone=painting.is_alone)
            return
        self._say(painting.job, result if painting.cancelled is None else Cancelled(painting.cancelled))

    def _say(self, job: JobSpec, event: Event) -> None:
        self._send(Said(job.job_id, job.epoch, event))
        if isinstance(event, Started | Succeeded | Failed | Cancelled):
            self._send(self.beat())


# ------------------------------------------------------------ the process


def build(setup: Setup, send: Send, read: Callable[[str], bytes] | None = None) -> Worker:
    """Make a worker of the installed models.

    Args:
        setup: Who it is.
        send: Passes its reports on; called by several threads.
        read: Reads an input picture by its reference; else they are files in the set-up's folder.
    """
    settings = read_settings().model_copy(
        update={"home": Path(setup.home), "model": setup.model, "dtype": setup.dtype, "threads": setup.threads}
    )
    if setup.threads:
        torch.set_num_threads(setup.threads)
    if setup.device.startswith("cuda:"):
        torch.cuda.set_device(setup.device)  # what is asked of "the" accelerator, such as its free memory, is this one
    if setup.packs:
        load_enabled(setup.packs)
        keep_offline()
    read = read or BlobStore(Path(setup.blobs)).read
    finisher = Finisher(image_classifier if setup.moderate else None)
    return Worker(setup, send, Studios(loader(settings, setup.device), setup.model), read, finisher)


def main(fd: int) -> None:
    """Serve the other end of a socket until it is gone or says stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when its workers end
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    with socket.socket(fileno=fd) as connection, connection.makefile("rb") as stream:
        setup = read_order(stream)
        if not isinstance(setup, Setup):
            return
        lock = threading.Lock()

        def send(message: FromWorker) -> None:
            frame = pack(message)
            try:
                with lock:
                    connection.sendall(frame)
            except OSError:
                os._exit(1)  # nobody is left to work for

        worker = build(setup, send)

        def listen() -> None:
            try:
                while (order := read_order(stream)) is not None:
                    worker.inbox.put(order)
            finally:
                os._exit(0)  # gone, or talking nonsense: nobody is left to work for

        def live() -> None:
            while True:
                time.sleep(setup.beat_s)
                send(worker.beat())

        for work in (listen, live):
            threading.Thread(target=work, daemon=True, name=work.__name__).start()
        status = 1
        try:
            worker.run()
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            status = 0
        finally:
            # At once, whatever happened: closing the stream would wait for the thread that reads it, and signs of life
            # would go on; nor do threads of libraries always end by themselves.
            if status:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(status)


if __name__ == "__main__":
    main(int(sys.argv[1]))
