"""Code, workflows and parameters that are pasted back: what the studio writes and what people bring from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from support.browser import add_person
from support.browsers import window
from support.server import LiveServer

from .conftest import Visit, sign_in
from .test_playground import generate

Read = Callable[[str], dict[str, Any] | None]
WORDS = 'it\'s a "boat", \\ half $price\nbelow `the` cliff — été'
BODY = {
    "prompt": WORDS,
    "model": "sd3.5-medium",
    "negative_prompt": "fog, 'rain'",
    "aspect_ratio": "16:9",
    "seed": "12345678901234567890",
    "style_preset": "anime",
    "cfg_scale": 5.5,
}


@pytest.fixture(scope="module")
def studio(server: LiveServer, real_browser: Browser) -> Iterator[Page]:
    """A page that is signed in, whose modules can be called."""
    server.platform.strangers.limit = 1_000_000
    add_person(server, "paster@example.org", name="Ada")
    with window(real_browser, server.url) as (page, _):
        sign_in(page, "paster@example.org")
        yield page


def module(page: Page, path: str, call: str, argument: object) -> Any:
    """Call a function of a module of the studio with an argument."""
    script = """async ([path, call, a]) => {
      const base = document.querySelector('link[rel="modulepreload"]').href.replace(/\\/js\\/.*/, "");
      const m = await import(`${base}/js/${path}`);
      const calls = {
        text: () => m.recipeFromText(a),
        words: () => m.shellWords(a),
        code: () => m.codeFor(...a),
      };
      return calls[call]();
    }"""
    return page.evaluate(script, [path, call, argument])


@pytest.fixture(scope="module")
def read(studio: Page) -> Read:
    """Reads a text as the prompt field does when it is pasted."""

    def read_text(text: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = module(studio, "recipes/text.js", "text", text)
        return found

    return read_text


def code(page: Page, form: str, body: dict[str, Any]) -> str:
    return str(module(page, "playground/code.js", "code", [form, body, "https://pictures.example"]))


@pytest.mark.parametrize("form", ["curl", "python", "notebook", "cli", "workflow"])
def test_what_the_studio_writes_it_reads(studio: Page, read: Read, form: str) -> None:
    found = read(code(studio, form, BODY))
    assert found is not None
    assert found["from"] == form
    assert found["prompt"] == WORDS
    assert found["negative"] == "fog, 'rain'"
    assert found["seed"] == "12345678901234567890"
    assert found["cfg"] == 5.5
    if form == "workflow":
        assert (found["width"], found["height"], found["model"]) == (1344, 768, "sd3.5_medium")
    else:
        assert (found["ratio"], found["style"], found["model"]) == ("16:9", "anime", "sd3.5-medium")
    assert not found["needs"]


@pytest.mark.parametrize("form", ["curl", "python", "notebook", "cli", "workflow"])
def test_code_that_starts_from_a_picture(studio: Page, read: Read, form: str) -> None:
    body = {key: value for key, value in BODY.items() if key != "aspect_ratio"}
    found = read(code(studio, form, body | {"image_id": "0" * 32, "strength": 0.35}))
    assert found is not None
    assert (found["prompt"], found["strength"], found["needs"]) == (WORDS, 0.35, True)


@pytest.mark.parametrize("form", ["curl", "python", "notebook", "cli", "workflow"])
def test_code_of_a_part(studio: Page, read: Read, form: str) -> None:
    body = BODY | {"kind": "inpaint", "image_id": "0" * 32, "mask_id": "1" * 32, "strength": 1}
    found = read(code(studio, form, body))
    assert found is not None
    assert (found["prompt"], found["needs"]) == (WORDS, True)


@pytest.mark.parametrize("form", ["curl", "python", "notebook", "workflow"])
def test_code_of_a_margin(studio: Page, read: Read, form: str) -> None:
    body = BODY | {"kind": "outpaint", "image_id": "0" * 32, "left": 64, "right": 0, "up": 0, "down": 8}
    written = code(studio, form, body)
    assert "64" in written
    found = read(written)
    assert found is not None
    assert (found["prompt"], found["needs"]) == (WORDS, True)


def test_python_that_is_written_compiles(studio: Page) -> None:
    for kind in (None, "inpaint", "erase", "outpaint"):
        compile(code(studio, "python", BODY | {"image_id": "0" * 32, "kind": kind, "strength": 0.5}), "code", "exec")


OTHERS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "the example of the hosted service",
        """curl -f -sS "https://api.example/v2beta/stable-image/generate/sd3" \\
  -H "authorization: Bearer sk-MYAPIKEY" \\
  -H "accept: image/*" \\
  -F prompt="Lighthouse on a cliff overlooking the ocean" \\
  -F output_format="jpeg" -F seed=7 -F style_preset=photographic \\
  -o "./lighthouse.jpeg\"""",
        {
            "from": "curl",
            "prompt": "Lighthouse on a cliff overlooking the ocean",
            "seed": "7",
            "style": "photographic",
        },
    ),
    (
        "curl with a JSON body",
        """$ curl https://api.example/v1/generation/sd3/text-to-image -X POST -H 'Content-Type: application/json' \\
        --data-raw '{"text_prompts":[{"text":"a fox","weight":1},{"text":"fog","weight":-1}],
        "cfg_scale":7,"steps":30,"width":1024,"height":576,"samples":2,"seed":18446744073709551615}'""",
        {
            "prompt": "a fox",
            "negative": "fog",
            "cfg": 7,
            "steps": 30,
            "width": 1024,
            "height": 576,
            "count": 2,
            "seed": "18446744073709551615",
        },
    ),
    (
        "curl from a browser's tools",
        r"""curl 'https://api.example/api/jobs' --data-raw $'{"prompt":"it\'s a fox","seed":9}' --compressed""",
        {"prompt": "it's a fox", "seed": "9"},
    ),
    (
        "requests",
        """
import requests
response = requests.post(
    f"https://api.example/v2beta/stable-image/generate/sd3",
    headers={"authorization": f"Bearer {key}", "accept": "image/*"},
    files={"none": ''},
    data={
        "prompt": "Lighthouse on a cliff"  # of chalk
                  " overlooking the ocean",
        'negative_prompt': 'fog',
        "aspect_ratio": "21:9", "seed": 1_000, "cfg_scale": 4.5,
    },
)
""",
        {
            "from": "python",
            "prompt": "Lighthouse on a cliff overlooking the ocean",
            "negative": "fog",
            "ratio": "21:9",
            "seed": "1000",
            "cfg": 4.5,
        },
    ),
    (
        "another company's client",
        'client.images.generate(model="sd3.5-large", prompt="""a fox\nin snow""", n=3, size="1536x1024")',
        {
            "prompt": "a fox\nin snow",
            "count": 3,
            "width": 1536,
            "height": 1024,
            "model": "sd3.5-large",
        },
    ),
    (
        "our command with short options",
        "keelbill generate 'a fox' -m sd3.5-flash -n 2 --seed 12 --steps=8 --size 1024x768 -o out.png",
        {
            "from": "cli",
            "prompt": "a fox",
            "model": "sd3.5-flash",
            "count": 2,
            "seed": "12",
            "steps": 8,
            "width": 1024,
            "height": 768,
        },
    ),
    (
        "parameters",
        "a fox, snow\nNegative prompt: fog\nSteps: 28, Sampler: Euler, CFG scale: 4.5, Seed: 77, Size: 1024x768",
        {"from": "a1111", "prompt": "a fox, snow", "negative": "fog", "steps": 28, "seed": "77", "width": 1024},
    ),
    (
        "a body",
        '{"prompt": "a fox", "aspect_ratio": "9:16", "seed": 5}',
        {"from": "json", "ratio": "9:16", "seed": "5"},
    ),
    (
        "a cell of a notebook",
        json.dumps({"cell_type": "code", "source": ["picture = client.generate(\n", '  "a fox", seed=3)\n']}),
        {"from": "notebook", "prompt": "a fox", "seed": "3"},
    ),
    (
        "a notebook",
        json.dumps(
            {
                "cells": [
                    {"cell_type": "markdown", "source": "generate('no')"},
                    {"cell_type": "code", "source": 'client.generate("a fox", aspect_ratio="3:2")'},
                ],
                "nbformat": 4,
            }
        ),
        {"from": "notebook", "prompt": "a fox", "ratio": "3:2"},
    ),
    (
        "what a node editor saves",
        json.dumps(
            {
                "nodes": [
                    {"id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["sd3.5_large.safetensors"]},
                    {"id": 5, "type": "EmptySD3LatentImage", "widgets_values": [768, 1344, 1]},
                    {
                        "id": 6,
                        "type": "CLIPTextEncode",
                        "inputs": [{"name": "clip", "link": 3}],
                        "widgets_values": ["a fox"],
                    },
                    {
                        "id": 7,
                        "type": "CLIPTextEncode",
                        "inputs": [{"name": "clip", "link": 5}],
                        "widgets_values": ["fog"],
                    },
                    {
                        "id": 3,
                        "type": "KSampler",
                        "inputs": [
                            {"name": "model", "link": 1},
                            {"name": "positive", "link": 4},
                            {"name": "negative", "link": 6},
                            {"name": "latent_image", "link": 2},
                        ],
                        "widgets_values": [156680208700286, "fixed", 20, 4.5, "euler", "simple", 1],
                    },
                ],
                "links": [
                    [1, 4, 0, 3, 0, "MODEL"],
                    [2, 5, 0, 3, 3, "LATENT"],
                    [3, 4, 1, 6, 0, "CLIP"],
                    [4, 6, 0, 3, 1, "CONDITIONING"],
                    [5, 4, 1, 7, 0, "CLIP"],
                    [6, 7, 0, 3, 2, "CONDITIONING"],
                ],
            }
        ),
        {
            "from": "workflow",
            "prompt": "a fox",
            "negative": "fog",
            "seed": "156680208700286",
            "steps": 20,
            "width": 768,
            "height": 1344,
            "model": "sd3.5_large",
        },
    ),
]


