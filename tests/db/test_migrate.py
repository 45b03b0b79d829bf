"""Migrations make the tables that the code describes, on both databases, and say when there is nothing to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from keelbill.db import migrate
from keelbill.db.base import Database, metadata, open_database
from support.databases import KINDS, Postgres
from support.migrations import MARK, statements


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        opened = open_database(f"sqlite:///{tmp_path / 'empty.db'}")
        yield opened
        opened.close_now()
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create(tables=False)
    opened = open_database(server.url(name))
    yield opened
    opened.close_now()
    server.drop(name)


@pytest.fixture(scope="module", autouse=True)
def _all_tables() -> None:
    migrate.import_models()


def guards(connection: Connection) -> set[str]:
    sqlite = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    postgres = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
    return set(connection.scalars(text(sqlite if connection.dialect.name == "sqlite" else postgres)))


def test_they_make_what_the_code_describes(empty: Database) -> None:
    assert not migrate.is_current(empty)
    assert migrate.upgrade(empty)
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": _is_ours})
        assert compare_metadata(context, metadata) == []


def test_the_first_revision_is_what_the_code_says(empty: Database) -> None:
    """Guards, search indexes and the system's wallets too; until the first release it is written anew instead."""
    path = migrate.FOLDER / "versions" / f"0001_initial.{empty.dialect}.sql"
    assert set(path.read_text(encoding="utf-8").strip().split(MARK)) == set(statements(empty)), (
        "run python -m support.migrations in tests"
    )


def test_guards_and_system_wallets_are_there(empty: Database) -> None:
    migrate.upgrade(empty)
    assert {"ledger_transfer_no_update", "ledger_transfer_no_delete"} <= empty.read_now(guards)
    wallets = empty.read_now(lambda c: c.scalars(text("SELECT id FROM wallet ORDER BY id")).all())
    assert wallets == [-7, -6, -5, -4, -3, -2, -1]


def test_words_of_pictures_are_indexed(empty: Database) -> None:
    migrate.upgrade(empty)
    sqlite = "SELECT sql FROM sqlite_master WHERE name = 'picture_text'"
    postgres = "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_picture_text'"
    made = empty.read_now(lambda c: c.scalars(text(sqlite if empty.dialect == "sqlite" else postgres)).one())
    assert ("fts5" if empty.dialect == "sqlite" else "gin (words)") in made


def test_a_second_run_has_nothing_to_do(empty: Database) -> None:
    assert migrate.upgrade(empty)
    assert migrate.is_current(empty)
    assert not migrate.upgrade(empty)
    assert migrate.revision(empty) == migrate.newest()


def _is_ours(name: str | None, kind: str, _: object) -> bool:
    """Leave the database's own tables out, and what each database keeps for full-text search."""
    return name not in {"words", "ix_picture_text"} and (kind != "table" or (name or "") in metadata.tables)
