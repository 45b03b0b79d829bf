"""The system's clock."""

from __future__ import annotations

from datetime import UTC

from keelbill.core.clock import SystemClock


def test_time_is_in_utc_and_spans_do_not_shrink() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic_s() <= clock.monotonic_s()
