"""Whole graphs of picture and mask nodes: from files to files that carry the graph, and again from these."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, cast

import numpy as np
from PIL import Image

from keelbill.graph.cache import Cache
from keelbill.graph.context import Context
from keelbill.graph.drawing import to_workflow
from keelbill.graph.execute import Executor, NodeOutput
from keelbill.graph.registry import load_builtin
from keelbill.graph.validate import validate
from keelbill.graph.workflow import to_prompt
from keelbill.imaging.workflows import read_texts
from support.graphnodes import Desk

NODES = load_builtin()


class Album:
    """One picture that exists."""

    def names(self, folder: str) -> list[str]:
        return []

    def has(self, folder: str, name: str) -> bool:
        return (folder, name) == ("input", "cat.png")


@dataclass
class Ear:
    recalled: list[str] = field(default_factory=list)
    outputs: dict[str, NodeOutput] = field(default_factory=dict)

    def cached(self, nodes: Sequence[str]) -> None:
        self.recalled += nodes

    def started(self, node: str, display: str) -> None:
        pass

    def output(self, node: str, display: str, output: NodeOutput, *, is_cached: bool) -> None:
        self.outputs[node] = output

    def finished(self, node: str, display: str) -> None:
        pass


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def cat() -> bytes:
    """Return a picture whose right half is transparent."""
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[:, :4, 3] = 255
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


# The cat is laid on blue where it is not transparent, enlarged, and its mask is looked at.
GRAPH = {
    "1": node("LoadImage", image="cat.png", upload="image"),
    "2": node("EmptyImage", width=8, height=8, batch_size=1, color="255"),
    "3": node("InvertMask", mask=["1", 1]),
    "4": node("ImageCompositeMasked", destination=["2", 0], source=["1", 0], x=0, y=0, resize_source=False,
              mask=["3", 0]),
    "5": node("ImageScaleBy", image=["4", 0], upscale_method="nearest-exact", scale_by=2),
    "6": node("PrimitiveInt", value=1),
    "7": node("GrowMask", mask=["1", 1], expand=["6", 0], tapered_corners=False),
    "8": node("MaskToImage", mask=["7", 0]),
    "9": node("PreviewImage", images=["8", 0]),
    "10": node("SaveImage", images=["5", 0], filename_prefix="cats/%width%"),
    "11": node("GetImageSize", image=["5", 0]),
    "12": node("PreviewAny", source=["11", 1]),
}  # fmt: skip


def run(graph: dict[str, Any], cache: Cache, extra: dict[str, Any] | None = None) -> Ear:
    valid = validate(graph, NODES, Album())
    assert valid.node_errors == {}
    ear, desk = Ear(), Desk({"cat.png": cat()})
    executor = Executor(cache, listener=ear)
    executor.run(
        valid.graph, valid.outputs, context=lambda _: cast(Context, desk), extra=extra, digests={"cat.png": "digest"}
    )
    return ear


def pixels(content: bytes) -> list[Any]:
    return list(np.asarray(Image.open(BytesIO(content))).tolist())


def test_from_a_file_to_files() -> None:
    ear = run(GRAPH, Cache())

    (saved,) = ear.outputs["10"].files
    (shown,) = ear.outputs["9"].files
    assert (saved.prefix, saved.kind, shown.kind) == ("cats/16", "output", "temp")
    assert pixels(saved.content) == [[[200, 0, 0]] * 8 + [[0, 0, 255]] * 8] * 16
    assert pixels(shown.content) == [[[0, 0, 0]] * 3 + [[255, 255, 255]] * 5] * 8
    assert ear.outputs["12"].shown == {"text": ["16"]}


def test_a_saved_picture_runs_again() -> None:
    first = run(GRAPH, Cache()).outputs["10"].files[0].content

    graph = json.loads(read_texts(first)["prompt"])
    again = run(graph, Cache()).outputs["10"].files[0].content

    assert again == first


def test_a_saved_pictures_workflow_runs_again() -> None:
    extra = {"workflow": to_workflow(GRAPH, NODES)}
    first = run(GRAPH, Cache(), extra).outputs["10"].files[0].content

    workflow = json.loads(read_texts(first)["workflow"])
    graph = to_prompt(workflow, NODES, Album())
    again = run(graph, Cache(), extra).outputs

    (kept,) = (out.files[0] for out in again.values() if out.files and out.files[0].kind == "output")
    assert pixels(kept.content) == pixels(first)


def test_the_second_time_everything_is_known() -> None:
    cache = Cache()
    first = run(GRAPH, cache)

    second = run(GRAPH, cache)

    assert set(GRAPH) - set(second.recalled) == set()
    assert second.outputs["10"].key == first.outputs["10"].key


def test_pictures_for_the_socket_are_sent_each_time() -> None:
    graph = {"1": GRAPH["2"], "2": node("SaveImageWebsocket", images=["1", 0])}
    cache = Cache()
    run(graph, cache)

    assert run(graph, cache).recalled == ["1"]
