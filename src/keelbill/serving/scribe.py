"""Writes into the job book, and again while it is away. Knows neither workers nor turns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog

from keelbill.core.clock import Clock
from keelbill.core.errors import Unavailable
from keelbill.serving.messages import Failed, Succeeded, Terminal
from keelbill.serving.pool import JobBook
from keelbill.serving.roll import Job
from keelbill.storage.blobs import DiskFull

BACK_OFF_S: Final = 1.0
"""Pause after the job book was away."""

STORE_PATIENCE_S: Final = 3600.0
"""How long a finished picture waits for the job book to come back."""

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class Scribe:
    """Keeps the book for the gateway.

    Args:
        book: Where jobs are kept.
        clock: Tells the time.
    """

    def __init__(self, book: JobBook, clock: Clock) -> None:
        self._book = book
        self._clock = clock

    async def end(self, job: Job, end: Terminal) -> Terminal | None:
        """Write a job's end.

        Returns:
            The end as it was written, which is a failure if the picture could not be stored; nothing if the job was
            no longer ours.

        Raises:
            Unavailable: The book was away for an hour.
        """
        try:
            is_ours = await self.insist(lambda: self._write(job, end))
        except (DiskFull, OSError) as error:
            _log.error("result_not_stored", job=job.id, reason=str(error))
            end = failed = Failed("storage_full", "The picture could not be stored.", retriable=True)
            is_ours = await self.insist(lambda: self._book.fail(job.id, job.epoch, failed))
        return end if is_ours else None

    async def insist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Try again while the book is away; a full disk is another matter.

        Raises:
            DiskFull: As `write`.
            Unavailable: The book was away for an hour.
        """
        begun_s = self._clock.monotonic_s()
        while True:
            try:
                return await write()
            except DiskFull:
                raise
            except Unavailable as error:
                if self._clock.monotonic_s() - begun_s > STORE_PATIENCE_S:
                    raise
                _log.warning("book_away", reason=error.message)
                await asyncio.sleep(BACK_OFF_S)

    def _write(self, job: Job, end: Terminal) -> Coroutine[Any, Any, bool]:
        if isinstance(end, Succeeded):
            return self._book.succeed(job.id, job.epoch, end)
        if isinstance(end, Failed):
            return self._book.fail(job.id, job.epoch, end)
        return self._book.cancelled(job.id, job.epoch, end.reason)
