"""Tells any number of watchers what happens to one job, and never waits for a slow one. Knows no queue or worker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from keelbill.core.clock import Clock
from keelbill.core.errors import Unavailable
from keelbill.serving.messages import Cancelled, Event, Failed, GraphNews, Progress, Queued, Succeeded, Terminal

PREVIEW_EVERY_S: Final = 0.25
MAX_PREVIEW_BYTES: Final = 64 * 1024


class _Watcher:
    """What one reader has not read yet: at most one progress and one position, whatever else happened."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._unread: deque[Event] = deque()
        self._filled = asyncio.Event()
        self._preview_at_s = -PREVIEW_EVERY_S
        self._is_closed = False

    def put(self, event: Event) -> None:
        if isinstance(event, Progress) and event.preview is not None:
            event = self._thinned(event, event.preview)
        if self._unread and isinstance(event, Progress | Queued) and type(self._unread[-1]) is type(event):
            self._unread.pop()  # the reader is slow; only the newest matters
        self._unread.append(event)
        self._filled.set()

    def close(self) -> None:
        self._is_closed = True
        self._filled.set()

    async def get(self) -> Event | None:
        while not self._unread:
            if self._is_closed:
                return None
            self._filled.clear()
            await self._filled.wait()
        return self._unread.popleft()

    def _thinned(self, event: Progress, preview: bytes) -> Progress:
        now_s = self._clock.monotonic_s()
        if len(preview) > MAX_PREVIEW_BYTES or now_s - self._preview_at_s < PREVIEW_EVERY_S:
            return Progress(event.step, event.total)
        self._preview_at_s = now_s
        return event


class Audience:
    """The watchers of one job, and what they were last told.

    Args:
        clock: Spaces the previews.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watchers: list[_Watcher] = []
        self._done = asyncio.Event()
        self.last: Event | None = None
        self.terminal: Terminal | None = None

    def __bool__(self) -> bool:
        return bool(self._watchers)

    def tell(self, event: Event) -> None:
        """Pass an event on; what comes after a terminal one is dropped."""
        if self.terminal is not None:
            return
        if isinstance(event, GraphNews) and (event.files or event.image):
            event = msgspec.structs.replace(event, files=(), image=None)  # whoever stores them has them already
        self.last = event
        if isinstance(event, Succeeded | Failed | Cancelled):
            self.terminal = event
            self._done.set()
        for watcher in self._watchers:
            watcher.put(event)

    def close(self) -> None:
        """Send the watchers away without an end."""
        self._done.set()
        for watcher in self._watchers:
            watcher.close()

    async def events(self) -> AsyncIterator[Event]:
        """Replay the last event, then pass on what happens until the end."""
        watcher = _Watcher(self._clock)
        if self.last is not None:
            watcher.put(self.last)
        self._watchers.append(watcher)
        try:
            while (event := await watcher.get()) is not None:
                yield event
                if isinstance(event, Succeeded | Failed | Cancelled):
                    return
        finally:
            self._watchers.remove(watcher)

    async def end(self) -> Terminal:
        """Wait for the terminal event.

        Raises:
            Unavailable: The audience was closed before.
        """
        await self._done.wait()
        if self.terminal is None:
            raise Unavailable("The server is shutting down; the job goes on after its next start.", retry_after_s=5)
        return self.terminal
