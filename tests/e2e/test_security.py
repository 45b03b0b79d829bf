"""Attacks as a browser meets them: planted sessions, forms on other sites, and words that would like to be markup."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from PIL import Image, PngImagePlugin
from playwright.sync_api import Browser, Page, expect

from support.browser import add_person
from support.browsers import window
from support.server import LiveServer

from .conftest import Visit, sign_in
from .test_gallery import read
from .test_playground import generate

ELSEWHERE = "http://evil.example"
MARKUP = (
    '<img src=x onerror="window.taken=1">',
    '"><svg onload=window.taken=1>',
    "<script>window.taken=1</script>",
    "'-window.taken=1-'",
    "{{constructor.constructor('window.taken=1')()}}",
)
HOSTILE = "".join(MARKUP)
LINK = "javascript:window.taken=1"
PAGES = ("/", "/canvas", "/gallery", "/account", "/team", "/keys", "/billing", "/usage", "/webhooks", "/help")

SEND = """async ([method, path, body]) => {
  const session = await (await fetch("/api/session")).json();
  const headers = { "x-csrf-token": session.csrf_token, "content-type": "application/json" };
  const answer = await fetch(path, { method, headers, body: JSON.stringify(body) });
  return [answer.status, await answer.text()];
}"""


def send(page: Page, method: str, path: str, body: object) -> Any:
    """Send a request as the page's own scripts do, and return the answer."""
    status, text = page.evaluate(SEND, [method, path, body])
    assert status < 300, f"{path}: {status} {text}"
    return json.loads(text) if text else None


def assert_only_words(page: Page) -> None:
    """Check that nothing people wrote has become part of the page."""
    assert page.evaluate("() => window.taken") is None
    risky = "[onerror], [onload], [href^='javascript:' i], img[src='x'], main script, main svg svg"
    assert page.locator(risky).count() == 0


@contextmanager
def another_site(page: Page, content: str) -> Iterator[Page]:
    """Open a page of another site in the same browser."""
    page.context.route(f"{ELSEWHERE}/**", lambda route: route.fulfill(body=content, content_type="text/html"))
    other = page.context.new_page()
    other.goto(f"{ELSEWHERE}/")
    yield other
    other.close()


class TestPlantedSessions:
    def test_a_cookie_from_before_is_worth_nothing_after_signing_in(
        self, server: LiveServer, real_browser: Browser
    ) -> None:
        server.platform.strangers.limit = 1_000_000
        add_person(server, "victim@example.org", name="Vera")
        planted = {"name": "session", "value": "a" * 43, "url": server.url}
        with window(real_browser, server.url) as (victim, _):
            victim.context.add_cookies([planted])  # type: ignore[list-item]  # a plain dict is what it takes
            sign_in(victim, "victim@example.org")
            cookies = {cookie["name"]: cookie["value"] for cookie in victim.context.cookies()}
            assert cookies["session"] != planted["value"]
            with window(real_browser, server.url) as (attacker, _):
                attacker.context.add_cookies([planted])  # type: ignore[list-item]
                attacker.goto("/gallery")
                expect(attacker.get_by_role("heading", name="Welcome back")).to_be_visible()

    def test_a_session_ends_on_the_server_when_its_owner_leaves(self, visit: Visit, server: LiveServer) -> None:
        with visit() as page:
            kept = page.context.cookies()
            page.get_by_role("button", name="Account menu of Ada").click()
            page.get_by_role("button", name="Sign out").click()
            expect(page).to_have_url(f"{server.url}/sign-in")
            page.context.add_cookies(kept)  # type: ignore[arg-type]
            page.goto("/gallery")
            expect(page.get_by_role("heading", name="Welcome back")).to_be_visible()


class TestFormsOnOtherSites:
    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
    @pytest.mark.parametrize("path", ["/api/jobs", "/api/keys", "/api/sign-out/everywhere", "/api/gallery/deletions"])
    def test_a_form_that_sends_itself(
        self, server: LiveServer, real_browser: Browser, visit: Visit, path: str, kind: str
    ) -> None:
        with visit() as page:
            cookies = page.context.cookies()
        context = real_browser.new_context(base_url=server.url)
        context.add_cookies(cookies)  # type: ignore[arg-type]
        page = context.new_page()
        content = (
            f'<form method="post" action="{server.url}{path}" enctype="{kind}">'
            """<input name='{"name":"taken","prompt":"taken","a":"' value='"}'></form>"""
        )
        with another_site(page, content) as other:
            with other.expect_navigation(url=f"{server.url}/**") as moved:
                other.evaluate("() => document.forms[0].submit()")
            assert moved.value is not None
            assert moved.value.status in (400, 401, 403, 415)
        page.goto("/keys")
        page.get_by_role("button", name="Account menu").wait_for()  # the session has not ended
        expect(page.get_by_text("taken")).to_have_count(0)
        context.close()

    def test_scripts_of_other_sites_neither_write_nor_read(self, server: LiveServer, visit: Visit) -> None:
        asks = """async (server) => {
          const tried = [];
          for (const path of ["/api/session", "/api/me", "/api/gallery", "/api/keys"]) {
            tried.push(await fetch(server + path, { credentials: "include" }).then((a) => a.text(), () => "refused"));
          }
          const json = { "content-type": "application/json" };
          const post = { method: "POST", credentials: "include", headers: json, body: '{"name":"taken"}' };
          tried.push(await fetch(server + "/api/keys", post).then((a) => a.text(), () => "refused"));
          return tried;
        }"""
        context = visit()
        with context as page:
            cookies = page.context.cookies()
        browser = page.context.browser
        assert browser is not None
        fresh = browser.new_context(base_url=server.url)
        fresh.add_cookies(cookies)  # type: ignore[arg-type]
        with another_site(fresh.new_page(), "<p>hello</p>") as other:
            assert other.evaluate(asks, server.url) == ["refused"] * 5
        fresh.close()

    def test_no_page_can_be_put_into_a_frame(self, server: LiveServer, visit: Visit, real_browser: Browser) -> None:
        fresh = real_browser.new_context(base_url=server.url)
        with another_site(fresh.new_page(), f'<iframe src="{server.url}/sign-in"></iframe>') as other:
            frame = other.frames[1]
            expect(frame.locator("input[type=password]")).to_have_count(0)
            assert frame.url.startswith("chrome-error:")
        fresh.close()

    def test_links_change_nothing(self, visit: Visit, server: LiveServer) -> None:
        with visit() as page:
            for path in (
                "/api/sign-out",
                "/api/sign-out/everywhere",
                "/api/gallery/deletions",
                "/api/credits/checkout",
            ):
                answer = page.request.get(server.url + path)
                assert answer.status in (404, 405), path
            page.goto("/keys")
            page.get_by_role("button", name="Account menu of Ada").wait_for()


