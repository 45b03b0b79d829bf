"""Keeps jobs durably and ends each exactly once: picture, price, history and usage agree or nothing happened.

Knows the tables and the ledger; knows neither queue, workers nor HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog
from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.ids import new_id
from keelbill.core.settings import Settings
from keelbill.core.types import Micro, micro
from keelbill.db.base import Database
from keelbill.gallery.schemas import NewPicture
from keelbill.gallery.service import Gallery
from keelbill.jobs import repository
from keelbill.jobs.bulletin import Bulletin
from keelbill.jobs.graphs import GraphRuns, KeptFile
from keelbill.jobs.leases import Leases
from keelbill.jobs.schemas import Job, State
from keelbill.jobs.suspects import BLAMED, Suspects
from keelbill.ledger.errors import HoldNotOpen
from keelbill.ledger.service import Ledger
from keelbill.serving.messages import Failed, Succeeded
from keelbill.storage.blobs import BlobStore, DiskFull
from keelbill.usage.schemas import Ending, Use
from keelbill.usage.service import Usage
from keelbill.webhooks.service import Webhooks

FREE_FILTERED: Final = 20
"""Blurred pictures that an account gets for nothing per day (UTC); more of them cost."""

LOW_CREDITS: Final = micro(10)
DAY_MS: Final = 86_400_000
KEPT: Final = 4096

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Parts:
    """Whom the book writes through, all in one transaction.

    Attributes:
        database: Where the jobs are.
        blobs: Where pictures are put before any row mentions them.
        ledger: Holds and takes the price.
        gallery: Keeps the picture.
        usage: Counts.
        webhooks: Tells.
        clock: Stamps.
        settings: Whether blurred pictures cost.
        other_refs: Each returns blobs that others keep.
    """

    database: Database
    blobs: BlobStore
    ledger: Ledger
    gallery: Gallery
    usage: Usage
    webhooks: Webhooks
    clock: Clock
    settings: Settings
    other_refs: Sequence[Callable[[Connection], set[str]]] = ()


class Book:
    """The durable half of serving; the queue asks it before and after everything that must not be lost.

    Args:
        parts: Whom it writes through.
        leases: Who is alive.
        on_message: Called after a commit that queued webhook messages.
        runs: Keeps the outputs of graphs; without it no graph can be run.
    """

    def __init__(
        self,
        parts: Parts,
        leases: Leases | None = None,
        *,
        on_message: Callable[[], None] | None = None,
        runs: GraphRuns | None = None,
    ) -> None:
        self.parts = parts
        self.runs = runs
        self.leases = leases or Leases(parts.clock)
        self.bulletin = Bulletin(self.leases.process_id)
        self.suspects = Suspects(parts.clock)
        self.on_message = on_message
        self.lost_holds = 0
        self._settled: OrderedDict[str, Job] = OrderedDict()

    async def claim(self, job_id: str, worker: str, lease_s: float) -> int | None:
        """Mark a queued job as running and return its new epoch, or nothing if nobody wants it any more."""
        leases, now_ms = self.leases, self.parts.clock.now_ms()

        def claim(connection: Connection) -> int | None:
            until_ms = leases.until_ms(connection, lease_s)
            return repository.claim(connection, job_id, leases.process_id, worker, until_ms, now_ms)

        return await self.parts.database.write(claim)

    async def renew(self, epochs: Mapping[str, int], lease_s: float) -> set[str]:
        """Extend the leases of running jobs and return the ids that are still ours."""

        def renew(connection: Connection) -> dict[str, int]:
            until_ms = self.leases.until_ms(connection, lease_s)
            return repository.renew(connection, self.leases.process_id, list(epochs), until_ms)

        renewed = await self.parts.database.write(renew)
        return {job_id for job_id, epoch in renewed.items() if epochs[job_id] == epoch}

    async def succeed(self, job_id: str, epoch: int, result: Succeeded) -> bool:
        """Store the picture, then end the job and take its price in one transaction.

        Returns:
            Whether the job was running under this epoch; else nothing was changed.

        Raises:
            DiskFull: The picture cannot be stored; nothing was changed.
        """
        await self._outputs_stored(job_id)
        blobs = self.parts.blobs
        ref, thumb = await asyncio.gather(
            *(blobs.aput(content) if content else _nothing() for content in (result.image, result.thumb))
        )
        try:
            ended = await self.parts.database.write(lambda c: self._settle(c, job_id, epoch, result, ref, thumb))
        except HoldNotOpen:
            self.lost_holds += 1
            _log.error("hold_lost", job=job_id)
            await self.parts.database.write(
                lambda c: self._end(c, job_id, "failed", epoch, "hold_lost", "The reserved credits were gone.")
            )
            return False
        if ended is None:
            return False
        self._remember(ended)
        self._tell()
        return True

    async def fail(self, job_id: str, epoch: int, failure: Failed) -> bool:
        """End a waiting or running job without a picture and release its price; false if the epoch is stale."""
        return await self._ended(job_id, "failed", epoch, failure.code, failure.message, failure.detail)

    async def cancelled(self, job_id: str, epoch: int, reason: str) -> bool:
        """End a job that was cancelled while it waited or ran and release its price; false if the epoch is stale."""
        return await self._ended(job_id, "cancelled", epoch, "cancelled", reason)

    async def withdraw(self, job_id: str, reason: str) -> bool:
        """Cancel a job that neither waits nor runs in this process; false if it does not elsewhere either.

        The other process hears of it, or finds it out when it renews the job's lease, and stops.
        """
        own = self.leases.process_id

        def withdraw(connection: Connection) -> Job | None:
            job = repository.find(connection, job_id)
            if job is None or (job.state == "running" and job.owner == own):
                return None
            return self._end(connection, job_id, "cancelled", job.epoch, "cancelled", reason)

        ended = await self.parts.database.write(withdraw)
        self._tell()
        return ended is not None

    async def requeue(self, job_id: str, epoch: int, reason: str) -> int | None:
        """Put a running job back after its worker was lost and return the next attempt, or nothing if it has ended."""
        owner = self.leases.process_id
        job = await self.parts.database.write(lambda c: repository.requeue(c, job_id, epoch, owner))
        if job is None:
            return None
        _log.info("job_requeued", job=job_id, attempt=job.attempt, reason=reason)
        return job.attempt

    def settled(self, job_id: str) -> Job | None:
        """Return a job that ended well in this process not long ago, once; a short way around the database."""
        return self._settled.pop(job_id, None)

    async def find(self, job_id: str) -> Job | None:
        """Return a job, whoever owns it."""
        return await self.parts.database.glance(lambda connection: repository.find(connection, job_id))

    def give_up(self, connection: Connection, job: Job, code: str, message: str) -> Job | None:
        """End an open job without a picture, in the transaction of whoever decides it."""
        return self._end(connection, job.id, "failed", job.epoch, code, message)

    def _settle(
        self, connection: Connection, job_id: str, epoch: int, result: Succeeded, ref: str, thumb: str
    ) -> Job | None:
        """Everything that is true of a success, in one transaction; lock order: job, hold, wallet, the rest."""
        now_ms = self.parts.clock.now_ms()
        kept = [] if ref else self._kept(connection, job_id)
        shown = kept[0] if kept else None
        job = repository.succeed(
            connection,
            job_id,
            epoch,
            ref=shown.blob_ref if shown else ref,
            media_type=shown.media_type if shown else result.media_type,
            width=shown.width if shown else result.width,
            height=shown.height if shown else result.height,
            seed=result.seed,
            model=result.model,
            is_filtered=result.filtered,
            run_ms=result.seconds * 1000,
            now_ms=now_ms,
        )
        if job is None:
            return None
        self._tell_others(connection, job_id)
        charged = self._charge(connection, job, result, now_ms)
        if ref:
            kept = [KeptFile(ref, result.media_type, len(result.image), result.width, result.height, thumb)]
        for place, file in enumerate(kept):
            self.parts.gallery.add(connection, _picture(job, result, file, charged if place == 0 else Micro(0)))
        self._run_ended(connection, job, "", "", "")
        self._count(connection, job, "filtered" if job.is_filtered else "succeeded", charged)
        if self.parts.webhooks.is_on:
            self._announce(connection, job, charged)
        return replace(job, charged_micro=charged) if job.charged_micro != charged else job

    def _charge(self, connection: Connection, job: Job, result: Succeeded, now_ms: int) -> Micro:
        if not result.is_billable:
            self.parts.ledger.void(connection, job.id, "nothing to pay for")
            repository.charge(connection, job.id, 0)
            return Micro(0)
        if job.is_filtered and not self.parts.settings.charge_filtered:
            day_ms = now_ms - now_ms % DAY_MS
            if repository.free_filtered_since(connection, job.org_id, day_ms) < FREE_FILTERED:
                self.parts.ledger.void(connection, job.id, "filtered")
                repository.charge(connection, job.id, 0)
                return Micro(0)
        return self.parts.ledger.capture(connection, job.id)

    def _announce(self, connection: Connection, job: Job, charged: Micro) -> None:
        facts: dict[str, object] = {
            "id": job.id,
            "service": job.service,
            "model": job.model,
            "seed": int(job.seed),
            "width": job.width,
            "height": job.height,
            "filtered": job.is_filtered,
            "charged_micro_credits": charged,
        }
        self.parts.webhooks.emit(connection, job.org_id, "job.succeeded", facts)
        available = self.parts.ledger.balance(connection, job.org_id).available
        if available < LOW_CREDITS <= available + charged:
            self.parts.webhooks.emit(connection, job.org_id, "credits.low", {"available_micro_credits": available})

    async def _outputs_stored(self, job_id: str) -> None:
        if self.runs is not None:
            await self.runs.settled(job_id)

    def _kept(self, connection: Connection, job_id: str) -> Sequence[KeptFile]:
        return self.runs.kept(connection, job_id) if self.runs is not None else []

    def _run_ended(self, connection: Connection, job: Job, code: str, message: str, detail: str) -> None:
        if self.runs is not None and job.kind == "graph":
            self.runs.ended(connection, job.id, job.state, code, message, detail)

    async def _ended(self, job_id: str, state: State, epoch: int, code: str, message: str, detail: str = "") -> bool:
        with contextlib.suppress(DiskFull):  # what could not be stored is missing; the job ends all the same
            await self._outputs_stored(job_id)
        job = await self.parts.database.write(
            lambda c: self._end(c, job_id, state, epoch, code, message, detail=detail)
        )
        self._tell()
        if job is not None and code == BLAMED:
            await self.parts.database.read(self.suspects.look)
        return job is not None

    def _end(
        self,
        connection: Connection,
        job_id: str,
        state: State,
        epoch: int | None,
        code: str,
        message: str,
        *,
        only: State | None = None,
        detail: str = "",
    ) -> Job | None:
        now_ms = self.parts.clock.now_ms()
        states: tuple[State, ...] = (only,) if only else ("queued", "running")
        job = repository.end(connection, job_id, state, now_ms, epoch=epoch, only=states, code=code, message=message)
        if job is None:
            return None
        self._tell_others(connection, job_id)
        self.parts.ledger.void(connection, job_id, code)
        self._run_ended(connection, job, code, message, detail)
        self._count(connection, job, "failed" if state == "failed" else "cancelled", Micro(0))
        if state == "failed":
            facts: dict[str, object] = {"id": job.id, "service": job.service, "code": code, "message": message}
            self.parts.webhooks.emit(connection, job.org_id, "job.failed", facts)
        return job

    def _count(self, connection: Connection, job: Job, ending: Ending, charged: Micro) -> None:
        use = Use(
            org_id=job.org_id,
            key_id=job.key_id,
            user_id=job.user_id,
            service=job.service,
            model=job.requested_model or job.model,
            ending=ending,
            charged=charged,
            compute_ms=job.run_ms,
        )
        self.parts.usage.record(connection, use)

    def _tell_others(self, connection: Connection, job_id: str) -> None:
        """Spare other server processes a wait; alone, spare PostgreSQL the lock that every message takes."""
        if self.leases.has_company:
            self.bulletin.tell(connection, job_id)

    def _remember(self, job: Job) -> None:
        self._settled[job.id] = job
        while len(self._settled) > KEPT:
            self._settled.popitem(last=False)

    def _tell(self) -> None:
        if self.on_message is not None and self.parts.webhooks.is_on:
            self.on_message()


async def _nothing() -> str:
    return ""


def _picture(job: Job, result: Succeeded, file: KeptFile, charged: Micro) -> NewPicture:
    task = job.image_task()
    return NewPicture(
        id=new_id(),
        org_id=job.org_id,
        user_id=job.user_id,
        job_id=job.id,
        blob_ref=file.blob_ref,
        media_type=file.media_type,
        size_bytes=file.size_bytes,
        width=file.width,
        height=file.height,
        prompt=task.recipe_prompt or task.prompt,
        negative=task.negative_prompt,
        model=result.model,
        requested_model=job.requested_model,
        seed=result.seed,
        kind=job.kind,
        service=job.service,
        recipe=job.task,
        filtered=result.filtered,
        price=charged,
        key_id=job.key_id,
        thumb_ref=file.thumb_ref,
    )
