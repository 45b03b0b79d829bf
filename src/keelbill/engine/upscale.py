"""Enlarges a picture four times with a small network of our own. Knows nothing of prompts, files or picture formats.

The network sees the picture at its own size, adds detail to a plain enlargement, and rearranges channels into pixels
at the end, so that all convolutions run on the small picture.

References:
    | Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network
      (Shi et al., 2016)
    | Enhanced Deep Residual Networks for Single Image Super-Resolution (Lim et al., 2017)
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keelbill.core.errors import BadWeights, InvalidInput
from keelbill.engine.weights import open_weights
from keelbill.models import embedded_folder

FACTOR = 4
UPSCALER = "keelbill-x4"
"""Name of the one that ships, in recipes and as its folder."""

TILE = 256
"""Side of the tiles in which large pictures are enlarged, in pixels of the small picture."""


@dataclass(frozen=True)
class UpscalerConfig:
    """Sizes of the network: channels, and residual blocks of two convolutions."""

    width: int = 48
    blocks: int = 4

    @classmethod
    def from_tensors(cls, shapes: Mapping[str, Sequence[int]]) -> UpscalerConfig:
        """Read the sizes off the shapes of named tensors.

        Raises:
            BadWeights: The shapes are not those of an upscaler.
        """
        if "conv_in.weight" not in shapes or tuple(shapes.get("conv_out.weight", ())[:1]) != (3 * FACTOR**2,):
            raise BadWeights("This is not an upscaler: it lacks conv_in.weight, or conv_out.weight of 48 channels.")
        blocks = {match[1] for name in shapes if (match := re.match(r"blocks\.(\d+)\.", name))}
        return cls(width=shapes["conv_in.weight"][0], blocks=len(blocks))

    @property
    def reach(self) -> int:
        """How far a pixel of the input can act, in pixels of the small picture; the plain enlargement reaches two."""
        return 2 * self.blocks + 3


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.conv2(F.relu(self.conv1(x)))
        return x + h


class Enlarger(Protocol):
    """What enlarges pictures: our own network, or one from a file."""

    @property
    def factor(self) -> int:
        """How many times the sides grow."""
        ...

    def enlarge(self, pixels: Tensor, *, tile: int, step: Callable[[int, int], None] | None = None) -> Tensor:
        """Enlarge a picture in [0, 1] with shape ``(3, H, W)`` to ``(3, factor * H, factor * W)``.

        Args:
            pixels: The picture.
            tile: Most pixels of a tile's side.
            step: Told before each tile how many are done, of how many.
        """
        ...


class Upscaler(nn.Module):
    """The network. Untrained, it is a plain bicubic enlargement.

    Args:
        config: Sizes.
    """

    factor = FACTOR

    def __init__(self, config: UpscalerConfig | None = None) -> None:
        super().__init__()
        self.config = config or UpscalerConfig()
        self.conv_in = nn.Conv2d(3, self.config.width, 3, padding=1)
        self.blocks = nn.ModuleList(_Block(self.config.width) for _ in range(self.config.blocks))
        self.conv_out = nn.Conv2d(self.config.width, 3 * FACTOR**2, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]  # a convolution made with a bias has one

    def forward(self, pixels: Tensor) -> Tensor:
        """Enlarge pixels in [0, 1] with shape ``(B, 3, H, W)`` to ``(B, 3, 4H, 4W)``, around [0, 1]."""
        weight = self.conv_in.weight
        x = F.relu(self.conv_in(pixels.to(weight.dtype).contiguous(memory_format=torch.channels_last)))
        for block in self.blocks:
            x = block(x)
        detail = F.pixel_shuffle(self.conv_out(x), FACTOR)
        return plain(pixels) + detail.to(pixels.dtype)

    @torch.inference_mode()
    def enlarge(self, pixels: Tensor, *, tile: int = TILE, step: Callable[[int, int], None] | None = None) -> Tensor:
        """Enlarge a picture four times in tiles, so that memory stays bounded; the seams are exact.

        Args:
            pixels: In [0, 1] with shape ``(3, H, W)``.
            tile: Side of the tiles in pixels of `pixels`.
            step: Told before each tile how many are done, of how many.

        Returns:
            Pixels in [0, 1] with shape ``(3, 4H, 4W)`` in float32.

        Raises:
            InvalidInput: The shape is another.
        """
        return in_tiles(self, pixels, FACTOR, self.config.reach, tile, step=step)


def in_tiles(
    network: Callable[[Tensor], Tensor],
    pixels: Tensor,
    factor: int,
    reach: int,
    tile: int,
    *,
    unit: int = 1,
    step: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Enlarge a picture tile by tile.

    Args:
        network: Enlarges pixels with shape ``(1, 3, h, w)``.
        pixels: In [0, 1] with shape ``(3, H, W)``.
        factor: How many times the sides grow.
        reach: What each tile sees beyond its edges, in pixels of `pixels`.
        tile: Most pixels of a tile's side.
        unit: Of which the tiles' edges are multiples.
        step: Told before each tile how many are done, of how many.

    Returns:
        Pixels in [0, 1] with shape ``(3, factor * H, factor * W)`` in float32.

    Raises:
        InvalidInput: The shape is another.
    """
    if pixels.ndim != 3 or pixels.shape[0] != 3:
        raise InvalidInput("pixels", tuple(pixels.shape), "of shape (3, height, width)")
    pixels = pixels.float()
    _, height, width = pixels.shape
    out = pixels.new_empty(3, factor * height, factor * width)
    reach += -reach % unit
    tiles = list(itertools.product(_spans(height, tile, unit), _spans(width, tile, unit)))
    for place, ((top, bottom), (left, right)) in enumerate(tiles):
        if step is not None:
            step(place, len(tiles))
        y0, y1 = max(0, top - reach), min(height, bottom + reach)
        x0, x1 = max(0, left - reach), min(width, right + reach)
        part = network(pixels[None, :, y0:y1, x0:x1])[0]
        rows = slice(factor * (top - y0), factor * (bottom - y0))
        columns = slice(factor * (left - x0), factor * (right - x0))
        out[:, factor * top : factor * bottom, factor * left : factor * right] = part[:, rows, columns]
    return out.clamp_(0, 1)


