"""Runs requests for those who wait: takes them in, queues them, waits, answers. Knows neither HTTP nor workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from keelbill.core.errors import AppError, GenerationFailed, InvalidRequest, NotFound, Unavailable
from keelbill.core.principal import Principal
from keelbill.core.types import Micro
from keelbill.jobs import repository
from keelbill.jobs.book import Book
from keelbill.jobs.errors import NOT_CHARGED, NoSuchJob, StillRunning, failure
from keelbill.jobs.intake import FIRST_EPOCH, Beside, Claim, Intake, Order, check_key
from keelbill.jobs.schemas import Idempotency, ImageRequest, Job, Outcome, State, Ticket
from keelbill.serving.gateway import SUPERSEDED, Gateway
from keelbill.serving.messages import Cancelled, Event, Failed, Started, Succeeded
from keelbill.storage.blobs import BlobRef

REPLAY_WAIT_S: Final = 25.0
GRACE_S: Final = 30.0
"""Beyond the deadline, which the queue keeps; whatever hangs longer is given up."""

LOOK_S: Final = 0.25
"""Pause between looks at a job that runs in another server process."""

RESULT_LIFE_MS: Final = 86_400_000
MAX_PAGE: Final = 100
MAX_PICTURES: Final = 10

Disconnected = Callable[[], Awaitable[bool]]
"""Tells whether the client is gone: waits until it is, or answers at once and is asked again."""


class Jobs:
    """Everything that a front door does with jobs.

    Args:
        book: Keeps them.
        gateway: Gets them done.
    """

    def __init__(self, book: Book, gateway: Gateway) -> None:
        self._book = book
        self._gateway = gateway
        self._database = book.parts.database
        self._blobs = book.parts.blobs
        self._intake = Intake(book.parts.ledger, book.parts.clock, book.leases)
        self._handing_over: set[asyncio.Task[Ticket]] = set()
        book.bulletin.on_ended = gateway.ended_elsewhere

    # ------------------------------------------------------------ in

    async def keep_input(self, content: bytes) -> BlobRef:
        """Keep an input picture for a job that is submitted within the hour; return its reference.

        Raises:
            DiskFull: It cannot be kept.
        """
        return await self._blobs.aput(content)

    async def submit(
        self,
        principal: Principal,
        request: ImageRequest,
        idempotency: Idempotency | None = None,
        *,
        beside: Beside | None = None,
    ) -> Ticket:
        """As `submit_many`, for one picture."""
        return await self.submit_many(principal, [request], idempotency, beside=beside)

    async def submit_many(
        self,
        principal: Principal,
        requests: Sequence[ImageRequest],
        idempotency: Idempotency | None = None,
        *,
        beside: Beside | None = None,
    ) -> Ticket:
        """Take in requests for pictures that belong together: all of them, or none.

        Args:
            principal: Who pays.
            requests: 1 to 10.
            idempotency: The client's name for them; an earlier request of this name is answered again.
            beside: What else is written in the transaction that takes the jobs in.

        Returns:
            A ticket for `outcome`; the jobs are durable, paid for and queued.

        Raises:
            InvalidRequest: The idempotency key is malformed, or the number of pictures is.
            OtherRequest: The key was used for a different request.
            PaymentRequired: The balance or a cap does not cover them.
            RateLimited: Too many jobs of the account wait or run.
            Suspected: The same request ended two workers a short while ago.
            Unavailable: The queue is full, the disk is, the database is away, or the server shuts down.
        """
        check_key(idempotency)
        if not 1 <= len(requests) <= MAX_PICTURES:
            raise InvalidRequest(f"samples: from 1 to {MAX_PICTURES}")
        if idempotency is not None:
            key, org_id = idempotency, principal.org_id
            earlier = await self._database.read(lambda c: self._intake.bound(c, org_id, key))
            if earlier is not None:
                return earlier
        for asked in requests:
            self._book.suspects.check(principal.org_id, asked.task)
        self._blobs.require_space()
        costs_ms = [self._gateway.estimate(asked.task) for asked in requests]
        order = replace(self._intake.order(principal, requests, costs_ms, idempotency), beside=beside)
        first = order.jobs[0]
        self._gateway.admission(
            principal.org_id,
            max(costs_ms),
            min(job.deadline_s for job in order.jobs),
            sync=not first.is_async,
            count=len(order.jobs),
            weight=principal.weight,
        )
        # What is committed must also be queued, even if the request that asked for it is cancelled in between.
        handing_over = asyncio.create_task(self._hand_over(order))
        self._handing_over.add(handing_over)
        handing_over.add_done_callback(self._handing_over.discard)
        try:
            return await asyncio.shield(handing_over)
        except asyncio.CancelledError:
            handing_over.add_done_callback(self._abandon_late)
            raise

    async def _hand_over(self, order: Order) -> Ticket:
        # A lone picture that finds a free worker is written as claimed, which spares it a transaction.
        worker = self._gateway.seat(order.tasks[0]) if len(order.jobs) == 1 else ""
        claim = Claim(worker, self._gateway.lease_s) if worker else None
        try:
            ticket = await self._database.write(lambda connection: self._intake.take(connection, order, claim))
        except BaseException:
            self._come_not(order, worker)
            raise
        if ticket.replayed:
            self._come_not(order, worker)
            return ticket
        for job, task, secret in zip(order.jobs, order.tasks, order.secrets, strict=True):
            spec = msgspec.structs.replace(job.spec(task), secret=secret, epoch=FIRST_EPOCH if claim else 0)
            await self._gateway.submit(spec, sync=not job.is_async, worker=worker)
        return ticket

    def _come_not(self, order: Order, worker: str) -> None:
        self._gateway.withdraw(order.principal.org_id, len(order.jobs))
        self._gateway.unseat(worker)

    def _abandon_late(self, handing_over: asyncio.Task[Ticket]) -> None:
        if not handing_over.cancelled() and handing_over.exception() is None:
            self._abandon(handing_over.result())

    # ------------------------------------------------------------ out

    async def run(
        self,
        principal: Principal,
        request: ImageRequest,
        idempotency: Idempotency | None = None,
        *,
        disconnected: Disconnected | None = None,
    ) -> Outcome:
        """Submit one picture and wait for it; errors as of `submit` and `outcome`."""
        outcomes = await self.run_many(principal, [request], idempotency, disconnected=disconnected)
        return outcomes[0]

    async def run_many(
        self,
        principal: Principal,
        requests: Sequence[ImageRequest],
        idempotency: Idempotency | None = None,
        *,
        disconnected: Disconnected | None = None,
    ) -> list[Outcome]:
        """Submit pictures that belong together and wait for all of them; errors as of `submit_many` and `outcomes`.

        If the earlier request with the same idempotency key fails while this one waits for it, this one runs anew.
        """
        ticket = await self.submit_many(principal, requests, idempotency)
        if ticket.replayed:
            try:
                return await self.outcomes(ticket, disconnected=disconnected)
            except AppError:
                again = await self.submit_many(principal, requests, idempotency)
                if again.job_ids == ticket.job_ids:  # it did not fail: it takes too long, or this client is gone
                    raise
                ticket = again
        return await self.outcomes(ticket, disconnected=disconnected)

    async def outcome(self, ticket: Ticket, *, disconnected: Disconnected | None = None) -> Outcome:
        """As `outcomes`, for one picture."""
        outcomes = await self.outcomes(ticket, disconnected=disconnected)
        return outcomes[0]

    async def outcomes(self, ticket: Ticket, *, disconnected: Disconnected | None = None) -> list[Outcome]:
        """Wait until all pictures of a ticket are done.

        Args:
            ticket: Of `submit_many`.
            disconnected: Watched meanwhile. When the client is gone, waiting jobs are cancelled, and running ones too
                unless an idempotency key waits for their result.

        Raises:
            Cancelled: The client is gone, or somebody cancelled a job.
            GenerationFailed: A picture could not be made.
            InvalidRequest: A worker refused the input.
            StillRunning: These are jobs of an earlier request, which did not end within 25 seconds.
            Unavailable: The deadline passed in the queue, or the server shuts down.
        """
        work = asyncio.ensure_future(self._all_ends(ticket))
        watch = None if disconnected is None else asyncio.ensure_future(_until_gone(disconnected))
        patience_s = REPLAY_WAIT_S if ticket.replayed else ticket.deadline_s + GRACE_S
        both = {work} if watch is None else {work, watch}
        try:
            await asyncio.wait(both, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if ticket.replayed:
                raise StillRunning
            is_waiting = any(self._gateway.position(job_id) is not None for job_id in ticket.job_ids)
            self._abandon(ticket)
            if watch is not None and watch.done():
                raise failure("cancelled", "The client has gone.")
            if is_waiting:
                raise Unavailable("The picture took too long.", retry_after_s=5, hint=NOT_CHARGED)
            raise GenerationFailed("The picture took too long.", hint=NOT_CHARGED)
        except asyncio.CancelledError:
            self._abandon(ticket)
            raise
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _all_ends(self, ticket: Ticket) -> list[Outcome]:
        if len(ticket.job_ids) == 1:
            return [await self._end_of(ticket.job_id, replayed=ticket.replayed)]
        failures: list[AppError] = []
        async with asyncio.TaskGroup() as group:
            ends = [group.create_task(self._one_of(job_id, ticket, failures)) for job_id in ticket.job_ids]
        if failures:
            raise failures[0]
        return [outcome for end in ends if (outcome := end.result()) is not None]

    async def _one_of(self, job_id: str, ticket: Ticket, failures: list[AppError]) -> Outcome | None:
        """Wait for one of several; when it fails, nobody wants the others any more."""
        try:
            return await self._end_of(job_id, replayed=ticket.replayed)
        except AppError as error:
            failures.append(error)
            self._abandon(ticket)
            return None

    async def _end_of(self, job_id: str, *, replayed: bool = False) -> Outcome:
        """Wait for one job, wherever it runs."""
        try:
            end = await self._gateway.result(job_id)
        except NotFound:
            end = None
        if isinstance(end, Succeeded):
            job = self._book.settled(job_id) or await self._book.find(job_id)
            if job is not None and job.state == "succeeded":
                return _outcome(job, end.image, replayed=replayed)
        while True:
            job = await self._book.find(job_id)
            if job is None:
                raise NoSuchJob("There is no such job.")
            if job.is_terminal:
                return await self._ended(job, replayed=replayed)
            await self._book.bulletin.wait(job_id, LOOK_S)

    async def _ended(self, job: Job, *, replayed: bool = False) -> Outcome:
        if job.state != "succeeded":
            raise failure(_code(job), job.error_message)
        if not job.result_ref:
            raise NoSuchJob("The result of this job is no longer kept.")
        return _outcome(job, await self._blobs.aread(job.result_ref), replayed=replayed)

    def _abandon(self, ticket: Ticket) -> None:
        """Nobody waits for these jobs any more."""
        if not ticket.replayed:
            for job_id in ticket.job_ids:
                self._drop(job_id, is_keyed=ticket.is_keyed)

    def _drop(self, job_id: str, *, is_keyed: bool) -> None:
        is_waiting = self._gateway.position(job_id) is not None
        if is_waiting or not is_keyed:
            self._gateway.cancel(job_id, "the client is gone")

    # ------------------------------------------------------------ looking and cancelling

    async def get(self, principal: Principal, job_id: str) -> Job:
        """Return a job of the caller's account.

        Raises:
            NoSuchJob: It does not exist or is somebody else's.
        """
        job = await self._book.find(job_id)
        if job is None or job.org_id != principal.org_id:
            raise NoSuchJob("There is no such job.")
        return job

    async def list(
        self, principal: Principal, *, states: Collection[State] = (), before_id: str = "", limit: int = 50
    ) -> list[Job]:
        """Return jobs of the caller's account, newest first, from before a job.

        Raises:
            InvalidRequest: The limit is not from 1 to 100.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"limit: from 1 to {MAX_PAGE}")
        org_id = principal.org_id
        return await self._database.read(lambda c: repository.listed(c, org_id, states, before_id, limit))

    async def result(self, principal: Principal, job_id: str, *, same_key: bool = False) -> Outcome | None:
        """Return the picture of a job, or nothing while there may be one later; for those who poll.

        Args:
            principal: Who asks.
            job_id: Which.
            same_key: Whether only the credential that submitted the job may ask.

        Raises:
            AppError: The job failed; the error that a waiting client would have got.
            NoSuchJob: It does not exist, is somebody else's, or ended more than 24 hours ago.
        """
        job = await self.get(principal, job_id)
        if same_key and job.key_id != principal.key_id:
            raise NoSuchJob("There is no such job.")
        if not job.is_terminal:
            return None
        if job.finished_ms <= self._book.parts.clock.now_ms() - RESULT_LIFE_MS:
            raise NoSuchJob("The result of this job is no longer kept.")
        return await self._ended(job)

    async def cancel(self, principal: Principal, job_id: str) -> bool:
        """Cancel a job: at once if it waits, at its next step if it runs.

        Returns:
            Whether it was open; false if it had ended.

        Raises:
            NoSuchJob: It does not exist or is somebody else's.
        """
        job = await self.get(principal, job_id)
        if job.is_terminal:
            return False
        reason = "cancelled by the user"
        return self._gateway.cancel(job_id, reason) or await self._book.withdraw(job_id, reason)

    async def cancel_of_key(self, key_id: str) -> None:
        """Cancel the waiting jobs of a revoked key; those that run may finish."""
        reason = "the key was revoked"
        for job_id in await self._database.read(lambda c: repository.waiting_of_key(c, key_id)):
            if not self._gateway.cancel(job_id, reason):
                await self._book.withdraw(job_id, reason)

    async def events(self, principal: Principal, job_id: str) -> AsyncIterator[Event]:
        """Replay what was last said of a job, then pass on what happens, until it has ended.

        Raises:
            NoSuchJob: It does not exist or is somebody else's.
        """
        await self.get(principal, job_id)
        try:
            async for event in self._gateway.events(job_id):
                if event == SUPERSEDED:
                    break
                yield event
            else:
                return
        except NotFound:
            pass  # it ended a while ago, or another server process has it
        told_running = False
        while not (job := await self.get(principal, job_id)).is_terminal:
            if job.state == "running" and not told_running:
                told_running = True
                yield Started(job.worker, job.attempt)
            await self._book.bulletin.wait(job_id, LOOK_S)
        yield _end_event(job)


async def _until_gone(disconnected: Disconnected) -> None:
    while not await disconnected():
        await asyncio.sleep(0.5)


def _code(job: Job) -> str:
    """Tell apart where the deadline passed: in the queue is our fault for now, while running is a failure."""
    if job.error_code == "deadline_exceeded" and not job.started_ms:
        return "deadline_queue"
    return job.error_code


def _outcome(job: Job, image: bytes, *, replayed: bool) -> Outcome:
    return Outcome(
        job_id=job.id,
        image=image,
        media_type=job.media_type,
        width=job.width,
        height=job.height,
        seed=int(job.seed),
        model=job.model,
        filtered=job.is_filtered,
        charged=Micro(job.charged_micro),
        queue_ms=job.queue_ms,
        run_ms=job.run_ms,
        replayed=replayed,
    )


def _end_event(job: Job) -> Event:
    if job.state == "succeeded":
        return Succeeded(
            image=b"",
            media_type=job.media_type,
            width=job.width,
            height=job.height,
            seed=int(job.seed or 0),
            model=job.model,
            filtered=job.is_filtered,
            seconds=job.run_ms / 1000,
        )
    if job.state == "failed":
        return Failed(job.error_code, job.error_message)
    return Cancelled(job.error_message)
