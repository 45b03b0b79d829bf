"""Graphs in a worker: news in order, the shared batch, interrupts, failures, and what is not paid for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from keelbill.core.errors import InvalidInput
from keelbill.engine.pipeline import GenerationRequest, Pipeline
from keelbill.graph.context import Context
from keelbill.graph.execute import Executor
from keelbill.graph.node import Input, NewFile, Node, Output, Result, integer, socket, text
from keelbill.imaging.decode import ImageFormat, decode
from keelbill.imaging.encode import encode, to_pixels
from keelbill.serving import graph_run
from keelbill.serving.messages import (
    Cancel,
    Cancelled,
    Failed,
    GraphNews,
    GraphTask,
    ImageTask,
    JobSpec,
    Run,
    Started,
    Succeeded,
)
from support import models
from support.pools import small_job

from .test_worker import Room, working


class Paint(Node):
    name = "Paint"
    inputs = (text("prompt"), integer("seed"), integer("steps", 2, 1, 1000))
    outputs = (Output("IMAGE"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        model = context.models.checkpoint("tiny")
        pipeline = Pipeline(model)
        request = GenerationRequest(
            values["prompt"], width=32, height=32, seed=values["seed"], steps=values.get("steps", 2)
        )
        (latents,) = context.sample(model.transformer, [pipeline.prepare(request)], preview=model.preview)
        return (pipeline.decode(latents).movedim(0, -1)[None],)


class Load(Node):
    name = "Load"
    inputs = (text("image"),)
    outputs = (Output("IMAGE"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        pixels = decode(context.read(values["image"]), max_bytes=2**20)
        return (torch.from_numpy(pixels[None] / np.float32(255)),)


class Redo(Node):
    name = "Redo"
    inputs = (socket("image", "IMAGE"),)
    outputs = (Output("IMAGE"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        task = ImageTask(model="tiny", prompt="again", image="0", strength=0.5, steps=2, seed=3)
        return (context.paint(task, [values["image"][0]])[None],)


class Save(Node):
    name = "Save"
    inputs: ClassVar[tuple[Input, ...]] = (socket("images", "IMAGE"),)
    is_output = True

    def run(self, context: Context, **values: Any) -> Result:
        pixels = to_pixels(context.moderate(values["images"])[0].movedim(-1, 0).numpy())
        return Result(files=(NewFile(encode(pixels, ImageFormat.PNG), "image/png", "picture"),), shown={"text": ["x"]})


class Refuse(Node):
    name = "Refuse"
    inputs = (socket("images", "IMAGE"),)
    is_output = True

    def run(self, context: Context, **values: Any) -> Result:
        raise InvalidInput("width", 3, "a multiple of 8")


NODES: dict[str, type[Node]] = {each.name: each for each in (Paint, Load, Redo, Save, Refuse)}


class Shelf:
    """Every name is an installed model's."""

    def find(self, folder: str, name: str) -> Any:
        return type("Found", (), {"model": name, "path": None})()


@pytest.fixture(autouse=True)
def own_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_run, "Executor", partial(Executor, nodes=NODES))


def graph_job(
    name: str, graph: dict[str, Any], outputs: Sequence[str], tenant: str = "a", files: dict[str, str] | None = None
) -> JobSpec:
    task = ImageTask(
        kind="graph",
        graph=GraphTask(prompt=json.dumps(graph), outputs=tuple(outputs), tenant=tenant, files=files or {}),
        previews=True,
        seed=9,
    )
    return JobSpec(job_id=name, org_id="a", task=task)


def paint_and_save(seed: int = 7, steps: int = 2) -> dict[str, Any]:
    return {
        "1": {"class_type": "Paint", "inputs": {"prompt": "a cat", "seed": seed, "steps": steps}},
        "2": {"class_type": "Save", "inputs": {"images": ["1", 0]}},
    }


@pytest.fixture
def room() -> Room:
    made = Room()
    made.worker.graphs.shelves = Shelf()  # type: ignore[assignment]
    return made


def news(room: Room, name: str) -> list[GraphNews]:
    return [event for event in room.of(name) if isinstance(event, GraphNews)]


def saved(room: Room, name: str) -> bytes:
    (output,) = [each for each in news(room, name) if each.kind == "output"]
    return output.files[0].content


def test_news_come_in_order_and_the_picture_with_them(room: Room) -> None:
    with working(room):
        room.worker.inbox.put(Run(graph_job("g", paint_and_save(), ["2"])))
        room.done("g")
    events = room.of("g")
    assert isinstance(events[0], Started)
    kinds = [(each.kind, each.node) for each in news(room, "g")]
    assert kinds[0] == ("cached", "")
    assert [kind for kind in kinds if kind[0] != "progress"][1:] == [
        ("node", "1"),
        ("done", "1"),
        ("node", "2"),
        ("output", "2"),
        ("done", "2"),
    ]
    steps = [each for each in news(room, "g") if each.kind == "progress"]
    assert [(each.value, each.total) for each in steps] == [(1, 2), (2, 2)]
    assert steps[0].image is not None
    end = events[-1]
    assert isinstance(end, Succeeded)
    assert end.is_billable
    (output,) = [each for each in news(room, "g") if each.kind == "output"]
    assert (output.files[0].width, output.files[0].height) == (32, 32)
    assert json.loads(output.shown) == {"text": ["x"]}


