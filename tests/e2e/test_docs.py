"""The page at ``/docs`` in a real browser, without the Internet and under the server's own policy."""

from __future__ import annotations

from playwright.sync_api import Browser

from support.browsers import window
from support.server import LiveServer


def test_operations_are_shown_and_nothing_is_asked_elsewhere(server: LiveServer, real_browser: Browser) -> None:
    with window(real_browser, server.url) as (page, watch):
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto("/docs")
        assert page.get_by_role("heading", name="Keelbill API").is_visible()
        assert page.locator("details > summary").count() > 100
        assert page.get_by_text("/v2beta/stable-image/generate/sd3", exact=True).is_visible()
        assert page.locator("details > summary").last.is_visible()
        assert {url.split("/")[2] for url in asked} == {watch.host}
        assert page.evaluate("getComputedStyle(document.querySelector('nav ul')).display") == "flex"


def test_an_operation_opens_with_an_example_for_this_server(server: LiveServer, real_browser: Browser) -> None:
    with window(real_browser, server.url) as (page, _):
        page.goto("/docs")
        operation = page.locator("details", has_text="/api/credits/prices").first
        example = operation.locator("pre")
        assert not example.is_visible()
        operation.locator("summary").focus()
        page.keyboard.press("Enter")
        example.wait_for()
        base = server.platform.accounts.rules.base_url
        assert example.inner_text().startswith(f'curl "{base}/api/credits/prices"')


def test_it_fits_a_telephone_and_needs_no_scripts(server: LiveServer, real_browser: Browser) -> None:
    phone = {"width": 390, "height": 800}
    with window(real_browser, server.url, java_script_enabled=False, viewport=phone) as (page, _):
        page.goto("/docs")
        page.locator("summary").nth(3).click()
        page.locator("details[open] pre").wait_for()
    with window(real_browser, server.url, viewport=phone) as (page, _):
        page.goto("/docs")
        page.locator("summary").nth(3).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
