"""The ``ledger`` command: proves the books, prints prices, gives expired reservations back. Knows no SQL."""

from __future__ import annotations

import click

from keelbill.cli._database import opened
from keelbill.core.clock import SystemClock
from keelbill.core.settings import read_settings
from keelbill.core.types import credits_of
from keelbill.ledger.audit import audit
from keelbill.ledger.prices import PriceList


@click.group(name="ledger")
def command() -> None:
    """Prove the books, print prices, give expired reservations back."""


@command.command()
def verify() -> None:
    """Recompute every balance from the movements; exit code 1 if anything does not agree."""
    with opened() as (database, _):
        found = audit(database)
    for each in found:
        click.echo(str(each))
    click.echo(f"{len(found)} mismatches" if found else "the books agree")
    if found:
        raise click.exceptions.Exit(1)


@command.command()
def prices() -> None:
    """Print the price list in effect."""
    found = PriceList.load(read_settings().home / "prices.toml", SystemClock())
    click.echo(f"price list {found.version}")
    for item, price in found.items().items():
        click.echo(f"  {item:32} {credits_of(price):f}")


@command.command()
def sweep() -> None:
    """Remove expired credits, and give back reservations that expired more than an hour ago.

    A running server does this every 30 seconds and knows which jobs still run. This command does not, so it waits
    longer.
    """
    with opened() as (database, ledger):
        expired = database.write_now(ledger.expire_lots)
        released = database.write_now(lambda c: ledger.sweep(c, grace_ms=60 * 60 * 1000))
    click.echo(f"{released} reservations given back, {expired} lots of credits expired")
