"""Workflows with a real worker and the model that ships with the program, and a pack of nodes that is enabled."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from keelbill.core.settings import Settings
from keelbill.graph import packs, registry
from keelbill.imaging.workflows import read_texts
from keelbill.serving.local import local_pool
from support.graphdoors import picture, text_to_image
from support.packs import EXAMPLE, EXAMPLE_NAME, EXAMPLE_NODES, install
from support.server import LiveServer

pytestmark = pytest.mark.slow
URL = "/v1/workflows/run"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with one worker process and the example pack."""
    folder = tmp_path_factory.mktemp("site")
    install(folder, EXAMPLE_NAME, "0.1.0", EXAMPLE_NODES, EXAMPLE / "src" / "keelbill_example_nodes")
    before = dict(registry.load_builtin())
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder))
        enabled = packs.with_pack("", packs.find(packs.installed(), EXAMPLE_NAME))
        home = tmp_path_factory.mktemp("home")
        settings: dict[str, Any] = {"home": home, "node_packs": enabled, "workers": 1, "moderation": "off"}
        server = LiveServer(pool=local_pool(Settings(**settings)), **settings)
        server.start()
        server.set_balance("1000")
        yield server
        server.stop()
    registry._NODES.clear()
    registry._NODES.update(before)


def run(live: LiveServer, graph: dict[str, Any], **more: Any) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {live.key}"}
    answer = httpx.post(live.url + URL, json={"workflow": graph, **more}, headers=headers, timeout=120)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def pixels(made: dict[str, Any], place: int = 0) -> Any:
    with Image.open(BytesIO(base64.b64decode(made["pictures"][place]["image"]))) as image:
        return np.asarray(image.convert("RGB"))


def test_picture_is_painted_and_carries_its_graph(live: LiveServer) -> None:
    made = run(live, text_to_image("a red apple", 3))
    assert pixels(made).shape == (512, 512, 3)
    assert pixels(made).std() > 5
    content = base64.b64decode(made["pictures"][0]["image"])
    assert '"KSampler"' in read_texts(content)["prompt"]
    headers = {"authorization": f"Bearer {live.key}", "content-type": "image/png"}
    again = httpx.post(live.url + URL, content=content, headers=headers, timeout=120).json()
    assert again["charged"] == "0", "everything about it is known already"
    assert np.array_equal(pixels(again), pixels(made))


def test_other_seed_is_another_picture(live: LiveServer) -> None:
    graph = text_to_image("a red apple", 3)
    one, other = run(live, graph), run(live, graph, inputs={"3.seed": 4})
    assert other["charged"] == "0.2"
    assert not np.array_equal(pixels(one), pixels(other))


def test_node_of_the_pack(live: LiveServer) -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
        "2": {"class_type": "Example Vignette", "inputs": {"image": ["1", 0], "strength": 1.0}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "dark"}},
    }
    white = base64.b64encode(picture(65, 65, (255, 255, 255))).decode()
    seen = pixels(run(live, graph, files={"1.image": white}))
    assert seen[32, 32].tolist() == [255, 255, 255]
    assert seen[0, 0].tolist() == [0, 0, 0]


def test_nodes_of_the_image_service_paint_here(live: LiveServer) -> None:
    graph = {
        "1": {
            "class_type": "Stability SD3",
            "inputs": {"model": "sd3.5-large-turbo", "prompt": "a lemon", "seed": 5, "api_key_override": "sk-typed"},
        },
        "2": {"class_type": "ImageScale", "inputs": {
            "image": ["1", 0], "upscale_method": "area", "width": 256, "height": 256, "crop": "disabled"}},
        "3": {"class_type": "Stability Fast Upscale", "inputs": {"image": ["2", 0]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "lemon"}},
    }  # fmt: skip
    made = run(live, graph)
    assert pixels(made).shape == (1024, 1024, 3)
    assert made["charged"] == "6", "4 for the picture, 2 for enlarging it"
    assert "sk-typed" not in str(read_texts(base64.b64decode(made["pictures"][0]["image"])))


def test_service_that_is_not_installed_says_so(live: LiveServer) -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
        "2": {"class_type": "Stability Remove Background", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "cut"}},
    }
    content = base64.b64encode(picture(80, 80)).decode()
    headers = {"authorization": f"Bearer {live.key}"}
    body = {"workflow": graph, "files": {"1.image": content}}
    answer = httpx.post(live.url + URL, json=body, headers=headers, timeout=120)
    assert answer.status_code == 501
    assert "no network that tells a subject from its background" in answer.json()["errors"][0]
