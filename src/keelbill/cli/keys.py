"""The ``keys`` command: creates, lists, rotates and revokes API keys. Knows no SQL."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import cast

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection

from keelbill.cli._database import find_org
from keelbill.cli._identity import COMMAND_LINE, opened_identity
from keelbill.core.errors import NotFound
from keelbill.core.principal import ALL_SCOPES, DEFAULT_SCOPES, Caps, Scope
from keelbill.core.types import micro
from keelbill.identity import key_repository, repository
from keelbill.identity.schemas import KeyOptions, KeyRecord

DAY_MS = 86_400_000

_org_option = click.option("--org", default="", help="Id of the account, or its owner's e-mail address.")


@click.group(name="keys", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Create, list, rotate and revoke API keys."""


@command.command()
@_org_option
@click.option("--name", default="", help="What it is for.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(sorted(ALL_SCOPES)), help="May be repeated. [default: usual]"
)
@click.option("--days", default=0, type=click.IntRange(0, 36_500), help="How long it works; 0 is for ever.")
@click.option("--cap-day", default="", help="Credits that it may spend each day.")
@click.option("--cap-month", default="", help="Credits that it may spend each month.")
@click.option("--network", "networks", multiple=True, help="CIDR block from which it works; may be repeated.")
def create(
    org: str,
    name: str,
    scopes: tuple[str, ...],
    days: int,
    cap_day: str,
    cap_month: str,
    networks: tuple[str, ...],
) -> None:
    """Make a key for the owner of an account, and print it this once."""
    with opened_identity() as (database, identity):
        options = KeyOptions(
            name=name,
            scopes=cast("frozenset[Scope]", frozenset(scopes)) or DEFAULT_SCOPES,
            caps=Caps(
                per_day=int(micro(cap_day)) if cap_day else None,
                per_month=int(micro(cap_month)) if cap_month else None,
            ),
            networks=networks,
            expires_ms=identity.clock.now_ms() + days * DAY_MS if days else 0,
        )
        org_id = database.read_now(lambda c: find_org(c, org))
        members = database.read_now(lambda c: repository.members(c, org_id))
        owner = next(member.user_id for member in members if member.role == "owner")
        record, secret = database.write_now(lambda c: identity.keys.make(c, org_id, owner, options, actor=COMMAND_LINE))
    click.echo(f"Key {record.id}; it is shown this once:", err=True)
    click.echo(secret)


@command.command("list")
@_org_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(org: str, as_json: bool) -> None:
    """List an account's keys, newest first."""
    with opened_identity() as (database, identity):
        org_id = database.read_now(lambda c: find_org(c, org))
        found = database.read_now(lambda c: key_repository.of_org(c, org_id))
        now_ms = identity.clock.now_ms()
    if as_json:
        click.echo(json.dumps([_row(record, now_ms) for record in found], indent=2))
        return
    table = Table("id", "key", "name", "state", "last used", box=None, pad_edge=False)
    for record in found:
        used = _time(record.last_used_ms) if record.last_used_ms else "never"
        table.add_row(record.id, record.stub, record.options.name, _state(record, now_ms), used)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


@command.command()
@click.argument("key_id")
@click.option("--overlap-hours", default=24, type=click.IntRange(0, 720), show_default=True, help="Old key's life.")
def rotate(key_id: str, overlap_hours: int) -> None:
    """Replace the key KEY_ID and print the new one this once."""
    with opened_identity() as (database, identity):
        org_id = database.read_now(lambda c: _org_of(c, key_id))
        record, secret = database.write_now(
            lambda c: identity.keys.rotate_in(c, org_id, key_id, overlap_hours * 3600, actor=COMMAND_LINE)
        )
    click.echo(f"Key {record.id}; it is shown this once. The old one works for {overlap_hours} hours.", err=True)
    click.echo(secret)


@command.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """End the key KEY_ID; a running server refuses it within a second."""
    with opened_identity() as (database, identity):
        org_id = database.read_now(lambda c: _org_of(c, key_id))
        ended = database.write_now(lambda c: identity.keys.revoke_in(c, org_id, key_id, actor=COMMAND_LINE))
    click.echo(f"{key_id} is revoked." if ended else f"{key_id} was revoked before.")


def _org_of(connection: Connection, key_id: str) -> str:
    org_id = key_repository.org_of(connection, key_id)
    if not org_id:
        raise NotFound(f"There is no key {key_id!r}.", hint="See: keelbill keys list")
    return org_id


def _state(record: KeyRecord, now_ms: int) -> str:
    if record.revoked_ms:
        return f"revoked {_time(record.revoked_ms)}"
    if not record.is_active(now_ms):
        return f"expired {_time(record.options.expires_ms)}"
    if record.options.expires_ms:
        return f"active until {_time(record.options.expires_ms)}" + (", rotated" if record.replaced_by else "")
    return "active"


def _row(record: KeyRecord, now_ms: int) -> dict[str, object]:
    return {
        "id": record.id,
        "stub": record.stub,
        "name": record.options.name,
        "scopes": sorted(record.options.scopes),
        "is_active": record.is_active(now_ms),
        "created_ms": record.created_ms,
        "expires_ms": record.options.expires_ms,
        "last_used_ms": record.last_used_ms,
        "revoked_ms": record.revoked_ms,
        "rotated_from": record.rotated_from,
        "replaced_by": record.replaced_by,
    }


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%MZ")
