"""Workflows to begin with: a catalogue whose workflows run as they come, with a picture each."""

from __future__ import annotations

import json
import time
from importlib import resources
from io import BytesIO

import pytest
from PIL import Image

from keelbill.api.comfy.templates import NEEDS, catalogue, names
from keelbill.graph.registry import load_builtin
from keelbill.graph.validate import validate
from keelbill.graph.workflow import to_prompt
from support.graphdoors import Client, GraphDoors

FOLDER = resources.files("keelbill.api.comfy").joinpath("templates")
ALL = names(catalogue())
RUNNABLE = [name for name in ALL if name not in NEEDS]


class AnyFile:
    def names(self, folder: str) -> list[str]:
        return []

    def has(self, folder: str, name: str) -> bool:
        return True


def test_catalogue(ada: Client) -> None:
    found = ada.get("/templates/index.json").json()
    assert ada.get("/templates/index.de.json").json() == found
    assert names(found) == RUNNABLE  # neither LoRA nor ControlNet is installed
    assert all(each["mediaType"] == "image" and each["models"] == [] for each in found[0]["templates"])


@pytest.mark.parametrize("name", RUNNABLE)
def test_workflow_runs(ada: Client, name: str) -> None:
    workflow = ada.get(f"/templates/{name}.json").json()
    prompt = to_prompt(workflow, load_builtin(), AnyFile())
    answer = ada.post("/prompt", {"prompt": prompt})
    assert answer.status_code == 200, answer.text
    assert answer.json()["node_errors"] == {}
    assert ada.ended(answer.json()["prompt_id"])["status"]["status_str"] == "success"


@pytest.mark.parametrize("name", list(NEEDS))
def test_workflow_that_needs_a_file_is_right_but_for_it(name: str) -> None:
    prompt = to_prompt(json.loads(FOLDER.joinpath(f"{name}.json").read_text()), load_builtin(), AnyFile())
    assert validate(prompt, load_builtin(), AnyFile()).node_errors == {}


@pytest.mark.parametrize("name", ALL)
def test_picture(name: str) -> None:
    with Image.open(BytesIO(FOLDER.joinpath(f"{name}-1.webp").read_bytes())) as picture:
        assert (picture.format, max(picture.size)) == ("WEBP", 384)


def test_picture_over_the_route(ada: Client) -> None:
    assert ada.get("/templates/text_to_image-1.webp").headers["content-type"] == "image/webp"


@pytest.mark.parametrize("name", ALL)
def test_workflow_names_no_model_host(name: str) -> None:
    text = FOLDER.joinpath(f"{name}.json").read_text()
    assert "http" not in text
    assert all("models" not in node.get("properties", {}) for node in json.loads(text)["nodes"])


@pytest.mark.parametrize("path", ["nonsense.json", "..%2Fcatalogue.json", "catalogue.json", "nonsense-1.webp"])
def test_nothing_else(ada: Client, path: str) -> None:
    assert ada.get(f"/templates/{path}").status_code == 404


def test_the_rest_is_offered_where_its_files_are_installed(graphs: GraphDoors, ada: Client) -> None:
    for name in set(NEEDS.values()):
        folder = graphs.live.settings.models_folder / name
        folder.mkdir(parents=True)
        (folder / "my.safetensors").write_bytes(b"")
    deadline = time.monotonic() + 60
    while names(ada.get("/templates/index.json").json()) != ALL:
        assert time.monotonic() < deadline
        time.sleep(0.2)
