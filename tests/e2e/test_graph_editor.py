"""The graph editor as a person uses it: opened after the sign-in, a workflow loaded, run, and its picture seen."""

from __future__ import annotations

import base64
import json
import time
from importlib import resources
from urllib.parse import urlsplit

from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, Response, Route, expect

from support.graphdoors import picture
from support.server import LiveServer

from .conftest import Visit

LOADING_MS = 120_000
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


def test_six_routes_and_the_socket_are_enough(visit: Visit) -> None:
    """Whatever else is missing, the editor starts, runs a graph and shows its picture."""
    needed = {"users", "settings", "extensions", "object_info", "prompt", "view"}
    missed: set[str] = set()

    def answer(route: Route) -> None:
        name = urlsplit(route.request.url).path.removeprefix("/comfy/api/")
        if name.partition("/")[0] in needed:
            route.continue_()
            return
        missed.add(name)
        route.fulfill(status=404, json={"error": "not here"})

    template = json.loads(TEMPLATES.joinpath("text_to_image.json").read_text())
    with visit(complains_of=".") as page:  # it does, of each route that is missing
        page.route("**/comfy/api/**", answer)
        page.goto("/comfy/")
        expect(page.locator("canvas").first).to_be_visible(timeout=LOADING_MS)
        until_s = time.monotonic() + LOADING_MS / 1000
        while not page.evaluate("window.app?.graph?._nodes?.length"):
            assert time.monotonic() < until_s
            page.wait_for_timeout(100)
        page.evaluate("graph => window.app.loadGraphData(graph)", template)
        with page.expect_response(is_picture, timeout=LOADING_MS) as shown:
            page.evaluate("void window.app.queuePrompt(0)")  # what the button does
        assert shown.value.status == 200
        assert {"queue", "jobs"} & {name.partition("/")[0] for name in missed}


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


def test_a_run_is_stopped(visit: Visit, server: LiveServer) -> None:
    with visit() as page, server.slow_workers(step_s=2.0):
        open_editor(page, "/comfy/?template=text_to_image")
        expect(page.get_by_text("text_to_image").first).to_be_visible(timeout=LOADING_MS)
        page.get_by_role("button", name="Run", exact=True).first.click()
        stop = page.get_by_role("button", name="Cancel current run").first
        expect(stop).to_be_enabled(timeout=LOADING_MS)
        stop.click()
        until_s = time.monotonic() + LOADING_MS / 1000
        while not (jobs := page.request.get("/comfy/api/jobs?status=cancelled&limit=5").json()["jobs"]):
            assert time.monotonic() < until_s
            page.wait_for_timeout(100)
        assert [job["status"] for job in jobs] == ["cancelled"]


def test_a_mask_is_painted_and_kept(visit: Visit) -> None:
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "mine.png"}}}
    with visit() as page:
        page.goto("/comfy/?template=text_to_image")
        sent = page.request.post(
            "/comfy/api/upload/image",
            multipart={"image": {"name": "mine.png", "mimeType": "image/png", "buffer": picture()}},
            headers={"origin": page.url.split("/comfy")[0]},
        )
        assert sent.json()["name"] == "mine.png"
        open_editor(page, "/comfy/?template=text_to_image")
        expect(page.get_by_text("text_to_image").first).to_be_visible(timeout=LOADING_MS)
        page.evaluate("graph => window.app.loadApiJson(graph, 'mask')", graph)
        page.wait_for_timeout(1000)
        x, y = page.evaluate(
            """() => {
                const { canvas, graph } = window.app;
                const node = graph._nodes.find(node => node.type === "LoadImage");
                const { offset, scale } = canvas.ds;
                const box = canvas.canvas.getBoundingClientRect();
                return [(node.pos[0] + offset[0] + 30) * scale + box.x, (node.pos[1] + offset[1] - 10) * scale + box.y];
            }"""
        )
        page.mouse.click(x, y, button="right")
        page.get_by_text("Open in MaskEditor").first.click()
        expect(page.get_by_text("Mask Editor").first).to_be_visible(timeout=LOADING_MS)
        page.wait_for_timeout(1500)
        page.mouse.move(600, 380)
        page.mouse.down()
        page.mouse.move(660, 420, steps=8)
        page.mouse.up()
        page.get_by_role("button", name="Save").first.click()
        until_s = time.monotonic() + LOADING_MS / 1000
        while "clipspace-painted-masked" not in (
            value := page.evaluate(
                "String(window.app.graph._nodes.find(node => node.type === 'LoadImage').widgets[0].value)"
            )
        ):
            assert time.monotonic() < until_s, value
            page.wait_for_timeout(100)
        assert value.endswith(".png [input]")


def test_a_workflow_is_saved_and_opened_again(visit: Visit) -> None:
    types = "window.app.graph._nodes.map(node => node.type).sort()"
    with visit() as page:
        open_editor(page, "/comfy/?template=text_to_image")
        expect(page.get_by_text("text_to_image").first).to_be_visible(timeout=LOADING_MS)
        seed = "window.app.graph._nodes.find(node => node.type === 'KSampler').widgets[0]"
        page.evaluate(f"{seed}.value = 4711")
        drawn = page.evaluate(types)
        page.mouse.click(700, 90)
        page.keyboard.press("Control+s")
        name = page.get_by_role("dialog").get_by_role("textbox")
        expect(name).to_be_visible(timeout=LOADING_MS)
        name.fill("kept")
        name.press("Enter")
        listed = "/comfy/api/userdata?dir=workflows"
        until_s = time.monotonic() + LOADING_MS / 1000
        while "kept.json" not in page.request.get(listed).text():
            assert time.monotonic() < until_s
            page.wait_for_timeout(100)
        open_editor(page)
        page.get_by_text("kept", exact=True).first.click(timeout=LOADING_MS)  # its tab; newcomers are shown ours first
        until_s = time.monotonic() + LOADING_MS / 1000
        while page.evaluate(f"{seed}.value") != 4711:
            assert time.monotonic() < until_s
            page.wait_for_timeout(100)
        assert page.evaluate(types) == drawn
