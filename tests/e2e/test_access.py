"""For everybody: no violations of accessibility rules on any page, keyboard alone, phone, both themes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from support.browsers import window
from support.server import LiveServer

from .conftest import Visit
from .test_playground import generate

AXE = (Path(__file__).parent / "vendor/axe.min.js").read_text(encoding="utf-8")
THEMES: dict[Literal["light", "dark"], dict[str, list[str]]] = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
PHONE = {"width": 390, "height": 844}
FOCUSED = """() => {
  const { activeElement: at } = document;
  return at.name || at.getAttribute("aria-label") || at.tagName;
}"""
WIDE = {"width": 1280, "height": 800}

STAND_STILL = """async () => {
  const moving = (one) => one.playState !== "finished" && one.effect?.getComputedTiming().endTime !== Infinity;
  for (let found; (found = document.getAnimations().filter(moving)).length; await new Promise(requestAnimationFrame))
    for (const one of found) one.finish();
}"""


def violations(page: Page) -> list[str]:
    """Return what axe objects to on the page as it is now, in the light theme and in the colours of the dark one."""
    found = []
    backgrounds = set()
    for theme, rules in THEMES.items():
        page.emulate_media(color_scheme=theme)
        page.wait_for_timeout(100)
        page.evaluate(STAND_STILL)  # half-faded text has too little contrast
        page.evaluate(f"() => {{ if (!window.axe) {{ {AXE} }} }}")
        found += page.evaluate("(only) => axe.run(document, {resultTypes: ['violations'], ...only})", rules)[
            "violations"
        ]
        backgrounds.add(page.evaluate("() => getComputedStyle(document.documentElement).backgroundColor"))
    page.emulate_media(color_scheme="light")
    assert len(backgrounds) == len(THEMES), "the page does not follow the system's theme"
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:160]} {one['nodes'][0].get('failureSummary', '')[:200]}"
        for one in found
    ]


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_pages_for_coming_in(server: LiveServer, real_browser: Browser, size: dict[str, int]) -> None:
    with window(real_browser, server.url, viewport=size, bypass_csp=True) as (page, _):
        for address in (
            "/sign-in",
            "/set-up#token=" + "x" * 43,
            "/set-up",
            "/reset",
            "/reset#token=" + "x" * 43,
            "/invitation#token=" + "x" * 43,
            "/sign-up",
        ):
            page.goto("about:blank")
            page.goto(address)
            page.locator(".entry-card h1").wait_for()
            assert violations(page) == [], address
            assert_fits(page)


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_pages_for_making_and_finding(visit: Visit, server: LiveServer, size: dict[str, int]) -> None:
    with visit(credits="200", viewport=size, bypass_csp=True) as page:
        assert violations(page) == []
        page.get_by_text("More settings").click()
        assert violations(page) == []
        assert_fits(page)
        with server.slow_workers(1.0):
            generate(page, "a boat", 2)
            page.get_by_text("Step 1 of 4").first.wait_for()
            assert violations(page) == []
            expect(page.locator(".tile-done")).to_have_count(2)
        assert violations(page) == []
        assert_fits(page)
        page.goto("/gallery")
        page.locator(".cell img").first.wait_for()
        assert violations(page) == []
        page.get_by_role("button", name="Select", exact=True).click()
        for cell in (0, 1):
            page.locator(".cell-open").nth(cell).click()
        assert violations(page) == []
        page.get_by_role("button", name="Compare").click()
        assert violations(page) == []
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Select none").click()
        page.locator(".cell-open").first.click()
        page.locator(".detail-prompt").wait_for()
        assert violations(page) == []
        page.get_by_role("button", name="Show the code").click()
        assert violations(page) == []
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Account menu").click()
        assert violations(page) == []
        page.keyboard.press("Escape")
        page.keyboard.press("Control+k")
        assert violations(page) == []
        page.keyboard.press("Escape")
        page.goto("/gallery?text=zeppelin")
        page.get_by_role("heading", name="Nothing fits").wait_for()
        assert violations(page) == []
        assert_fits(page)


def assert_fits(page: Page) -> None:
    """Check that nothing makes the page wider than the window."""
    wide, window_width = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= window_width


def test_a_picture_is_made_with_the_keyboard_alone(visit: Visit) -> None:
    with visit() as page:
        page.keyboard.press("/")
        expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
        page.keyboard.type("a boat")
        reached = set()
        for _ in range(24):
            page.keyboard.press("Tab")
            reached.add(page.evaluate(FOCUSED))
        assert {"ratio", "count", "Another seed", "Keep this seed", "SUMMARY"} <= reached
        assert "BUTTON" in reached  # Generate: named by its text
        page.keyboard.press("Control+Enter")
        expect(page.locator(".tile-done")).to_have_count(1)


def test_the_gallery_is_walked_with_the_keyboard_alone(visit: Visit) -> None:
    with visit() as page:
        generate(page, "a boat", 3)
        expect(page.locator(".tile-done")).to_have_count(3)
        page.evaluate("() => document.activeElement.blur()")
        page.keyboard.press("g")
        page.keyboard.press("g")
        page.locator(".cell").nth(2).wait_for()
        page.locator(".cell-open").first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("f")
        expect(page.locator(".cell").nth(1).locator(".cell-star")).to_have_attribute("aria-pressed", "true")
        page.keyboard.press("Enter")
        page.locator(".detail-prompt").wait_for()
        address = page.url
        page.keyboard.press("ArrowRight")
        expect(page).not_to_have_url(address)
        page.keyboard.press("Escape")
        expect(page.locator(".detail")).to_have_count(0)
        expect(page.locator(".cell-open").nth(1)).to_be_focused()


def test_commands_are_found_by_typing(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        processor = page.context.new_cdp_session(page)
        processor.send("Emulation.setCPUThrottlingRate", {"rate": 20})  # so that the typing is quicker than the page
        page.keyboard.press("Control+k")
        page.keyboard.type("gallery")
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{server.url}/gallery")
        processor.send("Emulation.setCPUThrottlingRate", {"rate": 1})
        page.keyboard.press("?")
        expect(page.get_by_role("heading", name="Keyboard shortcuts")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("heading", name="Keyboard shortcuts")).to_be_hidden()
        page.keyboard.press("Control+k")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.type("red boats")
        expect(page.get_by_role("dialog")).to_contain_text("red boats")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(r"/gallery\?text=red(\+|%20)boats"))


def test_on_a_phone_the_result_comes_into_sight(visit: Visit) -> None:
    with visit(viewport=PHONE, has_touch=True, is_mobile=True) as page:
        generate(page, "a boat")
        expect(page.locator(".tile-done")).to_have_count(1)
        expect(page.locator(".tile-done img")).to_be_in_viewport(ratio=0.5)
        expect(page.get_by_role("button", name="Use as input")).to_be_visible()
        page.get_by_role("link", name="Gallery", exact=True).tap()
        expect(page.locator(".cell")).to_have_count(1)
        page.locator(".cell-open").tap()
        expect(page.locator(".detail-prompt")).to_have_text("a boat")


def test_less_motion_is_respected(visit: Visit) -> None:
    with visit(reduced_motion="reduce") as page:
        expect(page.locator(".generate")).to_have_css("transition-duration", re.compile(r"^(1e-05s|0\.00001s)"))


def test_the_server_being_away_is_said(visit: Visit) -> None:
    with visit() as page:
        page.get_by_label("Prompt", exact=True).fill("a boat")
        page.route(
            "**/api/jobs",
            lambda route: route.fulfill(
                status=503, json={"name": "service_unavailable", "errors": ["The server is busy."]}
            ),
        )
        page.get_by_role("button", name=re.compile("^Generate")).click()
        expect(page.get_by_role("alert")).to_contain_text("The server is busy.")
