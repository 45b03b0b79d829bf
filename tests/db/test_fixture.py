"""The databases that tests use are real and fresh."""

from __future__ import annotations

import pytest

from keelbill.db.base import Database
from support.notes import apart, count_notes, write_note


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_starts_empty(database: Database, turn: int) -> None:
    apart.create_all(database.engine)
    assert database.read_now(count_notes) == 0
    database.write_now(lambda c: write_note(c, turn))
    assert database.read_now(count_notes) == 1
