"""Takes up at the start what an earlier server process left, and tidies up from time to time. Knows no HTTP."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from sqlalchemy import Connection

from keelbill.core.errors import AppError, NotFound
from keelbill.jobs import repository
from keelbill.jobs.book import Book
from keelbill.jobs.intake import KEY_LIFE_MS
from keelbill.jobs.leases import SEEN_EVERY_S
from keelbill.jobs.schemas import Job
from keelbill.jobs.service import RESULT_LIFE_MS
from keelbill.serving.gateway import Gateway

SWEEP_EVERY_S: Final = 30.0
TIDY_EVERY_S: Final = 3600.0
STRAY_AFTER_MS: Final = 60_000
MAX_ATTEMPTS: Final = 2

_log = structlog.get_logger(__name__)


class Janitor:
    """Nothing that a crash leaves behind stays: every job runs once more or ends, every hold is taken or given back.

    Args:
        book: Keeps the jobs.
        gateway: Gets those that run once more.
    """

    def __init__(self, book: Book, gateway: Gateway) -> None:
        self._book = book
        self._gateway = gateway
        self.swept_holds = 0

    async def recover(self) -> int:
        """Take up the jobs of server processes that are gone; return how many run once more.

        Call it once before requests come in; the sweeper repeats it. A job that was running is tried once more unless
        that was its second try. One that waited is queued again if somebody may still ask for its result: it has an
        idempotency key or its client polls. All others end, and their price is given back.
        """
        await self._book.parts.database.write(self._book.leases.begin)
        await self._book.parts.database.read(self._book.suspects.look)
        return await self._take_up_left()

    async def sweep(self) -> int:
        """Give back expired holds whose jobs do not live, forget what is a day old; return how many holds."""
        now_ms = self._book.parts.clock.now_ms()

        def sweep(connection: Connection) -> int:
            self._book.leases.seen(connection)
            repository.forget_results_before(connection, now_ms - RESULT_LIFE_MS)
            repository.drop_keys_before(connection, now_ms - KEY_LIFE_MS)
            self._book.parts.ledger.expire_lots(connection)
            return self._book.parts.ledger.sweep(connection, self._live)

        swept = await self._book.parts.database.write(sweep)
        await self._book.parts.database.read(self._book.suspects.look)
        if swept:
            self.swept_holds += swept
            _log.warning("holds_swept", holds=swept)
        await self._take_up_left()
        await self._take_up_strays()
        return swept

    async def tidy(self) -> int:
        """Delete pictures that are past their time and bytes that nothing mentions; return how many files went."""
        parts = self._book.parts
        await parts.gallery.retire(parts.settings.retention_days)
        await parts.gallery.purge()
        await parts.webhooks.forget_old()
        known = await parts.database.read(parts.gallery.all_refs)
        known |= await parts.database.read(repository.all_refs)
        for refs in parts.other_refs:
            known |= await parts.database.read(refs)
        return await asyncio.to_thread(parts.blobs.sweep, known)

    async def run(self) -> None:
        """Sweep every 30 seconds and tidy every hour until cancelled."""
        clock = self._book.parts.clock
        swept_s = tidied_s = clock.monotonic_s()
        while True:
            await asyncio.sleep(SEEN_EVERY_S)
            try:
                await self._book.parts.database.write(self._book.leases.seen)
                now_s = clock.monotonic_s()
                if now_s - swept_s >= SWEEP_EVERY_S:
                    swept_s = now_s
                    await self.sweep()
                if now_s - tidied_s >= TIDY_EVERY_S:
                    tidied_s = now_s
                    await self.tidy()
            except AppError as error:
                _log.warning("sweep_failed", reason=str(error))

    def _live(self, connection: Connection, job_ids: list[str]) -> set[str]:
        leases = self._book.leases
        return repository.alive(connection, job_ids, leases.process_id, leases.now_ms(connection))

    async def _take_up_left(self) -> int:
        def take_up(connection: Connection) -> list[Job]:
            leases = self._book.leases
            left = repository.open_of_others(connection, leases.living(connection))
            now_ms = leases.now_ms(connection)
            # Leases of another process mean something only by a clock that both share.
            shared = connection.dialect.name == "postgresql"
            ready = [job for job in left if job.state == "queued" or not shared or job.lease_ms <= now_ms]
            again = [self._again(connection, job) for job in ready]
            return [job for job in again if job is not None]

        return await self._queue(await self._book.parts.database.write(take_up))

    async def _take_up_strays(self) -> None:
        """Look for jobs of this process that its queue does not know; there should be none."""
        own = self._book.leases.process_id
        candidates = await self._book.parts.database.read(
            lambda c: repository.strays(
                c, own, self._book.leases.now_ms(c), self._book.parts.clock.now_ms() - STRAY_AFTER_MS
            )
        )
        strays = [job for job in candidates if not await self._is_known(job.id)]
        if strays:
            _log.error("stray_jobs", jobs=len(strays))
            again = await self._book.parts.database.write(lambda c: [self._again(c, job) for job in strays])
            await self._queue([job for job in again if job is not None])

    def _again(self, connection: Connection, job: Job) -> Job | None:
        """Decide what becomes of an open job that no queue has: return it if it runs once more."""
        own = self._book.leases.process_id
        if job.state == "running":
            if job.attempt < MAX_ATTEMPTS:
                return repository.requeue(connection, job.id, job.epoch, own)
            self._book.give_up(connection, job, "worker_lost", "The server was lost twice while it made this picture.")
            return None
        if job.is_async or job.is_keyed or job.attempt > 1:
            return job if repository.adopt(connection, job.id, job.owner, own) else None
        self._book.give_up(connection, job, "service_unavailable", "The server was restarted; try again.")
        return None

    async def _queue(self, jobs: list[Job]) -> int:
        for job in jobs:
            await self._gateway.submit(job.spec(), sync=False)
        if jobs:
            _log.info("jobs_recovered", jobs=len(jobs))
        return len(jobs)

    async def _is_known(self, job_id: str) -> bool:
        try:
            async with asyncio.timeout(0):
                await self._gateway.result(job_id)
        except NotFound:
            return False
        except TimeoutError:
            return True
        return True
