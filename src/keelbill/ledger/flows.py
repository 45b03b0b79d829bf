"""Sums for the metrics: credits that moved since a mark, and holds that are open. Changes nothing."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from keelbill.ledger.models import hold, transfer
from keelbill.ledger.repository import IS_OPEN


def moved(connection: Connection, after: str, before: str = "") -> tuple[dict[str, int], str]:
    """Add up the movements whose ids lie between two marks.

    Args:
        connection: Inside a read.
        after: Id of the last movement that was counted.
        before: Only ids that are smaller; all if empty.

    Returns:
        Micro-credits by kind, and the mark to go on from.
    """
    query = select(transfer.c.kind, func.sum(transfer.c.amount), func.max(transfer.c.id))
    query = query.where(transfer.c.id > after).group_by(transfer.c.kind)
    if before:
        query = query.where(transfer.c.id < before)
    rows = connection.execute(query).all()
    return {str(kind): int(amount) for kind, amount, _ in rows}, max([after, *(str(last) for _, _, last in rows)])


def open_holds(connection: Connection) -> tuple[int, int | None]:
    """Return how many holds are open, and since when the oldest is, in milliseconds since 1970."""
    count, oldest_ms = connection.execute(select(func.count(), func.min(hold.c.created_ms)).where(IS_OPEN)).one()
    return int(count), oldest_ms
