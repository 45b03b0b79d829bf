"""Boards, tags, facets, selections and archives as a person uses them; hostile names stay text."""

from __future__ import annotations

import json
import zipfile

import pytest
from playwright.sync_api import Page, expect

from .conftest import Visit
from .test_access import PHONE, WIDE, assert_fits, violations
from .test_gallery import make

HOSTILE = '<img src=x onerror="document.title=1">'


def choose(page: Page, *numbers: int) -> None:
    """Select pictures by their place."""
    page.get_by_role("button", name="Select", exact=True).click()
    for number in numbers:
        page.locator(".cell-open").nth(number).click()


def test_a_board_collects_pictures(visit: Visit) -> None:
    with visit() as page:
        make(page, "a boat", "an apple", "a fox")
        page.goto("/gallery")
        page.get_by_role("button", name="Boards and filters").click()
        choose(page, 0, 2)
        page.get_by_role("button", name="Board", exact=True).click()
        page.get_by_role("textbox", name="New board").fill(HOSTILE)
        page.get_by_role("button", name="Make board").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.locator(".panel-choice", has_text=HOSTILE).click()
        expect(page.locator(".cell")).to_have_count(2)
        page.reload()
        expect(page.locator(".cell")).to_have_count(2)
        choose(page, 0)
        page.get_by_role("button", name="Take out").click()
        expect(page.locator(".cell")).to_have_count(1)
        page.get_by_role("button", name="Delete board").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete board").click()
        expect(page.locator(".cell")).to_have_count(3)
        expect(page).not_to_have_title("1")


def test_tags_are_given_found_and_taken_away(visit: Visit) -> None:
    with visit() as page:
        make(page, "a boat", "an apple")
        page.goto("/gallery")
        page.get_by_role("button", name="Boards and filters").click()
        choose(page, 0, 1)
        page.get_by_role("button", name="Tags", exact=True).click()
        page.get_by_label("Add a tag").fill(f"sea side, {HOSTILE}")
        page.get_by_role("button", name="Give these").click()
        expect(page.locator(".panel-inside .tag")).to_have_count(2)
        page.locator(".cell-open").first.click()
        page.get_by_role("button", name="Remove the tag sea side").click()
        page.get_by_label("Add a tag").fill("fruit")
        page.keyboard.press("Enter")
        expect(page.locator(".detail .tag")).to_have_count(2)
        page.keyboard.press("Escape")
        page.locator(".panel-inside .tag", has_text="fruit").click()
        expect(page.locator(".cell")).to_have_count(1)
        page.get_by_role("button", name="Clear filters").click()
        expect(page.locator(".cell")).to_have_count(2)
        expect(page).not_to_have_title("1")


def test_sizes_are_a_facet(visit: Visit) -> None:
    with visit() as page:
        make(page, "a boat")
        page.get_by_role("radio", name="16:9").check()
        page.get_by_label("Prompt", exact=True).fill("a wide boat")
        page.keyboard.press("Control+Enter")
        expect(page.locator(".tile-done")).to_have_count(2)
        page.goto("/gallery")
        page.get_by_role("button", name="Boards and filters").click()
        page.get_by_label("Size").select_option(index=1)
        expect(page.locator(".cell")).to_have_count(1)


def test_several_pictures_come_as_an_archive(visit: Visit) -> None:
    with visit() as page:
        make(page, "a boat", HOSTILE)
        page.goto("/gallery")
        choose(page, 0, 1)
        with page.expect_download() as download:
            page.get_by_role("region", name="Select").get_by_role("button", name="Download").click()
        assert download.value.suggested_filename == "pictures.zip"
        with zipfile.ZipFile(download.value.path()) as archive:
            recipes = json.loads(archive.read("recipes.json"))
            assert len(archive.namelist()) == 3
        assert [recipe["prompt"] for recipe in recipes] == [HOSTILE, "a boat"]


def test_all_that_is_loaded_is_deleted_and_had_back(visit: Visit) -> None:
    with visit() as page:
        make(page, "a boat", "an apple", "a fox")
        page.goto("/gallery")
        choose(page, 0)
        page.get_by_role("button", name="Select all that are loaded").click()
        page.get_by_role("region", name="Select").get_by_role("button", name="Delete").click()
        expect(page.get_by_role("heading", name="No pictures yet")).to_be_visible()
        page.get_by_role("button", name="Undo").click()
        expect(page.locator(".cell")).to_have_count(3)
        page.reload()
        expect(page.locator(".cell")).to_have_count(3)


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_panel_is_for_everybody(visit: Visit, size: dict[str, int]) -> None:
    with visit(viewport=size, bypass_csp=True) as page:
        make(page, "a boat", "an apple")
        page.goto("/gallery")
        choose(page, 0, 1)
        page.get_by_role("button", name="Tags", exact=True).click()
        page.get_by_label("Add a tag").fill("sea")
        assert violations(page) == []
        page.get_by_role("button", name="Give these").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.get_by_role("button", name="Boards and filters").click()
        expect(page.locator(".panel-inside .tag")).to_have_count(1)
        assert violations(page) == []
        assert_fits(page)
