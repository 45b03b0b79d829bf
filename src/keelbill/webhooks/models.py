"""The tables of registered addresses and of what was sent to them. Knows columns, not what is done with them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text

from keelbill.db.base import metadata

webhook = Table(
    "webhook",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("sealed", Text, nullable=False),  # the secret that signs, sealed with the server's own
    Column("former_sealed", Text, nullable=False),  # the one before, which signs too until its time; "" if none
    Column("former_until_ms", BigInteger, nullable=False),
    Column("events", Text, nullable=False),  # names, separated by spaces
    Column("enabled", Boolean, nullable=False),
    Column("failures", Integer, nullable=False),  # deliveries in a row that were given up
    Column("created_ms", BigInteger, nullable=False),
)

webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("webhook_id", String(32), ForeignKey("webhook.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("event", String(32), nullable=False),
    Column("payload", Text, nullable=False),
    Column("state", String(16), nullable=False),  # waiting, delivered, given_up
    Column("attempts", Integer, nullable=False),
    Column("next_ms", BigInteger, nullable=False),
    Column("last_status", Integer, nullable=False),  # 0: no answer
    Column("last_error", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger, nullable=False),  # 0: not yet
)

_waiting = webhook_delivery.c.state == "waiting"
Index("ix_webhook_delivery_due", webhook_delivery.c.next_ms, sqlite_where=_waiting, postgresql_where=_waiting)
