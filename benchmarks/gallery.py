"""Measures the gallery with very many pictures in a real Chromium: how soon it opens, and whether scrolling stays full.

    python benchmarks/gallery.py --pictures 100000 --screens 200

A tile is blank if it is in sight and its picture has not come. The server runs here, with scripted workers, and writes
its log to a file as a real one does; the rows are synthetic and share a few files, so that the list, the page and the
thumbnails are measured and not the disk. "Cold" is a window that has seen nothing of the studio but its sign-in, or,
with no cache at all, nothing: a browser's first visit ever.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Page, ViewportSize
from sqlalchemy import Connection, insert

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from keelbill.core.ids import new_id
from keelbill.gallery.models import picture
from keelbill.identity import repository
from keelbill.imaging.thumbnails import thumbnail
from keelbill.telemetry import logs
from support.browser import PASSWORD, add_person
from support.browsers import chromium
from support.server import LiveServer

EMAIL: Final = "ada@example.org"
FILES: Final = 200
BATCH: Final = 5000
IN_SIGHT: Final = """() => {
  const cells = [...document.querySelectorAll(".cell")].filter((cell) => {
    const box = cell.getBoundingClientRect();
    return box.bottom > 150 && box.top < innerHeight;
  });
  const blank = cells.filter((cell) => !(cell.querySelector("img").complete && cell.querySelector("img").naturalWidth));
  return [cells.length, blank.length];
}"""
SCROLL: Final = "() => new Promise((done) => { scrollBy(0, innerHeight - 120); requestAnimationFrame(() => done()); })"


def fill(server: LiveServer, org_id: str, user_id: str, pictures: int) -> None:
    """Write synthetic rows that share a few files."""
    refs, thumbs = [], []
    for number in range(FILES):
        file = BytesIO()
        Image.new("RGB", (64, 64), (number, 255 - number, 40 + number % 128)).save(file, "PNG")
        refs.append(server.platform.blobs.put(file.getvalue()))
        thumbs.append(server.platform.blobs.put(thumbnail(file.getvalue())))  # as workers make them with a picture
    now_ms = server.platform.clock.now_ms()

    def row(number: int) -> dict[str, Any]:
        return {
            "id": new_id(),
            "org_id": org_id,
            "user_id": user_id,
            "job_id": new_id(),
            "blob_ref": refs[number % FILES],
            "thumb_ref": thumbs[number % FILES],
            "media_type": "image/png",
            "size_bytes": 300,
            "width": 1024 if number % 3 else 768,
            "height": 1024,
            "prompt": f"picture {number} of a lighthouse",
            "negative": "",
            "model": ("keelbill-mini", "sd3.5-medium")[number % 2],
            "requested_model": "sd3.5-large",
            "seed": str(number),
            "kind": "generate",
            "service": "sd3.5-large",
            "recipe": "{}",
            "filtered": False,
            "price_micro": 0,
            "favourite": number % 10 == 0,
            "created_ms": now_ms - (pictures - number) * 1000,
            "deleted_ms": 0,
            "key_id": "",
        }

    def write(connection: Connection) -> None:
        for first in range(0, pictures, BATCH):
            connection.execute(insert(picture), [row(n) for n in range(first, min(first + BATCH, pictures))])

    server.write(write)


def opened_ms(page: Page) -> float:
    """Open the gallery and return how long it takes until every tile in sight has its picture."""
    begun = time.perf_counter()
    page.goto("/gallery", wait_until="commit")
    page.wait_for_function(f"() => {{ const [seen, blank] = ({IN_SIGHT})(); return seen > 0 && blank === 0; }}")
    return (time.perf_counter() - begun) * 1000


def measure(server: LiveServer, screens: int, pause_ms: int) -> None:
    """Open the gallery, scroll, and print what was seen."""
    with chromium() as browser:
        size: ViewportSize = {"width": 1280, "height": 800}
        context = browser.new_context(base_url=server.url, viewport=size)
        page = context.new_page()
        page.goto("/sign-in")
        page.locator("input[type=email]").fill(EMAIL)
        page.locator("input[autocomplete=current-password]").fill(PASSWORD)
        page.locator("button[type=submit]").click()
        page.locator(".avatar").wait_for()
        signed_in = context.storage_state()
        print(f"open, cold: {opened_ms(page):.0f} ms until every tile in sight has its picture")
        print(f"open, warm: {statistics.median(opened_ms(page) for _ in range(5)):.0f} ms, median of 5")
        never = []
        for _ in range(5):
            fresh = browser.new_context(base_url=server.url, viewport=size, storage_state=signed_in)
            window = fresh.new_page()
            window.goto("about:blank")
            never.append(opened_ms(window))
            fresh.close()
        print(f"open, no cache at all: {statistics.median(never):.0f} ms, median of 5, at most {max(never):.0f} ms")
        tiles = blanks = worst = 0
        for _ in range(screens):
            page.evaluate(SCROLL)
            page.wait_for_timeout(pause_ms)
            seen, blank = page.evaluate(IN_SIGHT)
            tiles, blanks, worst = tiles + seen, blanks + blank, max(worst, blank)
        print(
            f"scroll: {screens} screens, one each {pause_ms} ms: "
            f"{tiles} tiles seen, {blanks} blank, at most {worst} at once"
        )
        print(f"elements in the page: {page.evaluate('() => document.querySelectorAll(`.cell`).length')} tiles")
        context.close()


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--screens", type=int, default=100)
    parser.add_argument("--pause-ms", type=int, default=200, help="Between two screens.")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, (Path(home) / "log.jsonl").open("w") as log:
        logs.configure("json", stream=log)
        server = LiveServer(Path(home))
        server.start()
        user_id = add_person(server, EMAIL, name="Ada")
        org_id = server.write(lambda c: repository.personal_org(c, user_id))
        begun = time.perf_counter()
        fill(server, org_id, user_id, chosen.pictures)
        print(f"{chosen.pictures} rows in {time.perf_counter() - begun:.1f} s")
        measure(server, chosen.screens, chosen.pause_ms)
        server.stop()


if __name__ == "__main__":
    main()
