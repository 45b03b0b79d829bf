"""What travels along MODEL, CLIP, VAE and their kin: small descriptions that are opened where the work is done.

A handle of an installed model holds its name and not its networks, so that remembered results keep no model in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import torch

from keelbill.core.errors import BadWeights
from keelbill.engine.config import SD3_LATENTS, LatentFormat
from keelbill.engine.lora import Lora
from keelbill.engine.mmdit import LowRankUpdate, MMDiT
from keelbill.engine.model import Autoencoder, Model, TextEncoder
from keelbill.engine.naming import Part
from keelbill.engine.schedules import sigma_at_percent

if TYPE_CHECKING:
    from torch import Tensor

    from keelbill.engine.control import ControlNet
    from keelbill.engine.preview import LinearPreview
    from keelbill.engine.upscale import Enlarger
    from keelbill.graph.context import Models

PUBLISHED_SIDE: Final = 1024
"""Side of the square picture for which the published models were trained."""

PUBLISHED_SHIFT: Final = 3.0


@dataclass(frozen=True)
class Installed:
    """An installed model, or the part of one, by the name that a graph uses.

    Args:
        folder: ``checkpoints``, ``diffusion_models``, ``text_encoders`` or ``vae``.
        name: In that folder.
    """

    folder: str
    name: str

    size_bytes: Final = 0

    def open(self, models: Models) -> Model:
        """Return the model.

        Raises:
            UnknownModel: It is not installed any more.
        """
        if self.folder == "checkpoints":
            return models.checkpoint(self.name)
        model = models.stand_in(self.folder, self.name)
        if model is None:
            raise BadWeights(f"{self.name} is no model any more.", hint="Run the graph again.")
        return model


@dataclass(frozen=True)
class Painter:
    """A transformer and how it is sampled.

    Args:
        transformer: The network.
        latents: What it takes raw latents for.
        shift: Of the noise levels, unless a graph changes it.
        native_side: Side of the square picture that it was trained for, in pixels.
        preview: Quick colours, if there are.
    """

    transformer: MMDiT
    latents: LatentFormat = SD3_LATENTS
    shift: float = PUBLISHED_SHIFT
    native_side: int = PUBLISHED_SIDE
    preview: LinearPreview | None = None

    @property
    def size_bytes(self) -> int:
        """What the network holds in memory."""
        return module_bytes(self.transformer)


@dataclass(frozen=True)
class SkipLayers:
    """Guidance by leaving out blocks.

    Args:
        layers: Which.
        scale: How strongly.
        start: Part of the run at which it begins, 0 to 1.
        end: Part at which it ends.
        rescale: How far the spread is brought back, 0 to 10.
    """

    layers: frozenset[int]
    scale: float
    start: float
    end: float
    rescale: float = 0.0


@dataclass(frozen=True)
class ModelHandle:
    """A MODEL: which transformer, and what a graph changed about it.

    Args:
        source: Where it is.
        loras: Changes of its linear layers, with strengths, in order.
        shift: Of the noise levels; nothing means the model's own.
        skip: Guidance by leaving out blocks.
        rescale: How far guided estimates are brought back to the unguided spread; 0 switches it off.
        release: How much of a soft mask's places is released one after the other; 0 switches it off.
        apart: Strength of perturbed-attention guidance; 0 switches it off.
    """

    source: Installed | Painter
    loras: tuple[tuple[Lora, float], ...] = ()
    shift: float | None = None
    skip: SkipLayers | None = None
    rescale: float = 0.0
    release: float = 0.0
    apart: float = 0.0

    def open(self, models: Models) -> Painter:
        """Return the transformer, with the noise levels that the graph chose."""
        painter = self.source
        if isinstance(painter, Installed):
            model = painter.open(models)
            painter = Painter(model.transformer, model.latents, model.defaults.shift, model.native_side, model.preview)
        return painter if self.shift is None else replace(painter, shift=self.shift)

    def update(self) -> LowRankUpdate | None:
        """Return the changes of its linear layers as one."""
        factors: dict[str, tuple[Tensor, Tensor]] = {}
        for lora, strength in self.loras:
            for name, layer in lora.get(Part.TRANSFORMER, {}).items():
                down, up = layer.factors(strength)
                if name in factors:
                    down, up = torch.cat([factors[name][0], down]), torch.cat([factors[name][1], up], dim=1)
                factors[name] = down, up
        return LowRankUpdate(factors) if factors else None

    @property
    def size_bytes(self) -> int:
        """What it holds in memory."""
        return self.source.size_bytes + sum(lora_bytes(lora) for lora, _ in self.loras)


@dataclass(frozen=True)
class Coder:
    """An autoencoder and the size of picture that it was trained for."""

    autoencoder: Autoencoder
    native_side: int = PUBLISHED_SIDE

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        network = self.autoencoder
        first = next(network.parameters(), None) if isinstance(network, torch.nn.Module) else None
        return torch.device("cpu") if first is None else first.device

    @property
    def size_bytes(self) -> int:
        """What the network holds in memory."""
        network = self.autoencoder
        return module_bytes(network) if isinstance(network, torch.nn.Module) else 0


@dataclass(frozen=True)
class VaeHandle:
    """A VAE: which autoencoder."""

    source: Installed | Coder

    def open(self, models: Models) -> Coder:
        """Return the autoencoder."""
        if isinstance(self.source, Coder):
            return self.source
        model = self.source.open(models)
        return Coder(model.autoencoder, model.native_side)

    @property
    def size_bytes(self) -> int:
        """What it holds in memory."""
        return self.source.size_bytes


@dataclass(frozen=True)
class Reader:
    """A text encoder of a graph's own."""

    encoder: TextEncoder
    size_bytes: int = 0


