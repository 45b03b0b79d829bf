"""The door to the queue and the workers: who may wait, who is told what, what time asks for. Knows no SQL and no torch.

One gateway lives on one event loop. What happens to a job between its turn and its end is :mod:`.course`.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Final, Literal

from keelbill.core.clock import Clock, SystemClock
from keelbill.core.errors import RateLimited, Unavailable
from keelbill.serving.admission import Admission, Limits, Load, retry_after_s
from keelbill.serving.audience import Audience
from keelbill.serving.course import SHUTTING_DOWN, SUPERSEDED, Course, Listener
from keelbill.serving.estimates import CostModel
from keelbill.serving.forecast import Forecast
from keelbill.serving.messages import Cancelled, Event, Failed, ImageTask, JobSpec, Queued, Terminal, WorkerInfo
from keelbill.serving.meter import Meter, NoMeter, Snapshot
from keelbill.serving.placing import Needs
from keelbill.serving.pool import JobBook, WorkerPool
from keelbill.serving.queue import FairQueue
from keelbill.serving.roll import ActiveJob, Job, Roll

__all__ = ["LEASE_S", "SUPERSEDED", "ActiveJob", "Gateway"]

LEASE_S: Final = 15.0
RENEW_S: Final = 5.0
TICK_S: Final = 0.25
PLACES_S: Final = 1.0
"""How often watchers of waiting jobs are told their place."""

TARGET_WAIT_S: Final = 10.0


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
        self.roll = Roll()
        self.forecast = Forecast(self.queue, pool.workers, self.roll.costs, self.clock)
        self.admissions = Admission(limits or Limits())
        self._course = Course(
            pool,
            book,
            self.clock,
            queue=self.queue,
            roll=self.roll,
            admissions=self.admissions,
            costs=self.costs,
            meter=self.meter,
            lease_s=lease_s,
        )
        self.newcomers: list[Callable[[JobSpec], None]] = []
        """Who hears of each job that enters, in the context of whoever submits it; add yours."""
        self._renewed_at_s = -math.inf
        self._told_at_s = -math.inf
        self._ticker: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    @property
    def listeners(self) -> list[Listener]:
        """Who hears everything that happens to any job; add yours."""
        return self._course.listeners

    @property
    def is_draining(self) -> bool:
        """Whether the server ends and takes no more jobs."""
        return self._course.is_draining

    @property
    def is_paused(self) -> bool:
        """Whether no more jobs begin until somebody says so."""
        return self._course.is_paused

    @property
    def stale(self) -> int:
        """How often something came under an old epoch and was ignored."""
        return self._course.stale

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Bring the workers up and begin to serve."""
        await self.pool.start(self._course.on_event, self._course.on_lost, self._course.dispatch)
        self._ticker = asyncio.create_task(self._tick_for_ever())
        self._course.dispatch()

    async def drain(self, seconds: float) -> None:
        """Refuse new jobs, end waiting ones that somebody waits for, let running ones finish, then stop.

        Args:
            seconds: How long running jobs may take; then they are cancelled. A second call may shorten it.
        """
        self._course.is_draining = True
        if seconds <= 0:
            self._hurry.set()
        for job in self.roll.of("queued"):
            self.queue.remove(job.id)
            if job.is_sync:
                self._course.end_soon(job, SHUTTING_DOWN)
            else:
                self._forget_quietly(job)
        hurry = asyncio.create_task(self._hurry.wait())
        idle = asyncio.create_task(self.roll.idle.wait())
        await asyncio.wait({hurry, idle}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        for job in self.roll.of("claiming", "running"):
            if job.wish is None:
                self._course.wish(job, SHUTTING_DOWN)
        await asyncio.wait({idle}, timeout=self.lease_s)
        idle.cancel()
        await self.stop()

    async def stop(self) -> None:
        """End everything at once; what runs keeps its lease and is taken up again after it."""
        self._course.is_draining = True
        if self._ticker:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        await self.pool.stop()
        await self._course.stop()

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self.tick()

    async def tick(self) -> None:
        """Do what time asks for: deadlines, leases, places of waiting jobs, forgetting. Called four times a second."""
        now_s = self.clock.monotonic_s()
        for job in [job for job in self.roll.active.values() if job.deadline_at_s <= now_s and job.wish is None]:
            self._course.wish(
                job, Failed("deadline_exceeded", f"No picture after {job.spec.deadline_s:g} s.", retriable=True)
            )
        self.roll.forget_late(now_s)
        if now_s - self._told_at_s >= PLACES_S:
            self._told_at_s = now_s
            self._tell_places()
        self._course.dispatch()
        if now_s - self._renewed_at_s >= min(RENEW_S, self.lease_s / 3):
            self._renewed_at_s = now_s
            await self._course.renew()

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
        load = self.forecast.load(org_id, weight=weight, is_free=bool(self._course.turns.free()))
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

    def seat(self, task: ImageTask) -> str:
        """Keep room for a job that would begin at once, so that it can be claimed as it is written.

        Returns:
            The worker to claim it for, which is then owed to `submit` or `unseat`; "" if the job must wait its turn.
        """
        return self._course.seat(task.model)

    def unseat(self, worker: str) -> None:
        """Give back what `seat` kept, because the job does not come."""
        if worker:
            self._course.unseat(worker)

    async def submit(self, spec: JobSpec, *, sync: bool = True, worker: str = "") -> None:
        """Let a job wait its turn, or begin it if it was written as claimed; it is durable and its price is held.

        Args:
            spec: The job.
            sync: Whether somebody waits for the answer; such jobs are ended when the server shuts down.
            worker: For which it is claimed, as `seat` returned it.
        """
        if spec.job_id in self.roll.active:
            self.unseat(worker)
            return
        losses = spec.attempt - 1
        needs = Needs(alone=losses > 0)
        job = Job(spec, Audience(self.clock), sync, self.clock.monotonic_s(), losses=losses, needs=needs)
        self.roll.enter(job)
        self.admissions.submitted(spec.org_id, sync=sync)
        for newcomer in self.newcomers:
            newcomer(spec)
        if worker:
            self._course.begin_claimed(job, worker)
            return
        if self.is_draining:
            self._course.end_soon(job, SHUTTING_DOWN)
            return
        self.queue.push(spec)
        self._course.dispatch()

    def pause(self) -> None:
        """Begin no more jobs; those that run finish, and new ones wait until `resume` or their deadline."""
        self._course.is_paused = True

    def resume(self) -> None:
        """Begin jobs again."""
        self._course.is_paused = False
        self._course.dispatch()

    def move(self, job_id: str, to: Literal["front", "back"]) -> bool:
        """Let a waiting job be the next of all, or the last of its account; false if it does not wait.

        The order is not kept: after a restart of the server, jobs wait by their age again.
        """
        return self.queue.move(job_id, to)

    def jobs(self) -> list[ActiveJob]:
        """Return the jobs that run, oldest first, and then those that wait, in the order in which they would begin."""
        now_s = self.clock.monotonic_s()
        running = [job for job in self.roll.active.values() if job.state != "queued"]
        waiting = [self.roll.active[spec.job_id] for spec in self.queue.order()]
        return [
            ActiveJob(job.spec, job.state != "queued", job.worker, (now_s - job.submitted_s) * 1000)
            for job in (*running, *waiting)
        ]

    def cancel(self, job_id: str, reason: str) -> bool:
        """End a job: at once if it waits, at its next step if it runs.

        Returns:
            Whether it was waiting or running, and nobody else had ended it.
        """
        job = self.roll.active.get(job_id)
        if job is None or job.wish is not None or job.state == "ending":
            return False
        self._course.wish(job, Cancelled(reason))
        return True

    # ------------------------------------------------------------ out

    async def events(self, job_id: str) -> AsyncIterator[Event]:
        """Replay what was last said of a job, then pass on what happens, until it has ended or
        the server shuts down.

        Raises:
            NotFound: The gateway does not know the job, or forgot it a minute after its end.
        """
        job = self.roll.known(job_id)
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
        return await self.roll.known(job_id).audience.end()

    def position(self, job_id: str) -> Queued | None:
        """Return a waiting job's place from 1 and the milliseconds until it begins; nothing if it does not wait."""
        return self.forecast.place(job_id) if job_id in self.queue else None

    def estimate(self, task: ImageTask) -> float:
        """Return the worker milliseconds that a task should take."""
        return self.costs.estimate_ms(task)

    def wait_ms(self, org_id: str, *, weight: int = 1) -> float:
        """Return the milliseconds until a new job of an account would begin."""
        return self.forecast.load(org_id, weight=weight, is_free=bool(self._course.turns.free())).wait_s * 1000

    def workers(self) -> list[WorkerInfo]:
        """Return all workers."""
        return self.pool.workers()

    def snapshot(self) -> Snapshot:
        """Return the numbers of this moment."""
        running = Counter(job.spec.task.model for job in self.roll.of("running"))
        return Snapshot(
            queued=Counter(job.task.model for job in self.queue.jobs()),
            running=running,
            queue_ms=self.queue.total_ms,
            desired_workers=math.ceil(self.queue.total_ms / 1000 / TARGET_WAIT_S),
            stale=self.stale,
            draining=self.is_draining,
            workers=tuple(self.pool.workers()),
        )

    def _tell_places(self) -> None:
        for job in self.roll.of("queued"):
            if job.audience:
                place = self.forecast.place(job.id)
                if place != job.audience.last:
                    job.audience.tell(place)

    def _forget_quietly(self, job: Job) -> None:
        """Leave a waiting job to the next start of the server; nobody waits for it now."""
        job.audience.close()
        self.roll.forget(job)
        self.admissions.ended(job.spec.org_id, sync=job.is_sync)

    def ended_elsewhere(self, job_id: str) -> None:
        """Let go of a job that another server process has ended; whoever waits for it here looks in the job book."""
        self._course.ended_elsewhere(job_id)
