"""Queries of the daily totals. Knows no rules."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, bindparam, case, func, select
from sqlalchemy.dialects import postgresql, sqlite

from keelbill.core.types import Micro
from keelbill.db.statements import Prepared
from keelbill.usage.models import usage_day
from keelbill.usage.schemas import Grouping, Line, Use

COLUMNS: Final[dict[Grouping, Column[Any]]] = {
    "day": usage_day.c.day,
    "key": usage_day.c.key_id,
    "member": usage_day.c.user_id,
    "service": usage_day.c.service,
    "model": usage_day.c.model,
    "outcome": usage_day.c.outcome,
}
_COUNTERS: Final = ("requests", "pictures", "charged_micro", "compute_ms")


@lru_cache(maxsize=2)
def _upsert(dialect: str) -> Prepared:
    """Return the statement that adds to a row, or makes it."""
    insert = postgresql.insert(usage_day) if dialect == "postgresql" else sqlite.insert(usage_day)
    values = insert.values({column.name: bindparam(column.name) for column in usage_day.c})
    added: dict[str, ColumnElement[int]] = {name: usage_day.c[name] + values.excluded[name] for name in _COUNTERS}
    return Prepared(values.on_conflict_do_update(index_elements=list(usage_day.primary_key), set_=added))


def add(connection: Connection, day: str, use: Use) -> None:
    """Add one ended request to the totals of its day."""
    _upsert(connection.dialect.name).count(
        connection,
        org_id=use.org_id,
        day=day,
        key_id=use.key_id,
        user_id=use.user_id,
        service=use.service,
        model=use.model,
        outcome=use.ending,
        requests=1,
        pictures=int(use.ending in ("succeeded", "filtered")),
        charged_micro=use.charged,
        compute_ms=round(use.compute_ms),
    )


def report(connection: Connection, org_id: str, first_day: str, last_day: str, by: Grouping) -> list[Line]:
    """Return the totals of an organisation's days, both included, for each value of `by`, in its order."""
    table, group = usage_day.c, COLUMNS[by]
    failed = case((table.outcome.in_(("failed", "cancelled")), table.requests), else_=0)
    filtered = case((table.outcome == "filtered", table.requests), else_=0)
    sums = (table.requests, table.pictures, failed, filtered, table.charged_micro, table.compute_ms)
    query = (
        select(group, *(func.sum(column) for column in sums))
        .where(table.org_id == org_id, table.day.between(first_day, last_day))
        .group_by(group)
        .order_by(group)
    )
    return [_line(*row) for row in connection.execute(query)]


def _line(group: str, requests: int, pictures: int, failed: int, filtered: int, charged: int, compute: int) -> Line:
    # PostgreSQL sums big integers as decimals.
    return Line(group, int(requests), int(pictures), int(failed), int(filtered), Micro(int(charged)), int(compute))
