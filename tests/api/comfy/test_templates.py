"""Workflows to begin with: a catalogue whose workflows run as they come, with a picture each."""

from __future__ import annotations

import json
import time
from importlib import resources
from io import BytesIO

import pytest
from PIL import Image

from keelbill.api.comfy.models import FRESH_S
from keelbill.api.comfy.templates import catalogue, names
from keelbill.graph.registry import load_builtin
from keelbill.graph.workflow import to_prompt
from support.graphdoors import Client, GraphDoors

FOLDER = resources.files("keelbill.api.comfy").joinpath("templates")
ALL = names(catalogue())
RUNNABLE = [name for name in ALL if name != "lora"]


class AnyFile:
    def names(self, folder: str) -> list[str]:
        return []

    def has(self, folder: str, name: str) -> bool:
        return True


def test_catalogue(ada: Client) -> None:
    found = ada.get("/templates/index.json").json()
    assert ada.get("/templates/index.de.json").json() == found
    assert names(found) == RUNNABLE  # no LoRA is installed
    assert all(each["mediaType"] == "image" and each["models"] == [] for each in found[0]["templates"])


@pytest.mark.parametrize("name", RUNNABLE)
def test_workflow_runs(ada: Client, name: str) -> None:
    workflow = ada.get(f"/templates/{name}.json").json()
    prompt = to_prompt(workflow, load_builtin(), AnyFile())
    answer = ada.post("/prompt", {"prompt": prompt})
    assert answer.status_code == 200, answer.text
    assert answer.json()["node_errors"] == {}
    assert ada.ended(answer.json()["prompt_id"])["status"]["status_str"] == "success"


@pytest.mark.parametrize("name", RUNNABLE)
def test_picture(ada: Client, name: str) -> None:
    answer = ada.get(f"/templates/{name}-1.webp")
    assert answer.headers["content-type"] == "image/webp"
    assert max(Image.open(BytesIO(answer.content)).size) == 384


@pytest.mark.parametrize("name", ALL)
def test_workflow_names_no_model_host(name: str) -> None:
    text = FOLDER.joinpath(f"{name}.json").read_text()
    assert "http" not in text
    assert all("models" not in node.get("properties", {}) for node in json.loads(text)["nodes"])


@pytest.mark.parametrize("path", ["nonsense.json", "..%2Fcatalogue.json", "catalogue.json", "nonsense-1.webp"])
def test_nothing_else(ada: Client, path: str) -> None:
    assert ada.get(f"/templates/{path}").status_code == 404


def test_lora_is_offered_where_one_is_installed(graphs: GraphDoors, ada: Client) -> None:
    folder = graphs.live.settings.models_folder / "loras"
    folder.mkdir(parents=True)
    (folder / "my.safetensors").write_bytes(b"")
    deadline = time.monotonic() + 2 * FRESH_S
    while names(ada.get("/templates/index.json").json()) != ALL:
        assert time.monotonic() < deadline
        time.sleep(0.2)
