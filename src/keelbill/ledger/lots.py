"""Which credits are spent first: free, then promotional, then paid; the next to expire before others. Knows no jobs.

The lots of a wallet always add up to what it has, and what is held of them to what it holds. The wallet's row is
locked before its lots are touched, so nobody else moves them meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    bindparam,
    case,
    insert,
    literal,
    literal_column,
    or_,
    select,
    update,
)

from keelbill.core.types import Micro
from keelbill.db.statements import Prepared
from keelbill.ledger.models import Category, hold_lot, lot, transfer
from keelbill.ledger.schemas import Lot

_FAR = 2**62
_ZERO: ColumnElement[int] = literal_column("0", BigInteger)  # as the partial index says it


def _order(of: FromClause) -> tuple[ColumnElement[Any], ...]:
    return (
        case((of.c.category == Category.FREE, 0), (of.c.category == Category.PROMO, 1), else_=2),
        of.c.priority,
        case((of.c.expires_ms.is_(None), literal(_FAR, BigInteger)), else_=of.c.expires_ms),
        of.c.id,
    )


ORDER = _order(lot)
_lot = lot.alias("next_lot")
_amount = bindparam("amount", type_=BigInteger)

FREE_LOTS = Prepared(
    select(lot.c.id, lot.c.remaining - lot.c.held)
    .where(
        lot.c.wallet_id == bindparam("wallet"),
        lot.c.remaining > _ZERO,
        lot.c.remaining > lot.c.held,
        or_(lot.c.expires_ms.is_(None), lot.c.expires_ms > bindparam("now")),
    )
    .order_by(*ORDER)
)
HOLD_LOT = Prepared(
    update(lot)
    .where(lot.c.id == bindparam("lot"), lot.c.remaining - lot.c.held >= _amount)
    .values(held=lot.c.held + _amount)
)
HOLD_FIRST = Prepared(
    update(lot)
    .where(
        lot.c.id
        == select(_lot.c.id)
        .where(
            _lot.c.wallet_id == bindparam("wallet"),
            _lot.c.remaining > _ZERO,
            _lot.c.remaining > _lot.c.held,
            or_(_lot.c.expires_ms.is_(None), _lot.c.expires_ms > bindparam("now")),
        )
        .order_by(*_order(_lot))
        .limit(literal_column("1"))
        .scalar_subquery(),
        lot.c.remaining - lot.c.held >= _amount,
    )
    .values(held=lot.c.held + _amount)
    .returning(lot.c.id)
)
INSERT_HOLD_LOT = Prepared(insert(hold_lot).values(hold_id=bindparam("hold"), lot_id=bindparam("lot"), amount=_amount))
SPEND_LOTS = Prepared(
    update(lot)
    .where(hold_lot.c.hold_id == bindparam("hold"), lot.c.id == hold_lot.c.lot_id)
    .values(remaining=lot.c.remaining - hold_lot.c.amount, held=lot.c.held - hold_lot.c.amount)
)
RELEASE_LOTS = Prepared(
    update(lot)
    .where(hold_lot.c.hold_id == bindparam("hold"), lot.c.id == hold_lot.c.lot_id)
    .values(held=lot.c.held - hold_lot.c.amount)
)

INSERT = Prepared(
    insert(lot).values(
        id=bindparam("id"),
        wallet_id=bindparam("wallet"),
        source_transfer=bindparam("source"),
        category=bindparam("category"),
        priority=0,
        expires_ms=bindparam("expires"),
        amount=_amount,
        remaining=_amount,
        held=0,
    )
)
TAKE = Prepared(
    update(lot)
    .where(lot.c.id == bindparam("lot"), lot.c.remaining - lot.c.held >= _amount)
    .values(remaining=lot.c.remaining - _amount)
)
FREE_OF = Prepared(select(lot.c.remaining - lot.c.held).where(lot.c.id == bindparam("lot")))
DUE = Prepared(
    select(lot.c.id, lot.c.wallet_id)
    .where(
        lot.c.remaining > _ZERO,
        lot.c.expires_ms.is_not(None),
        lot.c.expires_ms <= bindparam("now"),
        lot.c.remaining > lot.c.held,
    )
    .order_by(lot.c.wallet_id, lot.c.id)
    .limit(bindparam("limit"))
)


def reserve(connection: Connection, wallet_id: int, hold_id: str, amount: int, now_ms: int) -> int:
    """Reserve credits that have not expired.

    Returns:
        How many micro-credits were missing; the caller takes everything back if that is not 0.
    """
    if amount == 0:
        return 0
    first = HOLD_FIRST.row(connection, wallet=wallet_id, now=now_ms, amount=amount)
    if first is not None:  # nearly always, one lot covers all of it
        INSERT_HOLD_LOT.count(connection, hold=hold_id, lot=first[0], amount=amount)
        return 0
    missing = amount
    for lot_id, free in FREE_LOTS.rows(connection, wallet=wallet_id, now=now_ms):
        if missing == 0:
            break
        part = min(missing, free)
        missing -= part * HOLD_LOT.count(connection, lot=lot_id, amount=part)
        INSERT_HOLD_LOT.count(connection, hold=hold_id, lot=lot_id, amount=part)
    return missing


def of_reference(connection: Connection, reference: str) -> tuple[str, int, int] | None:
    """Return id, wallet and what nobody holds of the lot that a movement with a reference made."""
    query = (
        select(lot.c.id, lot.c.wallet_id, lot.c.remaining - lot.c.held)
        .join(transfer, transfer.c.id == lot.c.source_transfer)
        .where(transfer.c.external_ref == reference)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else (row[0], row[1], row[2])


def spend(connection: Connection, wallet_id: int, amount: int, categories: Sequence[str] = tuple(Category)) -> int:
    """Take credits that nobody holds out of the lots, whether they expired or not.

    Returns:
        How many micro-credits were missing.
    """
    missing = amount
    query = select(lot.c.id, (lot.c.remaining - lot.c.held).label("free")).where(
        lot.c.wallet_id == wallet_id,
        lot.c.remaining > _ZERO,
        lot.c.remaining > lot.c.held,
        lot.c.category.in_(categories),
    )
    for row in connection.execute(query.order_by(*ORDER)).all():
        part = min(missing, row.free)
        if part:
            missing -= part * TAKE.count(connection, lot=row.id, amount=part)
    return missing


def free_of(connection: Connection, lot_id: str) -> int:
    """Return what nobody holds of a lot, in micro-credits."""
    row = FREE_OF.row(connection, lot=lot_id)
    return int(row[0]) if row else 0


def free_in(connection: Connection, wallet_id: int, category: str) -> int:
    """Return what nobody holds of a category in a wallet, in micro-credits."""
    rows = connection.execute(
        select(lot.c.remaining - lot.c.held).where(
            lot.c.wallet_id == wallet_id,
            lot.c.category == category,
            lot.c.remaining > _ZERO,
            lot.c.remaining > lot.c.held,
        )
    )
    return sum(row[0] for row in rows)


def left(connection: Connection, wallet_id: int) -> list[Lot]:
    """Return the lots that are not spent, in the order in which they will be."""
    query = select(lot).where(lot.c.wallet_id == wallet_id, lot.c.remaining > _ZERO).order_by(*ORDER)
    return [Lot(row.category, Micro(row.remaining), row.expires_ms) for row in connection.execute(query)]
