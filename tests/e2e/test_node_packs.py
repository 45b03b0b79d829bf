"""What a workflow lacks, said where it is noticed; and pictures of the gallery that open as graphs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .conftest import Visit
from .test_access import PHONE, WIDE, assert_fits, violations
from .test_graph_editor import LOADING_MS, open_editor
from .test_playground import generate

LACKING: dict[str, Any] = {
    "1": {"class_type": "Example Vignette", "inputs": {}},
    "2": {"class_type": "Nobody Knows", "inputs": {}},
    "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
}


def drop(page: Page, name: str, content: str) -> None:
    """Drop a text file on the page."""
    dropped = page.evaluate_handle(
        """([name, text]) => {
            const dropped = new DataTransfer();
            dropped.items.add(new File([text], name, { type: "application/json" }));
            return dropped;
        }""",
        [name, content],
    )
    page.locator("main, #app").first.dispatch_event("drop", {"dataTransfer": dropped})


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_a_dropped_workflow_says_what_it_lacks(visit: Visit, size: dict[str, int]) -> None:
    with visit(viewport=size, bypass_csp=True) as page:
        page.goto("/nodes")
        expect(page.get_by_role("cell", name="Not installed")).to_be_visible()
        drop(page, "portrait.json", json.dumps(LACKING))
        expect(page.get_by_text("2 classes of nodes are missing in portrait.json.")).to_be_visible()
        known = page.locator("[data-pack='keelbill-example-nodes']")
        expect(known).to_contain_text("Example Vignette node 1")
        expect(known.locator("pre")).to_contain_text("keelbill nodes enable keelbill-example-nodes")
        expect(page.locator("[data-pack='']")).to_contain_text("Nobody Knows node 2")
        assert violations(page) == []
        assert_fits(page)


def test_a_file_without_a_workflow(visit: Visit) -> None:
    with visit() as page:
        page.goto("/nodes")
        expect(page.get_by_role("cell", name="Not installed")).to_be_visible()
        drop(page, "notes.json", "no workflow")
        expect(page.get_by_role("alert")).to_contain_text("notes.json holds no workflow")
        drop(page, "fine.json", json.dumps({"3": LACKING["3"]}))
        expect(page.get_by_text("Nothing is missing in fine.json")).to_be_visible()


def test_the_page_in_german(visit: Visit) -> None:
    with visit() as page:
        page.evaluate("() => localStorage.clear()")
    with visit() as page:
        page.get_by_role("button", name="Account menu").click()
        page.get_by_label("Language").select_option("de")
        page.get_by_role("link", name="Knotenpakete").click()
        expect(page.get_by_role("heading", name="Knotenpakete")).to_be_visible()


def test_a_picture_of_the_gallery_opens_as_a_graph(visit: Visit) -> None:
    with visit() as page:
        generate(page, "a boat", 1)
        expect(page.locator(".tile-done")).to_have_count(1)
        page.goto("/gallery")
        page.locator(".cell-open").first.click()
        link = page.get_by_role("link", name="Open as graph")
        expect(link).to_be_visible()
        name = (link.get_attribute("href") or "").partition("picture=")[2]
        link.click()
        expect(page.get_by_text(name).first).to_be_visible(timeout=LOADING_MS)
        written = (
            "window.app.graph._nodes.filter(node => node.type === 'CLIPTextEncode').map(node => node.widgets[0].value)"
        )
        deadline = time.monotonic() + LOADING_MS / 1000
        while "a boat" not in page.evaluate(written) and time.monotonic() < deadline:
            page.wait_for_timeout(100)
        assert "a boat" in page.evaluate(written)


def test_the_editor_leads_to_the_packs(visit: Visit) -> None:
    with visit(complains_of=r"api\.comfy\.org.*Content Security Policy") as page:  # the editor asks there, in vain
        open_editor(page, "/comfy/?template=text_to_image")
        expect(page.get_by_text("text_to_image").first).to_be_visible(timeout=LOADING_MS)
        expect(page.locator("#keelbill-missing")).to_have_count(0)
        saved = {
            "version": 0.4,
            "last_node_id": 1,
            "last_link_id": 0,
            "links": [],
            "groups": [],
            "config": {},
            "extra": {},
            "nodes": [{"id": 1, "type": "Example Vignette", "pos": [9, 9], "size": [200, 80], "flags": {}, "order": 0,
                       "mode": 0, "inputs": [], "outputs": [], "properties": {}, "widgets_values": []}],
        }  # fmt: skip
        page.evaluate("saved => { window.app.loadGraphData(saved, true, true, 'lacking') }", saved)
        notice = page.locator("#keelbill-missing")
        expect(notice).to_contain_text("Example Vignette", timeout=LOADING_MS)
        with page.expect_popup() as opened:
            notice.get_by_role("link").click()
        packs = opened.value
        expect(packs.locator("[data-pack='keelbill-example-nodes']")).to_contain_text("Example Vignette")
