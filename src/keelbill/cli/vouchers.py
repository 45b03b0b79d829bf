"""The ``vouchers`` command: makes and lists codes. Knows no SQL."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime

import click

from keelbill.cli._database import opened
from keelbill.core.types import credits_of, micro
from keelbill.ledger.models import Category
from keelbill.ledger.vouchers import Vouchers


@click.group(name="vouchers")
def command() -> None:
    """Make and list codes that are worth credits."""


@command.command()
@click.option("--credits", "amount", required=True, help="What one use is worth, such as 1000.")
@click.option("--uses", default=1, type=click.IntRange(1), show_default=True, help="How many accounts may use it.")
@click.option("--days", type=click.IntRange(1), help="How long it can be redeemed.")
@click.option("--promo", is_flag=True, help="A gift: its credits are spent before paid ones.")
@click.option("--credits-last-days", type=click.IntRange(1), help="How long the credits last once redeemed.")
@click.option("--count", default=1, type=click.IntRange(1, 1000), show_default=True, help="How many codes.")
@click.option("--note", default="", help="For administrators.")
def create(
    amount: str, uses: int, days: int | None, promo: bool, credits_last_days: int | None, count: int, note: str
) -> None:
    """Make codes and print them; they cannot be shown again."""
    with opened() as (database, ledger):
        vouchers = Vouchers(ledger, ledger.clock)
        for _ in range(count):
            code = database.write_now(
                lambda c: vouchers.create(
                    c,
                    micro(amount),
                    uses=uses,
                    days=days,
                    category=Category.PROMO if promo else Category.PAID,
                    credits_last_days=credits_last_days,
                    created_by=f"cli:{getpass.getuser()}"[:64],
                    note=note,
                )
            )
            click.echo(code)


@command.command(name="list")
def list_all() -> None:
    """List vouchers, newest first; only their hashes are kept."""
    with opened() as (database, ledger):
        rows = database.read_now(Vouchers(ledger, ledger.clock).all)
    for row in rows:
        until = "for ever"
        if row.expires_ms is not None:
            until = f"until {datetime.fromtimestamp(row.expires_ms / 1000, UTC):%Y-%m-%d}"
        worth = f"{credits_of(row.micro_credits):f} {row.category}"
        click.echo(f"{row.code_hash[:12]}  {worth}  used {row.used}/{row.max_uses}  {until}  {row.note}".rstrip())
    if not rows:
        click.echo("There are no vouchers.")
