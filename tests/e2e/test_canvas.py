"""The canvas as people use it: a picture comes, a part is painted over, a margin dragged out, a job made of it."""

from __future__ import annotations

import json
import re
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect

from keelbill.serving.messages import ImageTask
from support.server import LiveServer

from .conftest import Visit
from .test_access import PHONE, WIDE, assert_fits, violations
from .test_playground import generate

WIDTH, HEIGHT = 640, 480


def a_file(width: int = WIDTH, height: int = HEIGHT, kind: str = "PNG", name: str = "sea.png") -> FilePayload:
    shades = np.linspace(40, 200, width, dtype=np.uint8)
    rising, falling = np.tile(shades, (height, 1)), np.tile(shades[::-1], (height, 1))
    pixels = np.stack([rising, np.full((height, width), 120, np.uint8), falling], axis=2)
    out = BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return {"name": name, "mimeType": f"image/{kind.lower()}", "buffer": out.getvalue()}


def bring(page: Page, file: FilePayload | None = None) -> None:
    """Lay a file on the canvas by the way of the buttons."""
    if "/canvas" not in page.url:
        page.get_by_role("link", name="Canvas").click()
    page.get_by_role("button", name=re.compile("^(Choose a picture|Another picture)$")).click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a file").click()
    chooser.value.set_files(file or a_file())
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".canvas-scale")).not_to_have_text("100 %")
    page.locator(".canvas-stage canvas").first.wait_for()


def tool(page: Page, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).check(force=True)


def drag(page: Page, *places: tuple[float, float]) -> None:
    """Drag over the board; places are fractions of its width and height."""
    box = page.locator(".canvas-stage").bounding_box()
    assert box is not None
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()


def amount_of_tint(page: Page) -> int:
    """Return how many pixels of the board show the mask, once the board has drawn what it was told."""
    found = page.evaluate(
        """async () => {
          const count = () => {
            const shown = document.querySelector(".canvas-stage canvas");
            const { data } = shown.getContext("2d").getImageData(0, 0, shown.width, shown.height);
            let found = 0;
            for (let at = 0; at < data.length; at += 4) found += data[at] - data[at + 1] > 90;
            return found;
          };
          const frame = () => new Promise((go) => requestAnimationFrame(() => setTimeout(go, 40)));
          let [last, same] = [-1, 0];
          for (let look = 0; look < 100 && same < 4; look += 1) {
            await frame();
            const now = count();
            same = now === last ? same + 1 : 0;
            last = now;
          }
          return last;
        }"""
    )
    return int(found)


