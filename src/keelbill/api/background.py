"""Work that is done again and again beside the requests. Knows neither the work nor who else runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger("keelbill.background")


class Repeater:
    """Does a piece of work at a fixed pause until it is stopped; a failure is logged and the next turn comes.

    Args:
        name: For the log.
        every_s: Pause between two turns in seconds.
        work: One turn.
        first_s: Pause before the first turn; as between two turns if none is given.
    """

    def __init__(
        self, name: str, every_s: float, work: Callable[[], Awaitable[object]], *, first_s: float | None = None
    ) -> None:
        self.name = name
        self.every_s = every_s
        self.first_s = every_s if first_s is None else first_s
        self.failures = 0
        self._work = work
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with a pause."""
        self._task = asyncio.create_task(self._run(), name=f"repeat {self.name}")

    async def stop(self) -> None:
        """End, also in the middle of a turn."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        pause_s = self.first_s
        while True:
            await asyncio.sleep(pause_s)
            pause_s = self.every_s
            try:
                await self._work()
            except Exception:
                self.failures += 1
                log.exception("background_work_failed", work=self.name)
