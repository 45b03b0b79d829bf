"""Messages between processes over a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import Connection, text

from keelbill.db import notices
from keelbill.db.base import Database, open_database
from support.databases import Postgres


@pytest.fixture
def shared(postgres: Postgres) -> str:
    return postgres.url(postgres.create(tables=False))


@asynccontextmanager
async def listening(database: Database) -> AsyncIterator[list[str]]:
    heard: list[str] = []
    task = asyncio.create_task(notices.listen(database, heard.append))
    try:
        async with asyncio.timeout(60):
            while not database.read_now(_listeners):
                await asyncio.sleep(0.01)
            yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _listeners(connection: Connection) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    return int(connection.execute(text(query)).scalar_one())


async def until(heard: list[str], expected: list[str]) -> None:
    async with asyncio.timeout(60):
        while heard != expected:
            await asyncio.sleep(0.01)


async def test_heard_by_another_process_after_the_commit(shared: str) -> None:
    here, there = open_database(shared), open_database(shared)
    async with listening(there) as heard:
        await here.write(lambda c: notices.tell(c, "ended 1"))
        await until(heard, ["ended 1"])

        def half(connection: Connection) -> None:
            notices.tell(connection, "never said")
            raise ValueError("enough")

        with pytest.raises(ValueError, match="enough"):
            await here.write(half)
        await here.write(lambda c: notices.tell(c, "ended 2"))
        await until(heard, ["ended 1", "ended 2"])
    await here.close()
    await there.close()


async def test_a_lost_connection_is_made_anew(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "AGAIN_S", 0.05)
    database = open_database(shared)
    async with listening(database) as heard:
        await database.write(
            lambda c: c.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
            ).fetchall()
        )
        await asyncio.sleep(0.1)
        while not database.read_now(_listeners):
            await asyncio.sleep(0.02)
        await database.write(lambda c: notices.tell(c, "still here"))
        await until(heard, ["still here"])
    await database.close()


async def test_sqlite_has_nobody_to_tell(tmp_path: object) -> None:
    database = open_database(f"sqlite:///{tmp_path}/a.db")
    heard: list[str] = []
    async with asyncio.timeout(60):
        await notices.listen(database, heard.append)
    await database.write(lambda c: notices.tell(c, "hello"))
    assert heard == []
    await database.close()
