"""Short messages between processes that share a PostgreSQL database. Knows nothing of what they say.

SQLite has one server process, so there nothing is said and nothing heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import psycopg
import structlog
from psycopg import sql
from sqlalchemy import Connection, func, select

from keelbill.db.base import Database

CHANNEL: Final = "keelbill"
MOST_BYTES: Final = 7999
AGAIN_S: Final = 2.0
"""Pause before a lost connection is made anew."""

_log = structlog.get_logger(__name__)


def tell(connection: Connection, text: str) -> None:
    """Send a message with the commit of this transaction; up to 7,999 bytes."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_notify(CHANNEL, text)))


async def listen(database: Database, hear: Callable[[str], None]) -> None:
    """Pass every message on until cancelled; those of the time without a connection are lost.

    Args:
        database: Whose messages; this returns at once if it is SQLite.
        hear: Called on the event loop, also for messages of this process.
    """
    if database.dialect != "postgresql":
        return
    address = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(address, autocommit=True, connect_timeout=5) as connection:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                async for notice in connection.notifies():
                    hear(notice.payload)
        except psycopg.OperationalError as error:
            _log.warning("notices_lost", reason=type(error).__name__)
        await asyncio.sleep(AGAIN_S)
