"""What both databases promise: all or nothing, an answer after the commit, and sentences when they are away."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from keelbill.core.errors import InvalidInput, PaymentRequired
from keelbill.db.base import Database, open_database
from keelbill.db.statements import Prepared, insert_absent
from support.notes import apart, count_notes, notes, write_note


@pytest.fixture
def book(database: Database) -> Database:
    apart.create_all(database.engine)
    return database


def refuse_after_writing(connection: Connection) -> None:
    write_note(connection, 666)
    raise PaymentRequired("no")


class TestWrite:
    async def test_returns_what_the_operation_returns(self, book: Database) -> None:
        assert await book.write(lambda c: write_note(c, 3)) == 3
        assert await book.read(count_notes) == 1

    async def test_an_error_takes_everything_back_and_reaches_the_caller(self, book: Database) -> None:
        with pytest.raises(PaymentRequired, match="no"):
            await book.write(refuse_after_writing)
        assert await book.read(count_notes) == 0

    async def test_one_that_fails_leaves_its_neighbours_alone(self, book: Database) -> None:
        await book.write(lambda c: write_note(c, 7))
        results = await asyncio.gather(
            book.write(lambda c: write_note(c, 1)),
            book.write(refuse_after_writing),
            book.write(lambda c: write_note(c, 7)),
            book.write(lambda c: write_note(c, 2)),
            return_exceptions=True,
        )
        assert (results[0], results[3]) == (1, 2)
        assert isinstance(results[1], PaymentRequired)
        assert isinstance(results[2], IntegrityError)
        assert await book.read(count_notes) == 3

    async def test_threads_and_the_loop_write_together(self, book: Database) -> None:
        def write_ten(start: int) -> None:
            for number in range(start, start + 10):
                book.write_now(lambda c, n=number: write_note(c, n))  # type: ignore[misc]

        await asyncio.gather(
            *(asyncio.to_thread(write_ten, start) for start in (100, 200, 300)),
            *(book.write(lambda c, n=number: write_note(c, n)) for number in range(60)),  # type: ignore[misc]
        )
        assert await book.read(count_notes) == 90

    async def test_closing_finishes_what_waits(self, book: Database, database_url: str) -> None:
        tasks = [asyncio.create_task(book.write(lambda c, n=n: write_note(c, n))) for n in range(20)]  # type: ignore[misc]
        await asyncio.sleep(0)
        await book.close()
        assert sorted(await asyncio.gather(*tasks)) == list(range(20))
        again = open_database(database_url)
        assert again.read_now(count_notes) == 20
        again.close_now()

    async def test_commits_are_reported(self, book: Database) -> None:
        seen: list[tuple[float, int]] = []
        book.on_commit = lambda seconds, operations: seen.append((seconds, operations))
        await asyncio.gather(*(book.write(lambda c, n=n: write_note(c, n)) for n in range(10)))  # type: ignore[misc]
        assert sum(operations for _, operations in seen) == 10
        assert all(seconds > 0 for seconds, _ in seen)

    async def test_a_result_that_was_not_read_does_not_hold_the_commit_up(self, book: Database) -> None:
        await book.write(lambda c: c.execute(insert(notes).returning(notes.c.number), [{"number": 1, "text": "a"}]))
        assert await book.read(count_notes) == 1


class TestWriteNow:
    def test_works_without_an_event_loop(self, book: Database) -> None:
        assert book.write_now(lambda c: write_note(c, 5)) == 5
        with pytest.raises(PaymentRequired):
            book.write_now(refuse_after_writing)
        assert book.read_now(count_notes) == 1

    def test_counters_survive_many_threads(self, book: Database) -> None:
        book.write_now(lambda c: write_note(c, 0))

        def add() -> None:
            for _ in range(25):
                book.write_now(lambda c: c.execute(update(notes).values(number=notes.c.number + 1)))

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert book.read_now(lambda c: c.scalar(select(notes.c.number))) == 100

    def test_every_event_loop_gets_its_turn(self, book: Database) -> None:
        for number in range(3):
            assert asyncio.run(book.write(lambda c, n=number: write_note(c, n))) == number  # type: ignore[misc]
        assert book.read_now(count_notes) == 3


class TestStatements:
    def test_insert_absent_says_whether_it_did(self, book: Database) -> None:
        def twice(connection: Connection) -> tuple[bool, bool, bool]:
            first = insert_absent(connection, notes, {"number": 1, "text": "one"})
            same_key = insert_absent(connection, notes, {"number": 1, "text": "two"})
            same_text = insert_absent(connection, notes, {"number": 2, "text": "one"})
            return first, same_key, same_text

        assert book.write_now(twice) == (True, False, False)

    def test_prepared_statements_run_on_the_driver(self, book: Database) -> None:
        from sqlalchemy import bindparam

        add = Prepared(insert(notes).values(number=bindparam("n"), text=bindparam("t")), unless_there=True)
        rename = Prepared(
            update(notes)
            .where(notes.c.number == bindparam("n"), notes.c.text != "kept")
            .values(text=bindparam("t"))
            .returning(notes.c.number, notes.c.text)
        )
        find = Prepared(select(notes.c.number).order_by(notes.c.number))

        def work(connection: Connection) -> None:
            assert add.count(connection, n=1, t="one") == 1
            assert add.count(connection, n=1, t="one") == 0
            assert add.count(connection, n=2, t="kept") == 1
            assert rename.row(connection, n=1, t="uno") == (1, "uno")
            assert rename.row(connection, n=2, t="dos") is None
            assert [tuple(row) for row in find.rows(connection)] == [(1,), (2,)]

        book.write_now(work)
        assert book.read_now(count_notes) == 2

    def test_a_forgotten_parameter_is_an_error(self, book: Database) -> None:
        from sqlalchemy import bindparam

        find = Prepared(select(notes.c.number).where(notes.c.text == bindparam("t")))
        with pytest.raises(Exception, match="t"):
            book.read_now(find.rows)


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(InvalidInput, match="mysql"):
        open_database("mysql://localhost/keelbill")


class TestGlance:
    async def test_sees_what_was_committed_before(self, book: Database) -> None:
        assert await book.glance(count_notes) == 0
        await book.write(lambda c: write_note(c, 1))
        assert await book.glance(count_notes) == 1

    async def test_does_not_see_what_is_not_committed(self, book: Database) -> None:
        seen = []

        def write_and_wait(connection: Connection) -> None:
            write_note(connection, 1)
            seen.append(asyncio.run(book.glance(count_notes)))

        await asyncio.to_thread(book.write_now, write_and_wait)
        assert seen == [0]
        assert await book.glance(count_notes) == 1

    async def test_may_not_write(self, book: Database) -> None:
        if book.dialect == "sqlite":
            with pytest.raises(OperationalError, match="readonly"):
                await book.glance(lambda c: write_note(c, 1))
        assert await book.glance(count_notes) == 0

    async def test_the_database_is_read_again_after_it_was_closed(self, book: Database) -> None:
        assert await book.glance(count_notes) == 0
        await book.close()
        assert await book.glance(count_notes) == 0
