"""Making pictures as a person does: watching, cancelling, running out of credits, going on from a result."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from support.server import LiveServer

from .conftest import Visit


def generate(page: Page, prompt: str, count: int = 1) -> None:
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_role("radio", name=str(count), exact=True).check()
    page.get_by_role("button", name=re.compile("^Generate")).click()


def test_a_picture_is_made_and_paid_for(visit: Visit, server: LiveServer) -> None:
    with visit(credits="20") as page, server.slow_workers(0.4):
        expect(page.get_by_role("button", name=re.compile(r"Generate.*6\.5 credits"))).to_be_visible()
        generate(page, "a lighthouse at dusk")
        expect(page.get_by_text(re.compile(r"Step \d of 4"))).to_be_visible()
        expect(page.locator(".tile-preview")).to_be_visible()
        expect(page.get_by_text("s left")).to_be_visible()
        picture = page.get_by_role("img", name="a lighthouse at dusk").first
        expect(picture).to_be_visible()
        expect(page.locator(".credits")).to_contain_text("13.5 credits")
        expect(page.locator(".history img")).to_have_count(1)


def test_the_price_follows_the_form(visit: Visit) -> None:
    with visit() as page:
        page.get_by_role("radio", name="3", exact=True).check()
        page.get_by_label("Model · credits").select_option("sd3.5-flash")
        expect(page.get_by_role("button", name=re.compile(r"Generate.*7\.5 credits"))).to_be_visible()
        page.get_by_text("More settings").click()
        expect(page.get_by_text("needs no guidance")).to_be_visible()
        page.get_by_role("radio", name="21:9").check()
        expect(page.get_by_text("1536 × 640")).to_be_visible()


def test_several_runs_at_once_and_one_cancelled(visit: Visit, server: LiveServer) -> None:
    with visit() as page, server.slow_workers(1.0):
        generate(page, "a first boat")
        generate(page, "a second boat", 4)
        second = page.get_by_role("article", name="a second boat")
        expect(second.locator(".tile-working")).to_have_count(4)
        second.get_by_role("button", name="Cancel all").click()
        expect(second.get_by_text("Cancelled")).to_have_count(4)
        expect(second.get_by_text("Nothing was charged.")).to_have_count(4)
        expect(page.locator("article", has_text="a first boat").get_by_role("img")).to_be_visible()
        expect(page.locator(".credits")).to_contain_text("93.5 credits")


def test_more_pictures_than_connections(visit: Visit) -> None:
    with visit() as page:
        for number in range(3):
            generate(page, f"boat {number}", 4)
        expect(page.locator(".tile-done")).to_have_count(12)


def test_a_reload_goes_on_watching(visit: Visit, server: LiveServer) -> None:
    with visit() as page, server.slow_workers(0.8):
        generate(page, "a patient boat")
        expect(page.locator(".tile-working")).to_be_visible()
        page.get_by_text("Step 1 of 4").wait_for()
        page.reload()
        expect(page.get_by_role("article", name="a patient boat")).to_be_visible()
        expect(page.locator(".tile-done")).to_have_count(1)


def test_running_out_of_credits(visit: Visit) -> None:
    with visit(credits="8") as page:
        page.get_by_role("radio", name="2", exact=True).check()
        expect(page.get_by_text("This needs 13 credits and you have 8.")).to_be_visible()
        page.get_by_role("radio", name="1", exact=True).check()
        generate(page, "the only boat")
        expect(page.locator(".tile-done")).to_have_count(1)
        generate(page, "one boat too many")
        expect(page.get_by_text("Not enough credits.")).to_be_visible()
        expect(page.get_by_role("link", name="Get credits")).to_have_attribute("href", "/billing")
        expect(page.get_by_role("article")).to_have_count(1)


def test_a_failure_is_told_and_free(visit: Visit) -> None:
    with visit(credits="20") as page:
        generate(page, LiveServer.FAIL)
        expect(page.get_by_text("That did not work")).to_be_visible()
        expect(page.locator(".credits")).to_contain_text("20 credits")


def test_an_empty_prompt_is_noticed_before_it_is_sent(visit: Visit) -> None:
    with visit() as page:
        page.get_by_role("button", name=re.compile("^Generate")).click()
        expect(page.get_by_text("Describe what you would like to see.")).to_be_visible()
        expect(page.get_by_label("Prompt", exact=True)).to_be_focused()


def test_a_kept_seed_makes_the_same_picture(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        page.get_by_label("Seed", exact=True).fill("12345678901234567890")
        generate(page, "a boat", 2)
        expect(page.locator(".tile-done")).to_have_count(2)
        page.locator(".tile-open").first.click()
        expect(page.get_by_text("Seed 12345678901234567890")).to_be_visible()
        page.keyboard.press("Escape")
        page.locator(".tile-open").nth(1).click()
        expect(page.get_by_text("Seed 12345678901234567891")).to_be_visible()


def test_going_on_from_a_result(visit: Visit) -> None:
    with visit(credits="200") as page:
        generate(page, "a boat")
        tile = page.locator(".tile-done").first
        tile.hover()
        tile.get_by_role("button", name="Use as input").click()
        expect(page.get_by_label("Change")).to_have_value("0.6")
        generate(page, "a boat at night")
        expect(page.locator(".tile-done")).to_have_count(2)
        page.get_by_role("button", name="Do not start from this picture").click()
        last = page.locator(".tile-done").last
        last.hover()
        last.get_by_role("button", name="Four variations").click()
        expect(page.locator(".tile-done")).to_have_count(6)
        last.hover()
        last.get_by_role("button", name="Four times as large").click()
        expect(page.get_by_role("article", name="Enlarged: a boat")).to_be_visible()
        expect(page.locator(".tile-done")).to_have_count(7)


def test_the_code_of_a_picture_is_the_picture(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        generate(page, 'it\'s a "boat"')
        tile = page.locator(".tile-done").first
        tile.hover()
        tile.get_by_role("button", name="Show the code").click()
        code = page.locator(".code-box code")
        expect(code).to_contain_text("--form-string prompt='it'\\''s a \"boat\"'")
        expect(code).to_contain_text(server.url)
        page.get_by_role("radio", name="Python").check()
        expect(code).to_contain_text('"it\'s a \\"boat\\""')
        compile(code.inner_text(), "code", "exec")


def test_words_of_others_are_only_words(visit: Visit) -> None:
    with visit() as page:
        evil = '<img src=x onerror="document.title=\'taken\'"><script>document.title="taken"</script>'
        generate(page, evil)
        expect(page.locator(".tile-done")).to_have_count(1)
        expect(page.locator(".run-prompt")).to_have_text(evil)
        page.goto("/gallery")
        page.locator(".cell-open").first.click()
        expect(page.locator(".detail-prompt")).to_have_text(evil)
        assert "taken" not in page.title()
