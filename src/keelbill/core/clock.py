"""The time. Ask here, so that tests can move it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time of day and measures spans."""

    def now(self) -> datetime:
        """Return the time of day in UTC."""
        ...

    def now_ms(self) -> int:
        """Return the time of day in milliseconds since 1970 in UTC; what the database stores."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds since an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """Return the time of day in UTC."""
        return datetime.now(UTC)

    def now_ms(self) -> int:
        """Return the time of day in milliseconds since 1970 in UTC."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Return seconds since an arbitrary start; never goes back."""
        return time.monotonic()
