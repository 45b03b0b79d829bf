"""The table of daily totals. Knows columns, not what is done with them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table

from keelbill.db.base import metadata

usage_day = Table(
    "usage_day",
    metadata,
    Column("org_id", String(32), primary_key=True),
    Column("day", String(10), primary_key=True),  # 2026-01-31, in UTC
    Column("key_id", String(32), primary_key=True),  # "" for a session
    Column("user_id", String(32), primary_key=True),
    Column("service", String(64), primary_key=True),
    Column("model", String(128), primary_key=True),
    Column("outcome", String(16), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("pictures", BigInteger, nullable=False),
    Column("charged_micro", BigInteger, nullable=False),
    Column("compute_ms", BigInteger, nullable=False),
)
"""One row for each day, organisation, key, member, service, model and outcome."""
