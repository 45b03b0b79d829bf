"""Queries of API keys. Knows no rules and sees no secrets, only digests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from keelbill.identity.models import api_key, membership, org, person
from keelbill.identity.repository import cap_values, caps_of
from keelbill.identity.schemas import Holder, KeyOptions, KeyRecord

_MEMBER_CAPS = [getattr(membership.c, name).label(f"member_{name}") for name in cap_values(KeyOptions().caps)]
_HOLDER = (
    select(api_key, membership.c.role, org.c.weight, org.c.deleted_ms, person.c.is_staff, person.c.disabled_ms)
    .add_columns(*_MEMBER_CAPS)
    .join(person, person.c.id == api_key.c.user_id)
    .join(org, org.c.id == api_key.c.org_id)
    .join(membership, (membership.c.org_id == api_key.c.org_id) & (membership.c.user_id == api_key.c.user_id))
)


def add(connection: Connection, record: KeyRecord, digest: str) -> None:
    """Keep a new key."""
    values = {name: value for name, value in vars(record).items() if name != "options"}
    connection.execute(insert(api_key).values(**values, digest=digest, **option_values(record.options)))


def option_values(options: KeyOptions) -> dict[str, object]:
    """Return what is chosen about a key as columns."""
    return {
        "name": options.name,
        "scopes": " ".join(sorted(options.scopes)),
        **cap_values(options.caps),
        "rate_limit": options.rate_limit,
        "networks": " ".join(options.networks),
        "expires_ms": options.expires_ms,
    }


def change(connection: Connection, key_id: str, **values: object) -> None:
    """Change columns of a key."""
    connection.execute(update(api_key).where(api_key.c.id == key_id).values(**values))


def revoke(connection: Connection, key_id: str, now_ms: int) -> bool:
    """End a key; false if it had ended before."""
    alive = (api_key.c.id == key_id) & (api_key.c.revoked_ms == 0)
    return connection.execute(update(api_key).where(alive).values(revoked_ms=now_ms)).rowcount == 1


def find(connection: Connection, org_id: str, key_id: str, *, lock: bool = False) -> KeyRecord | None:
    """Return a key of an organisation; with `lock`, it stays as it is until the commit."""
    query = select(api_key).where(api_key.c.id == key_id, api_key.c.org_id == org_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else _record(row)


def of_org(connection: Connection, org_id: str) -> list[KeyRecord]:
    """Return an organisation's keys, newest first."""
    query = select(api_key).where(api_key.c.org_id == org_id).order_by(api_key.c.id.desc())
    return [_record(row) for row in connection.execute(query)]


def of_member(connection: Connection, org_id: str, user_id: str) -> list[KeyRecord]:
    """Return the keys in an organisation that act for one member and were not revoked."""
    mine = (api_key.c.org_id == org_id) & (api_key.c.user_id == user_id) & (api_key.c.revoked_ms == 0)
    return [_record(row) for row in connection.execute(select(api_key).where(mine))]


def org_of(connection: Connection, key_id: str) -> str:
    """Return whose a key is, "" if there is no such key."""
    return connection.execute(select(api_key.c.org_id).where(api_key.c.id == key_id)).scalar_one_or_none() or ""


def holder(connection: Connection, digest: str) -> Holder | None:
    """Return a key and its member by the key's digest; nothing once the member or the organisation is gone."""
    row = connection.execute(_HOLDER.where(api_key.c.digest == digest)).one_or_none()
    if row is None or row.deleted_ms:
        return None
    return Holder(
        key=_record(row),
        role=row.role,
        member_caps=caps_of(row, "member_"),
        weight=row.weight,
        is_staff=row.is_staff,
        is_disabled=bool(row.disabled_ms),
    )


def touch(connection: Connection, uses: Iterable[tuple[str, int, str]]) -> None:
    """Note when and from where keys were used last: (key, milliseconds, address)."""
    for key_id, at_ms, ip in uses:
        newer = (api_key.c.id == key_id) & (api_key.c.last_used_ms < at_ms)
        connection.execute(update(api_key).where(newer).values(last_used_ms=at_ms, last_used_ip=ip))


def _record(row: Row[Any]) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        org_id=row.org_id,
        user_id=row.user_id,
        stub=row.stub,
        options=KeyOptions(
            name=row.name,
            scopes=frozenset(row.scopes.split()),
            caps=caps_of(row),
            rate_limit=row.rate_limit,
            networks=tuple(row.networks.split()),
            expires_ms=row.expires_ms,
        ),
        created_ms=row.created_ms,
        last_used_ms=row.last_used_ms,
        last_used_ip=row.last_used_ip,
        revoked_ms=row.revoked_ms,
        rotated_from=row.rotated_from,
        replaced_by=row.replaced_by,
    )
