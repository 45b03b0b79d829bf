"""Buying credits through Stripe's own library, against a double that speaks its HTTP: once, whatever arrives when."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from sqlalchemy import select, update

from keelbill.core.errors import InvalidInput, NotFound
from keelbill.core.types import micro
from keelbill.ledger import repository
from keelbill.ledger.errors import BadSignature, ProviderFailed, TopUpsFrozen
from keelbill.ledger.models import System, auto_recharge, payment, recharge, webhook_event
from keelbill.ledger.payments import Payments
from keelbill.ledger.receipts import receipts
from keelbill.ledger.recharger import Recharger
from keelbill.ledger.recharges import rule_of
from keelbill.ledger.stripe import Stripe
from support.ledgers import ORG, Bank
from support.stripedouble import SECRET, StripeDouble


class Shop:
    """A bank with a shop."""

    def __init__(self, bank: Bank, double: StripeDouble) -> None:
        bank.open()
        self.bank = bank
        self.double = double
        self.stripe = Stripe("sk_test_1", SECRET, double.url)
        self.payments = Payments(bank.database, bank.ledger, self.stripe, bank.clock)
        self.recharger = Recharger(bank.database, bank.ledger, self.stripe, bank.clock)

    async def buy(self, amount: str = "1000") -> dict[str, Any]:
        """Buy, and let the buyer pay; the message about it is not sent yet."""
        url = await self.payments.buy(ORG, micro(amount), "https://here/done", "https://here/back")
        return self.double.pay(url.rpartition("/")[2])

    async def tell(self, kind: str, subject: dict[str, Any]) -> None:
        await self.payments.receive(*self.double.message(kind, subject))
        await self.payments.process()

    async def confirm(self) -> str:
        """Do what the page does that the buyer returns to."""
        return await self.payments.confirm(ORG, self.row().id)

    async def bought(self, amount: str = "1000") -> dict[str, Any]:
        session = await self.buy(amount)
        await self.tell("checkout.session.completed", session)
        return session

    def refunded(self, session: dict[str, Any], cents: int) -> dict[str, Any]:
        intent = f"pi_{session['id']}"
        return {"id": "ch_1", "payment_intent": intent, "amount_refunded": cents, "amount": cents, "currency": "usd"}

    def row(self) -> Any:
        return self.bank.database.read_now(lambda c: c.execute(select(payment)).one())

    def system(self, which: System) -> int:
        return self.bank.database.read_now(repository.system_balances)[which]


@pytest.fixture
def shop(bank: Bank, stripe_double: StripeDouble) -> Shop:
    return Shop(bank, stripe_double)


class TestBuying:
    async def test_credits_come_when_it_is_paid(self, shop: Shop) -> None:
        session = await shop.buy()
        assert shop.bank.numbers_of() == ("0", "0", "0")
        assert (session["amount_total"], session["currency"], session["mode"]) == (1000, "usd", "payment")
        assert session["client_reference_id"] == shop.row().id
        await shop.tell("checkout.session.completed", session)
        assert shop.bank.numbers_of() == ("1000", "0", "1000")
        assert shop.row().status == "paid"
        shop.bank.assert_sound()

    @pytest.mark.parametrize("amount", ["0", "999", "1500", "-1000", "2000000"])
    async def test_only_whole_thousands(self, shop: Shop, amount: str) -> None:
        with pytest.raises(InvalidInput, match="multiple of 1000"):
            await shop.buy(amount)
        assert shop.double.calls == []

    async def test_a_message_that_comes_again(self, shop: Shop) -> None:
        session = await shop.buy()
        message = shop.double.message("checkout.session.completed", session)
        fresh = [await shop.payments.receive(*message) for _ in range(3)]
        await asyncio.gather(*(shop.payments.process() for _ in range(3)))
        await shop.tell("checkout.session.async_payment_succeeded", session)  # another message about the same money
        assert fresh == [True, False, False]
        assert shop.bank.numbers_of() == ("1000", "0", "1000")

    async def test_the_page_after_paying_and_the_message_at_once(self, shop: Shop) -> None:
        session = await shop.buy()
        await shop.payments.receive(*shop.double.message("checkout.session.completed", session))
        await asyncio.gather(shop.payments.process(), *(shop.confirm() for _ in range(4)), shop.payments.process())
        assert shop.bank.numbers_of() == ("1000", "0", "1000")
        shop.bank.assert_sound()

    async def test_the_page_before_paying(self, shop: Shop) -> None:
        await shop.payments.buy(ORG, micro(1000), "https://here/done", "https://here/back")
        assert await shop.confirm() == "created"
        assert shop.bank.numbers_of() == ("0", "0", "0")

    async def test_the_page_of_somebody_elses_purchase(self, shop: Shop) -> None:
        await shop.buy()
        with pytest.raises(NotFound):
            await shop.payments.confirm("b" * 32, shop.row().id)
        assert shop.bank.numbers_of() == ("0", "0", "0")

    async def test_the_buyer_returns_with_the_purchases_id(self, shop: Shop) -> None:
        await shop.payments.buy(ORG, micro(1000), "https://here/done?payment={payment}", "https://here/back")
        assert shop.double.sessions["cs_1"]["success_url"] == f"https://here/done?payment={shop.row().id}"

    async def test_a_provider_that_opens_no_page(self, shop: Shop) -> None:
        shop.payments = Payments(
            shop.bank.database, shop.bank.ledger, Stripe("sk_test_1", SECRET, "http://127.0.0.1:9"), shop.bank.clock
        )
        with pytest.raises(ProviderFailed):
            await shop.payments.buy(ORG, micro(1000), "https://here/done", "https://here/back")
        assert shop.row().status == "failed"

    @pytest.mark.parametrize("change", [{"amount_total": 1}, {"currency": "jpy"}])
    async def test_another_amount_credits_nothing(self, shop: Shop, change: dict[str, Any]) -> None:
        session = await shop.buy()
        await shop.tell("checkout.session.completed", session | change)
        assert shop.bank.numbers_of() == ("0", "0", "0")
        said = shop.bank.database.read_now(lambda c: c.scalar(select(webhook_event.c.error)))
        assert "as purchase" in (said or "")

    async def test_a_bank_transfer_that_is_under_way(self, shop: Shop) -> None:
        session = await shop.buy()
        await shop.tell("checkout.session.completed", session | {"payment_status": "unpaid"})
        assert shop.bank.numbers_of() == ("0", "0", "0")
        await shop.tell("checkout.session.async_payment_succeeded", session)
        assert shop.bank.numbers_of() == ("1000", "0", "1000")

    @pytest.mark.parametrize(
        ("kind", "status"),
        [("checkout.session.expired", "expired"), ("checkout.session.async_payment_failed", "failed")],
    )
    async def test_one_that_comes_to_nothing(self, shop: Shop, kind: str, status: str) -> None:
        session = await shop.buy()
        await shop.tell(kind, session)
        assert (shop.row().status, shop.bank.numbers_of()) == (status, ("0", "0", "0"))

    async def test_a_message_about_somebody_elses_purchase_waits(self, shop: Shop) -> None:
        await shop.tell("checkout.session.completed", {"id": "cs_9", "payment_status": "paid"})
        await shop.tell("customer.created", {"id": "cus_9"})
        waiting = select(webhook_event.c.event_id).where(webhook_event.c.processed_ms.is_(None))
        assert shop.bank.database.read_now(lambda c: c.scalars(waiting).all()) == ["evt_1"]


class TestWaitingMessages:
    async def test_many_about_unknown_purchases_keep_no_known_one_waiting(self, shop: Shop) -> None:
        for number in range(230):
            strange = {"id": f"cs_of_another_shop_{number}", "payment_status": "paid"}
            await shop.payments.receive(*shop.double.message("checkout.session.completed", strange))
        session = await shop.buy()
        await shop.tell("checkout.session.completed", session)
        assert shop.bank.numbers_of() == ("1000", "0", "1000")

    async def test_after_a_week_nobody_waits_any_more(self, shop: Shop) -> None:
        await shop.tell("checkout.session.completed", {"id": "cs_9", "payment_status": "paid"})
        shop.bank.clock.advance(8 * 24 * 3600)
        await shop.payments.process()
        row = shop.bank.database.read_now(lambda c: c.execute(select(webhook_event)).one())
        assert row.processed_ms is not None
        assert "not known" in row.error

    async def test_one_about_a_closed_wallet_does_not_stop_the_others(self, shop: Shop) -> None:
        lost = await shop.buy()
        shop.bank.database.write_now(lambda c: c.execute(update(payment).values(org_id="c" * 32)))
        kept = await shop.buy()
        await shop.payments.receive(*shop.double.message("checkout.session.completed", lost))
        await shop.tell("checkout.session.completed", kept)
        assert shop.bank.numbers_of() == ("1000", "0", "1000")

    async def test_what_became_of_each_is_counted(self, shop: Shop) -> None:
        heard: list[str] = []
        shop.payments = Payments(
            shop.bank.database, shop.bank.ledger, shop.stripe, shop.bank.clock, on_message=heard.append
        )
        session = await shop.buy()
        message = shop.double.message("checkout.session.completed", session)
        for _ in range(2):
            await shop.payments.receive(*message)
        with pytest.raises(BadSignature):
            await shop.payments.receive(b"{}", {})
        await shop.tell("checkout.session.completed", session | {"amount_total": 1})
        assert heard == ["received", "duplicate", "refused", "received", "processed", "failed"]


class TestSignatures:
    async def test_a_forged_one(self, shop: Shop) -> None:
        session = await shop.buy()
        body, headers = shop.double.message("checkout.session.completed", session)
        for forged in ((body + b" ", headers), (body, {}), (body, {"stripe-signature": "t=1,v1=00"})):
            with pytest.raises(BadSignature):
                await shop.payments.receive(*forged)

    async def test_an_old_one(self, shop: Shop) -> None:
        session = await shop.buy()
        with pytest.raises(BadSignature):
            await shop.payments.receive(*shop.double.message("checkout.session.completed", session, age_s=400))


class TestMoneyBack:
    async def test_what_is_left_of_a_purchase(self, shop: Shop) -> None:
        await shop.bought()
        shop.bank.charge("1", "6.5")
        assert await shop.payments.refund(shop.row().id) == micro(993)
        assert [each["amount"] for each in shop.double.refunds] == ["993"]
        assert shop.bank.numbers_of() == ("0.5", "0", "0.5")
        assert shop.system(System.REFUNDS) == micro(993)
        shop.bank.assert_sound()

    async def test_running_jobs_keep_what_they_hold(self, shop: Shop) -> None:
        await shop.bought()
        shop.bank.reserve("1", "400")
        assert await shop.payments.refund(shop.row().id) == micro(600)
        shop.bank.capture("1")
        assert await shop.payments.refund(shop.row().id) == 0
        shop.bank.assert_sound()

    async def test_a_provider_that_refuses(self, shop: Shop) -> None:
        await shop.bought()
        shop.double.declines = True
        with pytest.raises(ProviderFailed, match="declined"):
            await shop.payments.refund(shop.row().id)
        assert shop.bank.numbers_of() == ("1000", "0", "1000")
        shop.double.declines = False
        assert await shop.payments.refund(shop.row().id) == micro(1000)

    async def test_the_message_about_our_own_refund_takes_nothing_more(self, shop: Shop) -> None:
        session = await shop.bought()
        shop.bank.charge("1", "300")
        await shop.payments.refund(shop.row().id)
        await shop.tell("charge.refunded", shop.refunded(session, 700))
        assert shop.bank.numbers_of() == ("0", "0", "0")
        assert shop.system(System.REFUNDS) == micro(700)
        shop.bank.assert_sound()

    async def test_a_refund_at_the_provider_takes_credits_back(self, shop: Shop) -> None:
        session = await shop.bought()
        shop.bank.database.write_now(lambda c: shop.bank.ledger.adjust(c, ORG, micro(5), "ops", "gift"))
        for cents in (200, 200, 500):  # each message says how much went back so far
            await shop.tell("charge.refunded", shop.refunded(session, cents))
        assert shop.bank.numbers_of() == ("505", "0", "505")
        shop.bank.assert_sound()

    async def test_what_was_spent_before_is_owed(self, shop: Shop) -> None:
        session = await shop.bought()
        shop.bank.charge("1", "900")
        shop.bank.reserve("2", "40")
        await shop.tell("charge.refunded", shop.refunded(session, 1000))
        assert shop.bank.numbers_of() == ("40", "40", "0")
        assert (shop.system(System.REFUNDS), shop.system(System.ADJUST)) == (micro(1000), -micro(940))
        shop.bank.capture("2")
        shop.bank.assert_sound()

    async def test_a_dispute_blocks_buying(self, shop: Shop) -> None:
        session = await shop.bought()
        await shop.tell("charge.dispute.created", shop.refunded(session, 1000))
        assert shop.bank.numbers_of() == ("0", "0", "0")
        with pytest.raises(TopUpsFrozen):
            await shop.buy()

    async def test_a_purchase_that_is_not_paid(self, shop: Shop) -> None:
        await shop.buy()
        with pytest.raises(NotFound):
            await shop.payments.refund(shop.row().id)

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    async def test_messages_in_any_order(self, shop: Shop, order: tuple[int, ...]) -> None:
        session = await shop.buy()
        messages = [
            shop.double.message("checkout.session.completed", session),
            shop.double.message("charge.refunded", shop.refunded(session, 400)),
            shop.double.message("checkout.session.async_payment_succeeded", session),
        ]
        for index in order:
            await shop.payments.receive(*messages[index])
            await shop.payments.process()
        assert shop.bank.numbers_of() == ("600", "0", "600")
        shop.bank.assert_sound()


class TestAutomaticPurchases:
    @pytest.fixture
    def ready(self, shop: Shop) -> Shop:
        shop.bank.add("100")
        self.configure(shop)
        return shop

    @staticmethod
    def configure(shop: Shop, cap: int = 2000) -> None:
        shop.bank.database.write_now(
            lambda c: shop.recharger.configure(
                c, ORG, threshold=micro(50), amount=micro(1000), monthly_cap=micro(cap), customer_ref="cus_1"
            )
        )

    @staticmethod
    def waiting(shop: Shop) -> list[str]:
        open_ones = select(recharge.c.id).where(recharge.c.state == "open")
        return list(shop.bank.database.read_now(lambda c: c.scalars(open_ones).all()))

    async def test_a_charge_that_leaves_too_little_asks_for_one(self, ready: Shop) -> None:
        ready.bank.charge("1", "50")
        assert self.waiting(ready) == []
        ready.bank.charge("2", "1")
        ready.bank.charge("3", "1")
        assert self.waiting(ready) == [f"recharge:{ORG}:2026-03-20:1"]
        assert await ready.recharger.run_due() == []
        assert ready.bank.numbers_of() == ("1048", "0", "1048")
        assert (ready.double.intents[0]["amount"], ready.double.intents[0]["off_session"]) == ("1000", "true")
        ready.bank.assert_sound()

    async def test_running_twice_charges_once(self, ready: Shop) -> None:
        ready.bank.charge("1", "60")
        await asyncio.gather(*(ready.recharger.run_due() for _ in range(3)))
        assert len(ready.double.intents) == 1
        assert ready.bank.numbers_of() == ("1040", "0", "1040")

    async def test_the_monthly_cap(self, ready: Shop) -> None:
        for number in range(3):
            amount = ready.bank.numbers_of()[2]
            ready.bank.charge(str(number), amount)
            await ready.recharger.run_due()
        assert len(ready.double.intents) == 2
        ready.bank.clock.advance(31 * 24 * 3600)
        ready.bank.add("1")
        ready.bank.charge("next", "1")
        await ready.recharger.run_due()
        assert len(ready.double.intents) == 3

    async def test_three_failures_switch_it_off(self, ready: Shop) -> None:
        ready.double.declines = True
        for number in range(3):
            ready.bank.charge(str(number), "10" if number else "60")
            off = await ready.recharger.run_due()
            assert len(off) == (number == 2)
            assert await ready.recharger.run_due() == []
            ready.bank.clock.advance(24 * 3600)
        assert "declined" in off[0].reason
        ready.bank.charge("last", "0.5")
        assert self.waiting(ready) == []
        rule = ready.bank.database.read_now(lambda c: c.execute(select(auto_recharge)).one())
        assert not rule.enabled
        ready.bank.assert_sound()

    async def test_it_leaves_a_receipt_and_can_be_paid_back(self, ready: Shop) -> None:
        ready.bank.charge("1", "60")
        await ready.recharger.run_due()
        (bought,) = ready.bank.database.read_now(lambda c: receipts(c, ORG))
        assert (bought.status, bought.money_minor, bought.is_automatic) == ("paid", 1000, True)
        assert await ready.payments.refund(bought.id) == micro(1000)
        assert ready.bank.numbers_of() == ("40", "0", "40")
        ready.bank.assert_sound()

    async def test_a_dispute_switches_it_off(self, ready: Shop) -> None:
        session = await ready.bought()
        await ready.tell("charge.dispute.created", ready.refunded(session, 1000))
        ready.bank.charge("1", "60")
        assert self.waiting(ready) == []
        with pytest.raises(TopUpsFrozen):
            self.configure(ready)

    async def test_the_card_of_a_purchase_is_remembered_before_anybody_sets_it_up(self, shop: Shop) -> None:
        assert not shop.bank.database.read_now(lambda c: rule_of(c, ORG)).has_card
        await shop.bought()
        rule = shop.bank.database.read_now(lambda c: rule_of(c, ORG))
        assert (rule.has_card, rule.is_enabled) == (True, False)

    async def test_after_a_failure_it_pauses(self, ready: Shop) -> None:
        ready.double.declines = True
        ready.bank.charge("1", "60")
        await ready.recharger.run_due()
        ready.bank.charge("2", "1")
        assert self.waiting(ready) == []
        ready.bank.clock.advance(3601)
        ready.bank.charge("3", "1")
        assert self.waiting(ready) == [f"recharge:{ORG}:2026-03-20:2"]

    async def test_a_provider_that_does_not_answer_is_asked_again_with_the_same_key(self, ready: Shop) -> None:
        away = Recharger(
            ready.bank.database, ready.bank.ledger, Stripe("sk_test_1", SECRET, "http://127.0.0.1:9"), ready.bank.clock
        )
        ready.bank.charge("1", "60")
        before = self.waiting(ready)
        assert await away.run_due() == []
        assert self.waiting(ready) == before
        await ready.recharger.run_due()
        assert ready.bank.numbers_of() == ("1040", "0", "1040")

    async def test_without_a_card(self, ready: Shop) -> None:
        ready.bank.database.write_now(lambda c: c.execute(update(auto_recharge).values(customer_ref="")))
        ready.bank.charge("1", "60")
        await ready.recharger.run_due()
        assert ready.double.intents == []

    @pytest.mark.parametrize(("amount", "cap"), [(500, 2000), (0, 2000), (1000, 500)])
    def test_numbers_that_make_no_sense(self, ready: Shop, amount: int, cap: int) -> None:
        with pytest.raises(InvalidInput):
            ready.bank.database.write_now(
                lambda c: ready.recharger.configure(
                    c, ORG, threshold=micro(50), amount=micro(amount), monthly_cap=micro(cap)
                )
            )
