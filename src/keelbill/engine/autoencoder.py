"""The embedded model's small autoencoder: pixels to 16-channel latents at an eighth of the side, and back.
Knows nothing of prompts, latent statistics or files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keelbill.core.errors import BadWeights, InvalidInput

FACTOR = 8


@dataclass(frozen=True)
class SmallAutoencoderConfig:
    """Sizes of a small autoencoder.

    Args:
        widths: Channels at a half, a quarter and an eighth of the picture's side.
        latent: Channels of the latents.
        encoder_blocks: Residual blocks at each of the three sides.
        decoder_blocks: Likewise, also ordered from the largest side to the smallest.
    """

    widths: tuple[int, int, int] = (32, 64, 128)
    latent: int = 16
    encoder_blocks: tuple[int, int, int] = (1, 2, 3)
    decoder_blocks: tuple[int, int, int] = (2, 2, 3)

    @classmethod
    def from_tensors(cls, shapes: Mapping[str, Sequence[int]]) -> SmallAutoencoderConfig:
        """Read the sizes off the shapes of named tensors.

        Raises:
            BadWeights: The shapes are not those of a small autoencoder.
        """
        wanted = ("encoder.conv_in.weight", "encoder.levels.1.resize.weight", "encoder.conv_out.weight")
        for name in wanted:
            if name not in shapes:
                raise BadWeights(f"This is not a small autoencoder: it has no tensor {name!r}.")
        latent, deep = shapes["encoder.conv_out.weight"][:2]
        middle = shapes["encoder.levels.1.resize.weight"][0]
        return cls(
            widths=(shapes["encoder.conv_in.weight"][0], middle, deep),
            latent=latent,
            encoder_blocks=_count_blocks(shapes, "encoder"),
            decoder_blocks=_count_blocks(shapes, "decoder"),
        )


def _count_blocks(shapes: Mapping[str, Sequence[int]], half: str) -> tuple[int, int, int]:
    pattern = re.compile(rf"{half}\.levels\.(\d)\.blocks\.(\d+)\.conv1\.weight")
    counts = [0, 0, 0]
    for match in filter(None, map(pattern.fullmatch, shapes)):
        level = int(match[1])
        if level > 2:
            raise BadWeights(f"This is not a small autoencoder: its {half} has a level {level}.")
        counts[level] = max(counts[level], int(match[2]) + 1)
    return counts[0], counts[1], counts[2]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each after SiLU, added to their input. It starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _conv(width, width)
        self.conv2 = _conv(width, width)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Refine features with shape ``(B, width, H, W)``."""
        h: Tensor = self.conv1(F.silu(x))
        out: Tensor = x + self.conv2(F.silu(h))
        return out


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


class _Level(nn.Module):
    """Residual blocks at one side, with the convolution that leads there from the level before."""

    def __init__(self, inputs: int, width: int, blocks: int, stride: int = 1) -> None:
        super().__init__()
        self.resize = _conv(inputs, width, stride) if inputs != width or stride != 1 else nn.Identity()
        self.blocks = nn.ModuleList([ResidualBlock(width) for _ in range(blocks)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.resize(x)
        for block in self.blocks:
            x = block(x)
        return x


class Encoder(nn.Module):
    """Pixels in [-1, 1] with shape ``(B, 3, H, W)`` to latents with shape ``(B, latent, H/8, W/8)``."""

    def __init__(self, config: SmallAutoencoderConfig) -> None:
        super().__init__()
        large, middle, deep = config.widths
        counts = config.encoder_blocks
        self.conv_in = _conv(12, large)
        self.levels = nn.ModuleList(
            [
                _Level(large, large, counts[0]),
                _Level(large, middle, counts[1], stride=2),
                _Level(middle, deep, counts[2], stride=2),
            ]
        )
        self.conv_out = _conv(deep, config.latent)

    def forward(self, x: Tensor) -> Tensor:
        """Encode pixels."""
        x = self.conv_in(F.pixel_unshuffle(x, 2))
        for level in self.levels:
            x = level(x)
        out: Tensor = self.conv_out(x)
        return out


class Decoder(nn.Module):
    """Latents with shape ``(B, latent, h, w)`` to pixels around [-1, 1] with shape ``(B, 3, 8h, 8w)``."""

    def __init__(self, config: SmallAutoencoderConfig) -> None:
        super().__init__()
        large, middle, deep = config.widths
        counts = config.decoder_blocks
        self.conv_in = _conv(config.latent, deep)
        self.levels = nn.ModuleList(
            [_Level(middle, large, counts[0]), _Level(deep, middle, counts[1]), _Level(deep, deep, counts[2])]
        )
        self.conv_out = _conv(large, 12)

    def forward(self, z: Tensor) -> Tensor:
        """Decode latents."""
        large, middle, deep = self.levels
        x = deep(self.conv_in(z))
        x = middle(F.interpolate(x, scale_factor=2, mode="nearest"))
        x = large(F.interpolate(x, scale_factor=2, mode="nearest"))
        return F.pixel_shuffle(self.conv_out(F.silu(x)), 2)


class SmallAutoencoder(nn.Module):
    """Turns pixels into raw latents and back; about 1.2 M parameters in each half at the default widths.

    References:
        | High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022)
    """

    def __init__(self, config: SmallAutoencoderConfig | None = None) -> None:
        super().__init__()
        self.config = config or SmallAutoencoderConfig()
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(self.config)

    def _work(self, x: Tensor) -> Tensor:
        return x.to(self.encoder.conv_in.weight.dtype, memory_format=torch.channels_last)

    def encode(self, pixels: Tensor) -> Tensor:
        """Turn pixels into raw latents.

        Args:
            pixels: In [0, 1] with shape ``(B, 3, H, W)``, both sides multiples of 8.

        Returns:
            Raw latents in float32 with shape ``(B, latent, H/8, W/8)``.

        Raises:
            InvalidInput: The shape is another.
        """
        if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.shape[2] % FACTOR or pixels.shape[3] % FACTOR:
            raise InvalidInput("pixels", tuple(pixels.shape), "of shape (B, 3, H, W), both sides multiples of 8")
        z: Tensor = self.encoder(self._work(pixels * 2 - 1))
        return z.float().contiguous()

    def decode(self, latents: Tensor) -> Tensor:
        """Turn raw latents into pixels.

        Args:
            latents: Raw, with shape ``(B, latent, h, w)``.

        Returns:
            Pixels in [0, 1] in float32 with shape ``(B, 3, 8h, 8w)``.

        Raises:
            InvalidInput: The shape is another.
        """
        if latents.ndim != 4 or latents.shape[1] != self.config.latent:
            raise InvalidInput("latents", tuple(latents.shape), f"of shape (B, {self.config.latent}, h, w)")
        x: Tensor = self.decoder(self._work(latents))
        return (x.float() * 0.5 + 0.5).clamp(0, 1).contiguous()