@dataclass(frozen=True)
class ClipHandle:
    """A CLIP: which text encoder, and what a graph changed about it.

    Args:
        source: Where it is.
        loras: Changes of its linear layers, with strengths, in order.
        stop: Layer of the CLIP networks whose states are used, counted from the last one, -1; nothing means as trained.
    """

    source: Installed | Reader
    loras: tuple[tuple[Lora, float], ...] = field(default=())
    stop: int | None = None

    def open(self, models: Models) -> TextEncoder:
        """Return the text encoder as it is without the graph's changes."""
        return self.source.encoder if isinstance(self.source, Reader) else self.source.open(models).text

    @property
    def size_bytes(self) -> int:
        """What it holds in memory."""
        return self.source.size_bytes + sum(lora_bytes(lora) for lora, _ in self.loras)


@dataclass(frozen=True)
class ControlHandle:
    """A CONTROL_NET: a network that steers another by a picture."""

    network: ControlNet

    @property
    def size_bytes(self) -> int:
        """What the network holds in memory."""
        return module_bytes(self.network)


@dataclass(frozen=True)
class UpscalerHandle:
    """An UPSCALE_MODEL: a network that enlarges pictures."""

    network: Enlarger

    @property
    def size_bytes(self) -> int:
        """What the network holds in memory."""
        return module_bytes(self.network) if isinstance(self.network, torch.nn.Module) else 0


@dataclass(frozen=True)
class Noise:
    """A NOISE: drawn from a seed, or none at all.

    Args:
        seed: 0 to 2**64 - 1; nothing means no noise.
    """

    seed: int | None


@dataclass(frozen=True)
class Guider:
    """A GUIDER: a model, what it follows and how strongly.

    Args:
        model: Who paints.
        positive: What to paint.
        negative: What to avoid; nothing means no guidance.
        cfg: 0 to 100; at 1 the negative prompt does not count.
    """

    model: ModelHandle
    positive: list[list[Any]]
    negative: list[list[Any]] | None = None
    cfg: float = 1.0


@dataclass(frozen=True)
class SamplerHandle:
    """A SAMPLER, by its name."""

    name: str


def sigma_at(percent: float, shift: float) -> float:
    """Return the noise level when a part of the run, 0 to 1, has passed."""
    return 1.0 if percent <= 0 else 0.0 if percent >= 1 else sigma_at_percent(percent, shift)


def module_bytes(network: torch.nn.Module) -> int:
    """Return what a network's weights hold in memory."""
    return sum(t.numel() * t.element_size() for t in (*network.parameters(), *network.buffers()))


def lora_bytes(lora: Lora) -> int:
    """Return what a change of linear layers holds in memory."""
    return sum(t.nbytes for layers in lora.values() for each in layers.values() for t in (each.down, each.up))
