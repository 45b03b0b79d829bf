"""A model: its networks and how it likes to be sampled. Knows nothing of where it was loaded from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from keelbill.engine.conditioning import Conditioning
from keelbill.engine.config import SD3_LATENTS, LatentFormat
from keelbill.engine.mmdit import MMDiT
from keelbill.engine.preview import LinearPreview


class Autoencoder(Protocol):
    """Turns pixels into latents an eighth of the size, and back."""

    def encode(self, pixels: Tensor) -> Tensor:
        """Turn pixels in [0, 1] with shape ``(B, 3, H, W)`` into raw latents ``(B, C, H/8, W/8)``."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Turn raw latents ``(B, C, h, w)`` into pixels in [0, 1] with shape ``(B, 3, 8h, 8w)``."""
        ...


class TextEncoder(Protocol):
    """Turns prompts into what the transformer attends to."""

    def encode(self, prompts: Sequence[str]) -> list[Conditioning]:
        """Encode each prompt by itself."""
        ...


@dataclass(frozen=True)
class SamplingDefaults:
    """What is used where a request says nothing."""

    steps: int = 28
    cfg: float = 4.5
    sampler: str = "euler"
    schedule: str = "reference"
    shift: float = 3.0


@dataclass(frozen=True)
class Model:
    """Networks that belong together.

    Args:
        name: The name that pictures record.
        hash: Digest of the weights, so that a recipe can be checked.
        native_side: Side of the square picture that the model was trained for, in pixels.
        preview: Quick colours of latents, if the model has them.
    """

    name: str
    hash: str
    transformer: MMDiT
    autoencoder: Autoencoder
    text: TextEncoder
    latents: LatentFormat = SD3_LATENTS
    defaults: SamplingDefaults = SamplingDefaults()
    native_side: int = 1024
    preview: LinearPreview | None = None

    @property
    def multiple(self) -> int:
        """Both sides of a picture are multiples of this many pixels."""
        return self.latents.factor * self.transformer.config.patch

    @property
    def largest_side(self) -> int:
        """Longest side that the position table covers, in pixels."""
        return self.transformer.config.pos_side * self.multiple
