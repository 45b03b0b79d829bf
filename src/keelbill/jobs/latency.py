"""Says how long an organisation's newest jobs waited and ran. Knows no money and no pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, select

from keelbill.jobs.models import job

NEWEST: Final = 5000
"""Jobs that are looked at; percentiles of more would say the same."""


@dataclass(frozen=True)
class Latency:
    """Percentiles in milliseconds of one day.

    Attributes:
        day: Such as ``2026-01-31``, in UTC.
        jobs: Pictures that these are the percentiles of.
        wait_p50_ms: From asking to beginning; half of the jobs began sooner.
        wait_p95_ms: Likewise, 95 of 100.
        total_p50_ms: From asking to the finished picture.
        total_p95_ms: Likewise.
        total_p99_ms: Likewise.
    """

    day: str
    jobs: int
    wait_p50_ms: int
    wait_p95_ms: int
    total_p50_ms: int
    total_p95_ms: int
    total_p99_ms: int


def percentile(ordered: Sequence[int], percent: int) -> int:
    """Return the smallest value that at least `percent` of 100 values do not exceed (nearest rank).

    Args:
        ordered: At least one value, the smallest first.
        percent: 1 to 100.
    """
    return ordered[max(-(-len(ordered) * percent // 100), 1) - 1]


def by_day(connection: Connection, org_id: str, since_ms: int) -> list[Latency]:
    """Return percentiles of the finished pictures of each day, the oldest day first."""
    query = (
        select(job.c.created_ms, job.c.started_ms, job.c.finished_ms)
        .where(
            job.c.org_id == org_id,
            job.c.state == "succeeded",
            job.c.created_ms >= since_ms,
            job.c.started_ms > 0,
        )
        .order_by(job.c.id.desc())
        .limit(NEWEST)
    )
    waits: dict[str, list[int]] = defaultdict(list)
    totals: dict[str, list[int]] = defaultdict(list)
    for created_ms, started_ms, finished_ms in connection.execute(query):
        day = datetime.fromtimestamp(created_ms / 1000, UTC).date().isoformat()
        waits[day].append(max(started_ms - created_ms, 0))
        totals[day].append(max(finished_ms - created_ms, 0))
    return [_latency(day, sorted(waits[day]), sorted(totals[day])) for day in sorted(waits)]


def _latency(day: str, waits: list[int], totals: list[int]) -> Latency:
    return Latency(
        day,
        len(waits),
        percentile(waits, 50),
        percentile(waits, 95),
        percentile(totals, 50),
        percentile(totals, 95),
        percentile(totals, 99),
    )
