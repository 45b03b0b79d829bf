"""Purchases of credits: from the first click to the money, and perhaps back. Knows no particular provider.

Messages may come twice, late, and in any order. Each is stored once under its id; what cannot be understood yet, such
as a refund of a purchase that is not known to be paid, stays and is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Literal

from sqlalchemy import Connection, and_, insert, or_, select, update

from keelbill.core.clock import Clock
from keelbill.core.errors import AppError, InvalidInput, NotFound
from keelbill.core.ids import new_id as fresh_id
from keelbill.core.types import MICRO_PER_CREDIT, Micro, credits_of
from keelbill.db.base import Database
from keelbill.db.statements import insert_absent
from keelbill.ledger import recharges
from keelbill.ledger.errors import BadSignature, HoldNotOpen, ProviderFailed, TopUpsFrozen
from keelbill.ledger.models import Category, Kind, System, payment, wallet, webhook_event
from keelbill.ledger.movements import Movement
from keelbill.ledger.providers import Order, Provider, ProviderEvent
from keelbill.ledger.repository import INSERT_TRANSFER
from keelbill.ledger.service import Ledger

CURRENCY = "usd"
STEP_CREDITS = 1000
"""Credits are sold in steps of a thousand, for ten dollars: a credit is a cent."""

PAYMENT_MARK = "{payment}"
"""Stands for the purchase's id in the addresses that the buyer returns to."""

PATIENCE_MS = 7 * 24 * 60 * 60 * 1000
"""How long a message about an unknown purchase is kept open; providers repeat theirs for three days."""

Note = Callable[[Connection, str, Micro], None]
"""Writes down that a refund was ordered: for which organisation, and for how many micro-credits."""

Outcome = Literal["received", "duplicate", "refused", "processed", "failed"]


def _say_nothing(_: Outcome) -> None:
    """Nobody counts the messages."""


