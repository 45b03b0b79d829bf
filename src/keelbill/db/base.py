"""One way to read and write, whichever database lies below. Knows no table's meaning.

An *operation* is a plain function of a connection that only talks to the database. It runs in one transaction: all of
it happens or none of it. Operations compose by calling each other with the same connection.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

T = TypeVar("T")
Operation = Callable[[Connection], T]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""Every table of every domain registers here."""


class Database:
    """A database that is open.

    Args:
        engine: As `open_database` makes it.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._lock = threading.Lock()

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    async def write(self, operation: Operation[T]) -> T:
        """Run an operation in a transaction of its own and return after the commit."""
        return await asyncio.to_thread(self.write_now, operation)

    async def read(self, operation: Operation[T]) -> T:
        """Run an operation that changes nothing."""
        return await asyncio.to_thread(self.read_now, operation)

    def write_now(self, operation: Operation[T]) -> T:
        """As `write`, for callers outside an event loop."""
        with self._lock, self.engine.begin() as connection:
            return operation(connection)

    def read_now(self, operation: Operation[T]) -> T:
        """As `read`, for callers outside an event loop."""
        with self.engine.connect() as connection:
            return operation(connection)

    async def start(self) -> None:
        """Begin to take writes from the event loop."""

    async def close(self) -> None:
        """Finish what waits and close every connection."""
        self.engine.dispose()


def open_database(url: str) -> Database:
    """Open a database.

    Args:
        url: ``sqlite:///PATH``, ``sqlite://`` for one in memory, or ``postgresql://…``.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediate)
        return Database(engine)
    return Database(create_engine(parsed.set(drivername="postgresql+psycopg"), isolation_level="READ COMMITTED"))


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        connection.cursor().execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
