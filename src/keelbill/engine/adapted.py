"""Lends a model with adapters in its weights, and takes them out again. Knows files, not where they are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from keelbill.engine.lora import load_lora, merge_into, restore
from keelbill.engine.model import Model
from keelbill.engine.naming import Part, Shapes
from keelbill.engine.sd3text import SD3TextEncoder
from keelbill.engine.text import CachedTextEncoder


@dataclass(frozen=True)
class Adapter:
    """A LoRA file and how strongly it is added; below 0 it is taken away."""

    path: Path
    strength: float = 1.0


@contextmanager
def adapted(model: Model, adapters: Sequence[Adapter]) -> Iterator[Model]:
    """Add adapters to a model's weights for a while.

    The model that is lent has a hash of its own, so that a picture records that other weights made it.

    Args:
        model: Changed in place, and as before when the context ends.
        adapters: In order; several add up.

    Raises:
        BadWeights: A file is no LoRA, or was made for another model; then nothing is changed.
        UnsafeFile: A file is a pickle.
    """
    if not adapters:
        yield model
        return
    text = model.text.encoder if isinstance(model.text, CachedTextEncoder) else model.text
    encoders = text.networks if isinstance(text, SD3TextEncoder) else {}
    networks: dict[Part, nn.Module] = {Part.TRANSFORMER: model.transformer, **encoders}
    shapes = {part: _shapes(network) for part, network in networks.items()}
    loras = [(load_lora(adapter.path, shapes), adapter.strength) for adapter in adapters]
    digest = hashlib.sha256(model.hash.encode())
    for adapter in adapters:
        digest.update(_digest(adapter.path) + repr(adapter.strength).encode())
    if isinstance(text, SD3TextEncoder):
        text = text.changed(loras)
    befores = []
    try:
        for lora, strength in loras:
            befores.append(merge_into(model.transformer, lora.get(Part.TRANSFORMER, {}), strength))
        yield replace(model, text=text, hash=digest.hexdigest())
    finally:
        for before in reversed(befores):
            restore(model.transformer, before)


def _shapes(network: nn.Module) -> Shapes:
    return {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
