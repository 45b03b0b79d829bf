"""Counts what was used and answers questions about it. Knows no pictures and moves no money."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Final

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.types import credits_of
from keelbill.db.base import Database
from keelbill.usage import repository
from keelbill.usage.errors import BadPeriod
from keelbill.usage.schemas import Grouping, Line, Use

MAX_DAYS: Final = 400
DEFAULT_DAYS: Final = 30
_EARLIEST: Final = date.min + timedelta(days=DEFAULT_DAYS)
CSV_COLUMNS: Final = ("requests", "pictures", "failed", "filtered", "credits", "compute_seconds")


class Usage:
    """Totals by day, written in the transaction in which a job ends.

    Args:
        database: Where the totals are kept.
        clock: Decides which day it is, in UTC.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def record(self, connection: Connection, use: Use) -> None:
        """Add one ended request to today's totals."""
        today = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC).date()
        repository.add(connection, today.isoformat(), use)

    async def report(
        self, org_id: str, by: Grouping = "day", first_day: date | None = None, last_day: date | None = None
    ) -> list[Line]:
        """Return totals of an organisation.

        Args:
            org_id: Whose.
            by: What each line is the total of.
            first_day: Included; 30 days before the last if not given.
            last_day: Included; today if not given.

        Raises:
            BadPeriod: The first day is after the last, or more than 400 days before it.
        """
        last = last_day or self._clock.now().date()
        first = first_day or (last - timedelta(days=DEFAULT_DAYS - 1) if last > _EARLIEST else date.min)
        if first > last:
            raise BadPeriod(f"from: {first} is after the last day, {last}.")
        if (last - first).days >= MAX_DAYS:
            raise BadPeriod(f"from: {first} is more than {MAX_DAYS} days before {last}; ask for fewer.")
        return await self._database.read(
            lambda connection: repository.report(connection, org_id, first.isoformat(), last.isoformat(), by)
        )


def as_csv(by: Grouping, lines: list[Line]) -> str:
    """Write a report as comma-separated values with a header line (RFC 4180)."""
    out = StringIO()
    writer = csv.writer(out)
    writer.writerow((by, *CSV_COLUMNS))
    for line in lines:
        seconds = f"{line.compute_ms / 1000:.3f}"
        counts = (line.requests, line.pictures, line.failed, line.filtered)
        writer.writerow((_harmless(line.group), *counts, f"{credits_of(line.charged):f}", seconds))
    return out.getvalue()


def _harmless(text: str) -> str:
    """Keep a spreadsheet from reading a name as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
