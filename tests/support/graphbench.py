"""A workplace for the nodes of a graph that needs no worker: models by name, pictures, one batch per call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from keelbill.core.errors import NotFound, UnknownModel
from keelbill.engine.batch import Batch, Failed, Finished, Sampling
from keelbill.engine.esrgan import build_esrgan
from keelbill.engine.loader import load_model
from keelbill.engine.mmdit import MMDiT
from keelbill.engine.model import Model
from keelbill.engine.upscale import UPSCALER, Enlarger, load_upscaler
from keelbill.graph.cache import Cache
from keelbill.graph.context import Models
from keelbill.graph.execute import Executor
from keelbill.graph.node import ANY, Node, socket
from keelbill.graph.registry import load_builtin
from keelbill.models import embedded_folder
from keelbill.serving.messages import ImageTask


@lru_cache(maxsize=2)
def embedded(name: str = "keelbill-mini") -> Model:
    """Load a model that ships with the program."""
    return load_model(embedded_folder(name), name=name)


@dataclass
class Shelf:
    """Installed models and files, as `keelbill.graph.context.Models`.

    Args:
        models: By their names in `checkpoints`.
        parts: Models for which names in other folders stand, by (folder, name).
        files: Tensors by (folder, name).
        tokenizers: Content of tokeniser files by the name of the T5 file.
    """

    models: Mapping[str, Model] = field(default_factory=dict)
    parts: Mapping[tuple[str, str], Model] = field(default_factory=dict)
    files: Mapping[tuple[str, str], dict[str, Tensor]] = field(default_factory=dict)
    tokenizers: Mapping[str, str] = field(default_factory=dict)

    def checkpoint(self, name: str) -> Model:
        if name not in self.models:
            raise UnknownModel("checkpoint", name, self.models)
        return self.models[name]

    def stand_in(self, folder: str, name: str) -> Model | None:
        return self.parts.get((folder, name))

    def tensors(self, folder: str, name: str) -> dict[str, Tensor]:
        if (folder, name) not in self.files:
            raise UnknownModel(f"file in {folder}", name, [file for place, file in self.files if place == folder])
        return dict(self.files[folder, name])

    def tokenizer(self, name: str) -> str:
        return self.tokenizers[name]

    def upscaler(self, name: str) -> Enlarger:
        if ("upscale_models", name) in self.files:
            return build_esrgan(self.files["upscale_models", name], dtype=torch.float32)
        if name.removesuffix(".safetensors") != UPSCALER:
            raise UnknownModel("upscaler", name, [UPSCALER])
        return load_upscaler()


@dataclass
class Workbench:
    """What a node reaches, as `keelbill.graph.context.Context`; all nodes share one."""

    models: Models = field(default_factory=Shelf)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    node_id: str = "1"
    writes_metadata: bool = True
    steps: list[tuple[int, int]] = field(default_factory=list)
    samplings: list[Sampling] = field(default_factory=list)
    neighbours: Sequence[Sampling] = ()

    def read(self, name: str) -> bytes:
        if name not in self.pictures:
            raise NotFound(f"There is no picture {name!r}.")
        return self.pictures[name]

    def sample(self, transformer: MMDiT, samplings: Sequence[Sampling], *, preview: Any = None) -> list[Tensor]:
        """Denoise in a batch with neighbours that come from elsewhere."""
        self.samplings += samplings
        batch = Batch(transformer, token_budget=600)
        tickets = [batch.admit(sampling) for sampling in samplings]
        for neighbour in self.neighbours:
            batch.admit(neighbour)
        done: dict[int, Tensor] = {}
        for event in batch.run():
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Finished):
                done[event.ticket] = event.latents
        return [done[ticket] for ticket in tickets]

    def paint(self, task: ImageTask, images: Sequence[Tensor] = ()) -> Tensor:
        raise NotImplementedError("this workbench paints with graphs only")

    def remote(self) -> Callable[[str, dict[str, str], dict[str, bytes]], bytes] | None:
        return None

    def progress(self, value: int, total: int, image: bytes | None = None) -> None:
        self.steps.append((value, total))

    def moderate(self, pixels: Tensor) -> Tensor:
        return pixels


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """Write a node in the API format."""
    return {"class_type": kind, "inputs": inputs}


def evaluate(
    graph: Mapping[str, Any], target: str, bench: Workbench, *, cache: Cache | None = None, slot: int = 0
) -> Any:
    """Run what an output of a node needs, and return it."""
    kept: list[Any] = []

    class Keep(Node):
        name = "Keep"
        is_output = True
        is_idempotent = False
        inputs = (socket("value", ANY),)

        def run(self, context: Any, **values: Any) -> tuple[Any, ...]:
            kept.append(values["value"])
            return ()

        @classmethod
        def change_token(cls, literals: Mapping[str, Any], files: Mapping[str, str]) -> float:
            return float("nan")

    executor = Executor(cache if cache is not None else Cache(), nodes={**load_builtin(), "Keep": Keep})
    with torch.inference_mode():
        executor.run({**graph, "keep": node("Keep", value=[target, slot])}, ["keep"], context=lambda name: bench)
    return kept[0]
