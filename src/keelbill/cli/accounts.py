"""The ``accounts`` command: creates, lists and changes people. Knows no SQL."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from keelbill.cli._identity import COMMAND_LINE, ask_password, find_person, opened_identity
from keelbill.core.errors import InvalidInput
from keelbill.identity import repository
from keelbill.identity.addresses import checked_address
from keelbill.identity.passwords import check_new
from keelbill.identity.schemas import Person


@click.group(name="accounts", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Create, list and promote accounts; set a new password.

    Passwords are asked for, or read from standard input; never from arguments.
    """


@command.command()
@click.argument("email")
@click.option("--name", default="", help="For greeting.")
@click.option("--staff", is_flag=True, help="Let the account administer this installation.")
def create(email: str, name: str, staff: bool) -> None:
    """Add an account for EMAIL; its address counts as proved."""
    email = checked_address(email)
    password = ask_password()
    check_new(password, address=email)
    with opened_identity() as (database, identity):
        hashed = identity.accounts.passwords.hash_now(password)
        made = database.write_now(
            lambda c: identity.accounts.add_person(
                c,
                email=email,
                name=name,
                password_hash=hashed,
                is_verified=True,
                is_staff=staff,
                actor=COMMAND_LINE,
            )
        )
    if made is None:
        raise InvalidInput("email", email, "an address that has no account yet")
    click.echo(f"account      {made[0]}\norganisation {made[1]}")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_accounts(as_json: bool) -> None:
    """List accounts, oldest first."""
    with opened_identity() as (database, _):
        found = database.read_now(repository.all_people)
    if as_json:
        click.echo(json.dumps([vars(person) for person in found], indent=2))
        return
    table = Table("account", "address", "name", "since", "state", box=None, pad_edge=False)
    for person in found:
        since = datetime.fromtimestamp(person.created_ms / 1000, UTC).strftime("%Y-%m-%d")
        table.add_row(person.id, person.email or "-", person.name, since, _state(person))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


@command.command("reset-password")
@click.argument("account")
def reset_password(account: str) -> None:
    """Set a new password for ACCOUNT (address or id); every session of it ends."""
    password = ask_password()
    with opened_identity() as (database, identity):
        person = database.read_now(lambda c: find_person(c, account))
        if not person.email:
            raise InvalidInput("account", account, "one with an address; claim this one with the set-up link")
        check_new(password, address=person.email)
        hashed = identity.accounts.passwords.hash_now(password)
        database.write_now(lambda c: identity.accounts.set_password(c, person.id, hashed, actor=COMMAND_LINE))
    click.echo(f"{person.email} has a new password; every session has ended.")


@command.command()
@click.argument("account")
@click.option("--undo", is_flag=True, help="Take the right away.")
def promote(account: str, undo: bool) -> None:
    """Let ACCOUNT (address or id) administer this installation."""
    with opened_identity() as (database, identity):
        person = database.read_now(lambda c: find_person(c, account))
        database.write_now(lambda c: identity.accounts.promote(c, person.id, is_staff=not undo, actor=COMMAND_LINE))
    click.echo(f"{person.email or person.id} {'no longer administers' if undo else 'administers'} this installation.")


@command.command()
@click.argument("account")
@click.option("--undo", is_flag=True, help="Give the access back.")
def disable(account: str, undo: bool) -> None:
    """Take the access of ACCOUNT (address or id) away: sessions end, keys stop to work within a second."""
    with opened_identity() as (database, identity):
        person = database.read_now(lambda c: find_person(c, account))
        database.write_now(lambda c: identity.accounts.disable(c, person.id, is_disabled=not undo, actor=COMMAND_LINE))
    click.echo(f"{person.email or person.id} is {'enabled' if undo else 'disabled'}.")


def _state(person: Person) -> str:
    words = [
        "staff" if person.is_staff else "",
        "disabled" if person.disabled_ms else "",
        "" if person.has_password else "no password",
        "" if person.verified_ms or not person.email else "address not proved",
    ]
    return ", ".join(word for word in words if word) or "active"
