"""Recomputes every stored sum from the movements that made it. Changes nothing but the record of its own result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, FromClause, Subquery, and_, func, insert, or_, select, text

from keelbill.db.base import Database
from keelbill.ledger.models import budget, hold, hold_budget, hold_lot, ledger_check, lot, transfer, wallet
from keelbill.ledger.schemas import Mismatch


def audit(database: Database) -> list[Mismatch]:
    """Recompute the books as they were at one moment, while others go on writing."""
    if database.dialect == "sqlite":
        return database.read_now(recompute)
    steady = database.engine.execution_options(isolation_level="REPEATABLE READ")
    with steady.connect() as connection:
        return recompute(connection)


async def audit_beside(database: Database) -> list[Mismatch]:
    """As `audit`, in a thread, so that the event loop and the writer go on."""
    if database.dialect == "sqlite":
        return await database.read(recompute)
    return await asyncio.to_thread(audit, database)


def recompute(connection: Connection) -> list[Mismatch]:
    """Recompute the books inside a transaction and return what does not agree."""
    return [found for rule in (_wallets, _lots, _budgets, _holds, _guards) for found in rule(connection)]


def remember(connection: Connection, check_id: str, now_ms: int, found: Sequence[Mismatch]) -> None:
    """Keep the result of a check."""
    details = json.dumps([str(each) for each in found[:100]])
    connection.execute(
        insert(ledger_check).values(id=check_id, checked_ms=now_ms, mismatches=len(found), details=details)
    )


def last(connection: Connection) -> tuple[int, int, list[str]] | None:
    """Return when the books were last checked (milliseconds since 1970), how many mismatches, and some of them."""
    query = select(ledger_check).order_by(ledger_check.c.checked_ms.desc(), ledger_check.c.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.checked_ms, row.mismatches, json.loads(row.details))


def _totals(source: FromClause, group: Any, amount: Any, *conditions: Any) -> Subquery:
    grouped = select(group.label("id"), func.sum(amount).label("total")).select_from(source).where(*conditions)
    return grouped.group_by(group).subquery()


def _differences(
    connection: Connection, rule: str, word: str, of: tuple[Any, Any], totals: Subquery, *conditions: Any
) -> Iterator[Mismatch]:
    key, stored = of
    expected = func.coalesce(totals.c.total, 0)
    query = (
        select(key, expected, stored)
        .select_from(key.table.outerjoin(totals, totals.c.id == key))
        .where(stored != expected, *conditions)
        .order_by(key)
    )
    for subject, wanted, found in connection.execute(query):
        yield Mismatch(rule, f"{word} {subject}", str(int(wanted)), str(found))


def _wallets(connection: Connection) -> Iterator[Mismatch]:
    arrived = select(transfer.c.credit_wallet.label("id"), transfer.c.amount.label("amount"))
    left = select(transfer.c.debit_wallet.label("id"), (-transfer.c.amount).label("amount"))
    both = arrived.union_all(left).subquery()
    customers = wallet.c.id >= 0
    yield from _differences(
        connection,
        "posted is the sum of its transfers",
        "wallet",
        (wallet.c.id, wallet.c.posted),
        _totals(both, both.c.id, both.c.amount),
        customers,
    )
    yield from _differences(
        connection,
        "held is the sum of its open holds",
        "wallet",
        (wallet.c.id, wallet.c.held),
        _totals(hold, hold.c.wallet_id, hold.c.amount, hold.c.state == "held"),
        customers,
    )
    below = or_(wallet.c.posted < 0, wallet.c.held < 0, wallet.c.posted - wallet.c.held < 0)
    for row in connection.execute(select(wallet).where(customers, below)):
        yield Mismatch("never below zero", f"wallet {row.id}", "0 or more", f"posted {row.posted}, held {row.held}")


def _lots(connection: Connection) -> Iterator[Mismatch]:
    for rule, stored, column in (
        ("posted is what is left in its lots", wallet.c.posted, lot.c.remaining),
        ("held is what is held of its lots", wallet.c.held, lot.c.held),
    ):
        totals = _totals(lot, lot.c.wallet_id, column)
        yield from _differences(connection, rule, "wallet", (wallet.c.id, stored), totals, wallet.c.id >= 0)
    parts = hold_lot.join(hold, hold.c.id == hold_lot.c.hold_id)
    yield from _differences(
        connection,
        "held is the sum of open holds on it",
        "lot",
        (lot.c.id, lot.c.held),
        _totals(parts, hold_lot.c.lot_id, hold_lot.c.amount, hold.c.state == "held"),
    )
    yield from _differences(
        connection,
        "amount is the sum of its lots",
        "hold",
        (hold.c.id, hold.c.amount),
        _totals(hold_lot, hold_lot.c.hold_id, hold_lot.c.amount),
    )


def _budgets(connection: Connection) -> Iterator[Mismatch]:
    linked = hold_budget.join(hold, hold.c.id == hold_budget.c.hold_id)
    for rule, stored, state in (
        ("used is the sum of captured holds", budget.c.used, "captured"),
        ("held is the sum of open holds", budget.c.held, "held"),
    ):
        totals = _totals(linked, hold_budget.c.budget_id, hold.c.amount, hold.c.state == state)
        yield from _differences(connection, rule, "budget", (budget.c.id, stored), totals)


def _holds(connection: Connection) -> Iterator[Mismatch]:
    both = hold.outerjoin(transfer, transfer.c.hold_id == hold.c.id)
    wrong = or_(
        and_(hold.c.state == "captured", hold.c.amount > 0, func.coalesce(transfer.c.amount, -1) != hold.c.amount),
        and_(hold.c.state == "captured", transfer.c.debit_wallet != hold.c.wallet_id),
        and_(hold.c.state != "captured", transfer.c.id.is_not(None)),
    )
    query = select(hold.c.id, hold.c.state, hold.c.amount, transfer.c.amount).select_from(both).where(wrong)
    for hold_id, state, amount, moved in connection.execute(query.order_by(hold.c.id)):
        expected = str(amount) if state == "captured" else "no transfer"
        yield Mismatch(f"a {state} hold has its transfer", f"hold {hold_id}", expected, str(moved))


def _guards(connection: Connection) -> Iterator[Mismatch]:
    catalogue = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if connection.dialect.name == "sqlite"
        else "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'"
    )
    there = set(connection.scalars(text(catalogue)))
    for name in ("ledger_transfer_no_update", "ledger_transfer_no_delete"):
        if name not in there:
            yield Mismatch("transfers cannot be changed", f"trigger {name}", "present", "absent")
