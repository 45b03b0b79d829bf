"""Rows of automatic purchases. Knows no payment provider."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, func, select, update

from keelbill.core.types import Micro
from keelbill.db.statements import insert_absent
from keelbill.ledger.models import auto_recharge, recharge, wallet
from keelbill.ledger.schemas import RechargeRule


def enqueue(connection: Connection, org_id: str, now_ms: int) -> str | None:
    """Ask for an automatic purchase, unless one is in flight, the monthly cap is reached or a pause was ordered.

    Returns:
        Its id, which is also the key that keeps the provider from charging twice; nothing if none was asked for.
    """
    rule = connection.execute(select(auto_recharge).where(auto_recharge.c.org_id == org_id)).one_or_none()
    if rule is None or not rule.enabled or rule.next_try_ms > now_ms:
        return None
    if spent_in(rule, now_ms) + rule.amount > rule.monthly_cap:
        return None
    prefix = f"recharge:{org_id}:{datetime.fromtimestamp(now_ms / 1000, UTC):%Y-%m-%d}:"
    today = connection.scalar(select(func.count()).select_from(recharge).where(recharge.c.id.startswith(prefix))) or 0
    fresh = insert_absent(
        connection,
        recharge,
        {
            "id": f"{prefix}{today + 1}",
            "org_id": org_id,
            "micro_credits": rule.amount,
            "state": "open",
            "created_ms": now_ms,
        },
    )
    return f"{prefix}{today + 1}" if fresh else None


def remember_customer(connection: Connection, org_id: str, customer_ref: str) -> None:
    """Keep who paid at the provider, for automatic purchases that somebody may order later."""
    absent = {"org_id": org_id, "enabled": False, "threshold": 0, "amount": 0, "monthly_cap": 0}
    insert_absent(connection, auto_recharge, absent)
    mine = update(auto_recharge).where(auto_recharge.c.org_id == org_id)
    connection.execute(mine.values(customer_ref=customer_ref))


def freeze(connection: Connection, org_id: str) -> None:
    """Let an organisation buy no more, neither by itself nor by hand, because a payment is disputed."""
    connection.execute(update(wallet).where(wallet.c.org_id == org_id).values(top_ups_frozen=True, recharge_below=None))
    connection.execute(update(auto_recharge).where(auto_recharge.c.org_id == org_id).values(enabled=False))


def is_frozen(connection: Connection, org_id: str) -> bool:
    """Whether an organisation may buy no more."""
    return bool(connection.scalar(select(wallet.c.top_ups_frozen).where(wallet.c.org_id == org_id)))


def rule_of(connection: Connection, org_id: str) -> RechargeRule:
    """Return when and how much an organisation buys by itself; all zero if it never said."""
    row = connection.execute(select(auto_recharge).where(auto_recharge.c.org_id == org_id)).one_or_none()
    if row is None:
        return RechargeRule()
    return RechargeRule(
        is_enabled=row.enabled,
        threshold=Micro(row.threshold),
        amount=Micro(row.amount),
        monthly_cap=Micro(row.monthly_cap),
        failures=row.failures,
        has_card=bool(row.customer_ref),
    )


def month_start_ms(now_ms: int) -> int:
    """Return when the present month began in UTC."""
    month = datetime.fromtimestamp(now_ms / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return int(month.timestamp()) * 1000


def spent_in(rule: object, now_ms: int) -> int:
    """Return what an organisation's rule has spent in the present month."""
    if getattr(rule, "month_start_ms", 0) != month_start_ms(now_ms):
        return 0
    return int(getattr(rule, "spent_this_month", 0))