class Payments:
    """Sells credits and gives money back.

    Args:
        database: Where the books are.
        ledger: That the credits go to.
        provider: Who collects the money.
        clock: The time.
        new_id: Makes ids that grow with time.
        on_message: Hears what became of each message of the provider.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        provider: Provider,
        clock: Clock,
        new_id: Callable[[], str] = fresh_id,
        *,
        on_message: Callable[[Outcome], None] = _say_nothing,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._provider = provider
        self._clock = clock
        self._new_id = new_id
        self._on_message = on_message

    async def buy(self, org_id: str, amount: Micro, success_url: str, cancel_url: str) -> str:
        """Begin a purchase and return the address of the page where the buyer pays.

        Args:
            org_id: Who buys.
            amount: In micro-credits, a multiple of 1000 credits.
            success_url: Where the buyer returns after paying; ``{payment}`` in it becomes the purchase's id.
            cancel_url: Where the buyer returns without paying.

        Raises:
            InvalidInput: The amount is not a multiple of 1000 credits, or above 1,000,000.
            TopUpsFrozen: A payment of the organisation is disputed.
            ProviderFailed: The provider refused.
        """
        order = await self._database.write(lambda c: self._open(c, org_id, amount))
        paid_url = success_url.replace(PAYMENT_MARK, order.payment_id)
        try:
            checkout = await asyncio.to_thread(self._provider.create_checkout, order, paid_url, cancel_url)
        except ProviderFailed:
            never = update(payment).where(payment.c.id == order.payment_id).values(status="failed")
            await self._database.write(lambda c: c.execute(never))
            raise
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
        try:
            event = self._provider.read_event(body, headers)
        except BadSignature:
            self._on_message("refused")
            raise
        row = {
            "provider": self._provider.name,
            "event_id": event.id,
            "type": event.type[:64],
            "payload": body.decode(),
            "received_ms": self._clock.now_ms(),
        }
        is_new = await self._database.write(lambda c: insert_absent(c, webhook_event, row))
        self._on_message("received" if is_new else "duplicate")
        return is_new

    async def process(self) -> int:
        """Act on stored messages, each in a transaction of its own; returns how many were done.

        One may make another understandable, so they are gone through again until none is done any more.
        """
        done = 0
        while True:
            now_done = 0
            place = (-1, "")
            while waiting := await self._database.read(lambda c, after=place: self._waiting(c, *after)):  # type: ignore[misc]
                for row in waiting:
                    now_done += await self._act_on(row)
                place = (waiting[-1].received_ms, waiting[-1].event_id)
            done += now_done
            if not now_done:
                return done

    async def _act_on(self, row: Any) -> bool:
        outcome = await self._database.write(lambda c: self._process_one(c, row))
        if outcome is not None:
            self._on_message(outcome)
        return outcome == "processed"

    async def confirm(self, org_id: str, payment_id: str) -> str:
        """Ask the provider about a purchase, for the page that the buyer returns to; returns its status.

        It may run at the same time as the message about the same purchase: the credits come once.

        Raises:
            NotFound: The organisation has made no such purchase.
            ProviderFailed: The provider does not answer.
        """
        row = await self._database.read(lambda c: self._own(c, org_id, payment_id))
        if row.status != "created" or not row.provider_ref:
            return str(row.status)
        event = await asyncio.to_thread(self._provider.look_up, row.provider_ref)
        if event.step == "paid":
            await self._database.write(lambda c: self.settle(c, event))
        return str((await self._database.read(lambda c: self._own(c, org_id, payment_id))).status)

    async def refund(self, payment_id: str, *, note: Note | None = None) -> Micro:
        """Give the money for what is left of a purchase back.

        Args:
            payment_id: Which purchase.
            note: Called in the transaction that sets the credits aside, with the organisation and how many.

        Returns:
            How many micro-credits were taken out of the wallet; 0 if none were left.

        Raises:
            NotFound: There is no such purchase, or it is not paid.
            ProviderFailed: The provider refused; the credits can be spent again.
        """
        job_id = self._new_id()
        held, row = await self._database.write(lambda c: self._hold_rest(c, payment_id, job_id, note))
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

    @staticmethod
    def _own(connection: Connection, org_id: str, payment_id: str) -> Any:
        query = select(payment).where(payment.c.id == payment_id, payment.c.org_id == org_id)
        row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"there is no purchase {payment_id!r}")
        return row

    def _waiting(self, connection: Connection, after_ms: int, after_id: str) -> list[Any]:
        at, name = webhook_event.c.received_ms, webhook_event.c.event_id
        query = select(webhook_event).where(
            webhook_event.c.provider == self._provider.name,
            webhook_event.c.processed_ms.is_(None),
            or_(at > after_ms, and_(at == after_ms, name > after_id)),
        )
        return list(connection.execute(query.order_by(at, name).limit(200)))

    def _process_one(self, connection: Connection, row: Any) -> Outcome | None:
        """Claim a message and act on it; nothing if somebody else did or it cannot be understood yet."""
        mine = (webhook_event.c.provider == row.provider, webhook_event.c.event_id == row.event_id)
        claim = update(webhook_event).where(*mine, webhook_event.c.processed_ms.is_(None))
        if connection.execute(claim.values(processed_ms=self._clock.now_ms())).rowcount == 0:
            return None
        try:
            with connection.begin_nested():
                is_done = self.settle(connection, self._provider.parse_event(row.payload))
        except AppError as refused:
            connection.execute(update(webhook_event).where(*mine).values(error=str(refused)))
            return "failed"
        if is_done:
            return "processed"
        kept: dict[str, object] = {"error": "the purchase is not known to be paid yet"}
        is_stale = row.received_ms + PATIENCE_MS < self._clock.now_ms()
        connection.execute(
            update(webhook_event).where(*mine).values(kept if is_stale else kept | {"processed_ms": None})
        )
        return "failed" if is_stale else None

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
                recharges.remember_customer(connection, row.org_id, event.customer_ref)
        return True

    def _take_back(self, connection: Connection, event: ProviderEvent) -> bool:
        """Take credits out for money that went back; what was spent already is owed to us, and ADJUST shows it."""
        row = connection.execute(select(payment).where(payment.c.charge_ref == event.charge_ref)).one_or_none()
        if row is None:
            return False
        if event.step == "disputed":
            recharges.freeze(connection, row.org_id)
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

    def _hold_rest(self, connection: Connection, payment_id: str, job_id: str, note: Note | None) -> tuple[Micro, Any]:
        row = connection.execute(select(payment).where(payment.c.id == payment_id)).one_or_none()
        if row is None or row.status not in ("paid", "refunded") or not row.charge_ref:
            raise NotFound(f"there is no paid purchase {payment_id!r}")
        held = self._ledger.hold_purchase(connection, row.org_id, job_id, row.provider_ref)
        if held:
            connection.execute(update(payment).where(payment.c.id == payment_id).values(refund_job=job_id))
        if held and note is not None:
            note(connection, row.org_id, held)
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