def press_generate(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Generate")).click()


def task_of(server: LiveServer, page: Page) -> ImageTask:
    """Return what the newest job of the person in the window is asked to do."""
    found: dict[str, Any] = page.evaluate("() => fetch('/api/jobs?limit=1').then((answer) => answer.json())")
    job = server.run(server.platform.book.find(found["jobs"][0]["id"]))
    assert job is not None
    return job.image_task()


def pixels_of(server: LiveServer, ref: str) -> NDArray[np.uint8]:
    with Image.open(BytesIO(server.platform.blobs.read(ref))) as picture:
        return np.asarray(picture.convert("L"))


def test_a_painted_part_becomes_a_mask(visit: Visit, server: LiveServer) -> None:
    with visit(credits="20") as page:
        bring(page)
        expect(page.get_by_text("The whole picture is painted anew")).to_be_visible()
        drag(page, (0.4, 0.5), (0.6, 0.5))
        expect(page.get_by_text("Only the painted part changes")).to_be_visible()
        expect(page.get_by_role("button", name=re.compile("Generate.*5 credits"))).to_be_visible()
        page.get_by_label("What should be there").fill("a small boat")
        press_generate(page)
        expect(page.locator(".canvas-results .tile-done")).to_have_count(1)
        expect(page.get_by_text("A part repainted")).to_be_visible()
        expect(page.locator(".credits")).to_contain_text("15 credits")
        task = task_of(server, page)
        assert (task.kind, task.prompt, task.width, task.height) == ("inpaint", "a small boat", WIDTH, HEIGHT)
        mask = pixels_of(server, task.mask)
        assert mask.shape == (HEIGHT, WIDTH)
        assert mask[HEIGHT // 2, WIDTH // 2] == 255
        assert mask[10, 10] == 0
        assert ((mask > 20) & (mask < 235)).sum() > 100, "its edge is soft"


def test_a_hard_edge_when_it_is_not_to_be_soft(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        bring(page)
        page.get_by_label("Soft edge").fill("0")
        drag(page, (0.4, 0.5), (0.6, 0.5))
        page.get_by_label("What should be there").fill("a boat")
        press_generate(page)
        expect(page.locator(".tile-done")).to_have_count(1)
        mask = pixels_of(server, task_of(server, page).mask)
        assert ((mask > 20) & (mask < 235)).mean() < 0.01


def test_every_tool_changes_what_is_painted(visit: Visit) -> None:
    with visit() as page:
        bring(page)
        assert amount_of_tint(page) == 0
        drag(page, (0.35, 0.5), (0.65, 0.5))
        brushed = amount_of_tint(page)
        assert brushed > 0
        tool(page, "Eraser")
        drag(page, (0.5, 0.4), (0.5, 0.6))
        erased = amount_of_tint(page)
        assert 0 < erased < brushed
        tool(page, "Lasso")
        drag(page, (0.4, 0.35), (0.6, 0.35), (0.6, 0.65), (0.4, 0.65))
        assert amount_of_tint(page) > erased
        page.get_by_role("button", name="Undo").click()
        assert amount_of_tint(page) == erased
        page.get_by_role("button", name="Undo").click()
        assert amount_of_tint(page) == brushed
        page.get_by_role("button", name="Redo").click()
        assert amount_of_tint(page) == erased
        page.get_by_role("button", name="Invert the mask").click()
        assert amount_of_tint(page) > 2 * brushed
        page.get_by_role("button", name="Clear mask and margins").click()
        assert amount_of_tint(page) == 0
        page.keyboard.press("Control+z")
        assert amount_of_tint(page) > 2 * brushed


def test_keys_for_tools_and_the_brush(visit: Visit) -> None:
    with visit() as page:
        bring(page)
        size = page.get_by_label("Brush").last
        before = int(size.input_value())
        page.keyboard.press("]")
        assert int(size.input_value()) > before
        page.keyboard.press("[")
        page.keyboard.press("[")
        assert int(size.input_value()) < before
        for key, name in {"e": "Eraser", "l": "Lasso", "f": "Extend the picture", "b": "Brush"}.items():
            page.keyboard.press(key)
            expect(page.get_by_role("radio", name=name, exact=True)).to_be_checked()
        drag(page, (0.4, 0.5), (0.6, 0.5))
        painted = amount_of_tint(page)
        page.get_by_label("What should be there").fill("boats")
        page.keyboard.press("Control+z")
        assert amount_of_tint(page) == painted, "in a field, undo is the field's"


def test_something_is_taken_away(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        bring(page)
        drag(page, (0.4, 0.5), (0.6, 0.5))
        page.get_by_role("radio", name="Take away").check(force=True)
        expect(page.get_by_label("What should be there")).to_have_count(0)
        press_generate(page)
        expect(page.get_by_role("article", name="Taken away")).to_be_visible()
        expect(page.locator(".tile-done")).to_have_count(1)
        assert task_of(server, page).kind == "erase"


def test_a_dragged_frame_adds_a_margin(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        bring(page)
        tool(page, "Extend the picture")
        expect(page.get_by_label("Right", exact=True)).to_have_value("0")
        scale = float(page.locator(".canvas-scale").inner_text().rstrip(" %")) / 100
        box = page.locator(".canvas-stage").bounding_box()
        assert box is not None
        edge = box["x"] + box["width"] / 2 + WIDTH * scale / 2
        middle = box["y"] + box["height"] / 2
        page.mouse.move(edge, middle)
        page.mouse.down()
        page.mouse.move(edge + 60 * scale, middle, steps=5)
        page.mouse.move(edge + 96 * scale, middle, steps=5)
        page.mouse.up()
        added = int(page.get_by_label("Right", exact=True).input_value())
        assert added == pytest.approx(96, abs=16)
        assert added % 8 == 0
        expect(page.get_by_text(f"The picture becomes {WIDTH + added} × {HEIGHT}.")).to_be_visible()
        page.get_by_label("Top", exact=True).fill("64")
        page.get_by_label("Top", exact=True).press("Enter")
        expect(page.get_by_role("button", name=re.compile("Generate.*4 credits"))).to_be_visible()
        press_generate(page)
        expect(page.locator(".tile-done")).to_have_count(1)
        task = task_of(server, page)
        assert (task.kind, task.right, task.up, task.left) == ("outpaint", added, 64, 0)


def test_the_frame_grows_to_a_shape(visit: Visit) -> None:
    with visit() as page:
        bring(page)
        tool(page, "Extend the picture")
        page.get_by_role("button", name="16:9", exact=True).click()
        expect(page.get_by_text("The picture becomes 856 × 480.")).to_be_visible()
        page.get_by_role("button", name="1:1", exact=True).click()
        expect(page.get_by_text("The picture becomes 640 × 640.")).to_be_visible()
        page.keyboard.press("Control+z")
        expect(page.get_by_text("The picture becomes 856 × 480.")).to_be_visible()


def test_a_part_and_a_margin_at_once(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        bring(page)
        drag(page, (0.45, 0.5), (0.55, 0.5))
        tool(page, "Extend the picture")
        page.get_by_label("Left", exact=True).fill("160")
        page.get_by_label("Left", exact=True).press("Enter")
        page.get_by_label("What should be there").fill("a harbour")
        press_generate(page)
        expect(page.locator(".tile-done")).to_have_count(1)
        task = task_of(server, page)
        assert (task.kind, task.width, task.height) == ("inpaint", WIDTH + 160, HEIGHT)
        mask = pixels_of(server, task.mask)
        assert mask.shape == (HEIGHT, WIDTH + 160)
        assert mask[HEIGHT // 2, 40] == 255, "the margin"
        assert mask[HEIGHT // 2, 160 + WIDTH // 2] == 255, "the part"
        assert mask[20, 160 + WIDTH // 2] == 0, "the rest is kept"
        mirrored = pixels_of(server, task.image)
        assert abs(int(mirrored[100, 150]) - int(mirrored[100, 170])) < 12, "the margin goes on from the picture"


def test_the_whole_picture_by_its_strength(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        bring(page)
        page.get_by_label("Change").fill("0.35")
        press_generate(page)
        expect(page.get_by_text("Describe what you would like to see.")).to_be_visible()
        page.get_by_label("What should be there").fill("a stormy sea")
        press_generate(page)
        expect(page.locator(".tile-done")).to_have_count(1)
        task = task_of(server, page)
        assert (task.kind, task.strength) == ("generate", 0.35)
        assert task.width / task.height == pytest.approx(WIDTH / HEIGHT, abs=0.02)


def test_painting_that_was_all_erased_is_noticed(visit: Visit) -> None:
    with visit() as page:
        bring(page)
        drag(page, (0.45, 0.5), (0.55, 0.5))
        tool(page, "Eraser")
        page.get_by_label("Brush").last.fill("400")
        drag(page, (0.4, 0.5), (0.6, 0.5))
        page.get_by_label("What should be there").fill("a boat")
        press_generate(page)
        expect(page.get_by_text("Nothing is painted.")).to_be_visible()
        expect(page.locator(".tile")).to_have_count(0)


def test_with_the_keyboard_alone(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        generate(page, "a boat")
        expect(page.locator(".tile-done")).to_have_count(1)
        page.keyboard.press("Escape")
        page.locator("body").press("g")
        page.keyboard.press("e")
        page.get_by_role("heading", name="Lay a picture on the canvas").wait_for()
        page.get_by_role("button", name="Choose a picture").focus()
        page.keyboard.press("Enter")
        page.get_by_role("dialog").wait_for()
        recent = page.get_by_role("dialog").get_by_role("button", name="a boat", exact=True)
        for _ in range(6):
            page.keyboard.press("Tab")
            if recent.evaluate("(at) => at === document.activeElement"):
                break
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_have_count(0)
        board = page.get_by_role("application", name="Picture to paint on")
        page.wait_for_function("() => document.querySelector('.canvas-scale')?.textContent !== '100 %'")  # it is laid
        amount_of_tint(page)  # and drawn
        board.focus()
        page.keyboard.press("Space")
        expect(page.get_by_text("Drawing from 512, 512")).to_have_count(1)
        for _ in range(4):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("Space")
        expect(page.get_by_text("Only the painted part changes")).to_be_visible()
        page.keyboard.press("Space")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Escape")  # which drops the stroke
        page.keyboard.press("/")
        page.keyboard.type("a red sail")
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role("article", name="a red sail")).to_be_visible()
        expect(page.get_by_role("article", name="a red sail").locator(".tile-done")).to_have_count(1)
        mask = pixels_of(server, task_of(server, page).mask)
        assert mask[512, 520] == 255
        assert mask[512, 200] == 0
        assert mask[600, 512] == 0


def drop(page: Page, file: FilePayload, kind: str) -> None:
    """Drop or paste a file on the page, as far as a page can tell."""
    page.evaluate(
        """async ({ bytes, name, type, kind }) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], name, { type }));
          const event = kind === "paste"
            ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })
            : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
          document.body.dispatchEvent(event);
        }""",
        {"bytes": list(file["buffer"]), "name": file["name"], "type": file["mimeType"], "kind": kind},
    )


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(visit: Visit, kind: str) -> None:
    with visit() as page:
        page.get_by_role("link", name="Canvas").click()
        page.get_by_role("heading", name="Lay a picture on the canvas").wait_for()
        drop(page, a_file(320, 200), kind)
        expect(page.locator(".canvas-stage canvas").first).to_be_visible()
        tool(page, "Extend the picture")
        page.get_by_role("button", name="1:1", exact=True).click()
        expect(page.get_by_text("The picture becomes 320 × 320.")).to_be_visible()


def test_a_large_photo_is_made_to_fit_before_it_is_sent(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        bring(page, a_file(5000, 3000, "JPEG", "photo.jpg"))
        stored = page.evaluate("() => JSON.parse(sessionStorage.getItem('keelbill.canvas'))")
        assert stored["width"] * stored["height"] <= 4 * 2**20
        assert stored["width"] / stored["height"] == pytest.approx(5 / 3, abs=0.01)


def test_a_file_that_is_no_picture_is_told(visit: Visit) -> None:
    with visit() as page:
        page.get_by_role("link", name="Canvas").click()
        page.get_by_role("heading", name="Lay a picture on the canvas").wait_for()
        drop(page, {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture"}, "drop")
        expect(page.get_by_text("notes.png cannot be read as a picture.")).to_be_visible()


def test_a_result_goes_on_to_the_canvas_and_back(visit: Visit) -> None:
    with visit() as page:
        generate(page, "a boat")
        tile = page.locator(".tile-done").first
        tile.hover()
        tile.get_by_role("button", name="Open on the canvas").click()
        expect(page.locator(".canvas-stage canvas").first).to_be_visible()
        drag(page, (0.4, 0.5), (0.6, 0.5))
        press_generate(page)
        done = page.locator(".canvas-results article").first
        expect(done.locator(".tile-done")).to_have_count(1)
        expect(done).to_contain_text("A part repainted")
        done.locator(".tile-done").hover()
        done.get_by_role("button", name="Use as input").click()
        expect(page.get_by_text("The whole picture is painted anew")).to_be_visible()
        expect(page.get_by_role("button", name="Undo")).to_be_disabled()  # another picture, no strokes


def test_a_reload_keeps_picture_and_strokes(visit: Visit) -> None:
    with visit() as page:
        bring(page)
        drag(page, (0.4, 0.5), (0.6, 0.5))
        painted = amount_of_tint(page)
        page.reload()
        expect(page.get_by_text("Only the painted part changes")).to_be_visible()
        page.wait_for_function("() => document.querySelector('.canvas-scale')?.textContent !== '100 %'")
        assert amount_of_tint(page) == pytest.approx(painted, rel=0.02)


def test_variations_and_the_code_of_an_edit(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        bring(page)
        drag(page, (0.4, 0.5), (0.6, 0.5))
        page.get_by_label("What should be there").fill("a boat")
        press_generate(page)
        tile = page.locator(".tile-done").first
        tile.hover()
        tile.get_by_role("button", name="Four variations").click()
        expect(page.locator(".tile-done")).to_have_count(5)
        assert task_of(server, page).kind == "inpaint"
        page.locator(".tile-done").last.hover()
        page.locator(".tile-done").last.get_by_role("button", name="Show the code").click()
        code = page.locator(".code-box code")
        expect(code).to_contain_text("/v2beta/stable-image/edit/inpaint")
        expect(code).to_contain_text("--form mask=@mask.png")
        with page.expect_download() as download:
            page.get_by_role("link", name="mask.png").click()
        assert download.value.suggested_filename.endswith(".png")
        page.get_by_role("radio", name="Workflow").check(force=True)
        graph = json.loads(code.inner_text())
        kinds = {node["class_type"] for node in graph.values()}
        assert {"LoadImage", "LoadImageMask", "SetLatentNoiseMask", "KSampler"} <= kinds


def test_out_of_credits_on_the_canvas(visit: Visit) -> None:
    with visit(credits="3") as page:
        bring(page)
        drag(page, (0.4, 0.5), (0.6, 0.5))
        expect(page.get_by_text("This needs 5 credits and you have 3.")).to_be_visible()
        page.get_by_label("What should be there").fill("a boat")
        press_generate(page)
        expect(page.get_by_text("Not enough credits.")).to_be_visible()


def test_the_canvas_is_fetched_when_it_is_opened(visit: Visit) -> None:
    with visit() as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.reload()
        page.get_by_label("Prompt", exact=True).wait_for()
        assert not [url for url in asked if "konva" in url or "/canvas/page" in url]
        page.get_by_role("link", name="Canvas").click()
        page.get_by_role("heading", name="Lay a picture on the canvas").wait_for()
        assert [url for url in asked if url.endswith("vendor/konva.js")]


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_for_everybody(visit: Visit, size: dict[str, int]) -> None:
    with visit(viewport=size, bypass_csp=True) as page:
        page.get_by_role("link", name="Canvas").click()
        page.get_by_role("heading", name="Lay a picture on the canvas").wait_for()
        assert violations(page) == []
        page.get_by_role("button", name="Choose a picture").click()
        page.get_by_role("dialog").wait_for()
        assert violations(page) == []
        page.keyboard.press("Escape")
        bring(page)
        drag(page, (0.4, 0.5), (0.6, 0.5))
        assert violations(page) == []
        assert_fits(page)
        tool(page, "Extend the picture")
        page.get_by_role("button", name="16:9", exact=True).click()
        assert violations(page) == []
        assert_fits(page)
        tool(page, "Lasso")
        page.get_by_label("What should be there").fill("a boat")
        press_generate(page)
        expect(page.locator(".tile-done")).to_have_count(1)
        assert violations(page) == []
        assert_fits(page)


def test_fingers_paint_and_pinch(visit: Visit) -> None:
    with visit(viewport=PHONE, has_touch=True, is_mobile=True) as page:
        bring(page)
        drag(page, (0.4, 0.5), (0.6, 0.5))
        assert amount_of_tint(page) > 0
        before = page.locator(".canvas-scale").inner_text()
        page.evaluate(
            """() => {
              const at = document.querySelector(".canvas-stage canvas:last-child");
              const box = at.getBoundingClientRect();
              const touch = (identifier, x) =>
                new Touch({ identifier, target: at, clientX: box.x + x, clientY: box.y + 150 });
              const fire = (kind, touches, changedTouches = touches) => {
                const all = { touches, targetTouches: touches, changedTouches };
                at.dispatchEvent(new TouchEvent(kind, { ...all, bubbles: true, cancelable: true }));
              };
              fire("touchstart", [touch(1, 120), touch(2, 180)]);
              fire("touchmove", [touch(1, 90), touch(2, 210)]);
              fire("touchend", [], [touch(1, 90), touch(2, 210)]);
            }"""
        )
        after = page.locator(".canvas-scale").inner_text()
        assert float(after.rstrip(" %")) == pytest.approx(2 * float(before.rstrip(" %")), rel=0.05)
