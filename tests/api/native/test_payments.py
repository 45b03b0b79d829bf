"""Buying credits by card through the running server, against a double of Stripe on a socket of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from keelbill.core.ids import new_id
from keelbill.identity.mail import ConsoleMailer
from keelbill.identity.models import login_session, membership
from keelbill.ledger import recharges
from keelbill.ledger.models import auto_recharge
from support.browser import Browser, add_person, browser
from support.server import LiveServer
from support.stripedouble import SECRET, StripeDouble, running_double

HOOK = "/api/payments/stripe/webhook"
CHECKOUT = "/api/credits/checkout"
RECHARGE = "/api/credits/recharge"
RULE = {"enabled": True, "threshold": "50", "amount": "1000", "monthly_cap": "2000"}


@pytest.fixture(scope="module")
def double() -> Iterator[StripeDouble]:
    """One double of Stripe for all tests."""
    with running_double() as running:
        yield running


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, double: StripeDouble) -> Iterator[LiveServer]:
    """A server that sells credits, and gives none away."""
    live = LiveServer(
        tmp_path_factory.mktemp("home"),
        stripe_secret_key="sk_test_1",
        stripe_webhook_secret=SECRET,
        stripe_api_base=double.url,
        free_credits="0",
    )
    live.start()
    yield live
    live.stop()


@pytest.fixture
def stripe_double(double: StripeDouble) -> StripeDouble:
    """The double, taking every card and with nothing noted."""
    double.declines = False
    double.calls.clear()
    double.refunds.clear()
    return double


@contextmanager
def person(server: LiveServer, **values: Any) -> Iterator[Browser]:
    """A new person with an organisation of their own, signed in."""
    email = f"{new_id()}@example.org"
    add_person(server, email, **values)
    with browser(server) as page:
        assert page.sign_in(email).status_code == 200
        yield page


@pytest.fixture
def ada(shop: LiveServer) -> Iterator[Browser]:
    """Somebody who buys."""
    with person(shop) as page:
        yield page


@pytest.fixture
def root(shop: LiveServer) -> Iterator[Browser]:
    """An administrator of the server."""
    with person(shop, is_staff=True) as page:
        yield page


def buy(page: Browser, double: StripeDouble, amount: int = 1000) -> dict[str, Any]:
    """Buy and pay at Stripe, whose message is not sent yet; returns the session."""
    answer = page.post(CHECKOUT, {"credits": amount})
    assert answer.status_code == 200, answer.text
    return double.pay(answer.json()["url"].rpartition("/")[2])


def tell(page: Browser, double: StripeDouble, kind: str, subject: dict[str, Any]) -> httpx.Response:
    """Send a message as Stripe would: without any credential of ours."""
    body, headers = double.message(kind, subject)
    return httpx.post(page.server.url + HOOK, content=body, headers=headers)


def bought(page: Browser, double: StripeDouble, amount: int = 1000) -> dict[str, Any]:
    """Buy, pay, and wait until the credits are there."""
    session = buy(page, double, amount)
    assert tell(page, double, "checkout.session.completed", session).status_code == 200
    wait_for(lambda: credits_of(page) == str(amount))
    return session


def credits_of(page: Browser) -> str:
    return str(page.get("/api/credits").json()["available"])


def receipts_of(page: Browser) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.get("/api/credits/receipts").json()["receipts"]
    return found


def org_of(page: Browser) -> str:
    return next(str(org["id"]) for org in page.get("/api/me").json()["organizations"])


def wait_for(is_so: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def counted(page: Browser, outcome: str) -> float:
    """Return how many messages of Stripe ended so."""
    found = page.server.platform.telemetry.registry.get_sample_value(
        "keelbill_webhook_events_total", {"provider": "stripe", "outcome": outcome}
    )
    return found or 0.0


class TestWithoutStripe:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [("POST", CHECKOUT, {"credits": 1000}), ("PUT", RECHARGE, RULE)],
    )
    def test_a_clear_sentence(self, server: LiveServer, method: str, path: str, body: object) -> None:
        with person(server) as page:
            answer = page.send(method, path, body)
        assert (answer.status_code, answer.json()["name"]) == (501, "not_implemented")
        assert answer.json()["errors"][0].startswith("cards: this server sells no credits by card.")

    def test_a_message_to_a_server_that_sells_nothing(self, server: LiveServer) -> None:
        signed = server.client.post(HOOK, content=b"{}", headers={"stripe-signature": "t=1,v1=00"})
        assert (signed.status_code, signed.json()["name"]) == (501, "not_implemented")
        unsigned = server.client.post(HOOK, content=b"{}")
        assert (unsigned.status_code, unsigned.json()["errors"]) == (400, ["stripe-signature: required"])

    def test_where_credits_never_run_out(self, start_server: Callable[..., LiveServer]) -> None:
        free = start_server(billing="unlimited", stripe_secret_key="sk_test_1", stripe_webhook_secret=SECRET)
        with person(free) as page:
            answer = page.post(CHECKOUT, {"credits": 1000})
        assert answer.status_code == 501
        assert "never run out" in answer.json()["errors"][0]

    def test_half_of_the_settings_is_nothing(self, start_server: Callable[..., LiveServer]) -> None:
        half = start_server(stripe_secret_key="sk_test_1")
        assert half.platform.payments is None
        assert half.platform.recharger is None


class TestBuying:
    def test_from_the_button_to_the_picture(self, ada: Browser, stripe_double: StripeDouble) -> None:
        assert credits_of(ada) == "0"
        session = buy(ada, stripe_double)
        assert session["amount_total"] == 1000
        assert session["metadata"]["org_id"] == org_of(ada)
        assert credits_of(ada) == "0"

        answer = tell(ada, stripe_double, "checkout.session.completed", session)

        assert (answer.status_code, answer.json()) == (200, {"received": True})
        wait_for(lambda: credits_of(ada) == "1000")
        (receipt,) = receipts_of(ada)
        assert (receipt["credits"], receipt["money"], receipt["currency"]) == ("1000", "10.00", "usd")
        assert (receipt["status"], receipt["is_automatic"]) == ("paid", False)
        key = ada.post("/api/keys", {"name": "k"}).json()["secret"]
        answer = httpx.post(
            f"{ada.server.url}/v2beta/stable-image/generate/sd3",
            headers={"authorization": f"Bearer {key}"},
            files={"none": ""},
            data={"prompt": "a red fox"},
        )
        assert (answer.status_code, answer.headers["x-credits-charged"]) == (200, "6.5")

    def test_the_page_that_the_buyer_returns_to(self, ada: Browser, stripe_double: StripeDouble) -> None:
        session = buy(ada, stripe_double)
        page, _, payment_id = session["success_url"].partition("?payment=")
        assert page.endswith("/billing")
        answers = [ada.post(f"/api/credits/receipts/{payment_id}/confirm") for _ in range(3)]
        assert [answer.json() for answer in answers] == [{"status": "paid"}] * 3
        before = counted(ada, "processed")
        tell(ada, stripe_double, "checkout.session.completed", session)
        wait_for(lambda: counted(ada, "processed") > before)
        assert credits_of(ada) == "1000"

    def test_somebody_elses_purchase(self, shop: LiveServer, ada: Browser, stripe_double: StripeDouble) -> None:
        payment_id = buy(ada, stripe_double)["success_url"].partition("?payment=")[2]
        with person(shop) as other:
            assert other.post(f"/api/credits/receipts/{payment_id}/confirm").status_code == 404
            assert receipts_of(other) == []

    @pytest.mark.parametrize("amount", [0, 999, 1500, -1000, 1_001_000, "1000", 1000.5, None])
    def test_amounts_that_are_not_sold(self, ada: Browser, stripe_double: StripeDouble, amount: object) -> None:
        answer = ada.post(CHECKOUT, {"credits": amount})
        assert (answer.status_code, answer.json()["name"]) == (400, "bad_request")
        assert stripe_double.calls == []

    def test_a_member_does_not_buy(self, shop: LiveServer, ada: Browser, stripe_double: StripeDouble) -> None:
        org_id = org_of(ada)
        mine = membership.update().where(membership.c.org_id == org_id)
        shop.write(lambda c: c.execute(mine.values(role="member")).rowcount)
        answer = ada.post(CHECKOUT, {"credits": 1000})
        assert (answer.status_code, answer.json()["name"]) == (403, "permission_denied")
        assert ada.get("/api/credits/receipts").status_code == 403

    def test_stripe_is_away(self, start_server: Callable[..., LiveServer]) -> None:
        lonely = start_server(
            stripe_secret_key="sk_test_1", stripe_webhook_secret=SECRET, stripe_api_base="http://127.0.0.1:9"
        )
        with person(lonely) as page:
            answer = page.post(CHECKOUT, {"credits": 1000})
        assert (answer.status_code, answer.json()["name"]) == (503, "service_unavailable")


class TestMessages:
    def test_one_that_comes_again(self, ada: Browser, stripe_double: StripeDouble) -> None:
        session = buy(ada, stripe_double)
        body, headers = stripe_double.message("checkout.session.completed", session)
        before = {outcome: counted(ada, outcome) for outcome in ("received", "duplicate", "processed")}
        answers = [httpx.post(ada.server.url + HOOK, content=body, headers=headers) for _ in range(5)]
        assert {answer.status_code for answer in answers} == {200}
        wait_for(lambda: counted(ada, "processed") == before["processed"] + 1)
        assert credits_of(ada) == "1000"
        assert counted(ada, "received") == before["received"] + 1
        assert counted(ada, "duplicate") == before["duplicate"] + 4

    @pytest.mark.parametrize("change", ["body", "signature", "nothing"])
    def test_a_forged_one(self, ada: Browser, stripe_double: StripeDouble, change: str) -> None:
        body, headers = stripe_double.message("checkout.session.completed", buy(ada, stripe_double))
        if change == "body":
            body = body.replace(b"1000", b"9000")
        sent = (
            {} if change == "nothing" else headers | ({"Stripe-Signature": "t=1,v1=0"} if change == "signature" else {})
        )
        before = counted(ada, "refused")
        answer = httpx.post(ada.server.url + HOOK, content=body, headers=sent)
        assert (answer.status_code, answer.json()["name"]) == (400, "bad_request")
        assert "does not belong to this message" in answer.json()["errors"][0]
        assert SECRET not in answer.text
        assert counted(ada, "refused") == before + 1
        assert credits_of(ada) == "0"

    def test_one_that_is_too_large(self, ada: Browser) -> None:
        answer = httpx.post(ada.server.url + HOOK, content=b"x" * 600_000)
        assert answer.status_code == 413

    def test_one_about_another_amount(self, ada: Browser, stripe_double: StripeDouble) -> None:
        session, before = buy(ada, stripe_double), counted(ada, "failed")
        assert tell(ada, stripe_double, "checkout.session.completed", session | {"amount_total": 1}).status_code == 200
        wait_for(lambda: counted(ada, "failed") == before + 1)
        assert credits_of(ada) == "0"

    def test_a_storm_of_real_ones_is_let_in_and_of_forged_ones_is_not(
        self, ada: Browser, stripe_double: StripeDouble
    ) -> None:
        strangers = ada.server.platform.strangers
        strangers.limit = 100
        with httpx.Client(base_url=ada.server.url) as stripe:
            for number in range(120):
                body, headers = stripe_double.message("customer.created", {"id": f"cus_{number}"})
                assert stripe.post(HOOK, content=body, headers=headers).status_code == 200
            forged = [stripe.post(HOOK, content=b"{}").status_code for _ in range(120)]
        strangers.limit = 1_000_000
        assert forged[0] == 400
        assert 429 in forged


class TestRefunds:
    def test_staff_gives_back_what_is_left(self, ada: Browser, root: Browser, stripe_double: StripeDouble) -> None:
        bought(ada, stripe_double)
        listed = root.get(f"/api/treasury/payments?org_id={org_of(ada)}").json()["receipts"]
        assert [line["id"] for line in listed] == [line["id"] for line in receipts_of(ada)]
        path = f"/api/treasury/payments/{listed[0]['id']}/refund"

        done = root.post(path)

        assert (done.status_code, done.json()) == (200, {"taken_back": "1000"})
        assert [refund["amount"] for refund in stripe_double.refunds] == ["1000"]
        assert credits_of(ada) == "0"
        assert receipts_of(ada)[0]["status"] == "refunded"
        assert root.post(path).json() == {"taken_back": "0"}
        (entry,) = [line for line in ada.get("/api/orgs/current/audit").json() if line["action"] == "payment.refund"]
        assert (entry["target"], entry["after"]) == (listed[0]["id"], '{"micro_credits": 1000000000}')

    def test_stripe_says_no(self, ada: Browser, root: Browser, stripe_double: StripeDouble) -> None:
        bought(ada, stripe_double)
        stripe_double.declines = True
        answer = root.post(f"/api/treasury/payments/{receipts_of(ada)[0]['id']}/refund")
        assert answer.status_code == 503
        assert credits_of(ada) == "1000"

    def test_not_for_the_buyer(self, ada: Browser, stripe_double: StripeDouble) -> None:
        bought(ada, stripe_double)
        assert ada.post(f"/api/treasury/payments/{receipts_of(ada)[0]['id']}/refund").status_code == 403
        assert ada.get("/api/treasury/payments").status_code == 403
        assert stripe_double.refunds == []

    def test_an_old_session_proves_itself_first(self, shop: LiveServer, root: Browser) -> None:
        shop.write(lambda c: c.execute(login_session.update().values(authenticated_ms=1)).rowcount)
        assert root.post(f"/api/treasury/payments/{new_id()}/refund").status_code in (401, 403)

    def test_a_purchase_that_is_not_there(self, root: Browser) -> None:
        assert root.post(f"/api/treasury/payments/{new_id()}/refund").status_code == 404

    def test_money_that_goes_back_at_stripe(self, ada: Browser, stripe_double: StripeDouble) -> None:
        session = bought(ada, stripe_double)
        charge = {"id": "ch_1", "payment_intent": session["payment_intent"], "amount_refunded": 400, "currency": "usd"}
        tell(ada, stripe_double, "charge.refunded", charge)
        wait_for(lambda: credits_of(ada) == "600")
        assert receipts_of(ada)[0]["taken_back"] == "400"


class TestAdjustments:
    def test_credits_by_hand_are_in_the_audit_log(self, ada: Browser, root: Browser) -> None:
        body = {"org_id": org_of(ada), "credits": "12.5", "note": "a lost picture"}
        answer = root.post("/api/treasury/adjustments", body)
        assert (answer.status_code, answer.json()) == (201, {"available": "12.5"})
        newest = ada.get("/api/orgs/current/audit").json()[0]
        assert (newest["action"], newest["before"]) == ("credits.adjust", '{"posted": 0}')
        assert newest["after"] == '{"note": "a lost picture", "posted": 12500000}'
        assert newest["actor_kind"] == "user"
        (line,) = ada.get("/api/credits/transfers").json()["transfers"]
        assert (line["kind"], line["amount"], line["note"]) == ("adjust", "12.5", "a lost picture")

    def test_more_than_there_is_leaves_no_trace(self, ada: Browser, root: Browser) -> None:
        answer = root.post("/api/treasury/adjustments", {"org_id": org_of(ada), "credits": "-1", "note": "x"})
        assert answer.status_code == 400
        assert "credits.adjust" not in [line["action"] for line in ada.get("/api/orgs/current/audit").json()]

    @pytest.mark.parametrize(
        "change", [{"credits": "1e3"}, {"credits": 5}, {"note": ""}, {"org_id": "x"}, {"by": "me"}]
    )
    def test_what_is_no_adjustment(self, ada: Browser, root: Browser, change: dict[str, object]) -> None:
        body = {"org_id": org_of(ada), "credits": "1", "note": "x"} | change
        assert root.post("/api/treasury/adjustments", body).status_code == 400

    def test_not_for_everybody(self, ada: Browser) -> None:
        body = {"org_id": org_of(ada), "credits": "1", "note": "x"}
        assert ada.post("/api/treasury/adjustments", body).status_code == 403


class TestAutomaticPurchases:
    def test_without_a_card(self, ada: Browser) -> None:
        assert ada.get(RECHARGE).json() == {
            "enabled": False,
            "threshold": "0",
            "amount": "0",
            "monthly_cap": "0",
            "has_card": False,
            "failures": 0,
        }
        answer = ada.send("PUT", RECHARGE, RULE)
        assert (answer.status_code, answer.json()["errors"]) == (
            400,
            ["enabled: no card is on file; buy credits by card once first"],
        )

    def test_a_rule_that_fits_is_kept_and_noted(self, ada: Browser, stripe_double: StripeDouble) -> None:
        bought(ada, stripe_double)
        answer = ada.send("PUT", RECHARGE, RULE)
        assert answer.status_code == 200, answer.text
        assert ada.get(RECHARGE).json() == RULE | {"has_card": True, "failures": 0}
        assert ada.get("/api/orgs/current/audit").json()[0]["action"] == "credits.recharge"

    @pytest.mark.parametrize(
        "change", [{"amount": "500"}, {"monthly_cap": "10"}, {"threshold": "-1"}, {"amount": 1000}]
    )
    def test_numbers_that_make_no_sense(
        self, ada: Browser, stripe_double: StripeDouble, change: dict[str, object]
    ) -> None:
        bought(ada, stripe_double)
        assert ada.send("PUT", RECHARGE, RULE | change).status_code == 400

    def test_credits_come_by_themselves_when_they_run_low(
        self, shop: LiveServer, ada: Browser, stripe_double: StripeDouble
    ) -> None:
        bought(ada, stripe_double)
        ada.send("PUT", RECHARGE, RULE | {"threshold": "995"})
        key = ada.post("/api/keys", {"name": "k"}).json()["secret"]
        headers = {"authorization": f"Bearer {key}"}
        answer = ada.client.post("/api/jobs", json={"prompt": "a fox", "width": 64, "height": 64}, headers=headers)
        assert answer.status_code == 202
        wait_for(lambda: ada.get("/api/credits").json()["total"] == "993.5")  # the price is taken
        cashier = shop.platform.cashier
        assert cashier is not None
        shop.run(cashier.work())
        assert credits_of(ada) == "1993.5"
        assert [line["is_automatic"] for line in receipts_of(ada)] == [True, False]

    def test_after_three_failures_the_owner_gets_a_letter(
        self, shop: LiveServer, ada: Browser, stripe_double: StripeDouble
    ) -> None:
        bought(ada, stripe_double)
        ada.send("PUT", RECHARGE, RULE)
        stripe_double.declines = True
        org_id = org_of(ada)
        cashier = shop.platform.cashier
        assert cashier is not None
        for _ in range(3):
            shop.write(lambda c: c.execute(auto_recharge.update().values(next_try_ms=0)).rowcount)
            shop.write(lambda c: recharges.enqueue(c, org_id, shop.platform.clock.now_ms()))
            shop.run(cashier.work())
        assert ada.get(RECHARGE).json()["enabled"] is False
        postman = shop.platform.identity.postman
        shop.run(postman.flush())
        assert isinstance(postman.mailer, ConsoleMailer)
        letter = postman.mailer.recent[-1]
        assert letter.subject == "Credits are no longer bought automatically"
        assert "declined" in letter.text

    def test_it_needs_a_recent_session(self, shop: LiveServer, ada: Browser) -> None:
        shop.write(lambda c: c.execute(login_session.update().values(authenticated_ms=1)).rowcount)
        assert ada.send("PUT", RECHARGE, RULE).status_code in (401, 403)
