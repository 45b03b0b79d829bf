"""The money tables, and the guards that the database itself keeps. Knows no rule of business.

All amounts are whole micro-credits. Wallets with a negative id belong to the system; what leaves one customer's wallet
arrives in one of them, so that every movement has two ends and all of them sum to nothing.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Identity,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

from keelbill.db.base import metadata

Number = BigInteger().with_variant(Integer, "sqlite")
"""Keys that the database numbers itself."""


def _index_where(name: str, condition: str, *columns: str, unique: bool = False) -> Index:
    """Index only the rows that are looked up; every entry costs each charge a little."""
    return Index(name, *columns, unique=unique, sqlite_where=text(condition), postgresql_where=text(condition))


class System(IntEnum):
    """The system's own wallets."""

    GRANTS = -1
    PROMO = -2
    PAYMENTS = -3
    REVENUE = -4
    EXPIRED = -5
    ADJUST = -6
    REFUNDS = -7


class Kind(StrEnum):
    """Why credits moved."""

    GRANT = "grant"
    PROMO = "promo"
    TOPUP = "topup"
    CAPTURE = "capture"
    REFUND = "refund"
    EXPIRY = "expiry"
    ADJUST = "adjust"


class Category(StrEnum):
    """Where credits came from; they are spent in this order."""

    FREE = "free"
    PROMO = "promo"
    PAID = "paid"


