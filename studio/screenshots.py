"""Takes the pictures of the studio that the documentation shows, from a real server with the embedded model.

    python studio/screenshots.py [NAME …]

Needs Chromium. The server has a data folder of its own, which is thrown away; the window's size, prompts and seeds
are fixed, so a new run shows what has changed in the pages and in the model.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from PIL import Image
from playwright.sync_api import BrowserContext, Page, sync_playwright

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "docs/how-to/images"
CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
WIDE: Final = {"width": 1360, "height": 850}
PHONE: Final = {"width": 390, "height": 844}
PASSWORD: Final = "seven lighthouses at dusk"  # noqa: S105  of an account that lives as long as this script
SHOWN: Final = (
    ("a lion in a meadow", 3),
    ("a strawberry on a light blue background", 7),
    ("a castle at sunset", 2),
    ("a red car", 1),
    ("a penguin on a light blue background", 4),
    ("a hamburger", 5),
    ("a sailboat by the sea", 6),
    ("a golden trophy", 8),
    ("a sunflower in a meadow", 9),
    ("a purple dog", 10),
    ("a house made of candy", 11),
    ("a rocket at night", 12),
)
"""Prompts and seeds of the gallery."""


@dataclass(frozen=True)
class Started:
    """A server: its address, a key of its first account, and the link that claims it."""

    url: str
    key: str
    link: str


@contextmanager
def server() -> Iterator[Started]:
    """Start a platform in a folder of its own; it ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with tempfile.TemporaryDirectory() as home:
        settings = {"KEELBILL_HOME": home, "KEELBILL_FREE_CREDITS": "500"}
        command = [sys.executable, "-c", "from keelbill.cli.main import main; main()", "serve", "--port", port]
        with subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True) as process:
            try:
                told = ""
                while "/set-up#token=" not in told:
                    line = process.stdout.readline() if process.stdout else ""
                    if not line:
                        raise RuntimeError("the server ended before it was ready")
                    told += line
                key = re.search(r"sk-\w+", told)
                link = re.search(r"http\S+/set-up#token=\S+", told)
                if not key or not link:
                    raise RuntimeError("the server told no key or no link")
                threading.Thread(target=process.stdout.read if process.stdout else None, daemon=True).start()
                yield Started(f"http://127.0.0.1:{port}", key[0], link[0])
            finally:
                process.terminate()


def fill_gallery(started: Started) -> None:
    """Make the pictures of the gallery through the API."""
    with httpx.Client(base_url=started.url, headers={"authorization": started.key}, timeout=120) as client:
        for prompt, seed in SHOWN:
            fields = {"prompt": (None, prompt), "seed": (None, str(seed)), "model": (None, "sd3.5-large-turbo")}
            answer = client.post("/v2beta/stable-image/generate/sd3", headers={"accept": "image/*"}, files=fields)
            answer.raise_for_status()


def claim(context: BrowserContext, started: Started) -> None:
    """Walk through the first start as its owner."""
    page = context.new_page()
    page.goto(started.link)
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Email address").fill("ada@example.org")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.locator("form button[type=submit]").first.click()
    page.wait_for_url(lambda address: "set-up" not in address)
    page.close()


def playground(page: Page, started: Started) -> None:
    """Four pictures of one prompt."""
    page.goto(started.url)
    page.get_by_label("Prompt", exact=True).fill("a red car made of fruit")
    page.get_by_role("radio", name="4", exact=True).or_(page.get_by_label("4 pictures")).first.click()
    page.get_by_role("button", name=re.compile("^Generate")).click()
    page.locator(".tile-done").nth(3).wait_for(timeout=120_000)
    page.wait_for_timeout(800)


def gallery(page: Page, started: Started) -> None:
    """All pictures of the account."""
    page.goto(f"{started.url}/gallery")
    page.locator(".cell").nth(5).wait_for()
    page.wait_for_timeout(1500)


def packs(page: Page, started: Started) -> None:
    """A workflow with classes that no pack has, on the page of node packs."""
    page.goto(f"{started.url}/nodes")
    page.get_by_role("cell", name="Not installed").wait_for()
    workflow = {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd3.5_large.safetensors"}},
        "10": {"class_type": "Example Vignette", "inputs": {"image": ["8", 0]}},
        "11": {"class_type": "Fancy Detailer", "inputs": {"image": ["10", 0]}},
    }
    dropped = page.evaluate_handle(
        """(text) => {
            const dropped = new DataTransfer();
            dropped.items.add(new File([text], "portrait.json", { type: "application/json" }));
            return dropped;
        }""",
        json.dumps(workflow),
    )
    page.locator("main").first.dispatch_event("drop", {"dataTransfer": dropped})
    page.locator("[data-pack]").first.wait_for()
    page.wait_for_timeout(500)


SHOTS: Final[dict[str, tuple[Callable[[Page, Started], None], str, dict[str, int]]]] = {
    "studio-playground": (playground, "dark", WIDE),
    "studio-gallery": (gallery, "light", WIDE),
    "studio-gallery-phone": (gallery, "dark", PHONE),
    "studio-packs": (packs, "light", WIDE),
}
"""What each picture shows, in which theme and in how large a window."""


def save(shot: bytes, name: str) -> None:
    """Write a picture as WebP."""
    with Image.open(io.BytesIO(shot)) as picture:
        picture.save(FOLDER / f"{name}.webp", quality=84, method=6)


def main(names: list[str]) -> None:
    """Take the pictures that are named, or all."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    with server() as started, sync_playwright() as playwright:
        fill_gallery(started)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        kept = browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
        claim(kept, started)
        state = kept.storage_state()
        for name in names or SHOTS:
            show, theme, size = SHOTS[name]
            context = browser.new_context(viewport=size, storage_state=state, color_scheme=theme)  # type: ignore[arg-type]
            page = context.new_page()
            show(page, started)
            save(page.screenshot(), name)
            context.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
