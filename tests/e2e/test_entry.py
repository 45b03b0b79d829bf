"""Coming in as a person does: the printed link, signing in and out, a new password, an invitation."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from support.browser import PASSWORD, add_person, last_link
from support.browsers import window
from support.server import LiveServer

from .conftest import Visit, sign_in


def test_the_printed_link_claims_a_new_server(start_server: Callable[..., LiveServer], real_browser: Browser) -> None:
    live = start_server()
    token = live.write(live.platform.accounts.bootstrap).setup_token
    with window(real_browser, live.url) as (page, _):
        page.goto(f"/set-up#token={token}")
        page.get_by_label("Your name").fill("Ada")
        assert "#token" not in page.url  # neither shown nor kept in the history
        page.get_by_label("Email address").fill("ada@example.org")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Claim and start").click()
        expect(page.get_by_role("heading", name="Welcome to your server")).to_be_visible()
        expect(page.locator(".credits")).to_contain_text("25 credits")
    with window(real_browser, live.url) as (page, _):
        sign_in(page, "ada@example.org")


def test_a_wrong_link_says_so(server: LiveServer, real_browser: Browser) -> None:
    with window(real_browser, server.url) as (page, _):
        page.goto("/set-up")
        expect(page.get_by_role("heading", name="This link is not complete")).to_be_visible()
        page.goto("/verify#token=" + "x" * 43)
        expect(page.get_by_role("heading", name="This link did not work")).to_be_visible()


def test_whoever_is_not_signed_in_is_asked_to_and_comes_back(server: LiveServer, real_browser: Browser) -> None:
    server.platform.strangers.limit = 1_000_000
    add_person(server, "grace@example.org", name="Grace")
    with window(real_browser, server.url) as (page, _):
        page.goto("/gallery?text=boat")
        page.get_by_label("Email address").fill("grace@example.org")
        page.get_by_label("Password", exact=True).fill("not the password")
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page).to_have_url(f"{server.url}/gallery?text=boat")
        page.get_by_role("button", name="Account menu of Grace").click()
        page.get_by_role("button", name="Sign out").click()
        expect(page).to_have_url(f"{server.url}/sign-in")
        page.goto("/gallery")
        expect(page.get_by_role("heading", name="Welcome back")).to_be_visible()


@pytest.mark.parametrize(
    "target",
    [
        "https://example.org/",
        "https:example.org",
        "//example.org",
        "///example.org",
        "/\\example.org",
        "/%5cexample.org",
        "/%09/example.org",
        "/..//example.org",
        "/.//example.org",
        "javascript:alert(1)",
        "data:text/html,hello",
    ],
)
def test_signing_in_leads_to_no_other_site(server: LiveServer, real_browser: Browser, target: str) -> None:
    server.platform.strangers.limit = 1_000_000
    with window(real_browser, server.url) as (page, _):
        page.goto("/")
        page.goto(f"/sign-in?next={target}")
        page.get_by_label("Email address").fill("linus@example.org")
        add_if_new(server, "linus@example.org")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.get_by_role("button", name="Account menu").wait_for()
        expect(page).to_have_url(f"{server.url}/")


_known: set[str] = set()


def add_if_new(server: LiveServer, email: str) -> None:
    if email not in _known:
        _known.add(email)
        add_person(server, email, name="Linus")


def test_a_forgotten_password(server: LiveServer, real_browser: Browser) -> None:
    server.platform.strangers.limit = 1_000_000
    add_person(server, "mary@example.org", name="Mary")
    with window(real_browser, server.url) as (page, _):
        page.goto("/sign-in")
        page.get_by_role("link", name="Forgot your password?").click()
        page.get_by_label("Email address").fill("mary@example.org")
        page.get_by_role("button", name="Send the link").click()
        expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()
        page.goto(f"/reset#token={last_link(server)}")
        page.get_by_label("New password").fill("nine lighthouses at dawn")
        page.get_by_role("button", name="Save the password").click()
        expect(page.get_by_text("Your password is changed.")).to_be_visible()
        page.get_by_label("Email address").fill("mary@example.org")
        page.get_by_label("Password", exact=True).fill("nine lighthouses at dawn")
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.get_by_role("button", name="Account menu of Mary").wait_for()


def test_two_tabs_of_one_person_share_the_session(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        other = page.context.new_page()
        other.goto("/")
        other.get_by_role("button", name="Account menu of Ada").click()
        other.get_by_role("button", name="Sign out").click()
        expect(other).to_have_url(f"{server.url}/sign-in")
        page.get_by_label("Prompt", exact=True).fill("a boat")
        page.get_by_role("button", name="Generate").click()
        expect(page.get_by_role("heading", name="Welcome back")).to_be_visible()


def test_german_and_dark_are_kept(visit: Visit) -> None:
    with visit() as page:
        page.get_by_role("button", name="Account menu of Ada").click()
        page.get_by_label("Language").select_option("de")
        expect(page.get_by_role("button", name=re.compile(r"Erstellen.*6,5 Credits"))).to_be_visible()
        page.get_by_role("button", name="Dunkel").click()
        page.reload()
        expect(page.get_by_role("button", name=re.compile(r"Erstellen.*6,5 Credits"))).to_be_visible()
        assert page.locator("html").get_attribute("data-theme") == "dark"
        assert page.locator("html").get_attribute("lang") == "de"
