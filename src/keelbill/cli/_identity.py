"""Opens accounts and keys of the settings for a command. Knows no command's work."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click
from sqlalchemy import Connection

from keelbill.cli._database import opened
from keelbill.core.clock import SystemClock
from keelbill.core.errors import NotFound
from keelbill.core.settings import read_settings
from keelbill.db.base import Database
from keelbill.identity import repository
from keelbill.identity.addresses import sign_in_form
from keelbill.identity.audit import Actor
from keelbill.identity.schemas import Person
from keelbill.identity.secret import load_secret
from keelbill.identity.wiring import Identity, build_identity

COMMAND_LINE = Actor("system", "command line")


@contextlib.contextmanager
def opened_identity() -> Iterator[tuple[Database, Identity]]:
    """Open accounts and keys with the ledger behind them; a server may run at the same time."""
    settings = read_settings()
    with opened() as (database, ledger):

        def open_wallet(connection: Connection, org_id: str) -> None:
            ledger.open_wallet(connection, org_id)

        def give_free(connection: Connection, org_id: str, who: str) -> None:
            ledger.grant_free(connection, org_id, who)

        yield (
            database,
            build_identity(
                database,
                SystemClock(),
                settings,
                load_secret(settings.home),
                on_org_created=open_wallet,
                on_verified=give_free,
            ),
        )


def find_person(connection: Connection, name: str) -> Person:
    """Return a person by mail address or id.

    Raises:
        NotFound: There is none.
    """
    found = repository.person_by_email(connection, sign_in_form(name)) or repository.find_person(connection, name)
    if found is None:
        raise NotFound(f"There is no account {name!r}.", hint="See: keelbill accounts list")
    return found


def ask_password() -> str:
    """Ask twice in a terminal; otherwise read one line from standard input, so that no shell history keeps it."""
    if sys.stdin.isatty():
        return str(click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\n")
