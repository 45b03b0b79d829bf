"""Cancels what waits for people who may no longer ask for it; what runs may finish. Knows no HTTP.

It is called when somebody is put out, and from time to time, because the command line and other server processes put
people out too.
"""

from __future__ import annotations

from typing import Final

import structlog
from sqlalchemy import Connection, select

from keelbill.identity.departures import Claim, departed
from keelbill.jobs.book import Book
from keelbill.jobs.models import job
from keelbill.serving.gateway import Gateway

REASON: Final = "its owner may no longer use this account"

_log = structlog.get_logger(__name__)


class Departures:
    """Looks for waiting jobs of people who have gone.

    Args:
        book: Keeps the jobs.
        gateway: Queues them.
    """

    def __init__(self, book: Book, gateway: Gateway) -> None:
        self._book = book
        self._gateway = gateway

    async def settle(self) -> int:
        """Cancel their waiting jobs and give the reserved credits back; return how many jobs."""
        ended = 0
        for job_id in await self._book.parts.database.read(orphans):
            is_here = self._gateway.position(job_id) is not None
            ended += (is_here and self._gateway.cancel(job_id, REASON)) or await self._book.withdraw(job_id, REASON)
        if ended:
            _log.info("jobs_of_departed_cancelled", jobs=ended)
        return ended


def orphans(connection: Connection) -> list[str]:
    """Return the waiting jobs whose owners may no longer act."""
    query = select(job.c.id, job.c.org_id, job.c.user_id, job.c.key_id)
    waiting = connection.execute(query.where(job.c.finished_ms == 0, job.c.state == "queued")).all()
    gone = departed(connection, (Claim(row.org_id, row.user_id, row.key_id) for row in waiting))
    return [row.id for row in waiting if Claim(row.org_id, row.user_id, row.key_id) in gone]
