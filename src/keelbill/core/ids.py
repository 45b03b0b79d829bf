"""Names for new rows: unique everywhere, sortable by time, never guessable. Knows no tables."""

from __future__ import annotations

import secrets
import time


def new_id() -> str:
    """Return a UUID of version 7 as 32 lower-case hex digits (RFC 9562): 48 bits of milliseconds, 74 of chance."""
    milliseconds = (time.time_ns() // 1_000_000) & (2**48 - 1)
    chance = secrets.randbits(74)
    value = milliseconds << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62 | chance & (2**62 - 1)
    return f"{value:032x}"


def request_id() -> str:
    """Return 32 random lower-case hex digits that name one request."""
    return secrets.token_hex(16)
