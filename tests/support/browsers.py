"""A real browser for tests: finds Chromium, or installs it; notes everything a page should not do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    expect,
    sync_playwright,
)

PATIENCE_MS = 60_000
"""What a page is given to do a thing: long, since the machine of a test run may be busy."""

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium(playwright: Playwright) -> str:
    """Return the path of a Chromium: of this system, of Playwright, or one that is installed now.

    Raises:
        RuntimeError: There is none and none can be installed; browser tests do not pass without a browser.
    """
    for install in (_install_nothing, _install_playwrights, _install_debians):
        install()
        if found := _on_path() or _of_playwright(playwright):
            return found
    raise RuntimeError("there is no Chromium; install the package chromium, or run `playwright install chromium`")


def _on_path() -> str:
    return next((path for name in NAMES if (path := shutil.which(name))), "")


def _of_playwright(playwright: Playwright) -> str:
    path = playwright.chromium.executable_path
    return path if os.path.exists(path) else ""  # noqa: PTH110  a plain string from Playwright


def _install_nothing() -> None:
    """Look first at what is there."""


def _install_playwrights() -> None:
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    subprocess.run(command, check=False, timeout=300, capture_output=True)


def _install_debians() -> None:
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update"], check=False, timeout=300, capture_output=True)
        command = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]
        subprocess.run(command, check=False, timeout=600, capture_output=True)


@dataclass
class Watch:
    """What pages did that they should not.

    Attributes:
        errors: Exceptions and messages of the console's level "error".
        foreign: Addresses elsewhere that were asked for; what the page's policy held back never left.
    """

    host: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        """Take note of what a page does from now on."""
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._heard)
        page.on("request", lambda request: self._asked(request.url))
        page.on("requestfailed", self._stopped)

    def _heard(self, message: ConsoleMessage) -> None:
        expected = (
            "400 (Bad Request)",
            "401 (Unauthorized)",
            "402 (Payment Required)",
            "403 (Forbidden)",
            "404 (Not Found)",
            "503 (Service Unavailable)",
        )
        if message.type == "error" and not any(part in message.text for part in expected):
            self.errors.append(message.text)

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self.host:
            self.foreign.append(url)

    def _stopped(self, request: Request) -> None:
        """Take back what the browser refused to send because of the page's policy."""
        if request.failure == "csp" and request.url in self.foreign:
            self.foreign.remove(request.url)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser without a window."""
    with sync_playwright() as playwright:
        # A container's root user has no namespaces for the browser's own sandbox; the pages are ours.
        browser = playwright.chromium.launch(
            executable_path=find_chromium(playwright), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture(scope="session")
def real_browser() -> Iterator[Browser]:
    """One browser for all tests; each test opens its own windows."""
    with chromium() as browser:
        yield browser


@contextmanager
def window(browser: Browser, url: str, *, complains_of: str = "", **options: Any) -> Iterator[tuple[Page, Watch]]:
    """Open a window with no history at a server, and check at the end that its pages behaved.

    Args:
        browser: The browser.
        url: Of the server.
        complains_of: Pattern of the errors that belong to what is tested.
        options: Of the window, in Playwright's words.
    """
    given: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", "base_url": url} | options
    context: BrowserContext = browser.new_context(**given)
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    watch = Watch(urlsplit(url).netloc)
    context.on("page", watch.follow)
    try:
        page = context.new_page()
        yield page, watch
        unexpected = [text for text in watch.errors if not (complains_of and re.search(complains_of, text))]
        assert not unexpected, unexpected
        assert not watch.foreign, watch.foreign
    finally:
        context.close()
