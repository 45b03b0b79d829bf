"""One way to read and write, whichever database lies below. Knows no table's meaning.

An *operation* is a plain function of a connection that only talks to the database. It runs in one transaction: all of
it happens or none of it. It may run more than once before it is committed, so it changes nothing outside. Operations
compose by calling each other with the same connection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine, MetaData
from sqlalchemy.engine import make_url

from keelbill.core.errors import AppError, InvalidInput, Unavailable

T = TypeVar("T")
Operation = Callable[[Connection], T]

PATIENCE_S = 5.0
"""How long a write waits for a database that is locked or away."""

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


class DatabaseInUse(AppError):
    """Another server has this SQLite file open."""

    code = "database_in_use"
    status = 503


class DatabaseAway(Unavailable):
    """The database stayed locked, full or away."""


class Database(ABC):
    """A database that is open. `open_database` makes one.

    Attributes:
        engine: For what is neither an operation nor a hot path: making tables, migrating, tests.
        on_commit: Called after every commit with its seconds and the number of operations in it; for metrics.
    """

    engine: Engine
    on_commit: Callable[[float, int], None] | None = None

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @property
    @abstractmethod
    def waiting(self) -> int:
        """How many writes wait for their turn."""

    @abstractmethod
    async def write(self, operation: Operation[T]) -> T:
        """Run an operation in a transaction of its own and return after the commit.

        Raises:
            DatabaseAway: It stayed locked, full or away for 5 seconds; nothing was changed.
        """

    @abstractmethod
    async def read(self, operation: Operation[T]) -> T:
        """Run an operation that changes nothing."""

    async def glance(self, operation: Operation[T]) -> T:
        """Run one statement that reads a row or two by their key; where that takes microseconds, without a thread."""
        return await self.read(operation)

    @abstractmethod
    def write_now(self, operation: Operation[T]) -> T:
        """As `write`, for callers outside an event loop."""

    @abstractmethod
    def read_now(self, operation: Operation[T]) -> T:
        """As `read`, on the calling thread; also right in an event loop for one row by its key."""

    @abstractmethod
    async def start(self) -> None:
        """Open the database as a server does.

        Raises:
            DatabaseInUse: Another server has the same SQLite file open.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish the writes that wait and close every connection."""

    @abstractmethod
    def close_now(self) -> None:
        """As `close`, where no event loop runs and no write waits."""


def open_database(url: str) -> Database:
    """Open a database.

    Args:
        url: ``sqlite:///PATH``, ``sqlite://`` for one in memory, or ``postgresql://…``.

    Raises:
        InvalidInput: The address is of another kind of database.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        from keelbill.db.sqlite import SqliteDatabase

        return SqliteDatabase(parsed)
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        from keelbill.db.postgres import PostgresDatabase

        return PostgresDatabase(parsed)
    raise InvalidInput("database_url", parsed.get_backend_name() + "://…", "sqlite:///PATH or postgresql://…")
