"""Rows of automatic purchases. Knows no payment provider."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, func, select

from keelbill.db.statements import insert_absent
from keelbill.ledger.models import auto_recharge, recharge


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


def month_start_ms(now_ms: int) -> int:
    """Return when the present month began in UTC."""
    month = datetime.fromtimestamp(now_ms / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return int(month.timestamp()) * 1000


def spent_in(rule: object, now_ms: int) -> int:
    """Return what an organisation's rule has spent in the present month."""
    if getattr(rule, "month_start_ms", 0) != month_start_ms(now_ms):
        return 0
    return int(getattr(rule, "spent_this_month", 0))
