"""The course of jobs from their turn to their end: claims, workers' news, second tries, leases, ends. Knows no door.

A job begins only after it was claimed in the book, and its end is told only after it was written there. The epoch that
a claim returns names the try; whatever arrives under an older one is ignored.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import msgspec
import structlog

from keelbill.core.clock import Clock
from keelbill.core.errors import Unavailable
from keelbill.serving.admission import Admission
from keelbill.serving.estimates import CostModel
from keelbill.serving.messages import (
    Cancelled,
    Event,
    Failed,
    GraphNews,
    JobSpec,
    Progress,
    Retrying,
    Started,
    Succeeded,
    Terminal,
)
from keelbill.serving.meter import Meter
from keelbill.serving.placing import Needs
from keelbill.serving.pool import JobBook, WorkerPool
from keelbill.serving.queue import FairQueue
from keelbill.serving.roll import Job, Roll
from keelbill.serving.scribe import BACK_OFF_S, Scribe
from keelbill.serving.turns import Turns, lost

SUPERSEDED: Final = Failed("superseded", "The job was taken over or ended elsewhere.", retriable=True)
"""The end of a job that another server process has ended; how, only the job book knows."""

SHUTTING_DOWN: Final = Failed("service_unavailable", "The server is shutting down; try again.", retriable=True)
"""The end of jobs that somebody waits for when the server ends."""

Listener = Callable[[JobSpec, Event], None]
"""Hears everything that happens to any job, in order, on the event loop; its end only after that is stored."""

_log = structlog.get_logger(__name__)


class Course:
    """Leads jobs from their turn to their end.

    Args:
        pool: The workers.
        book: Keeps the jobs.
        clock: Tells the time.
        queue: What waits.
        roll: The jobs.
        admissions: Is told of every end.
        costs: Learns what tasks took.
        meter: Receives measurements.
        lease_s: How long a claim holds without being renewed.
    """

    def __init__(
        self,
        pool: WorkerPool,
        book: JobBook,
        clock: Clock,
        *,
        queue: FairQueue,
        roll: Roll,
        admissions: Admission,
        costs: CostModel,
        meter: Meter,
        lease_s: float,
    ) -> None:
        self.listeners: list[Listener] = []
        self.is_draining = False
        self.is_paused = False
        self.stale = 0
        self.turns = Turns(queue, roll, pool.workers)
        self._pool = pool
        self._book = book
        self._clock = clock
        self._queue = queue
        self._roll = roll
        self._admissions = admissions
        self._costs = costs
        self._meter = meter
        self._lease_s = lease_s
        self._scribe = Scribe(book, clock)
        self._paused_until_s = -math.inf
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Leave everything as it is; what runs keeps its lease."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------ to the workers

    def dispatch(self) -> None:
        """Begin waiting jobs while there are free workers."""
        if not len(self._queue) or not self._may_begin():
            return
        for job, has_worker in self.turns.deal(self._clock.monotonic_s()):
            if has_worker:
                self._do(job, self._begin(job))
            else:
                self.end_soon(job, Failed("out_of_memory", "No worker has enough memory for this picture."))

    def _may_begin(self) -> bool:
        return not self.is_draining and not self.is_paused and self._clock.monotonic_s() >= self._paused_until_s

    def seat(self, model: str) -> str:
        """Keep room on a worker if a job would begin at once; return its name, "" if the job must wait its turn."""
        return "" if len(self._queue) or not self._may_begin() else self.turns.seat(model)

    def unseat(self, worker: str) -> None:
        """Give room back that was kept for a job which does not come."""
        self.turns.unseat(worker)
        self.dispatch()

    def begin_claimed(self, job: Job, worker: str) -> None:
        """Begin a job that was written as claimed for the worker on which room was kept."""
        job.worker = worker
        self.turns.claimed(job)
        if self.is_draining:
            self.end_soon(job, SHUTTING_DOWN)
        else:
            self._run(job)

    async def _begin(self, job: Job) -> None:
        try:
            epoch = await self._book.claim(job.id, job.worker, self._lease_s)
        except Unavailable as error:
            _log.warning("claim_failed", job=job.id, reason=error.message)
            self._paused_until_s = self._clock.monotonic_s() + BACK_OFF_S
            self._wait_again(job)
            return
        finally:
            self.turns.claimed(job)
        if epoch is None:
            self._ended_as(job, Cancelled("The job had ended before it could begin."))
            self.dispatch()
            return
        job.spec = msgspec.structs.replace(job.spec, epoch=epoch)
        if job.wish is not None:
            self.end_soon(job, job.wish)
            self.dispatch()
            return
        self._run(job)

    def _run(self, job: Job) -> None:
        job.state, job.began_s = "running", self._clock.monotonic_s()
        self._meter.waited(job.spec.task.model, job.began_s - job.submitted_s)
        self._pool.run(job.worker, job.spec)

    def _wait_again(self, job: Job) -> None:
        self.turns.leave(job)
        if job.wish is not None or self.is_draining:
            self.end_soon(job, job.wish or SHUTTING_DOWN)
            return
        job.state = "queued"
        self._queue.push_front(job.spec)

    def wish(self, job: Job, wish: Cancelled | Failed) -> None:
        """End a job as somebody wishes: at once if it waits, at its next step if it runs."""
        job.wish = wish
        if job.state == "queued":
            self._queue.remove(job.id)
            self.end_soon(job, wish)
        elif job.state == "running":
            reason = wish.reason if isinstance(wish, Cancelled) else wish.message
            self._pool.cancel(job.id, reason)

    # ------------------------------------------------------------ from the workers

    def on_event(self, job_id: str, epoch: int, event: Event) -> None:
        """Hear what a worker says of a job."""
        job = self._roll.active.get(job_id)
        is_over = isinstance(event, Succeeded | Failed | Cancelled)
        if job is None or job.epoch != epoch or job.state != "running":
            self.stale += 1
            if is_over:
                self._pool.acknowledge(job_id, epoch)
        elif isinstance(event, Started | Progress | Retrying | GraphNews):
            if isinstance(event, Progress):
                job.steps = event.total
            self._tell(job, event)
        elif isinstance(event, Succeeded | Failed | Cancelled):
            job.state = "ending"
            roomier = self.turns.roomier(job, event)
            self._do(job, self._end(job, job.wish or event) if roomier is None else self._move(job, roomier))
        if is_over:
            self.dispatch()

    def on_lost(self, worker: str, epochs: Mapping[str, int], reason: str) -> None:
        """Hear that a worker is gone, with its jobs and their epochs."""
        _log.warning("worker_lost", worker=worker, reason=reason, jobs=len(epochs))
        for job_id, epoch in epochs.items():
            job = self._roll.active.get(job_id)
            if job is not None and job.epoch == epoch and job.state == "running":
                job.state = "ending"
                self._do(job, self._retry(job, reason))

    async def _retry(self, job: Job, reason: str) -> None:
        end = lost(job)
        if job.wish is not None:
            await self._end(job, job.wish)
        elif end is not None:
            await self._end(job, end)
        else:
            await self._again(job, reason)

    async def _move(self, job: Job, needs: Needs) -> None:
        job.needs = needs
        self._pool.acknowledge(job.id, job.epoch)
        await self._again(job, "out of memory")

    async def _again(self, job: Job, reason: str) -> None:
        """Put a running job back before all others."""
        attempt = await self._scribe.insist(lambda: self._book.requeue(job.id, job.epoch, reason))
        if attempt is None:
            self._ended_as(job, Cancelled("The job had ended when its worker gave it up."))
            return
        self._meter.retried(reason)
        job.spec = msgspec.structs.replace(job.spec, attempt=attempt)
        job.began_s = None
        self._tell(job, Retrying(attempt, reason))
        self._wait_again(job)
        self.dispatch()

    # ------------------------------------------------------------ leases

    async def renew(self) -> None:
        """Renew the leases of what runs, and let go of jobs that are no longer ours."""
        ours = {job.id: job.epoch for job in self._roll.of("running")}
        if not ours:
            return
        try:
            kept = await self._book.renew(ours, self._lease_s)
        except Unavailable as error:
            _log.warning("renewal_failed", jobs=len(ours), reason=error.message)
            return
        for job_id, epoch in ours.items():
            job = self._roll.active.get(job_id)
            if job_id not in kept and job is not None and job.epoch == epoch and job.state == "running":
                self.ended_elsewhere(job_id)

    def ended_elsewhere(self, job_id: str) -> None:
        """Let go of a job that another server process has ended; whoever waits for it here looks in the job book."""
        job = self._roll.active.get(job_id)
        if job is None or job.state not in {"queued", "running"}:
            return
        if job.state == "running":
            self._pool.cancel(job_id, "another server process ended it")
        else:
            self._queue.remove(job_id)
        self._ended_as(job, SUPERSEDED)

    # ------------------------------------------------------------ the end

    def end_soon(self, job: Job, end: Terminal) -> None:
        """End a job that no worker has."""
        job.state = "ending"
        self._do(job, self._end(job, end))

    async def _end(self, job: Job, end: Terminal) -> None:
        """Write the end into the book, let the worker forget it, then tell."""
        job.state = "ending"
        written = await self._scribe.end(job, end)
        self._pool.acknowledge(job.id, job.epoch)
        if written is None:
            self.stale += 1
        self._ended_as(job, SUPERSEDED if written is None else written)

    def _ended_as(self, job: Job, end: Terminal) -> None:
        self._roll.end(job, end, self._clock.monotonic_s())
        was_alone = self.turns.leave(job)
        self._admissions.ended(job.spec.org_id, sync=job.is_sync)
        if isinstance(end, Succeeded):
            self._costs.learn(job.spec.task, end.seconds * 1000)
            self._meter.ended(job.spec.task.model, "filtered" if end.filtered else "succeeded", end.phases, job.steps)
        else:
            self._meter.ended(job.spec.task.model, "failed" if isinstance(end, Failed) else "cancelled", {})
        self._tell(job, end)
        self._roll.trim()
        if was_alone:
            self.dispatch()

    def _tell(self, job: Job, event: Event) -> None:
        for listener in self.listeners:
            listener(job.spec, event)
        job.audience.tell(event)

    # ------------------------------------------------------------ tasks

    def _do(self, job: Job, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._done(job, done))

    def _done(self, job: Job, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        # A fault of ours: the job ends here, and its lease and its hold run out in the book.
        _log.error("gateway_task_failed", job=job.id, exc_info=error)
        if job.state != "ended":
            self._ended_as(job, Failed("internal_error", "The picture could not be made; it was not charged."))