wallet = Table(
    "wallet",
    metadata,
    Column("id", Number, Identity(start=1), primary_key=True),
    Column("org_id", String(32), unique=True),
    Column("posted", BigInteger, nullable=False, server_default="0"),
    Column("held", BigInteger, nullable=False, server_default="0"),
    Column("free_granted_ms", BigInteger),
    Column("recharge_below", BigInteger),
    Column("top_ups_frozen", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint("held >= 0 AND (id < 0 OR (posted >= 0 AND posted - held >= 0))", name="covered"),
)
"""What a customer has (`posted`) and what running jobs have reserved of it (`held`)."""

transfer = Table(
    "ledger_transfer",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("debit_wallet", Number, ForeignKey("wallet.id"), nullable=False),
    Column("credit_wallet", Number, ForeignKey("wallet.id"), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("hold_id", String(32), unique=True),
    Column("external_ref", String(255)),
    Column("actor_type", String(16), nullable=False, server_default="system"),
    Column("actor_id", String(64), nullable=False, server_default=""),
    Column("note", Text, nullable=False, server_default=""),
    Column("created_ms", BigInteger, nullable=False),
    CheckConstraint("amount > 0", name="amount_positive"),
    CheckConstraint("debit_wallet <> credit_wallet", name="two_ends"),
    _index_where("uq_ledger_transfer_external_ref", "external_ref IS NOT NULL", "external_ref", unique=True),
    _index_where("ix_ledger_transfer_debit", "debit_wallet >= 0", "debit_wallet", "id"),
    _index_where("ix_ledger_transfer_credit", "credit_wallet >= 0", "credit_wallet", "id"),
    sqlite_with_rowid=False,
)
"""Movements. The database refuses to change or remove a row."""

hold = Table(
    "hold",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("wallet_id", Number, ForeignKey("wallet.id"), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("state", String(8), nullable=False, server_default="held"),
    Column("job_id", String(32), nullable=False, unique=True),
    Column("item", String(64), nullable=False, server_default=""),
    Column("api_key_id", String(32), nullable=False, server_default=""),
    Column("member_id", String(32), nullable=False, server_default=""),
    Column("price_version", String(32), nullable=False),
    Column("is_capped", Boolean, nullable=False, server_default=text("false")),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("resolved_ms", BigInteger),
    Column("reason", String(64), nullable=False, server_default=""),
    CheckConstraint("amount >= 0", name="amount_not_negative"),
    CheckConstraint("state IN ('held', 'captured', 'voided')", name="state_known"),
    _index_where("ix_hold_open", "state = 'held'", "expires_ms"),
    Index("ix_hold_wallet", "wallet_id", "created_ms"),
    sqlite_with_rowid=False,
)
"""Reserved prices, one for each job, with the amount and the price list of the moment."""

budget = Table(
    "budget",
    metadata,
    Column("id", Number, Identity(start=1), primary_key=True),
    Column("scope", String(8), nullable=False),
    Column("scope_id", String(65), nullable=False),
    Column("period", String(8), nullable=False),
    Column("period_start_ms", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False, server_default="0"),
    Column("held", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("used >= 0 AND held >= 0", name="not_negative"),
    UniqueConstraint("scope", "scope_id", "period", "period_start_ms", name="uq_budget_period"),
)
"""What a key or member spent in a day, a month or ever; rows exist once a cap was set."""

hold_budget = Table(
    "hold_budget",
    metadata,
    Column("hold_id", String(32), ForeignKey("hold.id"), primary_key=True),
    Column("budget_id", Number, ForeignKey("budget.id"), primary_key=True),
    sqlite_with_rowid=False,
)

lot = Table(
    "lot",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("wallet_id", Number, ForeignKey("wallet.id"), nullable=False),
    Column("source_transfer", String(32), ForeignKey("ledger_transfer.id"), nullable=False),
    Column("category", String(8), nullable=False),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("expires_ms", BigInteger),
    Column("amount", BigInteger, nullable=False),
    Column("remaining", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("held >= 0 AND remaining >= held AND amount >= remaining", name="covered"),
    _index_where("ix_lot_left", "remaining > 0", "wallet_id"),
    _index_where("ix_lot_due", "remaining > 0 AND expires_ms IS NOT NULL", "expires_ms"),
)
"""Credits that came together: they share a source, a category and a date of expiry."""

hold_lot = Table(
    "hold_lot",
    metadata,
    Column("hold_id", String(32), ForeignKey("hold.id"), primary_key=True),
    Column("lot_id", String(32), ForeignKey("lot.id"), primary_key=True),
    Column("amount", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

payment = Table(
    "payment",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("provider", String(16), nullable=False),
    Column("provider_ref", String(255), unique=True),
    Column("charge_ref", String(255), index=True),
    Column("org_id", String(32), nullable=False, index=True),
    Column("money_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("micro_credits", BigInteger, nullable=False),
    Column("status", String(16), nullable=False, server_default="created"),
    Column("taken_back", BigInteger, nullable=False, server_default="0"),
    Column("refund_job", String(32), nullable=False, server_default=""),
    Column("created_ms", BigInteger, nullable=False),
    CheckConstraint("taken_back >= 0 AND taken_back <= micro_credits", name="taken_back_bounded"),
)
"""Purchases of credits, from the first click to the money and perhaps back."""

webhook_event = Table(
    "payment_event",
    metadata,
    Column("provider", String(16), primary_key=True),
    Column("event_id", String(255), primary_key=True),
    Column("type", String(64), nullable=False),
    Column("payload", Text, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("processed_ms", BigInteger),
    Column("error", Text, nullable=False, server_default=""),
)
"""What payment providers told us. The key keeps a second copy of an event out."""

voucher = Table(
    "voucher",
    metadata,
    Column("code_hash", String(64), primary_key=True),
    Column("micro_credits", BigInteger, nullable=False),
    Column("category", String(8), nullable=False),
    Column("max_uses", Integer, nullable=False),
    Column("used", Integer, nullable=False, server_default="0"),
    Column("expires_ms", BigInteger),
    Column("credits_last_ms", BigInteger),
    Column("note", String(200), nullable=False, server_default=""),
    Column("created_by", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    CheckConstraint("used >= 0 AND used <= max_uses", name="uses_left"),
)
"""Codes that are worth credits; only their hashes."""

voucher_use = Table(
    "voucher_use",
    metadata,
    Column("code_hash", String(64), ForeignKey("voucher.code_hash"), primary_key=True),
    Column("org_id", String(32), primary_key=True),
    Column("used_ms", BigInteger, nullable=False),
)

voucher_try = Table(
    "voucher_try",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("org_id", String(32), nullable=False),
    Column("tried_ms", BigInteger, nullable=False),
    Index("ix_voucher_try_org", "org_id", "tried_ms"),
)
"""Wrong codes, so that nobody guesses for long."""

auto_recharge = Table(
    "auto_recharge",
    metadata,
    Column("org_id", String(32), primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("threshold", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("monthly_cap", BigInteger, nullable=False),
    Column("spent_this_month", BigInteger, nullable=False, server_default="0"),
    Column("month_start_ms", BigInteger, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("next_try_ms", BigInteger, nullable=False, server_default="0"),
    Column("customer_ref", String(255), nullable=False, server_default=""),
)
"""Whether and how credits are bought by themselves."""

recharge = Table(
    "recharge",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("org_id", String(32), nullable=False),
    Column("micro_credits", BigInteger, nullable=False),
    Column("state", String(8), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger),
    Column("error", Text, nullable=False, server_default=""),
    _index_where("uq_recharge_in_flight", "state = 'open'", "org_id", unique=True),
)
"""Automatic purchases; at most one in flight for each organisation."""

ledger_check = Table(
    "ledger_check",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("checked_ms", BigInteger, nullable=False),
    Column("mismatches", Integer, nullable=False),
    Column("details", Text, nullable=False, server_default=""),
)
"""When the books were last recomputed, and what did not agree."""


GUARDS: dict[str, tuple[str, ...]] = {
    "sqlite": (
        "CREATE TRIGGER ledger_transfer_no_update BEFORE UPDATE ON ledger_transfer "
        "BEGIN SELECT RAISE(ABORT, 'transfers are never changed'); END",
        "CREATE TRIGGER ledger_transfer_no_delete BEFORE DELETE ON ledger_transfer "
        "BEGIN SELECT RAISE(ABORT, 'transfers are never removed'); END",
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION ledger_transfer_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'transfers are never changed or removed'; END $$",
        "CREATE TRIGGER ledger_transfer_no_update BEFORE UPDATE ON ledger_transfer "
        "FOR EACH ROW EXECUTE FUNCTION ledger_transfer_refuse()",
        "CREATE TRIGGER ledger_transfer_no_delete BEFORE DELETE ON ledger_transfer "
        "FOR EACH ROW EXECUTE FUNCTION ledger_transfer_refuse()",
        "CREATE TRIGGER ledger_transfer_no_truncate BEFORE TRUNCATE ON ledger_transfer "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger_transfer_refuse()",
    ),
}
"""Triggers that keep transfers as they are."""


def open_system_wallets(_: Any, connection: Connection, **__: Any) -> None:
    """Give the system its wallets, as the first migration does."""
    rows = ", ".join(f"({int(each)})" for each in System)
    connection.exec_driver_sql(f"INSERT INTO wallet (id) VALUES {rows}")  # noqa: S608 - whole numbers of our own


def keep_transfers(_: Any, connection: Connection, **__: Any) -> None:
    """Set the guards up, as the first migration does."""
    for statement in GUARDS[connection.dialect.name]:
        connection.exec_driver_sql(statement)


event.listen(wallet, "after_create", open_system_wallets)
event.listen(transfer, "after_create", keep_transfers)
