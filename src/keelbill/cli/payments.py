"""The ``payments`` command: lists purchases of credits and gives money back. Knows no SQL."""

from __future__ import annotations

import asyncio
import getpass
import sys
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection

from keelbill.cli._database import find_org, opened
from keelbill.cli._identity import COMMAND_LINE
from keelbill.core.errors import NotInstalled
from keelbill.core.settings import read_settings
from keelbill.core.types import Micro, credits_of
from keelbill.identity.audit import AuditLog
from keelbill.ledger.payments import Payments
from keelbill.ledger.receipts import receipts
from keelbill.ledger.stripe import Stripe


@click.group(name="payments")
def command() -> None:
    """List purchases of credits and give money back."""


@command.command(name="list")
@click.option("--org", default="", help="Id of the account, or its owner's e-mail address; else all.")
@click.option("--limit", default=20, type=click.IntRange(1, 1000), show_default=True, help="How many, newest first.")
def list_all(org: str, limit: int) -> None:
    """List purchases, newest first."""
    with opened() as (database, _):
        org_id = database.read_now(lambda c: find_org(c, org)) if org else ""
        found = database.read_now(lambda c: receipts(c, org_id, limit=limit))
    table = Table("purchase", "time", "account", "credits", "money", "status", box=None, pad_edge=False)
    for each in found:
        time = datetime.fromtimestamp(each.created_ms / 1000, UTC).strftime("%Y-%m-%d %H:%MZ")
        money = f"{each.money_minor // 100}.{each.money_minor % 100:02} {each.currency}"
        table.add_row(each.id, time, each.org_id, f"{credits_of(each.credits):f}", money, each.status)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@command.command()
@click.argument("purchase")
def refund(purchase: str) -> None:
    """Give the money for what is left of PURCHASE back, through Stripe."""
    settings = read_settings()
    if not settings.stripe_secret_key:
        raise NotInstalled("Stripe is not set up here.", hint="Set KEELBILL_STRIPE_SECRET_KEY.")
    stripe = Stripe(settings.stripe_secret_key, settings.stripe_webhook_secret, settings.stripe_api_base)
    with opened() as (database, ledger):

        def note(connection: Connection, org_id: str, held: Micro) -> None:
            after = {"micro_credits": held, "by": f"cli:{getpass.getuser()}"[:64]}
            audit = AuditLog(ledger.clock)
            audit.add(connection, COMMAND_LINE, "payment.refund", purchase, org_id=org_id, after=after)

        payments = Payments(database, ledger, stripe, ledger.clock)
        back = asyncio.run(payments.refund(purchase, note=note))
    if back == 0:
        click.echo("Nothing is left of this purchase.")
    else:
        click.echo(f"{credits_of(back):f} credits were taken back; the money is on its way.")
