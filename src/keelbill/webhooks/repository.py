"""Queries of webhooks and their deliveries. Knows no rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from keelbill.webhooks.models import webhook, webhook_delivery
from keelbill.webhooks.schemas import Delivery, Sealed, Webhook

_SHOWN: Final = select(
    webhook.c.id,
    webhook.c.org_id,
    webhook.c.url,
    webhook.c.events,
    webhook.c.enabled,
    webhook.c.failures,
    webhook.c.created_ms,
)
_FOR_ORG: Final = _SHOWN.where(webhook.c.org_id == bindparam("org_id")).order_by(webhook.c.id)


def add(connection: Connection, record: Webhook, sealed: str) -> None:
    """Keep a new address with its sealed secret."""
    secrets = {"sealed": sealed, "former_sealed": "", "former_until_ms": 0}
    connection.execute(insert(webhook), {**vars(record), "events": " ".join(record.events), **secrets})


def of_org(connection: Connection, org_id: str) -> list[Webhook]:
    """Return an organisation's addresses, oldest first."""
    return [_webhook(row) for row in connection.execute(_FOR_ORG, {"org_id": org_id})]


def find(connection: Connection, webhook_id: str) -> Webhook | None:
    """Return one address, whoever owns it."""
    row = connection.execute(_SHOWN.where(webhook.c.id == webhook_id)).one_or_none()
    return None if row is None else _webhook(row)


def roll_secret(connection: Connection, webhook_id: str, sealed: str, former_until_ms: int) -> None:
    """Keep a new secret; the one before signs beside it until a time."""
    former = {"former_sealed": webhook.c.sealed, "former_until_ms": former_until_ms}
    connection.execute(update(webhook).where(webhook.c.id == webhook_id).values(sealed=sealed, **former))


def change(connection: Connection, webhook_id: str, values: Mapping[str, object]) -> None:
    """Change columns of an address."""
    connection.execute(update(webhook).where(webhook.c.id == webhook_id).values(**values))


def count_failure(connection: Connection, webhook_id: str) -> int:
    """Count a message that was given up; return how many in a row that makes."""
    added = update(webhook).where(webhook.c.id == webhook_id).values(failures=webhook.c.failures + 1)
    return int(connection.execute(added.returning(webhook.c.failures)).scalar_one())


def remove(connection: Connection, webhook_id: str) -> None:
    """Forget an address and all deliveries to it."""
    connection.execute(delete(webhook_delivery).where(webhook_delivery.c.webhook_id == webhook_id))
    connection.execute(delete(webhook).where(webhook.c.id == webhook_id))


def add_deliveries(connection: Connection, records: Iterable[Delivery]) -> None:
    """Queue messages."""
    connection.execute(insert(webhook_delivery), [vars(record) for record in records])


def claim_due(connection: Connection, now_ms: int, until_ms: int, limit: int) -> list[tuple[Delivery, str, Sealed]]:
    """Take messages that are due and count the try; nobody else takes them before `until_ms`.

    Returns:
        Each with the URL it goes to and the secrets that sign it.
    """
    due = (
        select(webhook_delivery.c.id)
        .where(webhook_delivery.c.state == "waiting", webhook_delivery.c.next_ms <= now_ms)
        .order_by(webhook_delivery.c.next_ms)
        .limit(limit)
        .with_for_update(skip_locked=True)  # SQLite has one writer and passes over this
    )
    ids = list(connection.execute(due).scalars())
    if not ids:
        return []
    taken = {"next_ms": until_ms, "attempts": webhook_delivery.c.attempts + 1}
    connection.execute(update(webhook_delivery).where(webhook_delivery.c.id.in_(ids)).values(**taken))
    rows = connection.execute(select(webhook_delivery).where(webhook_delivery.c.id.in_(ids)))
    deliveries = [Delivery(**row._mapping) for row in rows]
    target = select(webhook.c.id, webhook.c.url, webhook.c.sealed, webhook.c.former_sealed, webhook.c.former_until_ms)
    targets = connection.execute(target.where(webhook.c.id.in_({delivery.webhook_id for delivery in deliveries})))
    by_id = {row.id: (row.url, Sealed(row.sealed, row.former_sealed, row.former_until_ms)) for row in targets}
    return [(delivery, *by_id[delivery.webhook_id]) for delivery in deliveries]


def change_delivery(connection: Connection, delivery_id: str, values: Mapping[str, object]) -> None:
    """Change columns of a delivery."""
    connection.execute(update(webhook_delivery).where(webhook_delivery.c.id == delivery_id).values(**values))


def give_up_waiting(connection: Connection, webhook_id: str, now_ms: int, reason: str) -> None:
    """End all waiting messages to an address."""
    waiting = (webhook_delivery.c.webhook_id == webhook_id) & (webhook_delivery.c.state == "waiting")
    ended: dict[str, Any] = {"state": "given_up", "finished_ms": now_ms, "last_error": reason}
    connection.execute(update(webhook_delivery).where(waiting).values(**ended))


def deliveries(connection: Connection, webhook_id: str, before_id: str, limit: int) -> list[Delivery]:
    """Return messages to an address, newest first, from before `before_id` if that is not ""."""
    query = select(webhook_delivery).where(webhook_delivery.c.webhook_id == webhook_id)
    if before_id:
        query = query.where(webhook_delivery.c.id < before_id)
    rows = connection.execute(query.order_by(webhook_delivery.c.id.desc()).limit(limit))
    return [Delivery(**row._mapping) for row in rows]


def find_delivery(connection: Connection, delivery_id: str) -> Delivery | None:
    """Return one message."""
    row = connection.execute(select(webhook_delivery).where(webhook_delivery.c.id == delivery_id)).one_or_none()
    return None if row is None else Delivery(**row._mapping)


def forget_finished(connection: Connection, before_ms: int) -> int:
    """Drop messages that ended before a time, and return how many."""
    old = (webhook_delivery.c.finished_ms > 0) & (webhook_delivery.c.finished_ms < before_ms)
    return connection.execute(delete(webhook_delivery).where(old)).rowcount


def _webhook(row: Row[*tuple[Any, ...]]) -> Webhook:
    values = {**row._mapping}
    return Webhook(**{**values, "events": tuple(values["events"].split())})
