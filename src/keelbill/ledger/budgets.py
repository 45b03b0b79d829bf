"""Caps of keys and members: per request, day, month and in total, in UTC. Knows neither keys nor members."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, bindparam, func, insert, literal, select, update

from keelbill.core.principal import Caps
from keelbill.db.statements import Prepared, insert_absent
from keelbill.ledger.errors import CapReached
from keelbill.ledger.models import budget, hold, hold_budget, wallet

_amount = bindparam("amount", type_=BigInteger)
_of_hold = select(hold_budget.c.budget_id).where(hold_budget.c.hold_id == bindparam("hold"))

TAKE = Prepared(
    update(budget)
    .where(
        budget.c.scope == bindparam("b_scope"),
        budget.c.scope_id == bindparam("b_subject"),
        budget.c.period == bindparam("b_period"),
        budget.c.period_start_ms == bindparam("b_start"),
        budget.c.used + budget.c.held + _amount <= bindparam("b_cap", type_=BigInteger),
    )
    .values(held=budget.c.held + _amount, cap=bindparam("b_cap", type_=BigInteger))
    .returning(budget.c.id)
)
INSERT_LINK = Prepared(insert(hold_budget).values(hold_id=bindparam("hold"), budget_id=bindparam("budget")))
SPEND = Prepared(
    update(budget).where(budget.c.id.in_(_of_hold)).values(used=budget.c.used + _amount, held=budget.c.held - _amount)
)
RELEASE = Prepared(update(budget).where(budget.c.id.in_(_of_hold)).values(held=budget.c.held - _amount))


class _Cap(NamedTuple):
    scope: str
    subject: str
    period: str
    start_ms: int
    limit: int
    name: str
    reset: str


def check_request(caps: Caps, whose: str, amount: int) -> None:
    """Check the cap of a single request.

    Raises:
        CapReached: The price is above it.
    """
    if caps.per_request is not None and amount > caps.per_request:
        raise CapReached(f"cap per request of this {whose}", caps.per_request, "")


def reserve(
    connection: Connection, org_id: str, key: tuple[str, Caps], member: tuple[str, Caps], now_ms: int, amount: int
) -> list[int]:
    """Reserve an amount in every budget that has a cap.

    Args:
        connection: Whose wallet row is locked already.
        org_id: Whose members and keys these are.
        key: Id and caps of the key.
        member: Id and caps of the member.
        now_ms: Decides the day and the month.
        amount: In micro-credits.

    Returns:
        The budgets' ids, to be linked to the hold.

    Raises:
        CapReached: One does not cover it; the caller takes everything back.
    """
    caps = [*_caps("key", key[0], key[1], now_ms), *_caps("member", f"{org_id}:{member[0]}", member[1], now_ms)]
    taken = []
    for cap in caps:
        row = _take(connection, cap, amount)
        if row is None and _open(connection, cap, org_id):
            row = _take(connection, cap, amount)
        if row is None:
            raise CapReached(cap.name, cap.limit, cap.reset)
        taken.append(row[0])
    return taken


def link(connection: Connection, hold_id: str, budget_ids: list[int]) -> None:
    """Remember which budgets a hold counts in."""
    for budget_id in budget_ids:
        INSERT_LINK.count(connection, hold=hold_id, budget=budget_id)


def left(connection: Connection, scope: str, subject: str) -> list[Any]:
    """Return the budgets of a key or member: period, start, cap, used, held."""
    return list(connection.execute(select(budget).where(budget.c.scope == scope, budget.c.scope_id == subject)))


def _take(connection: Connection, cap: _Cap, amount: int) -> tuple[Any, ...] | None:
    return TAKE.row(
        connection,
        b_scope=cap.scope,
        b_subject=cap.subject,
        b_period=cap.period,
        b_start=cap.start_ms,
        b_cap=cap.limit,
        amount=amount,
    )


def _open(connection: Connection, cap: _Cap, org_id: str) -> bool:
    """Begin to count; what was spent before the cap was set counts as well. False if it is counted already."""
    fresh = insert_absent(
        connection,
        budget,
        {
            "scope": cap.scope,
            "scope_id": cap.subject,
            "period": cap.period,
            "period_start_ms": cap.start_ms,
            "used": 0,
            "held": 0,
        },
    )
    if not fresh:
        return False
    mine = select(budget.c.id).where(
        budget.c.scope == cap.scope,
        budget.c.scope_id == cap.subject,
        budget.c.period == cap.period,
        budget.c.period_start_ms == cap.start_ms,
    )
    budget_id = connection.scalars(mine).one()
    column = hold.c.api_key_id if cap.scope == "key" else hold.c.member_id
    before = (
        select(hold.c.id, hold.c.amount, hold.c.state)
        .join(wallet, wallet.c.id == hold.c.wallet_id)
        .where(
            wallet.c.org_id == org_id,
            column == cap.subject.rpartition(":")[2],
            hold.c.created_ms >= cap.start_ms,
            hold.c.state != "voided",
        )
        .subquery()
    )
    linked = select(before.c.id, literal(budget_id, BigInteger))
    connection.execute(insert(hold_budget).from_select(["hold_id", "budget_id"], linked))
    connection.execute(update(hold).where(hold.c.id.in_(select(before.c.id))).values(is_capped=True))
    for state, changed in (("captured", budget.c.used), ("held", budget.c.held)):
        total = select(func.coalesce(func.sum(before.c.amount), 0)).where(before.c.state == state).scalar_subquery()
        connection.execute(update(budget).where(budget.c.id == budget_id).values({changed: changed + total}))
    return True


def _caps(scope: str, subject: str, caps: Caps, now_ms: int) -> Iterator[_Cap]:
    """Yield the caps that are set, in the order in which their budgets are locked."""
    if caps.per_day is None and caps.per_month is None and caps.total is None:
        return
    day = datetime.fromtimestamp(now_ms / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    month = day.replace(day=1)
    next_month = (month + timedelta(days=32)).replace(day=1)
    for period, word, start_ms, limit, reset in (
        ("day", "daily", _ms(day), caps.per_day, _said(day + timedelta(days=1))),
        ("month", "monthly", _ms(month), caps.per_month, _said(next_month)),
        ("total", "total", 0, caps.total, ""),
    ):
        if limit is not None:
            yield _Cap(scope, subject, period, start_ms, limit, f"{word} cap of this {scope}", reset)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000


def _said(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
