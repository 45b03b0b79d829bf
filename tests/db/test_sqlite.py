"""The single writer of SQLite: batches, patience, one server at a time."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from keelbill.core.errors import Unavailable
from keelbill.db import sqlite as sqlite_module
from keelbill.db.base import Database, DatabaseInUse, open_database
from support.notes import apart, count_notes, write_note


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "notes.db"


@pytest.fixture
def book(path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{path}")
    apart.create_all(opened.engine)
    yield opened
    opened.close_now()


class TestBatches:
    async def test_many_callers_share_few_commits(self, book: Database) -> None:
        sizes: list[int] = []
        book.on_commit = lambda _, operations: sizes.append(operations)
        await asyncio.gather(*(book.write(lambda c, n=n: write_note(c, n)) for n in range(300)))  # type: ignore[misc]
        assert sum(sizes) == 300
        assert max(sizes) <= sqlite_module.MAX_BATCH
        assert len(sizes) < 60

    async def test_a_batch_ends_when_its_time_is_up(self, book: Database) -> None:
        sizes: list[int] = []
        book.on_commit = lambda _, operations: sizes.append(operations)

        def slow(_: object) -> None:
            time.sleep(0.006)

        await asyncio.gather(*(book.write(slow) for _ in range(6)))
        assert max(sizes) <= 2

    async def test_the_loop_goes_on_during_a_commit(self, book: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        committing, ticks = threading.Event(), 0
        slow_report = threading.Event()

        def wait(_: float, __: int) -> None:  # runs where the commit runs
            committing.set()
            slow_report.wait(60)

        book.on_commit = wait
        task = asyncio.create_task(book.write(lambda c: write_note(c, 1)))
        while not committing.is_set():
            await asyncio.sleep(0.001)
        for _ in range(10):
            await asyncio.sleep(0)
            ticks += 1
        assert not task.done()
        slow_report.set()
        assert await task == 1
        assert ticks == 10

    async def test_answers_come_after_the_commit(self, book: Database, path: Path) -> None:
        await book.write(lambda c: write_note(c, 1))
        with sqlite3.connect(path) as other:
            assert other.execute("SELECT count(*) FROM note").fetchone() == (1,)
        other.close()

    async def test_a_caller_that_leaves_before_its_turn_leaves_nothing(self, book: Database) -> None:
        task = asyncio.create_task(book.write(lambda c: write_note(c, 1)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await book.write(count_notes) == 0

    def test_operations_do_not_nest_transactions(self, book: Database) -> None:
        with pytest.raises(RuntimeError, match="pass the connection on"):
            book.write_now(lambda _: book.write_now(count_notes))

    def test_reads_cannot_write(self, book: Database) -> None:
        with pytest.raises(OperationalError, match="readonly"):
            book.read_now(lambda c: write_note(c, 1))


class TestALockedFile:
    @pytest.fixture
    def intruder(self, book: Database, path: Path) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.close()

    async def test_writes_wait_without_stopping_the_loop(self, book: Database, intruder: sqlite3.Connection) -> None:
        task = asyncio.create_task(book.write(lambda c: write_note(c, 1)))
        began = time.monotonic()
        await asyncio.sleep(0.1)
        assert time.monotonic() - began < 4
        assert not task.done()
        intruder.execute("COMMIT")
        assert await task == 1

    async def test_after_their_patience_they_say_unavailable(
        self, book: Database, intruder: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_module, "PATIENCE_S", 0.05)
        with pytest.raises(Unavailable, match="busy") as caught:
            await book.write(lambda c: write_note(c, 1))
        assert caught.value.retry_after_s == 1
        with pytest.raises(Unavailable, match="busy"):
            book.write_now(lambda c: write_note(c, 1))
        intruder.execute("COMMIT")
        assert await book.write(lambda c: write_note(c, 1)) == 1

    def test_reads_do_not_mind(self, book: Database, intruder: sqlite3.Connection) -> None:
        assert book.read_now(count_notes) == 0


class TestAFullDisk:
    @pytest.fixture
    def small(self, book: Database) -> Database:
        pages = book.write_now(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar_one())
        book.write_now(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count={pages + 3}").scalar_one())
        return book

    async def test_it_is_said_and_nothing_is_half_done(self, small: Database) -> None:
        def too_much(connection: object) -> None:
            for number in range(1000):
                write_note(connection, number)  # type: ignore[arg-type]

        with pytest.raises(Unavailable, match="full"):
            await small.write(too_much)
        with pytest.raises(Unavailable, match="full"):
            small.write_now(too_much)
        assert small.read_now(count_notes) == 0
        assert await small.write(lambda c: write_note(c, 1)) == 1


class TestOneServer:
    async def test_a_second_server_is_told_to_use_postgresql(self, book: Database, path: Path) -> None:
        await book.start()
        second = open_database(f"sqlite:///{path}")
        with pytest.raises(DatabaseInUse, match="use PostgreSQL"):
            await second.start()
        await book.close()
        await second.start()
        await second.close()

    async def test_the_lock_ends_with_its_process(self, path: Path) -> None:
        program = (
            "import asyncio, os, signal; from keelbill.db.base import open_database\n"
            f"database = open_database('sqlite:///{path}'); asyncio.run(database.start())\n"
            "print('up', flush=True); signal.pause()"
        )
        other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=dict(os.environ))
        assert other.stdout is not None
        assert other.stdout.readline() == b"up\n"
        mine = open_database(f"sqlite:///{path}")
        with pytest.raises(DatabaseInUse):
            await mine.start()
        other.kill()
        other.wait()
        other.stdout.close()
        await mine.start()
        await mine.close()

    def test_the_command_line_may_write_beside_a_server(self, book: Database, path: Path) -> None:
        asyncio.run(book.start())
        visitor = open_database(f"sqlite:///{path}")
        assert visitor.write_now(lambda c: write_note(c, 1)) == 1
        assert book.write_now(lambda c: write_note(c, 2)) == 2
        visitor.close_now()


class TestInMemory:
    async def test_reads_and_writes_share_one_database(self) -> None:
        database = open_database("sqlite://")
        apart.create_all(database.engine)
        database.write_now(lambda c: write_note(c, 1))
        await database.write(lambda c: write_note(c, 2))
        assert database.read_now(count_notes) == 2
        assert await database.read(count_notes) == 2
        await database.close()


def test_every_commit_reaches_the_disk(book: Database) -> None:
    for read in (book.write_now, book.read_now):
        assert read(lambda c: c.exec_driver_sql("PRAGMA synchronous").scalar_one()) == 2
        assert read(lambda c: c.exec_driver_sql("PRAGMA journal_mode").scalar_one()) == "wal"
        assert read(lambda c: c.exec_driver_sql("PRAGMA foreign_keys").scalar_one()) == 1
