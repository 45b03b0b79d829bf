"""PostgreSQL through a pool of connections, each used by one thread at a time. Knows no table's meaning."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg
from sqlalchemy import URL, Connection, Result, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from keelbill.db.base import PATIENCE_S, Database, DatabaseAway, Operation

T = TypeVar("T")

CONNECTIONS = 16


class PostgresDatabase(Database):
    """A PostgreSQL database, for any number of server processes.

    Transactions are READ COMMITTED. What deadlocks, or loses its connection before the commit, runs again.
    """

    def __init__(self, url: URL) -> None:
        self.engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            isolation_level="READ COMMITTED",
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=PATIENCE_S,
            connect_args={"connect_timeout": int(PATIENCE_S), "application_name": "keelbill"},
        )
        self._readers = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._threads: ThreadPoolExecutor | None = None
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many writes wait or run."""
        return self._waiting

    async def write(self, operation: Operation[T]) -> T:
        """Run an operation in a transaction, in a thread."""
        self._waiting += 1
        try:
            return await self._in_thread(self.write_now, operation)
        finally:
            self._waiting -= 1

    async def read(self, operation: Operation[T]) -> T:
        """Run an operation that changes nothing, in a thread."""
        return await self._in_thread(self.read_now, operation)

    def write_now(self, operation: Operation[T]) -> T:
        """Run an operation in a transaction, on this thread."""
        return self._patiently(lambda: self._transaction(operation))

    def read_now(self, operation: Operation[T]) -> T:
        """Run an operation that changes nothing, on this thread."""
        return self._patiently(lambda: self._look(operation))

    async def start(self) -> None:
        """Do nothing: connections open when they are needed, and several servers may share the database."""

    async def close(self) -> None:
        """Finish what runs and close every connection."""
        if self._threads is not None:
            await asyncio.to_thread(self._threads.shutdown)
        self.close_now()

    def close_now(self) -> None:
        """Close every connection."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        self.engine.dispose()

    async def _in_thread(self, function: Callable[[Operation[T]], T], operation: Operation[T]) -> T:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="keelbill-db")
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, operation)

    def _look(self, operation: Operation[T]) -> T:
        with self._readers.connect() as connection:
            try:
                return _finished(operation(connection))
            except (DBAPIError, psycopg.Error):
                _forget_if_broken(connection)
                raise

    def _transaction(self, operation: Operation[T]) -> T:
        with self.engine.connect() as connection, connection.begin() as transaction:
            try:
                result = _finished(operation(connection))
            except (DBAPIError, psycopg.Error):
                _forget_if_broken(connection)
                raise
            began = time.perf_counter()
            try:
                transaction.commit()
            except (DBAPIError, psycopg.Error) as error:
                if not _is_transient(error) or _sqlstate(error) in ("40001", "40P01"):
                    raise
                # The commit may have happened, so running the operation again might do it twice.
                raise DatabaseAway("The database was lost while it wrote.", retry_after_s=1) from error
            if self.on_commit is not None:
                self.on_commit(time.perf_counter() - began, 1)
            return result

    def _patiently(self, work: Callable[[], T]) -> T:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return work()
            except (DBAPIError, psycopg.Error, PoolExhausted) as error:
                if not _is_transient(error):
                    raise
                if time.monotonic() >= deadline:
                    raise DatabaseAway("The database does not answer.", retry_after_s=1) from error
            time.sleep(random.uniform(0.005, 0.05))


def _finished(result: T) -> T:
    if isinstance(result, Result):
        result.close()
    return result


def _forget_if_broken(connection: Connection) -> None:
    """Keep a lost connection from going back to the pool; needed where statements bypass SQLAlchemy."""
    if not connection.invalidated and getattr(connection.connection.dbapi_connection, "closed", True):
        connection.invalidate()


def _sqlstate(error: Exception) -> str | None:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return cause.sqlstate if isinstance(cause, psycopg.Error) else None


def _is_transient(error: Exception) -> bool:
    """Whether another try may succeed: deadlock, lost connection, server away or restarting."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, psycopg.OperationalError | PoolExhausted)