@pytest.mark.parametrize(("text", "wanted"), [one[1:] for one in OTHERS], ids=[one[0] for one in OTHERS])
def test_what_people_bring_from_elsewhere(read: Read, text: str, wanted: dict[str, Any]) -> None:
    found = read(text)
    assert found is not None
    assert wanted.items() <= found.items()


@pytest.mark.parametrize(
    "text",
    [
        "a fox",
        "a lighthouse on a cliff, (detailed:1.2), curling waves",
        "a robot that likes to generate (random) pictures in Python",
        'say "generate(" and nothing more',
        "a still life with curl and post (cards), {braces} and [brackets]",
        '{"not": "for us"}',
        "{broken json",
        "curl https://example.org/ --output page.html",
        'print("hello")',
        "keelbill doctor --server https://example.org",
        "curl 'never closed --form prompt=x",
        'client.generate("never closed',
        "[" * 5000,
        "x" * 300_000,
    ],
)
def test_words_stay_words(read: Read, text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b\tc\nd", ["a", "b", "c", "d"]),
        ("'a b'\"c\"d", ["a bcd"]),
        (r"a\ b \'", ["a b", "'"]),
        ("a \\\n  b \\\r\n c", ["a", "b", "c"]),
        (r'"a \"b\" \$c \n"', ['a "b" $c \\n']),
        (r"$'a\n\'b\''", ["a\n'b'"]),
        ("'' a # b", ["", "a"]),
        ("a#b", ["a#b"]),
    ],
)
def test_words_of_a_shell(studio: Page, text: str, words: list[str]) -> None:
    assert module(studio, "recipes/shell.js", "words", text) == words


