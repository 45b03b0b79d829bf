"""Purchases of credits: from the first click to the money, and perhaps back. Knows no particular provider.

Messages may come twice, late, and in any order. Each is stored once under its id; what cannot be understood yet, such
as a refund of a purchase that is not known to be paid, stays and is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, insert, select, update

from keelbill.core.clock import Clock
from keelbill.core.errors import InvalidInput, NotFound
from keelbill.core.ids import new_id as fresh_id
from keelbill.core.types import MICRO_PER_CREDIT, Micro, credits_of
from keelbill.db.base import Database
from keelbill.db.statements import insert_absent
from keelbill.ledger.errors import HoldNotOpen, ProviderFailed, TopUpsFrozen
from keelbill.ledger.models import Category, Kind, System, auto_recharge, payment, wallet, webhook_event
from keelbill.ledger.movements import Movement
from keelbill.ledger.providers import Order, Provider, ProviderEvent
from keelbill.ledger.repository import INSERT_TRANSFER
from keelbill.ledger.service import Ledger

CURRENCY = "usd"
STEP_CREDITS = 1000
"""Credits are sold in steps of a thousand, for ten dollars: a credit is a cent."""


class Payments:
    """Sells credits and gives money back.

    Args:
        database: Where the books are.
        ledger: That the credits go to.
        provider: Who collects the money.
        clock: The time.
        new_id: Makes ids that grow with time.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        provider: Provider,
        clock: Clock,
        new_id: Callable[[], str] = fresh_id,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._provider = provider
        self._clock = clock
        self._new_id = new_id

    async def buy(self, org_id: str, amount: Micro, success_url: str, cancel_url: str) -> str:
        """Begin a purchase and return the address of the page where the buyer pays.

        Raises:
            InvalidInput: The amount is not a multiple of 1000 credits, or above 1,000,000.
            TopUpsFrozen: A payment of the organisation is disputed.
            ProviderFailed: The provider refused.
        """
        order = await self._database.write(lambda c: self._open(c, org_id, amount))
        checkout = await asyncio.to_thread(self._provider.create_checkout, order, success_url, cancel_url)
        known = update(payment).where(payment.c.id == order.payment_id).values(provider_ref=checkout.ref)
        await self._database.write(lambda c: c.execute(known))
        return checkout.url

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Store a message of the provider; answer it at once and call `process` afterwards.

        Returns:
            Whether it is new.

        Raises:
            BadSignature: It is not from the provider.
        """
        event = self._provider.read_event(body, headers)
        row = {
            "provider": self._provider.name,
            "event_id": event.id,
            "type": event.type[:64],
            "payload": body.decode(),
            "received_ms": self._clock.now_ms(),
        }
        return await self._database.write(lambda c: insert_absent(c, webhook_event, row))

    async def process(self) -> int:
        """Act on stored messages, each in a transaction of its own; returns how many were done."""
        done = 0
        while True:
            waiting = await self._database.read(self._waiting)
            now_done = 0
            for row in waiting:
                now_done += await self._database.write(lambda c, r=row: self._process_one(c, r))  # type: ignore[misc]
            done += now_done
            if not now_done:
                return done

    async def confirm(self, checkout_ref: str) -> bool:
        """Ask the provider about a purchase, for the page that the buyer returns to; true if it is paid.

        It may run at the same time as the message about the same purchase: the credits come once.
        """
        event = await asyncio.to_thread(self._provider.look_up, checkout_ref)
        if event.step != "paid":
            return False
        await self._database.write(lambda c: self.settle(c, event))
        return True

    async def refund(self, payment_id: str) -> Micro:
        """Give the money for what is left of a purchase back.

        Returns:
            How many micro-credits were taken out of the wallet; 0 if none were left.

        Raises:
            NotFound: There is no such purchase, or it is not paid.
            ProviderFailed: The provider refused; the credits can be spent again.
        """
        job_id = self._new_id()
        held, row = await self._database.write(lambda c: self._hold_rest(c, payment_id, job_id))
        if held == 0:
            return Micro(0)
        try:
            money = held // MICRO_PER_CREDIT
            await asyncio.to_thread(self._provider.refund, row.charge_ref, money, f"refund-{job_id}")
        except ProviderFailed:
            await self._database.write(lambda c: self._ledger.void(c, job_id, "provider failed"))
            raise
        await self._database.write(lambda c: self._finish_refund(c, row.id, job_id))
        return held

    def settle(self, connection: Connection, event: ProviderEvent) -> bool:
        """Act on what a provider said, inside a transaction; false if it cannot be understood yet.

        Raises:
            InvalidInput: What was paid is not what was asked for; nothing is credited.
        """
        if event.step == "paid":
            return self._paid(connection, event)
        if event.step in ("failed", "expired"):
            unpaid = update(payment).where(payment.c.provider_ref == event.checkout_ref, payment.c.status == "created")
            connection.execute(unpaid.values(status=event.step))
        elif event.step in ("refunded", "disputed"):
            return self._take_back(connection, event)
        return True

    def _open(self, connection: Connection, org_id: str, amount: Micro) -> Order:
        step = STEP_CREDITS * MICRO_PER_CREDIT
        if amount < step or amount % step or amount > 1000 * step:
            raise InvalidInput("credits", f"{credits_of(amount):f}", "a multiple of 1000, at most 1000000")
        row = connection.execute(select(wallet.c.top_ups_frozen).where(wallet.c.org_id == org_id)).one_or_none()
        if row is None:
            raise NotFound(f"organisation {org_id!r} has no wallet")
        if row.top_ups_frozen:
            raise TopUpsFrozen("credits: buying is blocked, because a payment was disputed.", hint="Write to support.")
        money = amount // MICRO_PER_CREDIT
        payment_id = self._new_id()
        connection.execute(
            insert(payment).values(
                id=payment_id,
                provider=self._provider.name,
                org_id=org_id,
                money_minor=money,
                currency=CURRENCY,
                micro_credits=amount,
                created_ms=self._clock.now_ms(),
            )
        )
        return Order(payment_id, org_id, money, CURRENCY, f"{credits_of(amount):f} credits")

    def _waiting(self, connection: Connection) -> list[Any]:
        query = select(webhook_event).where(
            webhook_event.c.provider == self._provider.name, webhook_event.c.processed_ms.is_(None)
        )
        return list(connection.execute(query.order_by(webhook_event.c.received_ms).limit(200)))

    def _process_one(self, connection: Connection, row: Any) -> bool:
        mine = (webhook_event.c.provider == row.provider, webhook_event.c.event_id == row.event_id)
        claim = update(webhook_event).where(*mine, webhook_event.c.processed_ms.is_(None))
        if connection.execute(claim.values(processed_ms=self._clock.now_ms())).rowcount == 0:
            return False
        error, done = "", True
        try:
            done = self.settle(connection, self._provider.parse_event(row.payload))
        except InvalidInput as refused:
            error = str(refused)
        if error or not done:
            kept = {"error": error or "the purchase is not known to be paid yet"}
            connection.execute(
                update(webhook_event).where(*mine).values(kept if error else kept | {"processed_ms": None})
            )
        return done

    def _paid(self, connection: Connection, event: ProviderEvent) -> bool:
        row = connection.execute(select(payment).where(payment.c.provider_ref == event.checkout_ref)).one_or_none()
        if row is None:
            return False
        if (event.money_minor, event.currency) != (row.money_minor, row.currency):
            paid = f"{event.money_minor} {event.currency}"
            raise InvalidInput("payment", paid, f"{row.money_minor} {row.currency}, as purchase {row.id} says")
        movement = Movement(
            Kind.TOPUP, System.PAYMENTS, row.micro_credits, Category.PAID, reference=event.checkout_ref, note="purchase"
        )
        if self._ledger.credit(connection, row.org_id, movement):
            paid_now = update(payment).where(payment.c.id == row.id)
            connection.execute(paid_now.values(status="paid", charge_ref=event.charge_ref or None))
            if event.customer_ref:
                rule = update(auto_recharge).where(auto_recharge.c.org_id == row.org_id)
                connection.execute(rule.values(customer_ref=event.customer_ref))
        return True

    def _take_back(self, connection: Connection, event: ProviderEvent) -> bool:
        """Take credits out for money that went back; what was spent already is owed to us, and ADJUST shows it."""
        row = connection.execute(select(payment).where(payment.c.charge_ref == event.charge_ref)).one_or_none()
        if row is None:
            return False
        if event.step == "disputed":
            connection.execute(update(wallet).where(wallet.c.org_id == row.org_id).values(top_ups_frozen=True))
        taken = row.taken_back
        if row.refund_job:
            taken = self._finish_refund(connection, row.id, row.refund_job)
        rest = min(event.money_minor * MICRO_PER_CREDIT, row.micro_credits) - taken
        connection.execute(update(payment).where(payment.c.id == row.id).values(status=event.step))
        if rest <= 0:
            return True
        note = f"payment {event.step}"
        part = self._take_available(connection, row.org_id, rest, note)
        if rest > part:
            INSERT_TRANSFER.count(
                connection,
                id=self._new_id(),
                kind=Kind.REFUND.value,
                debit=int(System.ADJUST),
                credit=int(System.REFUNDS),
                amount=rest - part,
                reference=f"owed:{row.id}:{event.money_minor}",
                actor_type="system",
                actor_id="",
                note=f"{note}; spent before, owed by {row.org_id}",
                now=self._clock.now_ms(),
            )
        connection.execute(update(payment).where(payment.c.id == row.id).values(taken_back=taken + rest))
        return True

    def _take_available(self, connection: Connection, org_id: str, wanted: int, note: str) -> int:
        """Take up to an amount that nobody holds, bought credits first; returns how much it was."""
        taken = 0
        for category in (Category.PAID, Category.PROMO, Category.FREE):
            part = min(wanted - taken, self._ledger.available_of(connection, org_id, category))
            movement = Movement(Kind.REFUND, System.REFUNDS, part, note=note)
            if part > 0 and self._ledger.debit(connection, org_id, movement, (category.value,)):
                taken += part
        return taken

    def _hold_rest(self, connection: Connection, payment_id: str, job_id: str) -> tuple[Micro, Any]:
        row = connection.execute(select(payment).where(payment.c.id == payment_id)).one_or_none()
        if row is None or row.status not in ("paid", "refunded") or not row.charge_ref:
            raise NotFound(f"there is no paid purchase {payment_id!r}")
        held = self._ledger.hold_purchase(connection, row.org_id, job_id, row.provider_ref)
        if held:
            connection.execute(update(payment).where(payment.c.id == payment_id).values(refund_job=job_id))
        return held, row

    def _finish_refund(self, connection: Connection, payment_id: str, job_id: str) -> int:
        """Take the held credits out, unless that was done; returns what was taken back in all."""
        mine = payment.c.id == payment_id
        try:
            amount = self._ledger.finish_refund(connection, job_id)
        except HoldNotOpen:
            amount = Micro(0)
        done = update(payment).where(mine).values(taken_back=payment.c.taken_back + amount, status="refunded")
        return int(connection.execute(done.returning(payment.c.taken_back)).scalar_one())
