"""Opens the database and the ledger of the settings for a command. Knows no command's work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy import Connection, select

from keelbill.core.clock import SystemClock
from keelbill.core.errors import InvalidInput, NotFound, Unavailable
from keelbill.core.settings import read_settings
from keelbill.db.base import Database, open_database
from keelbill.db.migrate import is_current
from keelbill.ledger.models import wallet
from keelbill.ledger.prices import PriceList
from keelbill.ledger.service import Ledger


@contextlib.contextmanager
def opened() -> Iterator[tuple[Database, Ledger]]:
    """Open the database and the ledger; a server may run at the same time.

    Raises:
        Unavailable: The database is not up to date.
    """
    settings = read_settings()
    clock = SystemClock()
    database = open_database(settings.database)
    try:
        if not is_current(database):
            raise Unavailable("The database is not up to date.", hint="Run: keelbill migrate")
        yield database, Ledger(clock, PriceList.load(settings.home / "prices.toml", clock), settings)
    finally:
        database.close_now()


def find_org(connection: Connection, name: str) -> str:
    """Return an organisation's id.

    Args:
        connection: Inside a read.
        name: Its id, the e-mail address of somebody whose personal organisation it is, or "" if there is only one.

    Raises:
        NotFound: There is none of that name.
        InvalidInput: No name was given and there are several.
    """
    if "@" in name:
        return _org_of(connection, name)
    query = select(wallet.c.org_id).where(wallet.c.id >= 0)
    found = connection.scalars(query.where(wallet.c.org_id == name) if name else query.limit(2)).all()
    if len(found) == 1:
        return str(found[0])
    if found:
        raise InvalidInput("--org", name, "given, because there are several accounts: an id or an e-mail address")
    raise NotFound(f"There is no account {name!r}." if name else "There is no account yet.")


def _org_of(connection: Connection, address: str) -> str:
    from keelbill.identity.models import membership, org, person

    query = (
        select(org.c.id)
        .join(membership, membership.c.org_id == org.c.id)
        .join(person, person.c.id == membership.c.user_id)
        .where(person.c.email == address.strip().casefold(), org.c.kind == "personal", membership.c.role == "owner")
    )
    found = connection.scalars(query).first()
    if found is None:
        raise NotFound(f"There is no account of {address!r}.")
    return str(found)
