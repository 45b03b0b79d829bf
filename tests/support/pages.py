"""The pages on the client, run as they stand; and what they promise, whichever server answers."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from keelbill.client import Picture
from keelbill.client.target import KEY_VARIABLES

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "sd3_api.ipynb"
COST_WITHOUT_SDK = 6.5 + 4 + 4 + 5


def run_page(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, url: str, key: str) -> dict[str, Any]:
    """Run all Python of a page, in a folder and with server and key in the environment."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KEELBILL_BASE_URL", url)
    monkeypatch.setenv("KEELBILL_API_KEY", key)
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile("\n".join(blocks), page.name, "exec"), names)  # noqa: S102 - our own pages
    return names


def check_sdk_tutorial(names: dict[str, Any], folder: Path, out: str) -> None:
    """Check what the tutorial promises."""
    assert isinstance(names["picture"], Picture)
    assert (folder / "apple.png").read_bytes() == names["picture"].data
    assert (folder / "wide.webp").exists()
    assert names["wide"].seed == 7
    assert names["recipe"].prompt == "a red apple on a white background"
    assert names["recipe"].seed == names["picture"].seed
    assert names["green"].data != names["picture"].data
    assert names["leaf"].to_pil().size == names["picture"].to_pil().size
    assert names["streamed"].seed == 7
    assert "done 7\n" in out
    assert re.search(r"^aspect_ratio: ", out, re.MULTILINE)
    assert names["seeds"] == [1, 2]


def check_first_call(names: dict[str, Any], folder: Path, out: str) -> None:
    """Check what the page on the first call promises."""
    assert (folder / "apple-too.png").read_bytes() == names["answer"].content
    assert "7 SUCCESS\n" in out
    assert "400 bad_request\n" in out
    assert re.search(r"^prompt: required", out, re.MULTILINE)
    assert re.search(r"^aspect_ratio: ", out, re.MULTILINE)


def run_notebook(folder: Path, monkeypatch: pytest.MonkeyPatch, server: str, key: str) -> dict[str, str]:
    """Run the notebook in a folder; returns what each cell printed, by the cell's id."""
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KEELBILL_BASE_URL", server)
    monkeypatch.setenv("KEELBILL_API_KEY", key)
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    copied = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(copied, timeout=120, kernel_name="python3", resources=place)
    done = client.execute()
    assert key not in json.dumps(done)
    return {
        cell.id: "".join(output.get("text", "") or f"<{min(output['data'])}>\n" for output in cell.outputs)
        for cell in done.cells
        if cell.cell_type == "code"
    }


def check_notebook(printed: dict[str, str], folder: Path, *, is_free: bool = False) -> None:
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
    for cell in ("text", "turbo", "image", "inpaint", "sdk"):
        assert "<image/png>" in printed[cell], "the picture is shown below the cell"
    names = {path.name for path in (folder / "pictures").iterdir()}
    assert {"apple-7.png", "yellow-7.png", "leaf-7.png", "mask.png", "sdk.png"} <= names
    assert len(names) == 6, "the quick one has a seed of its own"
    sizes = {Image.open(BytesIO((folder / "pictures" / name).read_bytes())).size for name in names}
    assert len(sizes) == 1
