"""Money as a person walks it: running out, paying by card at a double of Stripe, codes, automatic purchases."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from keelbill.core.types import micro
from keelbill.ledger.vouchers import Vouchers
from support.browser import add_person
from support.browsers import window
from support.server import LiveServer
from support.stripedouble import SECRET, StripeDouble, running_double

from .conftest import give, sign_in
from .test_access import PHONE, WIDE, assert_fits, violations
from .test_playground import generate

STRIPE = "https://checkout.example"
SIZES = pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
_numbers = count()


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
    live.platform.strangers.limit = 1_000_000
    yield live
    live.stop()


@contextmanager
def buyer(shop: LiveServer, browser: Browser, double: StripeDouble, credits: str, **options: Any) -> Iterator[Page]:  # noqa: A002  the word of the product
    """Open a window as a new person; the payment page of Stripe is a page with two links."""
    email = f"buyer{next(_numbers)}@example.org"
    give(shop, add_person(shop, email, name="Ada"), credits)

    def checkout(route: Route) -> None:
        session = double.sessions[route.request.url.rpartition("/")[2]]
        back = {name: re.sub(r"^https?://[^/]+", shop.url, session[f"{name}_url"]) for name in ("success", "cancel")}
        links = f'<a href="{back["success"]}">Pay</a> <a href="{back["cancel"]}">Back</a>'
        route.fulfill(body=f"<title>Pay</title>{links}", content_type="text/html")

    with window(browser, shop.url, **options) as (page, watch):
        page.route(f"{STRIPE}/**", checkout)
        sign_in(page, email)
        yield page
        watch.foreign = [url for url in watch.foreign if not url.startswith(f"{STRIPE}/")]


def buy(page: Page, double: StripeDouble, amount: str = "1000") -> None:
    """Buy credits on the billing page."""
    page.get_by_role("combobox", name="Credits").select_option(amount)
    page.get_by_role("button", name="Go to payment").click()
    page.wait_for_url(f"{STRIPE}/**")
    double.pay(page.url.rpartition("/")[2])
    page.get_by_role("link", name="Pay").click()
    expect(page.get_by_text("Thank you, the credits are here.")).to_be_visible()


@SIZES
def test_from_out_of_credits_to_the_picture(
    shop: LiveServer, real_browser: Browser, double: StripeDouble, size: dict[str, int]
) -> None:
    with buyer(shop, real_browser, double, "0", viewport=size) as page:
        page.get_by_label("Prompt", exact=True).fill("a boat")
        page.get_by_role("link", name="Get credits").click()
        expect(page.get_by_text("You are out of credits")).to_be_visible()
        expect(page.get_by_text("Buy credits by card once first")).to_be_visible()
        assert_fits(page)
        assert violations(page) == []
        buy(page, double)
        expect(page).to_have_url(f"{shop.url}/billing")
        expect(page.locator("[data-figure=available]")).to_have_text("1,000")
        expect(page.get_by_text("You are out of credits")).to_have_count(0)
        receipt = page.get_by_role("region", name="Purchases").get_by_role("row").nth(1)
        expect(receipt).to_contain_text("10.00 USD")
        expect(receipt).to_contain_text("Paid")
        assert_fits(page)
        page.goto("/")
        generate(page, "a boat")
        expect(page.locator(".tile-done")).to_have_count(1)
        page.goto("/billing")
        expect(page.locator("[data-figure=available]")).to_have_text("993.5")


def test_turning_back_costs_nothing(shop: LiveServer, real_browser: Browser, double: StripeDouble) -> None:
    with buyer(shop, real_browser, double, "5") as page:
        page.goto("/billing")
        page.get_by_role("button", name="Go to payment").click()
        page.get_by_role("link", name="Back").click()
        expect(page.get_by_text("Nothing was paid.")).to_be_visible()
        expect(page).to_have_url(f"{shop.url}/billing")
        expect(page.locator("[data-figure=available]")).to_have_text("5")


def test_a_payment_that_is_not_confirmed_is_said(shop: LiveServer, real_browser: Browser, double: StripeDouble) -> None:
    with buyer(shop, real_browser, double, "0") as page:
        page.goto("/billing")
        page.get_by_role("button", name="Go to payment").click()
        page.get_by_role("link", name="Pay").click()  # but nothing was paid
        expect(page.get_by_text("The payment is not confirmed yet.")).to_be_visible()
        expect(page.locator("[data-figure=available]")).to_have_text("0")


@SIZES
def test_credits_are_bought_automatically(
    shop: LiveServer, real_browser: Browser, double: StripeDouble, size: dict[str, int]
) -> None:
    with buyer(shop, real_browser, double, "0", viewport=size) as page:
        page.goto("/billing")
        buy(page, double)
        page.get_by_label("Switched on").check()
        page.get_by_label("When fewer are left than").fill("995")
        page.get_by_label("Buy", exact=True).fill("1000")
        page.get_by_label("At most in a month").fill("500")
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".note-bad")).to_be_visible()  # less than one purchase
        page.get_by_label("At most in a month").fill("3000")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Saved")).to_be_visible()
        page.goto("/")
        generate(page, "a boat")
        expect(page.locator(".tile-done")).to_have_count(1)
        shop.wait_until_idle()
        cashier = shop.platform.cashier
        assert cashier is not None
        shop.run(cashier.work())
        page.goto("/billing")
        expect(page.locator("[data-figure=available]")).to_have_text("1,993.5")
        expect(page.get_by_role("region", name="Purchases").get_by_text("automatic")).to_have_count(1)
        expect(page.get_by_label("Switched on")).to_be_checked()
        assert_fits(page)


def test_every_movement_can_be_taken_along(
    shop: LiveServer, real_browser: Browser, double: StripeDouble, tmp_path: Path
) -> None:
    vouchers = Vouchers(shop.platform.ledger, shop.platform.clock)
    with buyer(shop, real_browser, double, "0") as page:
        page.goto("/billing")
        buy(page, double)
        page.get_by_label("Code").fill(shop.write(lambda c: vouchers.create(c, micro("40"), created_by="test")))
        page.get_by_role("button", name="Redeem").click()
        expect(page.locator("[data-figure=available]")).to_have_text("1,040")
        page.goto("/")
        generate(page, "a boat", 4)
        expect(page.locator(".tile-done")).to_have_count(4)
        page.goto("/billing")
        expect(page.locator("[data-figure=available]")).to_have_text("1,014")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download CSV").click()
        download.value.save_as(tmp_path / "credits.csv")
        with (tmp_path / "credits.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        amounts = sorted(float(row["amount"]) for row in rows)
        assert amounts == [-6.5, -6.5, -6.5, -6.5, 40, 1000]
        assert all(row["id"] and row["created_ms"] and row["kind"] for row in rows)


@pytest.mark.parametrize(
    "payment", ["javascript:alert(1)", "//evil.example", "../../sign-out", "https://evil.example", "0" * 32]
)
def test_coming_back_from_a_payment_that_was_none(
    shop: LiveServer, real_browser: Browser, double: StripeDouble, payment: str
) -> None:
    with buyer(shop, real_browser, double, "100") as page:
        page.goto(f"/billing?payment={payment}")
        expect(page.get_by_role("heading", name="Movements")).to_be_visible()
        expect(page).to_have_url(f"{shop.url}/billing")
        expect(page.locator("[data-figure=available]")).to_have_text("100")
        page.get_by_role("button", name="Account menu of Ada").wait_for()
