"""Lists purchases of credits. Knows no payment provider and changes nothing."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from keelbill.core.errors import NotFound
from keelbill.core.types import Micro
from keelbill.ledger.models import payment
from keelbill.ledger.schemas import Receipt


def receipts(connection: Connection, org_id: str = "", *, before_id: str = "", limit: int = 50) -> list[Receipt]:
    """Return purchases, newest first.

    Args:
        connection: Inside a read.
        org_id: Whose; of every organisation if "".
        before_id: Id of the last one of the page before.
        limit: At most this many.
    """
    query = select(payment).order_by(payment.c.id.desc()).limit(limit)
    if org_id:
        query = query.where(payment.c.org_id == org_id)
    if before_id:
        query = query.where(payment.c.id < before_id)
    return [_receipt(row) for row in connection.execute(query)]


def receipt(connection: Connection, payment_id: str) -> Receipt:
    """Return one purchase.

    Raises:
        NotFound: There is none of this id.
    """
    row = connection.execute(select(payment).where(payment.c.id == payment_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no purchase {payment_id!r}")
    return _receipt(row)


def _receipt(row: Any) -> Receipt:
    return Receipt(
        id=row.id,
        org_id=row.org_id,
        provider=row.provider,
        credits=Micro(row.micro_credits),
        money_minor=row.money_minor,
        currency=row.currency,
        status=row.status,
        taken_back=Micro(row.taken_back),
        is_automatic=str(row.provider_ref or "").startswith("recharge:"),
        created_ms=row.created_ms,
    )
