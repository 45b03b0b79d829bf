"""SQLite with one writer that commits many operations at once. Knows no table's meaning.

A commit must reach the disk and so costs far more than the statements in it. Writes therefore wait in one queue; a
batch of up to 128 runs in one transaction, each inside a savepoint of its own, and every caller is answered after the
commit. The statements run on the event loop's thread, where they take microseconds; only the commit, which waits for
the disk, runs in a helper thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, Result, StaticPool, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from keelbill.db.base import PATIENCE_S, Database, DatabaseAway, DatabaseInUse, Operation
from keelbill.db.lockfile import LockFile

T = TypeVar("T")

MAX_BATCH = 128
MAX_BATCH_S = 0.010
BUSY_PAUSE_S = 0.010
READERS = 4

_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "wal_autocheckpoint=4000")

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_BROKEN = _BUSY | {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
}


class _Attempt:
    """One operation inside its savepoint, and how it went."""

    __slots__ = ("error", "future", "operation", "raw", "result", "since")

    def __init__(self, operation: Operation[Any], future: asyncio.Future[Any], raw: sqlite3.Connection) -> None:
        self.operation = operation
        self.future = future
        self.raw = raw
        self.since = time.monotonic()
        self.result: Any = None
        self.error: Exception | None = None

    def run(self, connection: Connection) -> None:
        """Run the operation; keep its result or its error."""
        with self:
            self.result = _finished(self.operation(connection))

    def __enter__(self) -> None:
        self.raw.execute("SAVEPOINT operation")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None and self.raw.in_transaction:
            self.raw.execute("ROLLBACK TO operation")
        if self.raw.in_transaction:
            self.raw.execute("RELEASE operation")
        if isinstance(error, Exception):
            self.error = _said_for_users(error)
        return isinstance(error, Exception)

    def answer(self) -> None:
        """Tell the caller, unless it has gone."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class SqliteDatabase(Database):
    """A SQLite file, or a database in memory, for one server process and short visits of the command line."""

    def __init__(self, url: URL) -> None:
        self._path = Path(url.database) if url.database and url.database != ":memory:" else None
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        self.engine = _engine(url, writes=True, in_memory=self._path is None)
        self._readers = _engine(url, writes=False, in_memory=False) if self._path else None
        self._lock_file = LockFile(self._path.with_name(self._path.name + ".lock")) if self._path else None
        self._gate = threading.Lock()  # whoever holds it may use the writing connection
        self._inside: int | None = None  # the thread that runs an operation now
        self._connection: Connection | None = None
        self._raw: sqlite3.Connection | None = None
        self._glancing: Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: deque[_Attempt] = deque()
        self._is_busy = False
        self._idle = asyncio.Event()
        self._committer: ThreadPoolExecutor | None = None
        self._reading: ThreadPoolExecutor | None = None

    @property
    def waiting(self) -> int:
        """How many writes wait for their turn."""
        return len(self._queue)

    async def write(self, operation: Operation[T]) -> T:
        """Run an operation in the next batch and return after its commit.

        A caller that is cancelled before its turn leaves nothing behind; later, the operation happens.
        """
        loop = asyncio.get_running_loop()
        if not self._serves(loop):
            return await asyncio.to_thread(self.write_now, operation)
        _, raw = self._open()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.append(_Attempt(operation, future, raw))
        if not self._is_busy:
            self._is_busy = True
            self._idle.clear()
            loop.call_soon(self._run_batch)
        return await future

    async def read(self, operation: Operation[T]) -> T:
        """Run an operation that changes nothing, in a thread."""
        if self._reading is None:
            self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="keelbill-read")
        return await asyncio.get_running_loop().run_in_executor(self._reading, self.read_now, operation)

    async def glance(self, operation: Operation[T]) -> T:
        """Read a row or two by their key at once, on a connection that stays open: a thread costs far more.

        In memory there is one connection, which a commit may hold; then a thread waits for it.
        """
        loop = asyncio.get_running_loop()
        if self._readers is None or not self._serves(loop):
            return await self.read(operation)
        if self._glancing is None:
            self._glancing = self._readers.connect().execution_options(begins_by_hand=True)
        return _finished(operation(self._glancing))

    def write_now(self, operation: Operation[T]) -> T:
        """Run an operation in a transaction of its own, on this thread."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with self._turn() as (connection, raw):
                if self._begins(raw, deadline):
                    return self._run_alone(operation, connection, raw)
            time.sleep(BUSY_PAUSE_S)

    def read_now(self, operation: Operation[T]) -> T:
        """Run an operation that changes nothing, on this thread."""
        if self._readers is None:  # in memory: there is one connection
            with self._turn() as (connection, _):
                return _finished(operation(connection))
        with self._readers.connect() as connection:
            return _finished(operation(connection))

    async def start(self) -> None:
        """Take the lock file, so that no second server writes to this file."""
        if self._lock_file and not self._lock_file.take():
            raise DatabaseInUse(
                f"Another server has the database {self._path} open, and SQLite serves one at a time.",
                hint="Stop it, or use PostgreSQL: KEELBILL_DATABASE_URL=postgresql://…",
            )

    async def close(self) -> None:
        """Finish the writes that wait and close every connection."""
        if self._is_busy and self._loop is asyncio.get_running_loop():
            await self._idle.wait()
        self.close_now()

    def close_now(self) -> None:
        """Close every connection and give the lock file back."""
        for threads in (self._committer, self._reading):
            if threads is not None:
                threads.shutdown()
        self._committer = self._reading = None
        with self._gate:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._raw = None
        self.engine.dispose()
        if self._glancing is not None:
            self._glancing.close()
            self._glancing = None
        if self._readers is not None:
            self._readers.dispose()
        if self._lock_file is not None:
            self._lock_file.release()

    def _open(self) -> tuple[Connection, sqlite3.Connection]:
        if self._connection is None or self._raw is None:
            self._connection = self.engine.connect().execution_options(begins_by_hand=True)
            driver: Any = self._connection.connection.dbapi_connection
            self._raw = driver
            driver.execute("PRAGMA busy_timeout=0")  # we wait ourselves, without stopping the event loop
            return self._connection, driver
        return self._connection, self._raw

    @contextlib.contextmanager
    def _turn(self) -> Iterator[tuple[Connection, sqlite3.Connection]]:
        if self._inside == threading.get_ident():
            raise RuntimeError("an operation may not start another transaction; pass the connection on instead")
        with self._gate:
            self._inside = threading.get_ident()
            try:
                yield self._open()
            finally:
                self._inside = None

    def _begins(self, raw: sqlite3.Connection, deadline: float) -> bool:
        try:
            raw.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in _BUSY and time.monotonic() < deadline:
                return False
            raise _unavailable(error) from error
        return True

    def _run_alone(self, operation: Operation[T], connection: Connection, raw: sqlite3.Connection) -> T:
        try:
            result = _finished(operation(connection))
            began = time.perf_counter()
            raw.execute("COMMIT")
        except (sqlite3.Error, DBAPIError) as error:
            _roll_back(raw)
            said = _said_for_users(error)
            if said is error:
                raise
            raise said from error
        except BaseException:
            _roll_back(raw)
            raise
        self._report(began, 1)
        return result

    def _report(self, began: float, operations: int) -> None:
        if self.on_commit is not None:
            self.on_commit(time.perf_counter() - began, operations)

    # The queue. Everything below runs on the event loop's thread, except `_commit` and `_take_gate`.

    def _serves(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Adopt an event loop; false if another one that still runs was adopted before."""
        if self._loop is loop:
            return True
        if self._loop is not None and self._loop.is_running():
            return False
        self._loop = loop
        self._queue.clear()
        self._is_busy = False
        self._idle = asyncio.Event()
        if self._committer is not None:
            self._committer.shutdown()
        self._committer = None
        return True

    def _helper(self) -> ThreadPoolExecutor:
        if self._committer is None:
            self._committer = ThreadPoolExecutor(1, thread_name_prefix="keelbill-commit")
        return self._committer

    def _run_batch(self) -> None:
        if self._gate.acquire(blocking=False):
            self._run_batch_inside()
        else:
            self._helper().submit(self._take_gate)

    def _take_gate(self) -> None:
        """Wait in the helper thread for a `write_now` of another thread."""
        self._gate.acquire()
        if not self._call(self._run_batch_inside):
            self._gate.release()

    def _run_batch_inside(self) -> None:
        """Run a batch while the gate is ours, and hand gate and batch to the helper thread."""
        batch: list[_Attempt] = []
        try:
            connection, raw = self._open()
            raw.execute("BEGIN IMMEDIATE")
            self._inside = threading.get_ident()
            stop = time.perf_counter() + MAX_BATCH_S
            while self._queue and len(batch) < MAX_BATCH and time.perf_counter() < stop:
                attempt = self._queue.popleft()
                if attempt.future.done():
                    continue
                batch.append(attempt)
                attempt.run(connection)
                if not raw.in_transaction:
                    break  # a full disk and the like undo everything
            self._inside = None
            self._helper().submit(self._commit, raw, batch)
        except sqlite3.OperationalError as error:
            self._gate.release()
            self._wait_or_give_up(error)
        except BaseException:
            self._inside = None
            _roll_back(self._raw)
            self._gate.release()
            raise

    def _wait_or_give_up(self, error: sqlite3.OperationalError) -> None:
        is_busy = error.sqlite_errorcode & 0xFF in _BUSY
        too_old = time.monotonic() - PATIENCE_S
        while self._queue and (not is_busy or self._queue[0].since <= too_old):
            attempt = self._queue.popleft()
            attempt.error = _unavailable(error)
            attempt.answer()
        if self._loop is not None and self._queue:
            self._loop.call_later(BUSY_PAUSE_S, self._run_batch)
        else:
            self._rest()

    def _commit(self, raw: sqlite3.Connection, batch: list[_Attempt]) -> None:
        """Commit in the helper thread, and let the event loop answer."""
        began = time.perf_counter()
        failure: Exception | None = None
        try:
            if batch and not raw.in_transaction:
                failure = batch[-1].error
            else:
                raw.execute("COMMIT")
        except sqlite3.Error as error:
            _roll_back(raw)
            failure = _unavailable(error)
        finally:
            self._gate.release()
        self._report(began, len(batch))
        self._call(self._answer, batch, failure)

    def _answer(self, batch: list[_Attempt], failure: Exception | None) -> None:
        for attempt in batch:
            attempt.error = failure or attempt.error
            attempt.answer()
        if self._queue and self._loop is not None:
            self._loop.call_soon(self._run_batch)
        else:
            self._rest()

    def _rest(self) -> None:
        self._is_busy = False
        self._idle.set()

    def _call(self, function: Any, *arguments: Any) -> bool:
        """Call a function on the event loop's thread; false if the loop has ended."""
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return False
        return self._loop is not None


def _engine(url: URL, *, writes: bool, in_memory: bool) -> Engine:
    pool = {"poolclass": StaticPool} if in_memory else {}
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": PATIENCE_S}, **pool)

    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in (*_PRAGMAS, f"query_only={int(not writes)}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("begins_by_hand"):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _finished(result: T) -> T:
    """Close what still reads, for an open statement would hold the commit up."""
    if isinstance(result, Result):
        result.close()
    return result


def _roll_back(raw: sqlite3.Connection | None) -> None:
    if raw is not None and raw.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            raw.execute("ROLLBACK")


def _said_for_users(error: Exception) -> Exception:
    """Turn a broken disk or a lasting lock into what a caller can show; leave other errors alone."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.OperationalError | sqlite3.DatabaseError):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        if code in _BROKEN:
            said = _unavailable(cause)
            said.__cause__ = error
            return said
    return error


def _unavailable(error: sqlite3.Error) -> DatabaseAway:
    reason = getattr(error, "sqlite_errorname", "SQLITE_ERROR").removeprefix("SQLITE_").lower()
    return DatabaseAway(f"The database cannot be written now ({reason}).", retry_after_s=1)
