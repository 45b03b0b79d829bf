"""The notebook runs from top to bottom without a person, against a server, and holds no output and no key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from keelbill.client.forms import Model, Ratio, StylePreset
from keelbill.client.target import KEY_VARIABLES
from support.apidouble import KEY, ApiDouble, api_double

COST_WITHOUT_SDK = 6.5 + 4 + 4 + 5
PATH = Path(__file__).parents[2] / "notebooks" / "sd3_api.ipynb"


@pytest.fixture(scope="module")
def notebook() -> Any:
    """The notebook as it is committed."""
    return nbformat.read(PATH, as_version=4)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def double() -> Iterator[ApiDouble]:
    """One server for one run of the notebook."""
    with api_double(ApiDouble()) as running:
        yield running


def run(notebook: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, server: str, key: str) -> dict[str, str]:
    """Run the notebook in a folder; returns what each cell printed."""
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KEELBILL_BASE_URL", server)
    monkeypatch.setenv("KEELBILL_API_KEY", key)
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    copied = nbformat.from_dict(notebook)  # type: ignore[no-untyped-call]
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(copied, timeout=120, kernel_name="python3", resources=place)
    done = client.execute()
    assert KEY not in json.dumps(done)
    return {
        cell.id: "".join(output.get("text", "") for output in cell.outputs)
        for cell in done.cells
        if cell.cell_type == "code"
    }


def check_run(printed: dict[str, str], folder: Path, *, is_free: bool = False) -> None:
    """Check what any server must have done."""
    assert re.fullmatch(r"[\d.]+ credits\n", printed["balance"])
    assert "apple-7.png  seed 7  SUCCESS" in printed["text"]
    left = [float(number) for number in re.findall(r"[\d.]+", printed["spent"])]
    assert left[0] - left[1] == (0 if is_free else COST_WITHOUT_SDK)
    first, second, third = printed["errors"].strip().split("\n")
    assert first.startswith("400 bad_request: aspect_ratio: ")
    assert second.startswith("400 bad_request: ")
    assert "prompt: required" in second
    assert "model: " in second
    assert third.startswith("401 unauthorized: ")
    assert "Look for a typo in the key." in third
    assert "seed 7, SUCCESS, 4 credits" in printed["sdk"]
    assert "aspect_ratio: " in printed["sdk"]
    names = {path.name for path in (folder / "pictures").iterdir()}
    assert {"apple-7.png", "yellow-7.png", "leaf-7.png", "mask.png", "sdk.png"} <= names
    assert len(names) == 6, "the quick one has a seed of its own"
    sizes = {Image.open(BytesIO((folder / "pictures" / name).read_bytes())).size for name in names}
    assert len(sizes) == 1


def test_it_holds_no_output_and_no_key(notebook: Any) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert not re.search(r"sk-[0-9A-Za-z]{10}", PATH.read_text(encoding="utf-8"))


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


def test_it_runs_from_top_to_bottom(
    notebook: Any, double: ApiDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = run(notebook, tmp_path, monkeypatch, double.base_url, KEY)
    check_run(printed, tmp_path, is_free=True)
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
