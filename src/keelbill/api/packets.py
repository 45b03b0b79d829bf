"""Sends what is written in one turn of the event loop together. Knows no HTTP.

Head and body of an answer are two writes, and each write of its own is a call of the system that carries a packet all
the way to its receiver: for a small answer, a fifth of everything that the server does.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Transport
from typing import Any, Final

MOST_HELD_BYTES: Final = 64 * 1024
"""More is sent at once, so that the transport can say when it has enough."""


class Packets:
    """A transport that waits for the end of the turn before it sends; all else is left to the one that it stands for.

    Args:
        transport: What sends.
        loop: Whose turns count.
    """

    __slots__ = ("_held", "_held_bytes", "_loop", "transport")

    def __init__(self, transport: Transport, loop: AbstractEventLoop) -> None:
        self.transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._held_bytes = 0

    def write(self, data: bytes) -> None:
        """Send some bytes, at the latest when everything else of this turn is done."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > MOST_HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        held, self._held, self._held_bytes = self._held, [], 0
        if held and not self.transport.is_closing():
            self.transport.writelines(held)

    def is_closing(self) -> bool:
        """Whether the connection ends or has ended."""
        return self.transport.is_closing()

    def close(self) -> None:
        """Send what waits, then end the connection."""
        self.flush()
        self.transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)