class TestWordsStayWords:
    def test_names_of_everything_on_every_page(self, visit: Visit) -> None:
        with visit() as page:
            generate(page, HOSTILE)
            expect(page.locator(".tile-done")).to_have_count(1)
            expect(page.locator(".run-prompt")).to_have_text(HOSTILE)
            picture = page.evaluate("async () => (await (await fetch('/api/gallery')).json()).pictures[0].id")
            send(page, "POST", "/api/keys", {"name": HOSTILE[:80]})
            board = send(page, "POST", "/api/gallery/albums", {"name": HOSTILE})
            send(page, "POST", f"/api/gallery/albums/{board['id']}/pictures", {"picture_ids": [picture]})
            tags = [mark[:64] for mark in MARKUP if "," not in mark]
            send(page, "PATCH", f"/api/gallery/{picture}", {"tags": tags})
            send(page, "PATCH", "/api/me", {"name": HOSTILE[:80]})
            team = send(page, "POST", "/api/orgs", {"name": HOSTILE[:80]})
            assert_only_words(page)
            for address in (*PAGES, f"/gallery/{picture}", f"/gallery?text={MARKUP[0]}"):
                page.goto(address)
                page.get_by_role("button", name=re.compile("Account menu")).wait_for()
                page.wait_for_load_state("networkidle")
                assert_only_words(page)
            page.goto(f"/gallery/{picture}")
            expect(page.locator(".detail-prompt")).to_have_text(HOSTILE)
            expect(page.locator(".detail .tag").first).to_contain_text(sorted(tags)[0])
            page.goto("/gallery")
            page.get_by_role("button", name="Boards and filters").click()
            expect(page.locator(".panel-choice", has_text=HOSTILE)).to_be_visible()
            assert_only_words(page)
            send(page, "POST", f"/api/orgs/switch/{team['id']}", {})
            page.goto("/team")
            expect(page.get_by_text(HOSTILE[:80], exact=True).first).to_be_visible()
            assert_only_words(page)

    @pytest.mark.parametrize("name", [f"{MARKUP[0]}.png", f"{MARKUP[1]}.png", "..%2f..%2fetc%2fpasswd.png"])
    def test_a_dropped_file_and_what_is_in_it(self, visit: Visit, name: str) -> None:
        info = PngImagePlugin.PngInfo()
        graph = {"1": {"class_type": HOSTILE, "inputs": {"text": HOSTILE, "ckpt_name": LINK}}}
        info.add_text("prompt", json.dumps(graph))
        info.add_text(
            "parameters", f"{HOSTILE}\nNegative prompt: {HOSTILE}\nSteps: 1, Model: {LINK}, Seed: 3, Size: 8x8"
        )
        file = io.BytesIO()
        Image.new("RGB", (32, 32)).save(file, "PNG", pnginfo=info)
        with visit() as page:
            read(page, name, file.getvalue())
            dialog = page.get_by_role("dialog", name="Recipe of a picture")
            expect(dialog.get_by_text(HOSTILE, exact=True).first).to_be_visible()
            assert_only_words(page)

    def test_an_uploaded_file_is_never_shown_as_a_page(self, visit: Visit) -> None:
        with visit() as page:
            generate(page, "a boat")
            expect(page.locator(".tile-done")).to_have_count(1)
            picture = page.evaluate("async () => (await (await fetch('/api/gallery')).json()).pictures[0].id")
            for kind in ("image", "thumbnail"):
                answer = page.request.get(f"/api/gallery/{picture}/{kind}")
                assert answer.headers["content-type"].startswith("image/")
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert "script-src 'self'" in answer.headers["content-security-policy"]

    def test_a_script_that_gets_in_would_not_run(self, server: LiveServer, real_browser: Browser) -> None:
        context = real_browser.new_context(base_url=server.url)
        page = context.new_page()
        page.goto("/sign-in")
        refused = page.evaluate(
            """() => new Promise((done) => {
              const refused = new Set();
              document.addEventListener("securitypolicyviolation", (event) => {
                refused.add(event.effectiveDirective);
                if (refused.size === 2) done([...refused].sort());
              });
              const picture = document.createElement("img");
              picture.setAttribute("onerror", "window.taken=1");
              picture.src = "data:,";
              const script = document.createElement("script");
              script.textContent = "window.taken=1";
              document.body.append(picture, script);
            })"""
        )
        assert refused == ["script-src-attr", "script-src-elem"]
        assert page.evaluate("() => window.taken") is None
        context.close()
