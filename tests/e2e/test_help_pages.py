"""The help: examples that carry the reader's key, the reference, and checks that say what is wrong."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import expect

from support.server import LiveServer

from .conftest import Visit
from .test_access import PHONE, WIDE, assert_fits, violations


def test_examples_carry_a_key_that_works(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        page.goto("/help")
        code = page.locator("#example code").last
        expect(code).to_contain_text("sk-YOUR-KEY")
        page.get_by_label("Or paste one").fill("sk-short")
        expect(page.locator(".problem")).to_be_visible()
        page.get_by_role("button", name="Make a key for this").click()
        expect(page.get_by_text("The key is called")).to_be_visible()
        shell = code.inner_text()
        key = shell.partition("Bearer ")[2].partition('"')[0]
        headers = {"authorization": f"Bearer {key}"}
        assert httpx.get(f"{server.url}/api/credits/prices", headers=headers).status_code == 200
        assert server.url in shell
        for name in ("Python", "JavaScript", "Go", "Keelbill CLI"):
            page.get_by_role("tab", name=name, exact=True).click()
            expect(code).to_contain_text(key)
        page.reload()
        expect(code).to_contain_text("sk-YOUR-KEY")  # it was in this tab's memory only


def test_tabs_with_the_arrow_keys(visit: Visit) -> None:
    with visit() as page:
        page.goto("/help")
        page.get_by_role("tab", name="curl").focus()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tab", name="Python", exact=True)).to_be_focused()
        expect(page.locator("#example pre")).to_contain_text("keelbill.client")


def test_an_operation_is_looked_up(visit: Visit) -> None:
    with visit() as page:
        page.goto("/help/reference")
        page.get_by_label("Search operations").fill("gallery archives")
        expect(page.locator("details")).to_have_count(1)
        page.locator("summary").click()
        expect(page.locator(".operation-inside")).to_contain_text("picture_ids")
        expect(page.locator(".operation-inside pre")).to_contain_text("/api/gallery/archives")


def test_checks_say_what_is_wrong(visit: Visit) -> None:
    with visit(credits="0") as page:
        page.goto("/help/checks")
        expect(page.locator("[data-check=server]")).to_have_attribute("data-state", "good")
        expect(page.locator("[data-check=credits]")).to_have_attribute("data-state", "warn")
        expect(page.locator("[data-check=keys]")).to_contain_text("No key is active")
        page.locator("[data-check=keys]").get_by_role("link").click()
        expect(page.get_by_role("heading", name="No keys yet")).to_be_visible()


def test_a_server_that_cannot_take_work(visit: Visit) -> None:
    with visit() as page:
        page.route(
            "**/readyz",
            lambda route: route.fulfill(status=503, json={"status": "failing", "failing": ["disk"], "degraded": []}),
        )
        page.goto("/help/checks")
        expect(page.locator("[data-check=ready]")).to_have_attribute("data-state", "bad")
        expect(page.locator("[data-check=ready]")).to_contain_text("disk")


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_help_is_for_everybody(visit: Visit, size: dict[str, int]) -> None:
    with visit(viewport=size, bypass_csp=True) as page:
        for part in ("", "/checks", "/reference"):
            page.goto(f"/help{part}")
            page.locator("h1").wait_for()
            expect(page.locator("main .spinner")).to_have_count(0)
            if part == "/reference":
                page.get_by_label("Search operations").fill("gallery")
                page.locator("summary").first.click()
            assert violations(page) == [], part
            assert_fits(page)