def plain(pixels: Tensor) -> Tensor:
    """Enlarge four times without any learning: bicubic, shape ``(B, 3, H, W)`` to ``(B, 3, 4H, 4W)``."""
    return F.interpolate(pixels, scale_factor=FACTOR, mode="bicubic", align_corners=False)


def _spans(length: int, tile: int, unit: int = 1) -> list[tuple[int, int]]:
    """Cut a length into spans of about the same length, at most `tile`, that start at multiples of `unit`."""
    count = math.ceil(length / max(tile // unit * unit, unit))
    edges = [*(round(index * length / count / unit) * unit for index in range(count)), length]
    return list(itertools.pairwise(edges))


def build_upscaler(tensors: Mapping[str, Tensor]) -> Upscaler:
    """Build the network from named tensors, ready to run.

    Raises:
        BadWeights: They are not those of an upscaler.
    """
    config = UpscalerConfig.from_tensors({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    model = Upscaler(config)
    missing, unexpected = model.load_state_dict(
        {name: tensor.float() for name, tensor in tensors.items()}, strict=False
    )
    if missing or unexpected:
        raise BadWeights(f"This upscaler's weights do not fit: {[*missing, *unexpected][:4]}.")
    nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    return model.eval().requires_grad_(False)


def load_upscaler(folder: Path | None = None) -> Upscaler:
    """Load the upscaler that ships with the program, or another one.

    Args:
        folder: Holds ``upscaler.safetensors``.

    Raises:
        BadWeights: The file is missing or not an upscaler's.
    """
    path = (folder or embedded_folder(UPSCALER)) / "upscaler.safetensors"
    if not path.is_file():
        raise BadWeights(f"There is no upscaler: {path.name} is missing from {path.parent.name}.")
    file = open_weights(path)
    return build_upscaler({name: file.read(name) for name in file.shapes})
