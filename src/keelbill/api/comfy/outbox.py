"""What waits to be sent over one socket. Knows frames and which of them may be dropped; knows no socket.

A client may read slowly. What tells of a run's life is always sent, in order; of progress only the latest is kept, and
of previews too. A client that reads nothing at all is given up.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

MAX_WAITING_BYTES: Final = 64 * 2**20
MAX_WAITING_FRAMES: Final = 5000
MAX_DROPPABLE_BYTES: Final = 4 * 2**20

Frame = str | bytes


class Overfull(Exception):
    """The client does not read."""


class Outbox:
    """Frames in the order in which they are sent."""

    def __init__(self) -> None:
        self._frames: OrderedDict[str, Frame] = OrderedDict()
        self._count = 0
        self._bytes = 0
        self._ready = asyncio.Event()
        self._is_broken = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def waiting_bytes(self) -> int:
        """Length of all that waits."""
        return self._bytes

    def put(self, frame: Frame, *, instead_of: str = "", droppable: bool = False) -> None:
        """Add a frame; never waits.

        Args:
            frame: Text or bytes.
            instead_of: Takes the place of a waiting frame of the same name; "" is one that must be sent.
            droppable: Whether it is left out while much waits.
        """
        if self._is_broken:
            return
        if instead_of and instead_of in self._frames:
            self._bytes -= len(self._frames.pop(instead_of))
            self.dropped += 1
        if droppable and self._bytes + len(frame) > MAX_DROPPABLE_BYTES:
            self.dropped += 1
            return
        self._count += 1
        self._frames[instead_of or f"#{self._count}"] = frame
        self._bytes += len(frame)
        if self._bytes > MAX_WAITING_BYTES or len(self._frames) > MAX_WAITING_FRAMES:
            self._is_broken = True
            self._frames.clear()
            self._bytes = 0
        self._ready.set()

    async def take(self) -> Frame:
        """Return the next frame, when there is one.

        Raises:
            Overfull: More waited than may; the client does not read.
        """
        while not self._frames:
            if self._is_broken:
                raise Overfull
            self._ready.clear()
            await self._ready.wait()
        _, frame = self._frames.popitem(last=False)
        self._bytes -= len(frame)
        return frame
