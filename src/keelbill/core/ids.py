"""Names for new rows: unique everywhere, in the order of their making, never guessable. Knows no tables."""

from __future__ import annotations

import os
import threading
import time

_BULK_BYTES = 4096
_GAP_BITS = 56


class _Chance:
    """Bytes of the system's secure source, drawn in bulk, because each call of it costs as much as a database row."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stock = b""
        self._last_ms = 0
        self._last = 0
        if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """Let a forked process draw its own; the lock may have been held by a thread that is not there."""
        self._lock, self._stock, self._last_ms, self._last = threading.Lock(), b"", 0, 0

    def _draw(self, count: int) -> bytes:
        if len(self._stock) < count:
            self._stock = os.urandom(_BULK_BYTES)
        drawn, self._stock = self._stock[:count], self._stock[count:]
        return drawn

    def draw(self, count: int) -> bytes:
        """Return `count` bytes that nobody got before."""
        with self._lock:
            return self._draw(count)

    def stamp(self, now_ms: int) -> tuple[int, int]:
        """Return milliseconds and 74 bits of chance, together larger than any pair before it in this process."""
        with self._lock:
            if now_ms > self._last_ms:
                self._last_ms = now_ms
                self._last = int.from_bytes(self._draw(10), "big") & (2**73 - 1)  # room for steps above it
            else:
                self._last += 1 + (int.from_bytes(self._draw(7), "big") & (2**_GAP_BITS - 1))
                if self._last >= 2**74:
                    self._last_ms += 1
                    self._last = int.from_bytes(self._draw(10), "big") & (2**73 - 1)
            return self._last_ms, self._last


_chance = _Chance()


def new_id() -> str:
    """Return a UUID of version 7 as 32 lower-case hex digits (RFC 9562): 48 bits of milliseconds, 74 of chance.

    Within a process each is greater than the one before it, by a step of chance when the millisecond is the same.
    """
    milliseconds, chance = _chance.stamp(time.time_ns() // 1_000_000)
    head = (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | (chance >> 62) << 64
    return f"{head | 0b10 << 62 | chance & (2**62 - 1):032x}"


def request_id() -> str:
    """Return 32 random lower-case hex digits that name one request."""
    return _chance.draw(16).hex()
