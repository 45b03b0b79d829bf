"""Buys credits by itself when they run low. Knows no particular provider, and never delays a picture."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from keelbill.core.clock import Clock
from keelbill.core.errors import InvalidInput
from keelbill.core.ids import new_id
from keelbill.core.types import MICRO_PER_CREDIT, Micro, credits_of
from keelbill.db.base import Database
from keelbill.ledger import recharges
from keelbill.ledger.errors import ProviderFailed, ProviderUnreachable, TopUpsFrozen
from keelbill.ledger.models import Category, Kind, System, auto_recharge, payment, recharge, wallet
from keelbill.ledger.movements import Movement
from keelbill.ledger.payments import CURRENCY, STEP_CREDITS
from keelbill.ledger.providers import Order, Provider
from keelbill.ledger.service import Ledger

MAX_FAILURES = 3
PAUSE_MS = 60 * 60 * 1000


@dataclass(frozen=True)
class Disabled:
    """Automatic purchases of an organisation were switched off; its owners should be told.

    Attributes:
        org_id: Whose.
        reason: What the provider said last.
    """

    org_id: str
    reason: str


class Recharger:
    """Carries automatic purchases out.

    Args:
        database: Where the books are.
        ledger: That the credits go to.
        provider: Who collects the money.
        clock: The time.
    """

    def __init__(self, database: Database, ledger: Ledger, provider: Provider, clock: Clock) -> None:
        self._database = database
        self._ledger = ledger
        self._provider = provider
        self._clock = clock

    def configure(
        self,
        connection: Connection,
        org_id: str,
        *,
        threshold: Micro,
        amount: Micro,
        monthly_cap: Micro,
        customer_ref: str = "",
        enabled: bool = True,
    ) -> None:
        """Set when and how much an organisation buys by itself.

        Args:
            connection: Inside a transaction.
            org_id: Whose.
            threshold: Buy when less than this is available, in micro-credits.
            amount: How much to buy at a time, a multiple of 1000 credits.
            monthly_cap: Never more than this in a month.
            customer_ref: Who pays at the provider; "" keeps the present one.
            enabled: Whether it happens.

        Raises:
            InvalidInput: The amount is not a multiple of 1000 credits, or above the cap.
            TopUpsFrozen: It should happen, and a payment of the organisation is disputed.
        """
        if enabled and recharges.is_frozen(connection, org_id):
            raise TopUpsFrozen("credits: buying is blocked, because a payment was disputed.", hint="Write to support.")
        step = STEP_CREDITS * MICRO_PER_CREDIT
        if amount <= 0 or amount % step:
            raise InvalidInput("amount", f"{credits_of(amount):f}", "a multiple of 1000 credits")
        if amount > monthly_cap:
            raise InvalidInput("monthly_cap", f"{credits_of(monthly_cap):f}", "at least the amount of one purchase")
        values: dict[str, Any] = {
            "enabled": enabled,
            "threshold": threshold,
            "amount": amount,
            "monthly_cap": monthly_cap,
            "failures": 0,
            "next_try_ms": 0,
        }
        if customer_ref:
            values["customer_ref"] = customer_ref
        rule = auto_recharge.c.org_id == org_id
        if connection.execute(update(auto_recharge).where(rule).values(values)).rowcount == 0:
            connection.execute(insert(auto_recharge).values(org_id=org_id, **values))
        below = threshold if enabled else None
        connection.execute(update(wallet).where(wallet.c.org_id == org_id).values(recharge_below=below))

    async def run_due(self) -> list[Disabled]:
        """Carry out the purchases that wait; returns for whom they were switched off."""
        rows = await self._database.read(_open_purchases)
        return [each for each in [await self._run(row) for row in rows] if each is not None]

    async def _run(self, row: Any) -> Disabled | None:
        money = row.micro_credits // MICRO_PER_CREDIT
        order = Order(row.id, row.org_id, money, CURRENCY, f"{credits_of(row.micro_credits):f} credits")
        try:
            if not row.customer_ref:
                raise ProviderFailed("no card is on file")
            charge_ref = await asyncio.to_thread(self._provider.charge_again, row.customer_ref, order)
        except ProviderUnreachable:
            return None  # it stays open, and its key keeps the next try from charging twice
        except ProviderFailed as error:
            reason = error.message
            return await self._database.write(lambda c: self._failed(c, row, reason))
        await self._database.write(lambda c: self._succeeded(c, row, order, charge_ref))
        return None

    def _succeeded(self, connection: Connection, row: Any, order: Order, charge_ref: str) -> None:
        now = self._clock.now_ms()
        movement = Movement(
            Kind.TOPUP, System.PAYMENTS, row.micro_credits, Category.PAID, reference=row.id, note="automatic purchase"
        )
        if not self._ledger.credit(connection, row.org_id, movement):
            return
        self._close(connection, row.id, "done", "")
        connection.execute(
            insert(payment).values(
                id=new_id(),
                provider=self._provider.name,
                provider_ref=row.id,
                charge_ref=charge_ref,
                org_id=row.org_id,
                money_minor=order.money_minor,
                currency=order.currency,
                micro_credits=row.micro_credits,
                status="paid",
                created_ms=now,
            )
        )
        rule = connection.execute(select(auto_recharge).where(auto_recharge.c.org_id == row.org_id)).one()
        spent = recharges.spent_in(rule, now) + row.micro_credits
        connection.execute(
            update(auto_recharge)
            .where(auto_recharge.c.org_id == row.org_id)
            .values(failures=0, next_try_ms=0, spent_this_month=spent, month_start_ms=recharges.month_start_ms(now))
        )

    def _failed(self, connection: Connection, row: Any, reason: str) -> Disabled | None:
        self._close(connection, row.id, "failed", reason)
        mine = auto_recharge.c.org_id == row.org_id
        counted = update(auto_recharge).where(mine).values(failures=auto_recharge.c.failures + 1)
        failures = connection.execute(counted.returning(auto_recharge.c.failures)).scalar_one()
        pause = self._clock.now_ms() + PAUSE_MS * 2 ** (failures - 1)
        connection.execute(update(auto_recharge).where(mine).values(next_try_ms=pause))
        if failures < MAX_FAILURES:
            return None
        connection.execute(update(auto_recharge).where(mine).values(enabled=False))
        connection.execute(update(wallet).where(wallet.c.org_id == row.org_id).values(recharge_below=None))
        return Disabled(row.org_id, reason)

    def _close(self, connection: Connection, recharge_id: str, state: str, error: str) -> None:
        values = {"state": state, "error": error, "finished_ms": self._clock.now_ms()}
        connection.execute(update(recharge).where(recharge.c.id == recharge_id).values(values))


def _open_purchases(connection: Connection) -> list[Any]:
    query = (
        select(recharge, auto_recharge.c.customer_ref)
        .join(auto_recharge, auto_recharge.c.org_id == recharge.c.org_id)
        .where(recharge.c.state == "open")
        .order_by(recharge.c.created_ms)
    )
    return list(connection.execute(query))