def paste(page: Page, text: str) -> None:
    """Paste a text into the prompt, as far as a page can tell."""
    page.get_by_label("Prompt", exact=True).evaluate(
        """(field, text) => {
          const data = new DataTransfer();
          data.setData("text/plain", text);
          field.focus();
          const event = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
          if (field.dispatchEvent(event)) document.execCommand("insertText", false, text);
        }""",
        text,
    )


def test_pasted_code_fills_the_form(visit: Visit, studio: Page) -> None:
    with visit() as page:
        paste(page, code(studio, "curl", BODY))
        expect(page.get_by_text("The form is filled from a cURL command.")).to_be_visible()
        expect(page.get_by_label("Prompt", exact=True)).to_have_value(WORDS)
        expect(page.get_by_label("Seed", exact=True)).to_have_value("12345678901234567890")
        expect(page.get_by_label("Model · credits")).to_have_value("sd3.5-medium")
        expect(page.get_by_role("radio", name="16:9")).to_be_checked()
        expect(page.get_by_role("radio", name="Anime")).to_be_checked()
        expect(page.get_by_role("button", name="Keep this seed")).to_have_attribute("aria-pressed", "true")


def test_pasted_code_can_stay_text(visit: Visit) -> None:
    with visit() as page:
        page.get_by_label("Prompt", exact=True).fill("say: ")
        page.get_by_label("Prompt", exact=True).press("End")
        paste(page, "keelbill generate 'a fox' --seed 5")
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("a fox")
        page.get_by_role("button", name="Insert as text").click()
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("say: keelbill generate 'a fox' --seed 5")
        expect(page.get_by_label("Seed", exact=True)).to_have_value("")


def test_pasted_words_are_only_words(visit: Visit) -> None:
    with visit() as page:
        paste(page, "a fox in the snow")
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("a fox in the snow")


def test_the_model_of_a_workflow_is_found(visit: Visit, studio: Page) -> None:
    with visit() as page:
        paste(page, code(studio, "workflow", BODY | {"model": "sd3.5-large-turbo"}))
        expect(page.get_by_text("The form is filled from a workflow.")).to_be_visible()
        expect(page.get_by_label("Model · credits")).to_have_value("sd3.5-large-turbo")
        expect(page.get_by_role("radio", name="16:9")).to_be_checked()


def test_from_a_result_to_its_code_and_back(visit: Visit) -> None:
    with visit() as page:
        page.get_by_role("radio", name="Origami").check(force=True)
        generate(page, "a paper boat")
        tile = page.locator(".tile-done").first
        tile.hover()
        tile.get_by_role("button", name="Show the code").click()
        seed = page.evaluate("() => JSON.parse(sessionStorage.getItem('keelbill.form')).seed")
        for form in ("cURL", "Python", "Notebook", "Terminal"):
            page.get_by_role("radio", name=form, exact=True).check(force=True)
            text = page.locator(".code-box code").inner_text()
            page.keyboard.press("Escape")
            page.get_by_role("button", name="Start over").click()
            expect(page.get_by_role("radio", name="None")).to_be_checked()
            paste(page, text)
            expect(page.get_by_label("Prompt", exact=True)).to_have_value("a paper boat")
            expect(page.get_by_label("Seed", exact=True)).to_have_value(seed)
            expect(page.get_by_role("radio", name="Origami")).to_be_checked()
            tile.hover()
            tile.get_by_role("button", name="Show the code").click()