def test_a_second_run_is_known_already_and_costs_nothing(room: Room) -> None:
    with working(room):
        room.worker.inbox.put(Run(graph_job("first", paint_and_save(), ["2"])))
        room.done("first")
        room.worker.inbox.put(Run(graph_job("second", paint_and_save(), ["2"])))
        room.worker.inbox.put(Run(graph_job("stranger", paint_and_save(), ["2"], tenant="b")))
        room.done("second", "stranger")
    assert news(room, "second")[0].nodes == ("1", "2")
    assert saved(room, "second") == saved(room, "first")
    assert not room.picture("second").is_billable
    assert news(room, "stranger")[0].nodes == ()
    assert room.picture("stranger").is_billable


def test_a_graph_and_plain_jobs_share_the_batch_without_changing_a_picture(room: Room) -> None:
    model = models.model()
    request = GenerationRequest("a cat", width=32, height=32, seed=7, steps=6)
    alone = to_pixels(Pipeline(model).picture(request).numpy())
    with working(room):
        for place in range(3):
            room.worker.inbox.put(Run(small_job(f"plain-{place}", steps=8, seed=place)))
        room.worker.inbox.put(Run(graph_job("g", paint_and_save(steps=6), ["2"])))
        room.done("g", "plain-0", "plain-1", "plain-2")
    assert np.array_equal(decode(saved(room, "g"), max_bytes=2**20), alone)


def test_an_interrupt_ends_it_at_the_next_step(room: Room) -> None:
    with working(room):
        room.worker.inbox.put(Run(graph_job("g", paint_and_save(steps=1000), ["2"])))
        room.wait(lambda: [each for each in news(room, "g") if each.kind == "progress"])
        room.worker.inbox.put(Cancel("g", "the user"))
        room.done("g")
        assert len(room.studios.get("tiny").batch) == 0
    assert room.end("g") == Cancelled("the user")


def test_a_failing_node_is_named(room: Room) -> None:
    graph = paint_and_save() | {"3": {"class_type": "Refuse", "inputs": {"images": ["1", 0]}}}
    with working(room):
        room.worker.inbox.put(Run(graph_job("g", graph, ["2", "3"])))
        room.done("g")
    end = room.end("g")
    assert isinstance(end, Failed)
    assert end.code == "invalid_input"
    detail = json.loads(end.detail)
    assert (detail["node_id"], detail["node_type"], detail["exception_type"]) == ("3", "Refuse", "InvalidInput")
    assert saved(room, "g")


def test_inputs_are_read_by_the_names_of_the_graph(room: Room) -> None:
    graph = {
        "1": {"class_type": "Load", "inputs": {"image": "cat.png"}},
        "2": {"class_type": "Redo", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "Save", "inputs": {"images": ["2", 0]}},
        "4": {"class_type": "Load", "inputs": {"image": "other.png"}},
        "5": {"class_type": "Save", "inputs": {"images": ["4", 0]}},
    }
    with working(room):
        room.worker.inbox.put(Run(graph_job("g", graph, ["3"], files={"cat.png": "grey"})))
        room.worker.inbox.put(Run(graph_job("h", graph, ["5"], files={"cat.png": "grey"})))
        room.done("g", "h")
    assert decode(saved(room, "g"), max_bytes=2**20).shape == (48, 80, 3)
    end = room.end("h")
    assert isinstance(end, Failed)
    assert end.code == "not_found"
    assert "other.png" in end.message


class Hungry(Node):
    name = "Hungry"
    outputs = (Output("IMAGE"),)
    tries: ClassVar[list[int]] = []

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        self.tries.append(1)
        if len(self.tries) == 1:
            raise MemoryError
        return (torch.zeros(1, 8, 8, 3),)


def test_when_memory_is_short_idle_models_make_room_once(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_run, "Executor", partial(Executor, nodes=NODES | {"Hungry": Hungry}))
    graph = {"1": {"class_type": "Hungry", "inputs": {}}, "2": {"class_type": "Save", "inputs": {"images": ["1", 0]}}}
    with working(room):
        assert room.studios.has("tiny")
        room.worker.inbox.put(Run(graph_job("g", graph, ["2"])))
        room.done("g")
        assert not room.studios.has("tiny")
    assert len(Hungry.tries) == 2
    assert saved(room, "g")
