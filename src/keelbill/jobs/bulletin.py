"""What server processes that share a database tell each other about ended jobs. Knows neither queue nor HTTP.

A message only spares somebody a pause between two looks into the database, so one that is lost does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy import Connection

from keelbill.db import notices

_ENDED = "ended"


class Bulletin:
    """Who waits for jobs of other processes, and what is heard of them.

    Args:
        process_id: Of this process; its own messages are passed over.
    """

    def __init__(self, process_id: str) -> None:
        self._process_id = process_id
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self.on_ended: Callable[[str], None] = lambda job_id: None

    def tell(self, connection: Connection, job_id: str) -> None:
        """Say, with the commit of this transaction, that a job has ended."""
        notices.tell(connection, f"{_ENDED} {job_id} {self._process_id}")

    def hear(self, text: str) -> None:
        """Take a message that another process sent; called on the event loop."""
        kind, _, rest = text.partition(" ")
        job_id, _, sender = rest.partition(" ")
        if kind != _ENDED or sender == self._process_id:
            return
        for event in self._waiting.get(job_id, ()):
            event.set()
        self.on_ended(job_id)

    async def wait(self, job_id: str, seconds: float) -> None:
        """Wait until a job is said to have ended, or for some seconds."""
        event = asyncio.Event()
        self._waiting.setdefault(job_id, set()).add(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting[job_id].discard(event)
            if not self._waiting[job_id]:
                del self._waiting[job_id]
