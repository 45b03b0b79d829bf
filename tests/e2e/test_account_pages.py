"""Keys, credits and usage as a person walks them; what people name things is never more than text."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import expect

from keelbill.core.types import micro
from keelbill.ledger.vouchers import Vouchers
from support.browser import PASSWORD, last_link
from support.server import LiveServer

from .conftest import Visit
from .test_access import PHONE, WIDE, assert_fits, violations
from .test_playground import generate

HOSTILE = '<img src=x onerror="document.title=1">'


def test_a_key_is_made_used_and_revoked(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        page.goto("/keys")
        page.get_by_role("button", name="New key").click()
        page.get_by_label("Name").fill(HOSTILE)
        page.get_by_role("button", name="Make key").click()
        secret = page.locator(".secret code").inner_text()
        headers = {"authorization": f"Bearer {secret}"}
        assert httpx.get(f"{server.url}/api/credits/prices", headers=headers).status_code == 200
        page.get_by_role("button", name="I have kept it").click()
        expect(page.locator(".cell-name")).to_have_text(HOSTILE)
        assert secret not in page.content()
        page.get_by_role("button", name="Revoke").click()
        page.get_by_role("button", name="Revoke now").click()
        expect(page.get_by_text("Revoked")).to_be_visible()
        assert httpx.get(f"{server.url}/api/credits/prices", headers=headers).status_code == 401


def test_a_voucher_ends_being_out_of_credits(visit: Visit, server: LiveServer) -> None:
    vouchers = Vouchers(server.platform.ledger, server.platform.clock)
    with visit(credits="0") as page:
        page.goto("/billing")
        expect(page.get_by_text("You are out of credits")).to_be_visible()
        page.get_by_label("Code").fill("WRONG-WRONG-WRONG-WRONG-X")
        page.get_by_role("button", name="Redeem").click()
        expect(page.locator(".problem")).to_be_visible()
        code = server.write(lambda c: vouchers.create(c, micro("40"), created_by="test"))
        page.get_by_label("Code").fill(code)
        page.get_by_role("button", name="Redeem").click()
        expect(page.locator("[data-figure=available]")).to_have_text("40")
        expect(page.get_by_text("You are out of credits")).to_have_count(0)


def test_usage_counts_what_was_made(visit: Visit) -> None:
    with visit() as page:
        page.goto("/usage")
        expect(page.get_by_role("heading", name="Nothing was used")).to_be_visible()
        page.get_by_role("link", name="Make a picture").click()
        generate(page, HOSTILE)
        expect(page.locator(".tile-done")).to_have_count(1)
        page.goto("/usage")
        expect(page.locator(".chart-bar")).to_have_count(1)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download CSV").click()
        assert download.value.suggested_filename == "usage-by-day.csv"


def test_a_key_is_changed_and_rotated(visit: Visit) -> None:
    with visit() as page:
        page.goto("/keys")
        page.get_by_role("button", name="New key").click()
        page.get_by_label("Name").fill("Website")
        page.get_by_role("button", name="Make key").click()
        first = page.locator(".secret code").inner_text()
        page.get_by_role("button", name="I have kept it").click()
        page.get_by_role("button", name="Change").click()
        page.get_by_label("Credits per day").fill("12,5")
        page.get_by_label("Requests per window").fill("60")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("12.5 a day")).to_be_visible()
        expect(page.get_by_text("60 requests a window")).to_be_visible()
        page.get_by_role("button", name="Rotate").click()
        page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
        assert page.locator(".secret code").inner_text() != first
        page.get_by_role("button", name="I have kept it").click()
        expect(page.get_by_text("Being replaced")).to_be_visible()


def test_name_password_and_devices(visit: Visit) -> None:
    with visit() as page:
        page.goto("/account")
        page.get_by_label("Name").fill(HOSTILE)
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Saved.")).to_be_visible()
        page.reload()
        expect(page.get_by_label("Name")).to_have_value(HOSTILE)
        page.get_by_label("Password now").fill("not this one at all")
        page.get_by_label("New password").fill("eight lighthouses at dawn")
        page.get_by_role("button", name="Change password").click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_label("Password now").fill(PASSWORD)
        page.get_by_role("button", name="Change password").click()
        expect(page.get_by_text("Your password is changed.")).to_be_visible()
        page.get_by_role("button", name="Sign out everywhere").first.click()
        page.get_by_role("dialog").get_by_role("button", name="Sign out everywhere").click()
        expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()


def test_a_team_is_founded_and_somebody_invited(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        page.goto("/team")
        page.get_by_role("button", name="New team").click()
        page.get_by_label("Name").fill(HOSTILE)
        page.get_by_role("button", name="Found team").click()
        expect(page.locator(".card-chosen strong")).to_have_text(HOSTILE)
        page.get_by_role("button", name="Invite", exact=True).click()
        page.get_by_label("Email address").fill("grace@example.com")
        page.get_by_label("Role").select_option("viewer")
        page.get_by_role("dialog").get_by_role("button", name="Invite").click()
        expect(page.get_by_role("region", name="Invitations").get_by_text("Viewer")).to_be_visible()
        token = last_link(server)
        assert len(token) > 16
        page.get_by_role("button", name="Take back").click()
        expect(page.get_by_text("No invitation is open.")).to_be_visible()
        page.get_by_role("button", name="Close team").click()
        page.get_by_role("dialog").get_by_role("button", name="Close team").click()
        expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
        expect(page).not_to_have_title("1")


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_account_pages_are_for_everybody(visit: Visit, size: dict[str, int]) -> None:
    with visit(viewport=size, bypass_csp=True) as page:
        for address in ("/account", "/team", "/keys", "/billing", "/usage", "/webhooks"):
            page.goto(address)
            page.locator(".account-page h1").wait_for()
            expect(page.locator("main .spinner")).to_have_count(0)
            assert violations(page) == [], address
            assert_fits(page)
