"""The graph editor as a person uses it: opened after the sign-in, a workflow loaded, run, and its picture seen."""

from __future__ import annotations

import base64
import json
import time
from importlib import resources

from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, Response, expect

from support.graphdoors import picture
from support.server import LiveServer

from .conftest import Visit

LOADING_MS = 60_000
TEMPLATES = resources.files("keelbill.api.comfy").joinpath("templates")


def open_editor(page: Page, address: str = "/comfy/") -> None:
    """Open the editor and wait until it can run a graph."""
    page.goto(address)
    expect(page.locator("canvas").first).to_be_visible(timeout=LOADING_MS)
    expect(page.get_by_role("button", name="Run", exact=True).first).to_be_enabled(timeout=LOADING_MS)
    deadline = time.monotonic() + LOADING_MS / 1000
    while not page.evaluate("window.app?.graph?._nodes?.length"):  # the page's policy lets no string be run in a loop
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)


def is_picture(answer: Response) -> bool:
    return "/comfy/api/view?" in answer.url and "type=output" in answer.url


def test_a_workflow_is_opened_and_run(visit: Visit) -> None:
    with visit() as page:
        open_editor(page)
        expect(page.get_by_text("text_to_image").first).to_be_visible(timeout=LOADING_MS)
        with page.expect_response(is_picture, timeout=LOADING_MS) as picture:
            page.get_by_role("button", name="Run", exact=True).first.click()
        assert picture.value.status == 200
        assert picture.value.headers["content-type"].startswith("image/")
        entries = list(page.request.get("/comfy/api/history").json().values())
        assert [entry["status"]["status_str"] for entry in entries] == ["success"]
        assert entries[0]["prompt"][3]["extra_pnginfo"]["workflow"]["nodes"]


def test_a_stranger_signs_in_first(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        page.context.clear_cookies()
        page.goto("/comfy/")
        expect(page.get_by_label("Email address")).to_be_visible()
        assert page.url == f"{server.url}/sign-in?next=%2Fcomfy%2F"


def test_every_template_opens_without_a_missing_node(visit: Visit) -> None:
    with visit() as page:
        for name in ("inpaint", "upscale"):
            open_editor(page, f"/comfy/?template={name}")
            expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=LOADING_MS)
            expect(page.get_by_text("Missing node")).to_have_count(0)


def test_a_dropped_picture_opens_as_its_workflow(visit: Visit) -> None:
    template = json.loads(TEMPLATES.joinpath("image_to_image.json").read_text())
    info = PngInfo()
    info.add_text("workflow", json.dumps(template))
    content = base64.b64encode(picture(pnginfo=info)).decode()
    with visit() as page:
        open_editor(page)
        expect(page.get_by_text("text_to_image").first).to_be_visible(timeout=LOADING_MS)
        dropped = page.evaluate_handle(
            """text => {
                const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
                const dropped = new DataTransfer();
                dropped.items.add(new File([bytes], "picture.png", { type: "image/png" }));
                return dropped;
            }""",
            content,
        )
        page.locator("canvas").first.dispatch_event("drop", {"dataTransfer": dropped})
        expect(page.get_by_text("picture", exact=True).first).to_be_visible(timeout=LOADING_MS)
        found = page.evaluate("window.app.graph._nodes.map(node => node.type)")
        assert sorted(found) == sorted(node["type"] for node in template["nodes"])


def test_a_mistake_is_shown_at_its_node(visit: Visit) -> None:
    with visit() as page:
        open_editor(page, "/comfy/?template=text_to_image")
        expect(page.get_by_text("text_to_image").first).to_be_visible(timeout=LOADING_MS)
        page.evaluate("console.error = () => undefined")  # where the editor writes down what was refused
        page.evaluate(
            "window.app.graph._nodes.find(node => node.type === 'CheckpointLoaderSimple')"
            ".widgets[0].value = 'none.safetensors'"
        )
        with page.expect_response(lambda answer: answer.url.endswith("/comfy/api/prompt")) as refused:
            page.get_by_role("button", name="Run", exact=True).first.click()
        (error,) = refused.value.json()["node_errors"].values()
        assert error["errors"][0]["type"] == "value_not_in_list"
