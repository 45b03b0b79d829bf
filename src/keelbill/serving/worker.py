"""The loop that paints: takes jobs between two denoising steps and reports what happens. Knows no queue, no money.

It runs in a process of its own: a child of the server (:mod:`.child`) or an actor of a cluster.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Literal
from weakref import WeakKeyDictionary

import psutil  # type: ignore[import-untyped]  # ships no annotations
import torch

from keelbill.core.errors import AppError
from keelbill.core.settings import read_settings
from keelbill.engine.batch import Batch, Finished, Stepped
from keelbill.engine.batch import Failed as BatchFailed
from keelbill.graph.packs import load_enabled
from keelbill.serving.finish import Finisher, image_classifier
from keelbill.serving.graphs import GraphDone, Graphs
from keelbill.serving.messages import (
    Beat,
    Cancel,
    Cancelled,
    Event,
    Failed,
    FromWorker,
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
from keelbill.serving.pace import Pace
from keelbill.serving.painting import Painting
from keelbill.serving.sittings import Ask, Counter, Sittings
from keelbill.serving.studio import Studio, Studios, capacity_bytes, describe, loader
from keelbill.serving.tasks import Plan, plan
from keelbill.storage.blobs import BlobStore
from keelbill.storage.hub import Hub
from keelbill.storage.shelves import Shelves

if TYPE_CHECKING:
    from torch import Tensor


Send = Callable[[FromWorker], None]

_SHORT_OF_MEMORY: Final = (torch.OutOfMemoryError, MemoryError)


@dataclass(frozen=True)
class _Drafted:
    job: JobSpec
    is_alone: bool
    future: Future[Plan]


@dataclass(frozen=True)
class _Done:
    painting: Painting
    future: Future[Succeeded]


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
        self.inbox: SimpleQueue[ToWorker | _Drafted | _Done | GraphDone | Ask] = SimpleQueue()
        self._send = send
        self._studios = studios
        self._read = read
        self._finisher = finisher
        self._helper = ThreadPoolExecutor(1, "finish")
        self._enlarging = ThreadPoolExecutor(1, "enlarge")
        """Finishes pictures that have to be enlarged, so that the others need not wait for that."""
        self._drafter = ThreadPoolExecutor(1, "draft")
        self._drafting: dict[str, str | None] = {}
        """Jobs whose input pictures are being read, with the reason if they were cancelled."""
        self._paintings: dict[str, Painting] = {}
        self._finishing: dict[str, Painting] = {}
        self._alone: deque[JobSpec] = deque()
        self._sittings = Sittings(studios)
        counter = Counter(self.inbox.put, self._sittings, self._studio)
        shelves = shelves or Shelves(Hub(Path(setup.home)))
        self.graphs = Graphs(setup, counter, finisher, shelves, read)
        """Those that run now."""
        self._activity: Literal["idle", "loading", "painting"] = "idle"
        self._pace = Pace()
        self._begun_s: WeakKeyDictionary[Batch, float] = WeakKeyDictionary()
        """Seconds that paused steps have taken so far."""
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
        self.graphs.interrupt_all("the worker ends")
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
            steps=self._pace.steps,
            step_s=self._pace.step_s,
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
            elif isinstance(message, GraphDone):
                self.graphs.end(message.job)
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
            self.graphs.begin(job, task.graph, self._say, self.inbox.put)
            return
        with self._told(job, is_alone=is_alone):
            model = self._studio(task.model).model
            if not task.image:
                self._admit(job, plan(task, model, self._read), is_alone=is_alone)
                return
            self._drafting[job.job_id] = None
            future = self._drafter.submit(plan, task, model, self._read)
            future.add_done_callback(lambda done: self.inbox.put(_Drafted(job, is_alone, done)))

    def _drafted(self, draft: _Drafted) -> None:
        cancelled = self._drafting.pop(draft.job.job_id)
        if cancelled is not None:
            self._say(draft.job, Cancelled(cancelled))
            return
        with self._told(draft.job, is_alone=draft.is_alone):
            self._admit(draft.job, draft.future.result(), is_alone=draft.is_alone)

    def _admit(self, job: JobSpec, how: Plan, *, is_alone: bool) -> None:
        studio = self._studios.get(job.task.model)
        painting = Painting(job, studio, how, is_alone=is_alone)
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
        return bool(self._alone) and not (self._paintings or self._finishing or self._drafting or self.graphs)

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
        else:
            self.graphs.interrupt(message.job_id, message.reason)
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
        batch.hurry = self._is_called
        begun_s, was_paused = time.monotonic(), batch.is_paused
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
        if was_paused and not (batch.is_paused and events):
            took_s += self._begun_s.pop(batch, 0.0)
        if not events:
            self._begun_s[batch] = took_s
            return
        values = sum(event.denoised.numel() for event in events if isinstance(event, Stepped))
        self._pace.learn(took_s)
        for event in events:
            if self._sittings.hear(batch, event):
                continue
            painting = by_ticket[event.ticket]
            if isinstance(event, Stepped):
                share_ms = took_s * 1000 * event.denoised.numel() / values
                painting.took("denoise", share_ms)
                self._say(painting.job, Progress(event.step, event.steps, painting.preview(event)))
            elif isinstance(event, Finished):
                del self._paintings[painting.job.job_id]
                self._finish(painting, event.latents)
            elif isinstance(event, BatchFailed):
                del self._paintings[painting.job.job_id]
                self._say(painting.job, Failed(event.error.code, str(event.error)))
        if not self._paintings:
            self._activity = "idle"

    def _is_called(self) -> bool:
        return not self.inbox.empty()

    def _slots(self) -> int:
        """Return how many more jobs keep a step within its target; none while a model is loaded."""
        if self._activity == "loading":
            return 0
        running = len(self._paintings) + len(self._finishing) + len(self._drafting) + len(self.graphs)
        free = max(0, self.setup.jobs - running) if not self._alone else 0
        room = self._pace.room(len(self._paintings), self._device)
        return free if room is None else min(free, room)

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

    def _finish(self, painting: Painting, latents: Tensor | None) -> None:
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
