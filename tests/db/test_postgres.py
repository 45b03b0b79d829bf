"""PostgreSQL in bad weather: deadlocks, killed connections, a server that is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text, update

from keelbill.core.errors import Unavailable
from keelbill.db import postgres as postgres_module
from keelbill.db.base import Database, open_database
from support.databases import Postgres
from support.notes import apart, count_notes, notes, write_note


@pytest.fixture
def book(postgres: Postgres) -> Iterator[Database]:
    name = postgres.create(tables=False)
    opened = open_database(postgres.url(name))
    apart.create_all(opened.engine)
    yield opened
    opened.close_now()
    postgres.drop(name)


def test_a_deadlock_is_run_again(book: Database) -> None:
    for number in (1, 2):
        book.write_now(lambda c, n=number: write_note(c, n))  # type: ignore[misc]
    both_hold_one = threading.Barrier(2, timeout=60)

    def cross(first: int, second: int) -> None:
        tries = 0

        def operation(connection: Connection) -> None:
            nonlocal tries
            tries += 1
            connection.execute(update(notes).where(notes.c.number == first).values(text=f"{first} by {first}{second}"))
            if tries == 1:
                both_hold_one.wait()
            connection.execute(update(notes).where(notes.c.number == second).values(text=f"{second} by {second}"))

        book.write_now(operation)

    threads = [threading.Thread(target=cross, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert book.read_now(count_notes) == 2


def test_a_killed_connection_is_replaced(book: Database) -> None:
    tries = 0

    def operation(connection: Connection) -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return write_note(connection, 1)

    assert book.write_now(operation) == 1
    assert tries == 2
    assert book.read_now(count_notes) == 1


def test_an_idle_connection_that_died_is_replaced(book: Database) -> None:
    book.write_now(lambda c: write_note(c, 1))
    pid = book.read_now(lambda c: c.scalar(text("SELECT pg_backend_pid()")))
    other = book.engine.connect(), book.engine.connect()
    other[1].execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    for connection in other:
        connection.close()
    assert book.write_now(lambda c: write_note(c, 2)) == 2


async def test_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_module, "PATIENCE_S", 0.2)
    database = open_database("postgresql://nobody@127.0.0.1:1/nothing")
    for refused in (database.write, database.read):
        with pytest.raises(Unavailable, match="does not answer") as caught:
            await refused(count_notes)
        assert caught.value.retry_after_s == 1
    await database.close()


def test_transactions_are_read_committed(book: Database) -> None:
    level = book.write_now(lambda c: c.scalar(text("SHOW transaction_isolation")))
    assert level == "read committed"
    assert book.read_now(lambda c: c.scalar(text("SHOW synchronous_commit"))) == "on"
