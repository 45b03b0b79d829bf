"""The notebook runs from top to bottom without a person, against a server, and holds no output and no key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import nbformat
import pytest

from keelbill.client.forms import Model, Ratio, StylePreset
from support.apidouble import KEY, ApiDouble, api_double
from support.pages import NOTEBOOK, check_notebook, run_notebook


@pytest.fixture(scope="module")
def notebook() -> Any:
    """The notebook as it is committed."""
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def double() -> Iterator[ApiDouble]:
    """One server for one run of the notebook."""
    with api_double(ApiDouble()) as running:
        yield running


def test_it_holds_no_output_and_no_key(notebook: Any) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert not re.search(r"sk-[0-9A-Za-z]{10}", NOTEBOOK.read_text(encoding="utf-8"))


def test_forms_offer_what_the_interface_takes(notebook: Any) -> None:
    source = next(cell.source for cell in notebook.cells if cell.id == "text")
    offered = {
        name: [option for option in json.loads(f"[{options}]") if option]
        for name, options in re.findall(r"^(\w+) = .*# @param \[(.*)\]$", source, re.MULTILINE)
    }
    assert set(offered["aspect_ratio"]) == set(get_args(Ratio))
    assert set(offered["style_preset"]) == set(get_args(StylePreset))
    assert set(offered["model"]) <= set(get_args(Model))
    assert set(offered["output_format"]) == {"png", "jpeg", "webp"}


def test_every_field_of_text_to_image_is_on_the_form(notebook: Any) -> None:
    source = next(cell.source for cell in notebook.cells if cell.id == "text")
    fields = set(re.findall(r"^(\w+) = .*# @param", source, re.MULTILINE))
    assert fields == {
        "prompt",
        "negative_prompt",
        "model",
        "aspect_ratio",
        "seed",
        "cfg_scale",
        "style_preset",
        "output_format",
    }


def test_it_runs_from_top_to_bottom(double: ApiDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = run_notebook(tmp_path, monkeypatch, double.base_url, KEY)
    check_notebook(printed, tmp_path, is_free=True)
    made = [asked for asked in double.asked if asked.path.startswith("/v2beta")]
    assert [asked.path.partition("/stable-image/")[2] for asked in made] == [
        "generate/sd3",
        "generate/sd3",
        "generate/sd3",
        "edit/inpaint",
        "generate/sd3",
        "generate/sd3",
        "generate/sd3",
        "generate/sd3",
    ]
    assert set(made[3].files) == {"image", "mask"}
