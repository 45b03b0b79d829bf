"""The ``credits`` command: shows and grants credits. Knows no SQL."""

from __future__ import annotations

import getpass
import sys
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection

from keelbill.cli._database import find_org, opened
from keelbill.cli._identity import COMMAND_LINE
from keelbill.core.types import credits_of, micro
from keelbill.identity.audit import AuditLog

_org_option = click.option("--org", default="", help="Id of the account, or its owner's e-mail address.")


@click.group(name="credits")
def command() -> None:
    """Show and grant credits."""


@command.command()
@_org_option
def show(org: str) -> None:
    """Show an account's credits and where they are from."""
    with opened() as (database, ledger):
        org_id = database.read_now(lambda c: find_org(c, org))
        balance = database.read_now(lambda c: ledger.balance(c, org_id))
        lots = database.read_now(lambda c: ledger.lots(c, org_id))
    click.echo(f"available {credits_of(balance.available):f}")
    click.echo(f"reserved  {credits_of(balance.held):f}")
    click.echo(f"total     {credits_of(balance.posted):f}")
    for each in lots:
        until = f", until {_day(each.expires_ms)}" if each.expires_ms is not None else ""
        click.echo(f"  {credits_of(each.remaining):f} {each.category}{until}")


@command.command()
@click.argument("amount")
@_org_option
@click.option("--note", default="", help="Why; it stays in the history.")
def grant(amount: str, org: str, note: str) -> None:
    """Add AMOUNT credits to an account; a negative amount takes them."""
    with opened() as (database, ledger):
        org_id = database.read_now(lambda c: find_org(c, org))
        wanted = micro(amount)
        who = f"cli:{getpass.getuser()}"[:64]

        def adjust(connection: Connection) -> None:
            ledger.adjust(connection, org_id, wanted, who, note)
            after = {"micro_credits": wanted, "note": note, "by": who}
            AuditLog(ledger.clock).add(connection, COMMAND_LINE, "credits.adjust", org_id, org_id=org_id, after=after)

        database.write_now(adjust)
        balance = database.read_now(lambda c: ledger.balance(c, org_id))
    click.echo(f"available {credits_of(balance.available):f}")


@command.command()
@_org_option
@click.option("--limit", default=20, type=click.IntRange(1, 1000), show_default=True, help="How many, newest first.")
def transfers(org: str, limit: int) -> None:
    """List an account's movements, newest first."""
    with opened() as (database, ledger):
        org_id = database.read_now(lambda c: find_org(c, org))
        rows = database.read_now(lambda c: ledger.transfers(c, org_id, limit=limit))
    table = Table("time", "kind", "credits", "what", box=None, pad_edge=False)
    for row in rows:
        what = " ".join(word for word in (row.item, row.job_id, row.note) if word)
        table.add_row(_time(row.created_ms), row.kind, f"{credits_of(row.amount):+f}", what)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d")


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
