"""A stranger's first hour, in one walk: sign up, a picture, a key used with curl, a ComfyUI picture dropped."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from support.browser import PASSWORD, last_link
from support.browsers import window
from support.server import LiveServer

from .test_access import PHONE, WIDE, assert_fits
from .test_canvas import drop
from .test_gallery import COMFY, saved, texts
from .test_playground import generate

CURL = shutil.which("curl")


@pytest.mark.skipif(CURL is None, reason="curl is not installed here")
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_from_nothing_to_pictures_by_three_ways(
    start_server: Callable[..., LiveServer], real_browser: Browser, tmp_path: Path, size: dict[str, int]
) -> None:
    server = start_server(open_registration=True)
    with window(real_browser, server.url, viewport=size) as (page, _):
        page.goto("/sign-in")
        page.get_by_role("link", name="Create an account").click()
        page.get_by_label("Your name").fill("Ada")
        page.get_by_label("Email address").fill("ada@example.org")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Create account").click()
        expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()
        page.goto(f"/verify#token={last_link(server)}")
        expect(page.get_by_text("Your address is confirmed.")).to_be_visible()
        page.get_by_label("Email address").fill("ada@example.org")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()

        generate(page, "a boat")
        expect(page.locator(".tile-done")).to_have_count(1)
        assert_fits(page)

        page.goto("/help")
        page.get_by_role("button", name="Make a key for this").click()
        expect(page.get_by_text("The key is called")).to_be_visible()
        command = page.locator("#example code").last.inner_text()
        done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr
        with Image.open(tmp_path / "picture.png") as picture:
            assert picture.size == (1024, 1024)
        page.goto("/gallery")
        expect(page.locator(".cell")).to_have_count(2)

        content = saved("PNG", pnginfo=texts(prompt=json.dumps(COMFY)))
        drop(page, {"name": "comfy.png", "mimeType": "image/png", "buffer": content}, "drop")
        dialog = page.get_by_role("dialog", name="Recipe of a picture")
        expect(dialog.get_by_text("Made with ComfyUI.")).to_be_visible()
        page.get_by_role("button", name="Use these settings").click()
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("a glass whale")
        expect(page.get_by_label("Seed", exact=True)).to_have_value("99")
        assert_fits(page)
