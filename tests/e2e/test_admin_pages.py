"""Administration as an administrator walks it; nobody else finds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import update

from keelbill.identity.models import login_session
from support.browser import PASSWORD, add_person
from support.browsers import window
from support.server import LiveServer

from .conftest import Visit, sign_in
from .test_access import PHONE, WIDE, assert_fits, violations

PARTS = ("", "/queue", "/models", "/accounts", "/credits", "/moderation", "/log", "/welcome")
HOSTILE = '<img src=x onerror="document.title=1">'
_numbers = count()


@contextmanager
def administrator(server: LiveServer, browser: Browser, **options: Any) -> Iterator[tuple[Page, str]]:
    """Open a window as a new administrator."""
    server.platform.strangers.limit = 1_000_000
    email = f"root{next(_numbers)}@example.org"
    user_id = add_person(server, email, name="Grace", is_staff=True)
    with window(browser, server.url, **options) as (page, _):
        sign_in(page, email)
        yield page, user_id


def test_others_do_not_find_it(visit: Visit) -> None:
    with visit() as page:
        page.get_by_role("button", name="Account menu").click()
        expect(page.get_by_role("link", name="Help")).to_be_visible()
        expect(page.get_by_role("link", name="Administration")).to_have_count(0)
        page.goto("/admin/accounts")
        expect(page.get_by_role("searchbox")).to_have_count(0)
        expect(page.locator(".side-nav")).to_have_count(0)


def test_an_account_is_added_given_credits_and_disabled(server: LiveServer, real_browser: Browser) -> None:
    email = f"new{next(_numbers)}@example.org"
    with administrator(server, real_browser) as (page, _):
        page.goto("/admin/accounts")
        page.get_by_role("button", name="New account").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Email address").fill(email)
        dialog.get_by_label("Name").fill(HOSTILE)
        dialog.get_by_label("First password").fill(PASSWORD)
        dialog.get_by_role("button", name="Add account").click()
        expect(dialog).to_have_count(0)
        page.get_by_label("Search by address").fill(email)
        row = page.locator("tbody tr")
        expect(row).to_have_count(1)
        expect(row.locator(".cell-name")).to_have_text(HOSTILE)
        row.get_by_role("button", name="Credits").click()
        page.get_by_label("How many to add").fill("75")
        page.get_by_label("Why").fill("A gift")
        page.get_by_role("button", name="Book it").click()
        expect(row.locator(".figure")).to_have_text("100")
        row.get_by_role("button", name="Disable").click()
        page.get_by_role("dialog").get_by_role("button", name="Disable").click()
        expect(row.get_by_text("Disabled")).to_be_visible()
        expect(page).not_to_have_title("1")


def test_an_old_session_is_asked_for_the_password_once(server: LiveServer, real_browser: Browser) -> None:
    with administrator(server, real_browser) as (page, user_id):
        old = update(login_session).where(login_session.c.user_id == user_id).values(authenticated_ms=1)
        server.write(lambda c: c.execute(old).rowcount)
        page.goto("/admin/moderation")
        dialog = page.get_by_role("dialog", name="Is it you?")
        dialog.get_by_label("Password now").fill("wrong wrong wrong")
        dialog.get_by_role("button", name="Go on").click()
        expect(dialog.get_by_role("alert")).to_be_visible()
        dialog.get_by_label("Password now").fill(PASSWORD)
        dialog.get_by_role("button", name="Go on").click()
        expect(page.get_by_role("heading", name="To review")).to_be_visible()
        expect(page.get_by_role("heading", name="Trail")).to_be_visible()
        expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_queue_is_paused_and_a_job_cancelled(server: LiveServer, real_browser: Browser) -> None:
    server.set_balance("100")
    try:
        with administrator(server, real_browser) as (page, _):
            page.goto("/admin/queue")
            page.get_by_role("button", name="Pause").click()
            expect(page.get_by_text("The queue is paused")).to_be_visible()
            body = {"prompt": "a secret boat", "width": 64, "height": 64}
            ids = [server.client.post("/api/jobs", json=body).json()["id"] for _ in range(2)]
            expect(page.locator("tbody tr")).to_have_count(2)
            expect(page.get_by_text("secret")).to_have_count(0)
            page.locator("tbody tr").nth(1).get_by_role("button", name="To the front").click()
            expect(page.locator("tbody tr").first).to_contain_text(ids[1][-8:])
            page.locator("tbody tr").first.get_by_role("button", name="Cancel").click()
            expect(page.locator("tbody tr")).to_have_count(1)
            page.get_by_role("button", name="Go on").click()
            expect(page.get_by_role("heading", name="Nothing runs and nothing waits")).to_be_visible()
        assert server.client.get(f"/api/jobs/{ids[0]}").json()["state"] == "succeeded"
    finally:
        server.platform.gateway._course.is_paused = False


def test_a_code_is_made_and_shown_once(server: LiveServer, real_browser: Browser) -> None:
    with administrator(server, real_browser) as (page, _):
        page.goto("/admin/credits")
        page.get_by_role("button", name="New code").click()
        page.get_by_role("button", name="Make code").click()
        code = page.locator(".secret code").inner_text()
        page.get_by_role("dialog").get_by_role("button", name="Close").click()
        expect(page.get_by_role("region", name="Codes").locator("tbody tr").first).to_contain_text("0 of 1")
        assert code not in page.content()


def test_the_first_steps_on_a_new_server(server: LiveServer, real_browser: Browser) -> None:
    with administrator(server, real_browser) as (page, _):
        page.goto("/admin/welcome")
        for heading in ("Is all well?", "Choose a model", "Who may come in?"):
            expect(page.get_by_role("heading", name=heading)).to_be_visible()
            page.get_by_role("button", name="Next").click()
        page.get_by_role("link", name="Open the studio").click()
        expect(page.get_by_label("Prompt", exact=True)).to_be_visible()


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_pages_are_for_everybody(server: LiveServer, real_browser: Browser, size: dict[str, int]) -> None:
    with administrator(server, real_browser, viewport=size, bypass_csp=True) as (page, _):
        for part in PARTS:
            page.goto(f"/admin{part}")
            page.locator("h1").first.wait_for()
            expect(page.locator("main .spinner")).to_have_count(0)
            assert violations(page) == [], part
            assert_fits(page)
