"""Caps of keys and members: per request, day, month and in total, in UTC. Knows neither keys nor members."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, and_, bindparam, func, insert, literal, or_, select, update

from keelbill.core.principal import Caps
from keelbill.db.statements import Prepared
from keelbill.ledger.errors import CapReached
from keelbill.ledger.models import budget, hold, hold_budget, wallet

_amount = bindparam("amount", type_=BigInteger)
_of_hold = select(hold_budget.c.budget_id).where(hold_budget.c.hold_id == bindparam("hold"))

TAKE = Prepared(
    update(budget)
    .where(
        or_(
            *(
                and_(
                    budget.c.scope == scope,
                    budget.c.scope_id == bindparam(f"b_{scope}"),
                    budget.c.period == period,
                    budget.c.period_start_ms == (0 if period == "total" else bindparam(f"b_{period}")),
                )
                for scope in ("key", "member")
                for period in ("day", "month", "total")
            )
        )
    )
    .values(held=budget.c.held + _amount)
    .returning(budget.c.scope, budget.c.period, budget.c.id, budget.c.used + budget.c.held)
)
INSERT_LINK = Prepared(insert(hold_budget).values(hold_id=bindparam("hold"), budget_id=bindparam("budget")))
SPEND = Prepared(
    update(budget).where(budget.c.id.in_(_of_hold)).values(used=budget.c.used + _amount, held=budget.c.held - _amount)
)
RELEASE = Prepared(update(budget).where(budget.c.id.in_(_of_hold)).values(held=budget.c.held - _amount))


class _Cap(NamedTuple):
    scope: str
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
    """Reserve an amount in every budget of a key and a member, and open one for each cap that has none.

    A budget goes on counting when its cap is taken away, so that a cap that comes back knows what was spent meanwhile.

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
    day = datetime.fromtimestamp(now_ms / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    month = day.replace(day=1)
    subjects = {"key": key[0], "member": f"{org_id}:{member[0]}"}
    found = {
        (scope, period): (budget_id, count)
        for scope, period, budget_id, count in TAKE.rows(
            connection,
            b_key=subjects["key"],
            b_member=subjects["member"],
            b_day=_ms(day),
            b_month=_ms(month),
            amount=amount,
        )
    }
    for cap in [*_caps("key", key[1], day, month), *_caps("member", member[1], day, month)]:
        if (cap.scope, cap.period) not in found:
            found[cap.scope, cap.period] = _open(connection, cap, org_id, subjects[cap.scope], amount)
        if found[cap.scope, cap.period][1] > cap.limit:
            raise CapReached(cap.name, cap.limit, cap.reset)
    return [budget_id for budget_id, _ in found.values()]


def link(connection: Connection, hold_id: str, budget_ids: list[int]) -> None:
    """Remember which budgets a hold counts in."""
    for budget_id in budget_ids:
        INSERT_LINK.count(connection, hold=hold_id, budget=budget_id)


def left(connection: Connection, scope: str, subject: str) -> list[Any]:
    """Return the budgets of a key or member: period, start, used, held."""
    return list(connection.execute(select(budget).where(budget.c.scope == scope, budget.c.scope_id == subject)))


def _open(connection: Connection, cap: _Cap, org_id: str, subject: str, amount: int) -> tuple[int, int]:
    """Begin to count; what was spent before the cap was set counts as well. Return id and count with the amount."""
    column = hold.c.api_key_id if cap.scope == "key" else hold.c.member_id
    before = (
        select(hold.c.id, hold.c.amount, hold.c.state)
        .join(wallet, wallet.c.id == hold.c.wallet_id)
        .where(
            wallet.c.org_id == org_id,
            column == subject.rpartition(":")[2],
            hold.c.created_ms >= cap.start_ms,
            hold.c.state != "voided",
        )
        .subquery()
    )
    fresh = {"scope": cap.scope, "scope_id": subject, "period": cap.period, "period_start_ms": cap.start_ms}
    opened = insert(budget).values(fresh | {"used": 0, "held": 0}).returning(budget.c.id)
    budget_id: int = connection.scalars(opened).one()
    linked = select(before.c.id, literal(budget_id, BigInteger))
    connection.execute(insert(hold_budget).from_select(["hold_id", "budget_id"], linked))
    connection.execute(update(hold).where(hold.c.id.in_(select(before.c.id))).values(is_capped=True))
    total = {
        state: select(func.coalesce(func.sum(before.c.amount), 0)).where(before.c.state == state).scalar_subquery()
        for state in ("captured", "held")
    }
    counted = (
        update(budget)
        .where(budget.c.id == budget_id)
        .values(used=budget.c.used + total["captured"], held=budget.c.held + total["held"] + amount)
        .returning(budget.c.used + budget.c.held)
    )
    return budget_id, int(connection.scalars(counted).one())


def _caps(scope: str, caps: Caps, day: datetime, month: datetime) -> Iterator[_Cap]:
    """Yield the caps that are set."""
    next_month = (month + timedelta(days=32)).replace(day=1)
    for period, word, start_ms, limit, reset in (
        ("day", "daily", _ms(day), caps.per_day, _said(day + timedelta(days=1))),
        ("month", "monthly", _ms(month), caps.per_month, _said(next_month)),
        ("total", "total", 0, caps.total, ""),
    ):
        if limit is not None:
            yield _Cap(scope, period, start_ms, limit, f"{word} cap of this {scope}", reset)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000


def _said(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
