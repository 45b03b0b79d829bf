"""The databases that tests use are real and fresh."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, String, Table, func, insert, select

from keelbill.db.base import Database, metadata

notes = Table("test_note", metadata, Column("text", String(20), primary_key=True))


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_starts_empty(database: Database, turn: int) -> None:
    assert database.read_now(lambda c: c.scalar(select(func.count()).select_from(notes))) == 0
    database.write_now(lambda c: c.execute(insert(notes).values(text=f"turn {turn}")))
    assert database.read_now(lambda c: c.scalars(select(notes.c.text)).all()) == [f"turn {turn}"]
