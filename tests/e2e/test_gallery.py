"""Finding, marking, comparing and deleting pictures as a person does, and reading what other programs wrote."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from PIL import ExifTags, Image, PngImagePlugin
from playwright.sync_api import Page, expect

from keelbill.imaging.metadata import Recipe, exif_bytes, png_info
from support.server import LiveServer

from .conftest import Visit
from .test_playground import generate


def make(page: Page, *prompts: str) -> None:
    for number, prompt in enumerate(prompts, 1):
        generate(page, prompt)
        expect(page.locator(".tile-done")).to_have_count(number)


def test_an_old_picture_is_found_by_its_words(visit: Visit, server: LiveServer) -> None:
    with visit() as page:
        page.goto("/gallery")
        expect(page.get_by_role("heading", name="No pictures yet")).to_be_visible()
        page.get_by_role("link", name="Make the first one").click()
        make(page, "a green lighthouse", "a red apple", "a wooden boat")
        page.get_by_role("link", name="Gallery", exact=True).click()
        expect(page.locator(".cell")).to_have_count(3)
        page.get_by_label("Search your prompts").fill("apple")
        expect(page.locator(".cell")).to_have_count(1)
        expect(page).to_have_url(re.compile(r"text=apple"))
        page.locator(".cell-open").click()
        expect(page.locator(".detail-prompt")).to_have_text("a red apple")
        page.reload()
        expect(page.locator(".detail-prompt")).to_have_text("a red apple")
        page.keyboard.press("Escape")
        page.get_by_label("Search your prompts").fill("zeppelin")
        expect(page.get_by_role("heading", name="Nothing fits")).to_be_visible()
        page.get_by_role("button", name="Clear search and filters").click()
        expect(page.locator(".cell")).to_have_count(3)


def test_favourites_stay_and_can_be_filtered(visit: Visit) -> None:
    with visit() as page:
        make(page, "a boat", "an apple")
        page.goto("/gallery")
        page.locator(".cell-open").first.click()
        page.get_by_role("button", name="Mark as favourite").last.click()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Favourites").click()
        expect(page.locator(".cell")).to_have_count(1)
        page.reload()
        expect(page.locator(".cell")).to_have_count(1)
        expect(page.get_by_role("button", name="No longer a favourite")).to_have_count(1)


def test_deleting_can_be_undone_until_the_message_is_gone(visit: Visit) -> None:
    with visit() as page:
        make(page, "a boat", "an apple")
        page.goto("/gallery")
        page.locator(".cell").first.hover()
        page.locator(".cell-open").first.focus()
        page.keyboard.press("Delete")
        expect(page.locator(".cell")).to_have_count(1)
        page.get_by_role("button", name="Undo").click()
        expect(page.locator(".cell")).to_have_count(2)
        page.reload()
        expect(page.locator(".cell")).to_have_count(2)
        page.locator(".cell-open").first.focus()
        page.keyboard.press("Delete")
        page.get_by_role("region", name="Messages").get_by_role("button", name="Close").click()
        expect(page.locator(".cell")).to_have_count(1)
        page.wait_for_timeout(300)
        page.reload()
        expect(page.locator(".cell")).to_have_count(1)


def test_two_pictures_are_compared(visit: Visit) -> None:
    with visit() as page:
        make(page, "a boat", "an apple", "a fox")
        page.goto("/gallery")
        page.get_by_role("button", name="Select", exact=True).click()
        page.get_by_role("button", name="Select: a boat").click()
        compare = page.get_by_role("button", name="Compare")
        expect(compare).to_be_disabled()
        page.get_by_role("button", name="Select: a fox").click()
        expect(page.get_by_text("2 selected")).to_be_visible()
        compare.click()
        slider = page.get_by_label("How much of the first picture is shown")
        slider.focus()
        page.keyboard.press("End")
        expect(page.locator(".compare-top")).to_have_css("clip-path", re.compile(r"^inset\(0px( 0%( 0px 0px)?)?\)$"))


def test_settings_of_a_picture_are_used_again(visit: Visit) -> None:
    with visit() as page:
        page.get_by_role("radio", name="16:9").check()
        page.get_by_label("Seed", exact=True).fill("77")
        make(page, "a boat")
        page.goto("/gallery")
        page.locator(".cell-open").first.click()
        page.get_by_role("button", name="Use these settings").click()
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("a boat")
        expect(page.get_by_label("Seed", exact=True)).to_have_value("77")
        expect(page.get_by_role("radio", name="16:9")).to_be_checked()


def test_a_picture_of_another_account_is_not_here(visit: Visit) -> None:
    with visit() as page:
        make(page, "a secret boat")
        page.goto("/gallery")
        page.locator(".cell-open").first.click()
        page.wait_for_url(re.compile("/gallery/[0-9a-f]{32}"))
        address = page.url
        with visit() as other:
            other.goto(address)
            expect(other.get_by_role("heading", name="This picture is not here").first).to_be_visible()
            expect(other.get_by_text("a secret boat")).to_have_count(0)


OURS = Recipe(
    prompt="a violet gate", negative="rain", model="keelbill-mini", seed=2**63, width=1344, height=768, steps=12
)
A1111 = (
    "a stone bridge, (mist:1.2)\nNegative prompt: people, cars\n"
    'Steps: 28, Sampler: DPM++ 2M, CFG scale: 6.5, Seed: 4711, Size: 832x1216, Model: some, Lora hashes: "a: b, c: d"'
)
COMFY = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 99,
            "steps": 22,
            "cfg": 5.5,
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
            "model": ["9", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "folder/sd3.5_medium.safetensors"}},
    "5": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 1024, "height": 1024, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a glass whale", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "cracks", "clip": ["4", 1]}},
    "9": {"class_type": "SkipLayerGuidanceSD3", "inputs": {"model": ["4", 0]}},
}

INVOKE = {
    "generation_mode": "txt2img",
    "positive_prompt": "a paper lantern",
    "negative_prompt": "smoke",
    "width": 1024,
    "height": 768,
    "seed": 2**61,
    "cfg_scale": 4.5,
    "steps": 30,
    "scheduler": "euler",
    "model": {"key": "1f", "hash": "blake3:00", "name": "sd3.5_medium", "base": "sd-3"},
}
OLD_INVOKE = {
    "model": "stable diffusion",
    "model_weights": "some",
    "image": {
        "prompt": [{"prompt": "a tin robot [rust]", "weight": 1.0}],
        "steps": 50,
        "cfg_scale": 7.5,
        "width": 512,
        "height": 512,
        "seed": 8,
        "sampler": "k_lms",
    },
}
SWARM = {
    "sui_image_params": {
        "prompt": "a copper kettle",
        "negativeprompt": "steam",
        "model": "SD3/sd3.5_large.safetensors",
        "seed": 12,
        "steps": 20,
        "cfgscale": 5.0,
        "width": 1344,
        "height": 768,
        "sampler": "euler",
    },
    "sui_extra_data": {"date": "2026-01-02"},
}
FOOOCUS = {
    "prompt": "a moss garden",
    "negative_prompt": "",
    "full_prompt": ["a moss garden", "sharp focus"],
    "performance": "Speed",
    "steps": 30,
    "resolution": "(896, 1152)",
    "guidance_scale": 4.0,
    "base_model": "some",
    "seed": "5150",
    "sampler": "dpmpp_2m_sde_gpu",
    "version": "Fooocus v2.5.0",
}


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 24), (90, 120, 200)).save(file, kind, **options)
    return file.getvalue()


def commented(text: str, order: str) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + text.encode(order)
    return exif.tobytes()


def texts(**values: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for name, value in values.items():
        info.add_text(name, value, zip=name == "parameters")
    return info


FILES = {
    "ours.png": (saved("PNG", pnginfo=png_info(OURS)), "a violet gate", "Made with Keelbill."),
    "ours.jpg": (saved("JPEG", exif=exif_bytes(OURS)), "a violet gate", "Made with Keelbill."),
    "ours.webp": (saved("WEBP", exif=exif_bytes(OURS)), "a violet gate", "Made with Keelbill."),
    "a1111.png": (saved("PNG", pnginfo=texts(parameters=A1111)), "a stone bridge, (mist:1.2)", "Automatic1111"),
    "a1111.jpg": (saved("JPEG", exif=commented(A1111, "utf-16-be")), "a stone bridge, (mist:1.2)", "Automatic1111"),
    "a1111.webp": (saved("WEBP", exif=commented(A1111, "utf-16-le")), "a stone bridge, (mist:1.2)", "Automatic1111"),
    "comfy.png": (saved("PNG", pnginfo=texts(prompt=json.dumps(COMFY))), "a glass whale", "Made with ComfyUI."),
    "invoke.png": (saved("PNG", pnginfo=texts(invokeai_metadata=json.dumps(INVOKE))), "a paper lantern", "InvokeAI."),
    "old.png": (saved("PNG", pnginfo=texts(**{"sd-metadata": json.dumps(OLD_INVOKE)})), "a tin robot", "InvokeAI."),
    "swarm.png": (saved("PNG", pnginfo=texts(parameters=json.dumps(SWARM))), "a copper kettle", "SwarmUI."),
    "swarm.jpg": (saved("JPEG", exif=commented(json.dumps(SWARM), "utf-16-be")), "a copper kettle", "SwarmUI."),
    "fooocus.png": (saved("PNG", pnginfo=texts(parameters=json.dumps(FOOOCUS))), "a moss garden", "Fooocus."),
}
VALUES = {
    "invoke.png": ["smoke", str(2**61), "30", "4.5", "1024 × 768", "sd3.5_medium", "scheduler: euler"],
    "old.png": ["rust", "8", "50", "7.5", "512 × 512", "some", "sampler: k_lms"],
    "swarm.png": ["steam", "12", "20", "5", "1344 × 768", "sd3.5_large", "sampler: euler"],
    "fooocus.png": ["5150", "30", "4", "896 × 1152", "some", "performance: Speed, sampler: dpmpp_2m_sde_gpu"],
}
"""What is shown of a file besides its prompt."""


def read(page: Page, name: str, content: bytes) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Read the recipe of a picture").click()
    chooser.value.set_files({"name": name, "mimeType": "application/octet-stream", "buffer": content})


def test_recipes_of_all_programs_and_files_are_read(visit: Visit) -> None:
    with visit() as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.method))
        for name, (content, prompt, program) in FILES.items():
            read(page, name, content)
            dialog = page.get_by_role("dialog", name="Recipe of a picture")
            expect(dialog.get_by_text(program)).to_be_visible()
            expect(dialog.get_by_text(prompt, exact=True)).to_be_visible()
            for value in VALUES.get(name, ()):
                expect(dialog).to_contain_text(value)
            page.keyboard.press("Escape")
            expect(dialog).to_have_count(0)
        assert "POST" not in asked  # files are read in the browser and go nowhere


def test_a_recipe_fills_the_form_and_what_is_missing_is_named(visit: Visit) -> None:
    with visit() as page:
        read(page, "comfy.png", FILES["comfy.png"][0])
        dialog = page.get_by_role("dialog", name="Recipe of a picture")
        expect(dialog.get_by_text("“sd3.5_medium” is not installed here.")).to_be_visible()
        expect(dialog.get_by_text("SkipLayerGuidanceSD3")).to_be_visible()
        page.get_by_role("button", name="Use these settings").click()
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("a glass whale")
        expect(page.get_by_label("Seed", exact=True)).to_have_value("99")
        page.get_by_text("More settings").click()
        expect(page.get_by_label("Leave out")).to_have_value("cracks")
        expect(page.get_by_role("spinbutton", name="Steps")).to_have_value("22")
        expect(page.get_by_role("spinbutton", name="Guidance")).to_have_value("5.5")
        read(page, "ours.png", FILES["ours.png"][0])
        page.get_by_role("button", name="Use these settings").click()
        expect(page.get_by_label("Seed", exact=True)).to_have_value(str(2**63))
        expect(page.get_by_role("radio", name="16:9")).to_be_checked()


@pytest.mark.parametrize(
    "content",
    [
        saved("PNG"),
        saved("PNG", pnginfo=texts(prompt="{not json", parameters="nothing", keelbill="[]")),
        saved(
            "PNG", pnginfo=texts(prompt=json.dumps({"1": {"class_type": "KSampler", "inputs": {"positive": ["1", 0]}}}))
        ),
        saved("PNG", pnginfo=png_info(OURS))[:60],
        saved("JPEG", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff"),
    ],
    ids=["none", "damaged", "circular", "cut off", "wild EXIF"],
)
def test_a_file_without_a_whole_recipe(visit: Visit, content: bytes) -> None:
    with visit() as page:
        read(page, "some.png", content)
        dialog = page.get_by_role("dialog", name="Recipe of a picture")
        expect(dialog).to_be_visible()
        expect(dialog.locator("dd", has_text=re.compile("Made|undefined|NaN"))).to_have_count(0)


def test_a_file_that_is_no_picture(visit: Visit, tmp_path: Path) -> None:
    with visit() as page:
        read(page, "notes.txt", b"not a picture at all")
        expect(page.get_by_text("notes.txt is not a PNG, JPEG or WebP picture.")).to_be_visible()
