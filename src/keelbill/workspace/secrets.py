"""Keeps an account's keys for other services, sealed. Knows what they are called, not what they open."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from keelbill.core.clock import Clock
from keelbill.core.errors import InvalidInput, NotFound
from keelbill.core.sealing import Seal
from keelbill.db.base import Database
from keelbill.workspace.models import workspace_secret as table
from keelbill.workspace.schemas import Account

NAMES: Final = ("image_service",)
MAX_VALUE: Final = 512
_VALUE: Final = re.compile(r"[\x21-\x7e]{1,512}")


class Secrets:
    """The secrets of all accounts; only a run of the account itself gets to see one.

    Each is sealed for its account and name, so that a row that is copied elsewhere opens nothing.

    Args:
        database: Where rows are kept.
        clock: Stamps them.
        secret: The server's.
    """

    def __init__(self, database: Database, clock: Clock, secret: bytes) -> None:
        self._database = database
        self._clock = clock
        self._seal = Seal(secret, "workspace secret")

    async def names(self, account: Account) -> dict[str, int]:
        """Return which secrets an account has, with the milliseconds since 1970 of their making."""
        query = select(table.c.name, table.c.created_ms).where(_of(account)).order_by(table.c.name)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return {row.name: row.created_ms for row in rows}

    async def keep(self, account: Account, name: str, value: str) -> None:
        """Keep a secret in the place of the former one.

        Raises:
            InvalidInput: The name is unknown, or the value is no key; it is never repeated.
        """
        _require(name)
        if not _VALUE.fullmatch(value):
            raise InvalidInput("value", "…", f"1 to {MAX_VALUE} visible ASCII characters")
        sealed = self._seal.close(value, account.org_id, account.user_id, name)
        row = {"name": name, "sealed": sealed, "created_ms": self._clock.now_ms()}
        of_account = {"org_id": account.org_id, "user_id": account.user_id}

        def write(connection: Connection) -> None:
            connection.execute(delete(table).where(_of(account), table.c.name == name))
            connection.execute(insert(table).values(**of_account, **row))

        await self._database.write(write)

    async def reveal(self, account: Account, name: str) -> str:
        """Return a secret, "" if there is none or the server's own secret has changed since."""
        query = select(table.c.sealed).where(_of(account), table.c.name == name)
        sealed = await self._database.read(lambda c: c.execute(query).scalar_one_or_none())
        if sealed is None:
            return ""
        return self._seal.open(sealed, account.org_id, account.user_id, name) or ""

    async def forget(self, account: Account, name: str) -> None:
        """Forget a secret.

        Raises:
            NotFound: There is none.
        """
        statement = delete(table).where(_of(account), table.c.name == name)
        if not await self._database.write(lambda c: c.execute(statement).rowcount):
            raise NotFound(f"There is no secret {name!r}.")


def _require(name: str) -> None:
    if name not in NAMES:
        raise InvalidInput("name", name, f"one of {', '.join(NAMES)}")


def _of(account: Account) -> ColumnElement[bool]:
    return (table.c.org_id == account.org_id) & (table.c.user_id == account.user_id)
