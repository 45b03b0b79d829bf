"""A table for tests of the database itself. It is in no domain's metadata."""

from __future__ import annotations

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, func, insert, select

apart = MetaData()
notes = Table(
    "note",
    apart,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("text", String(50), nullable=False, unique=True),
)


def write_note(connection: Connection, number: int) -> int:
    """Write a note and return its number."""
    connection.execute(insert(notes).values(number=number, text=f"note {number}"))
    return number


def count_notes(connection: Connection) -> int:
    """Return how many notes there are."""
    return connection.scalar(select(func.count()).select_from(notes)) or 0
