"""Brings durable jobs to workers and back: fair turns, leases, retries, deadlines, events. Knows no SQL and no torch.

One gateway lives on one event loop. Whoever keeps the jobs stays the truth: a job begins only after it was claimed
there, and a picture is shown only after it was stored there. The epoch that a claim returns names the try; whatever
arrives under an older one is ignored.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar

import msgspec
import structlog

from keelbill.core.clock import Clock, SystemClock
from keelbill.core.errors import NotFound, RateLimited, Unavailable
from keelbill.serving.admission import Admission, Limits, Load, retry_after_s
from keelbill.serving.audience import Audience
from keelbill.serving.estimates import CostModel
from keelbill.serving.forecast import Forecast
from keelbill.serving.messages import (
    Cancelled,
    Event,
    Failed,
    GraphNews,
    ImageTask,
    JobSpec,
    Progress,
    Queued,
    Retrying,
    Started,
    Succeeded,
    Terminal,
    WorkerInfo,
)
from keelbill.serving.meter import Meter, NoMeter, Snapshot
from keelbill.serving.placing import Needs, choose
from keelbill.serving.pool import JobBook, WorkerPool
from keelbill.serving.queue import FairQueue
from keelbill.storage.blobs import DiskFull

LEASE_S: Final = 15.0
RENEW_S: Final = 5.0
TICK_S: Final = 0.25
PLACES_S: Final = 1.0
"""How often watchers of waiting jobs are told their place."""

BACK_OFF_S: Final = 1.0
"""Pause after the job book was away."""

STORE_PATIENCE_S: Final = 3600.0
"""How long a finished picture waits for the job book to come back."""

TARGET_WAIT_S: Final = 10.0
MAX_LOSSES: Final = 2
FORGET_S: Final = 60.0
KEPT_BYTES: Final = 64 * 2**20
KEPT_JOBS: Final = 2000

SUPERSEDED: Final = Failed("superseded", "The job was taken over or ended elsewhere.", retriable=True)
"""The end of a job that another server process has ended; how, only the job book knows."""

Listener = Callable[[JobSpec, Event], None]
"""Hears everything that happens to any job, in order, on the event loop; its end only after that is stored."""

T = TypeVar("T")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ActiveJob:
    """A job that waits or runs, as the operator sees it.

    Attributes:
        spec: The job.
        is_running: Whether a worker has it.
        worker: Which, "" for none yet.
        age_ms: Since it came.
    """

    spec: JobSpec
    is_running: bool
    worker: str
    age_ms: float


@dataclass
class _Job:
    spec: JobSpec
    audience: Audience
    is_sync: bool
    submitted_s: float
    state: Literal["queued", "claiming", "running", "ending", "ended"] = "queued"
    worker: str = ""
    losses: int = 0
    """Tries that came to nothing, those of an earlier life of the server among them."""
    blame: int = 0
    """Workers that were lost with it since the server started."""
    needs: Needs = field(default_factory=Needs)
    steps: int = 0
    """Of which its denoising consists, as its worker says."""
    wish: Cancelled | Failed | None = None
    """How the job ends as soon as it can be ended, because somebody no longer wants it."""
    began_s: float | None = None
    ended_s: float = 0.0

    @property
    def id(self) -> str:
        return self.spec.job_id

    @property
    def epoch(self) -> int:
        return self.spec.epoch

    @property
    def deadline_at_s(self) -> float:
        return self.submitted_s + self.spec.deadline_s


class Gateway:
    """The queue, and the only one who talks to the pool of workers.

    Args:
        pool: The workers.
        book: Keeps the jobs.
        clock: Tells the time.
        limits: How much may wait.
        meter: Receives measurements.
        lease_s: How long a claim holds without being renewed.
        costs: What tasks took before.
    """

    def __init__(
        self,
        pool: WorkerPool,
        book: JobBook,
        clock: Clock | None = None,
        *,
        limits: Limits | None = None,
        meter: Meter | None = None,
        lease_s: float = LEASE_S,
        costs: CostModel | None = None,
    ) -> None:
        self.pool = pool
        self.book = book
        self.clock = clock or SystemClock()
        self.meter = meter or NoMeter()
        self.lease_s = lease_s
        self.costs = costs or CostModel()
        self.queue = FairQueue()
        self.forecast = Forecast(self.queue, pool.workers, self._running, self.clock)
        self.admissions = Admission(limits or Limits())
        self.listeners: list[Listener] = []
        self.is_draining = False
        self.is_paused = False
        self.stale = 0
        self._jobs: dict[str, _Job] = {}
        self._active: dict[str, _Job] = {}
        self._ended: OrderedDict[str, _Job] = OrderedDict()
        self._ended_bytes = 0
        self._claiming: Counter[str] = Counter()
        self._solo: dict[str, _Job] = {}
        self._paused_until_s = -math.inf
        self._renewed_at_s = -math.inf
        self._told_at_s = -math.inf
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Bring the workers up and begin to serve."""
        await self.pool.start(self._on_event, self._on_lost, self._dispatch)
        self._ticker = asyncio.create_task(self._tick_for_ever())
        self._dispatch()

    async def drain(self, seconds: float) -> None:
        """Refuse new jobs, end waiting ones that somebody waits for, let running ones finish, then stop.

        Args:
            seconds: How long running jobs may take; then they are cancelled. A second call may shorten it.
        """
        self.is_draining = True
        if seconds <= 0:
            self._hurry.set()
        shutting = Failed("service_unavailable", "The server is shutting down; try again.", retriable=True)
        for job in [job for job in self._active.values() if job.state == "queued"]:
            self.queue.remove(job.id)
            if job.is_sync:
                self._end_soon(job, shutting)
            else:
                self._forget_quietly(job)
        hurry = asyncio.create_task(self._hurry.wait())
        idle = asyncio.create_task(self._idle.wait())
        await asyncio.wait({hurry, idle}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        for job in list(self._active.values()):
            if job.wish is None and job.state in {"claiming", "running"}:
                self._wish(job, shutting)
        await asyncio.wait({idle}, timeout=self.lease_s)
        idle.cancel()
        await self.stop()

    async def stop(self) -> None:
        """End everything at once; what runs keeps its lease and is taken up again after it."""
        self.is_draining = True
        if self._ticker:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        await self.pool.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self.tick()

    async def tick(self) -> None:
        """Do what time asks for: deadlines, leases, places of waiting jobs, forgetting. Called four times a second."""
        now_s = self.clock.monotonic_s()
        for job in [job for job in self._active.values() if job.deadline_at_s <= now_s and job.wish is None]:
            self._wish(job, Failed("deadline_exceeded", f"No picture after {job.spec.deadline_s:g} s.", retriable=True))
        while self._ended and next(iter(self._ended.values())).ended_s + FORGET_S <= now_s:
            self._forget_oldest()
        if now_s - self._told_at_s >= PLACES_S:
            self._told_at_s = now_s
            self._tell_places()
        self._dispatch()
        if now_s - self._renewed_at_s >= min(RENEW_S, self.lease_s / 3):
            self._renewed_at_s = now_s
            await self._renew()

    # ------------------------------------------------------------ in

    def admission(
        self, org_id: str, cost_ms: float, deadline_s: float, sync: bool = True, *, count: int = 1, weight: int = 1
    ) -> None:
        """Say whether `count` more jobs of an account may wait; asked before their price is held.

        Args:
            org_id: The account.
            cost_ms: Estimated worker milliseconds of one job.
            deadline_s: Seconds after which nobody wants the picture any more.
            sync: Whether somebody waits for the answer.
            count: How many jobs.
            weight: Of the account's plan.

        Raises:
            RateLimited: The account has too many jobs.
            Unavailable: The server shuts down, the queue is full, or it is too long for the deadline.
        """
        if self.is_draining:
            self.meter.refused("draining")
            raise Unavailable("The server is shutting down.", retry_after_s=retry_after_s(self.forecast.drain_s))
        load = self.forecast.load(org_id, weight=weight, is_free=bool(self._free()))
        # All pictures of one request are wanted before its deadline.
        load = Load(
            load.queued, load.wait_s + (count - 1) * cost_ms / 1000 / self.forecast.hands, load.drain_s, load.account_s
        )
        try:
            self.admissions.admit(
                org_id, load, deadline_s=deadline_s, sync=sync, count=count, now_s=self.clock.monotonic_s()
            )
        except RateLimited:
            self.meter.refused("account_queue")
            raise
        except Unavailable:
            self.meter.refused("global_queue")
            raise

    def withdraw(self, org_id: str, count: int = 1) -> None:
        """Take back an admission whose jobs will not be submitted, for example for want of credits."""
        self.admissions.withdraw(org_id, count)

    async def submit(self, spec: JobSpec, *, sync: bool = True) -> None:
        """Let a job wait its turn; it is durable and its price is held.

        Args:
            spec: The job.
            sync: Whether somebody waits for the answer; such jobs are ended when the server shuts down.
        """
        if spec.job_id in self._active:
            return
        losses = spec.attempt - 1
        needs = Needs(alone=losses > 0)
        job = _Job(spec, Audience(self.clock), sync, self.clock.monotonic_s(), losses=losses, needs=needs)
        self._ended.pop(spec.job_id, None)
        self._jobs[spec.job_id] = self._active[spec.job_id] = job
        self._idle.clear()
        self.admissions.submitted(spec.org_id, sync=sync)
        if self.is_draining:
            self._end_soon(
                job, Failed("service_unavailable", "The server is shutting down; try again.", retriable=True)
            )
            return
        self.queue.push(spec)
        self._dispatch()

    def pause(self) -> None:
        """Begin no more jobs; those that run finish, and new ones wait until `resume` or their deadline."""
        self.is_paused = True

    def resume(self) -> None:
        """Begin jobs again."""
        self.is_paused = False
        self._dispatch()

    def move(self, job_id: str, to: Literal["front", "back"]) -> bool:
        """Let a waiting job be the next of all, or the last of its account; false if it does not wait.

        The order is not kept: after a restart of the server, jobs wait by their age again.
        """
        return self.queue.move(job_id, to)

    def jobs(self) -> list[ActiveJob]:
        """Return the jobs that run, oldest first, and then those that wait, in the order in which they would begin."""
        now_s = self.clock.monotonic_s()
        running = [job for job in self._active.values() if job.state != "queued"]
        waiting = [self._active[spec.job_id] for spec in self.queue.order()]
        return [
            ActiveJob(job.spec, job.state != "queued", job.worker, (now_s - job.submitted_s) * 1000)
            for job in (*running, *waiting)
        ]

    def cancel(self, job_id: str, reason: str) -> bool:
        """End a job: at once if it waits, at its next step if it runs.

        Returns:
            Whether it was waiting or running, and nobody else had ended it.
        """
        job = self._active.get(job_id)
        if job is None or job.wish is not None or job.state == "ending":
            return False
        self._wish(job, Cancelled(reason))
        return True

    # ------------------------------------------------------------ out

    async def events(self, job_id: str) -> AsyncIterator[Event]:
        """Replay what was last said of a job, then pass on what happens, until it has ended or
        the server shuts down.

        Raises:
            NotFound: The gateway does not know the job, or forgot it a minute after its end.
        """
        job = self._known(job_id)
        if job.state == "queued":
            job.audience.last = self.forecast.place(job_id)
        async for event in job.audience.events():
            yield event

    async def result(self, job_id: str) -> Terminal:
        """Wait for a job's end.

        Raises:
            NotFound: As :meth:`events`.
            Unavailable: The server shuts down; the job waits on for its next start.
        """
        return await self._known(job_id).audience.end()

    def position(self, job_id: str) -> Queued | None:
        """Return a waiting job's place from 1 and the milliseconds until it begins; nothing if it does not wait."""
        return self.forecast.place(job_id) if job_id in self.queue else None

    def estimate(self, task: ImageTask) -> float:
        """Return the worker milliseconds that a task should take."""
        return self.costs.estimate_ms(task)

    def wait_ms(self, org_id: str, *, weight: int = 1) -> float:
        """Return the milliseconds until a new job of an account would begin."""
        return self.forecast.load(org_id, weight=weight, is_free=bool(self._free())).wait_s * 1000

    def workers(self) -> list[WorkerInfo]:
        """Return all workers."""
        return self.pool.workers()

    def snapshot(self) -> Snapshot:
        """Return the numbers of this moment."""
        running = Counter(job.spec.task.model for job in self._active.values() if job.state == "running")
        return Snapshot(
            queued=Counter(job.task.model for job in self.queue.jobs()),
            running=running,
            queue_ms=self.queue.total_ms,
            desired_workers=math.ceil(self.queue.total_ms / 1000 / TARGET_WAIT_S),
            stale=self.stale,
            draining=self.is_draining,
            workers=tuple(self.pool.workers()),
        )

    def _known(self, job_id: str) -> _Job:
        if job_id not in self._jobs:
            raise NotFound(f"There is no job {job_id!r} in the queue or on a worker.")
        return self._jobs[job_id]

    def _running(self) -> Iterator[tuple[float, float]]:
        for job in self._active.values():
            if job.state == "running" and job.began_s is not None:
                yield job.spec.cost_ms, job.began_s

    def _tell(self, job: _Job, event: Event) -> None:
        for listener in self.listeners:
            listener(job.spec, event)
        job.audience.tell(event)

    def _tell_places(self) -> None:
        for job in self._active.values():
            if job.state == "queued" and job.audience:
                place = self.forecast.place(job.id)
                if place != job.audience.last:
                    job.audience.tell(place)

    # ------------------------------------------------------------ to the workers

    def _free(self) -> dict[str, WorkerInfo]:
        """Return the workers that would take a job; one that has a job for itself does not."""
        kept = {job.worker for job in self._solo.values()}
        free = [w for w in self.pool.workers() if w.ready and w.slots - self._claiming[w.name] > 0]
        return {worker.name: worker for worker in free if worker.name not in kept}

    def _dispatch(self) -> None:
        """Begin waiting jobs while there are free workers."""
        if not len(self.queue) or self.is_draining or self.is_paused or self.clock.monotonic_s() < self._paused_until_s:
            return
        aside: list[JobSpec] = []
        reserved: set[str] = set()
        while len(self.queue):
            free = {name: worker for name, worker in self._free().items() if name not in reserved}
            if not free:
                break
            busy = {name: len(worker.running) + self._claiming[name] for name, worker in free.items()}
            least = min(free.values(), key=lambda worker: busy[worker.name])
            spec = self.queue.pop(self.clock.monotonic_s(), warm=least.models)
            if spec is None:
                break
            job = self._active[spec.job_id]
            worker = choose(spec.task.model, job.needs, free.values(), busy)
            if worker is not None:
                self._assign(job, worker)
            elif not any(job.needs.fits(worker) for worker in self.pool.workers()):
                self._end_soon(job, Failed("out_of_memory", "No worker has enough memory for this picture."))
            else:
                aside.append(spec)
                if job.needs.alone:
                    reserved.add(least.name)  # nothing new begins there, so that it will be empty soon
        for spec in aside:
            self.queue.push_front(spec)

    def _assign(self, job: _Job, worker: WorkerInfo) -> None:
        job.state, job.worker = "claiming", worker.name
        self._claiming[worker.name] += 1
        if job.needs.alone:
            self._solo[job.id] = job
        self._do(job, self._begin(job))

    async def _begin(self, job: _Job) -> None:
        try:
            epoch = await self.book.claim(job.id, job.worker, self.lease_s)
        except Unavailable as error:
            _log.warning("claim_failed", job=job.id, reason=error.message)
            self._paused_until_s = self.clock.monotonic_s() + BACK_OFF_S
            self._wait_again(job)
            return
        finally:
            self._claiming[job.worker] -= 1
        if epoch is None:
            self._ended_as(job, Cancelled("The job had ended before it could begin."))
            self._dispatch()
            return
        job.spec = msgspec.structs.replace(job.spec, epoch=epoch)
        if job.wish is not None:
            self._end_soon(job, job.wish)
            self._dispatch()
            return
        job.state, job.began_s = "running", self.clock.monotonic_s()
        self.meter.waited(job.spec.task.model, job.began_s - job.submitted_s)
        self.pool.run(job.worker, job.spec)

    def _wait_again(self, job: _Job) -> None:
        self._solo.pop(job.id, None)
        if job.wish is not None or self.is_draining:
            self._end_soon(job, job.wish or Failed("service_unavailable", "The server is shutting down.", True))
            return
        job.state = "queued"
        self.queue.push_front(job.spec)

    def _wish(self, job: _Job, wish: Cancelled | Failed) -> None:
        job.wish = wish
        if job.state == "queued":
            self.queue.remove(job.id)
            self._end_soon(job, wish)
        elif job.state == "running":
            reason = wish.reason if isinstance(wish, Cancelled) else wish.message
            self.pool.cancel(job.id, reason)

    # ------------------------------------------------------------ from the workers

    def _on_event(self, job_id: str, epoch: int, event: Event) -> None:
        job = self._active.get(job_id)
        is_over = isinstance(event, Succeeded | Failed | Cancelled)
        if job is None or job.epoch != epoch or job.state != "running":
            self.stale += 1
            if is_over:
                self.pool.acknowledge(job_id, epoch)
        elif isinstance(event, Started | Progress | Retrying | GraphNews):
            if isinstance(event, Progress):
                job.steps = event.total
            self._tell(job, event)
        elif isinstance(event, Succeeded | Failed | Cancelled):
            job.state = "ending"
            roomier = self._roomier(job, event)
            self._do(job, self._end(job, job.wish or event) if roomier is None else self._move(job, roomier))
        if is_over:
            self._dispatch()

    def _on_lost(self, worker: str, epochs: Mapping[str, int], reason: str) -> None:
        _log.warning("worker_lost", worker=worker, reason=reason, jobs=len(epochs))
        for job_id, epoch in epochs.items():
            job = self._active.get(job_id)
            if job is not None and job.epoch == epoch and job.state == "running":
                job.state = "ending"
                self._do(job, self._retry(job, reason))

    async def _retry(self, job: _Job, reason: str) -> None:
        job.losses += 1
        job.blame += 1
        if job.wish is not None:
            await self._end(job, job.wish)
            return
        if job.losses >= MAX_LOSSES:
            code = "worker_lost_twice" if job.blame >= MAX_LOSSES else "worker_lost"
            await self._end(job, Failed(code, "The worker was lost twice while it made this picture."))
            return
        job.needs = replace(job.needs, alone=True)
        await self._again(job, reason)

    def _roomier(self, job: _Job, event: Event) -> Needs | None:
        """Return what a job needs that ran out of memory, if there is a worker with more of it."""
        if not isinstance(event, Failed) or event.code != "out_of_memory" or not event.retriable or job.wish:
            return None
        workers = self.pool.workers()
        had_bytes = max((w.capacity_bytes for w in workers if w.name == job.worker), default=0)
        needs = replace(job.needs, more_than_bytes=had_bytes)
        return needs if had_bytes and any(needs.fits(worker) for worker in workers) else None

    async def _move(self, job: _Job, needs: Needs) -> None:
        job.needs = needs
        self.pool.acknowledge(job.id, job.epoch)
        await self._again(job, "out of memory")

    async def _again(self, job: _Job, reason: str) -> None:
        """Put a running job back before all others."""
        attempt = await self._insist(lambda: self.book.requeue(job.id, job.epoch, reason))
        if attempt is None:
            self._ended_as(job, Cancelled("The job had ended when its worker gave it up."))
            return
        self.meter.retried(reason)
        job.spec = msgspec.structs.replace(job.spec, attempt=attempt)
        job.began_s = None
        self._tell(job, Retrying(attempt, reason))
        self._wait_again(job)
        self._dispatch()

    async def _renew(self) -> None:
        ours = {job.id: job.epoch for job in self._active.values() if job.state == "running"}
        if not ours:
            return
        try:
            kept = await self.book.renew(ours, self.lease_s)
        except Unavailable as error:
            _log.warning("renewal_failed", jobs=len(ours), reason=error.message)
            return
        for job_id, epoch in ours.items():
            job = self._active.get(job_id)
            if job_id not in kept and job is not None and job.epoch == epoch and job.state == "running":
                self.ended_elsewhere(job_id)

    def ended_elsewhere(self, job_id: str) -> None:
        """Let go of a job that another server process has ended; whoever waits for it here looks in the job book."""
        job = self._active.get(job_id)
        if job is None or job.state not in {"queued", "running"}:
            return
        if job.state == "running":
            self.pool.cancel(job_id, "another server process ended it")
        else:
            self.queue.remove(job_id)
        self._ended_as(job, SUPERSEDED)

    # ------------------------------------------------------------ the end

    def _end_soon(self, job: _Job, end: Terminal) -> None:
        job.state = "ending"
        self._do(job, self._end(job, end))

    async def _end(self, job: _Job, end: Terminal) -> None:
        """Write the end into the book, let the worker forget it, then tell."""
        job.state = "ending"
        try:
            is_ours = await self._insist(lambda: self._write_end(job, end))
        except (DiskFull, OSError) as error:
            _log.error("result_not_stored", job=job.id, reason=str(error))
            end = Failed("storage_full", "The picture could not be stored.", retriable=True)
            failed = end
            is_ours = await self._insist(lambda: self.book.fail(job.id, job.epoch, failed))
        self.pool.acknowledge(job.id, job.epoch)
        if not is_ours:
            self.stale += 1
            end = SUPERSEDED
        self._ended_as(job, end)

    def _write_end(self, job: _Job, end: Terminal) -> Coroutine[Any, Any, bool]:
        if isinstance(end, Succeeded):
            return self.book.succeed(job.id, job.epoch, end)
        if isinstance(end, Failed):
            return self.book.fail(job.id, job.epoch, end)
        return self.book.cancelled(job.id, job.epoch, end.reason)

    def _ended_as(self, job: _Job, end: Terminal) -> None:
        job.state, job.ended_s = "ended", self.clock.monotonic_s()
        self._active.pop(job.id, None)
        was_alone = self._solo.pop(job.id, None) is not None
        self.admissions.ended(job.spec.org_id, sync=job.is_sync)
        self._ended[job.id] = job
        if isinstance(end, Succeeded):
            self._ended_bytes += len(end.image)
            self.costs.learn(job.spec.task, end.seconds * 1000)
            self.meter.ended(job.spec.task.model, "filtered" if end.filtered else "succeeded", end.phases, job.steps)
        else:
            self.meter.ended(job.spec.task.model, "failed" if isinstance(end, Failed) else "cancelled", {})
        self._tell(job, end)
        while self._ended_bytes > KEPT_BYTES or len(self._ended) > KEPT_JOBS:
            self._forget_oldest()
        if not self._active:
            self._idle.set()
        if was_alone:
            self._dispatch()

    def _forget_oldest(self) -> None:
        job_id, job = self._ended.popitem(last=False)
        if isinstance(job.audience.terminal, Succeeded):
            self._ended_bytes -= len(job.audience.terminal.image)
        if self._jobs.get(job_id) is job:
            del self._jobs[job_id]

    def _forget_quietly(self, job: _Job) -> None:
        """Leave a waiting job to the next start of the server; nobody waits for it now."""
        job.audience.close()
        del self._active[job.id], self._jobs[job.id]
        self.admissions.ended(job.spec.org_id, sync=job.is_sync)
        if not self._active:
            self._idle.set()

    async def _insist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Try again while the book is away; a full disk is another matter.

        Raises:
            DiskFull: As `write`.
            Unavailable: The book was away for an hour.
        """
        begun_s = self.clock.monotonic_s()
        while True:
            try:
                return await write()
            except DiskFull:
                raise
            except Unavailable as error:
                if self.clock.monotonic_s() - begun_s > STORE_PATIENCE_S:
                    raise
                _log.warning("book_away", reason=error.message)
                await asyncio.sleep(BACK_OFF_S)

    # ------------------------------------------------------------ tasks

    def _do(self, job: _Job, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._done(job, done))

    def _done(self, job: _Job, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        # A fault of ours: the job ends here, and its lease and its hold run out in the book.
        _log.error("gateway_task_failed", job=job.id, exc_info=error)
        if job.state != "ended":
            self._ended_as(job, Failed("internal_error", "The picture could not be made; it was not charged."))
