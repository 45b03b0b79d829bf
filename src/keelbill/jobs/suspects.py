"""Requests that ended two workers, which nobody may send again for a while. Knows neither queue nor HTTP.

A picture or a prompt on which the networks crash would otherwise take a worker down at every try, and with it the
pictures of others. The mark is on the whole request but for its seed, and on one organisation: an accident that befell
somebody's plain request must not close it to all.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

import msgspec
from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.jobs import repository
from keelbill.jobs.errors import Suspected
from keelbill.serving.messages import ImageTask

SUSPECT_MS: Final = 900_000
"""How long such a request is refused, from the second loss."""

BLAMED: Final = "worker_lost_twice"
"""Error code of the jobs that ended two workers; one whose server was killed as well is not blamed."""


class Suspects:
    """The requests that are refused now.

    They are read from the jobs that failed so, at the start and from time to time, so that a restart forgets none and
    server processes learn of each other's.

    Args:
        clock: Tells the time of day.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_ms: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._until_ms)

    def look(self, connection: Connection) -> None:
        """Read again who is suspect."""
        since_ms = self._clock.now_ms() - SUSPECT_MS
        self._until_ms = {
            (org_id, fingerprint(msgspec.json.decode(task, type=ImageTask))): finished_ms + SUSPECT_MS
            for org_id, task, finished_ms in repository.failed_as(connection, BLAMED, since_ms)
        }

    def check(self, org_id: str, task: ImageTask) -> None:
        """Refuse a request that ended two workers a short while ago.

        Raises:
            Suspected: It did.
        """
        if not self._until_ms:
            return
        until_ms = self._until_ms.get((org_id, fingerprint(task)), 0)
        if until_ms > self._clock.now_ms():
            raise Suspected(datetime.fromtimestamp(until_ms / 1000, UTC))


def fingerprint(task: ImageTask) -> str:
    """Digest what is asked for; two requests that differ in the seed alone are the same."""
    plain = msgspec.structs.replace(task, seed=0, previews=False)
    return hashlib.sha256(msgspec.json.encode(plain, order="deterministic")).hexdigest()
