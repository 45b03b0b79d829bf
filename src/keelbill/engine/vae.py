"""The SD3 autoencoder: pixels to 16-channel latents at an eighth of the side, and back.

Knows raw latents only; the shift and scale of the transformer's latents, prompts and files are elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from keelbill.core.errors import BadWeights, InvalidInput

TILE = 64  # latent places on a tile's side
OVERLAP = 16  # latent places that neighbouring tiles share


@dataclass(frozen=True)
class VAEConfig:
    """Sizes of the autoencoder.

    Args:
        widths: Channels of each level, from the picture's side to the latents'.
        latent: Channels of the latents.
        encoder_blocks: Residual blocks of each encoder level.
        decoder_blocks: Residual blocks of each decoder level.
        groups: Of the group norms.
        colours: Channels of the pixels.

    References:
        | High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022)
    """

    widths: tuple[int, ...] = (128, 256, 512, 512)
    latent: int = 16
    encoder_blocks: int = 2
    decoder_blocks: int = 3
    groups: int = 32
    colours: int = 3

    @property
    def factor(self) -> int:
        """How many pixels lie under a latent's side."""
        return 1 << (len(self.widths) - 1)

    @classmethod
    def from_tensors(cls, shapes: Mapping[str, Sequence[int]]) -> VAEConfig:
        """Read the sizes off the shapes of tensors with official names, without prefix.

        Raises:
            BadWeights: The shapes are not those of an SD3 autoencoder.
        """
        for name in ("encoder.conv_in.weight", "encoder.down.0.block.0.conv1.weight", "decoder.conv_in.weight"):
            if name not in shapes:
                raise BadWeights(f"This is not an SD3 autoencoder: it has no tensor {name!r}.")
        levels = 1 + max(_numbers(shapes, r"encoder\.down\.(\d+)\.block\.0\.conv1\.weight"))
        return cls(
            widths=tuple(shapes[f"encoder.down.{level}.block.0.conv1.weight"][0] for level in range(levels)),
            latent=shapes["decoder.conv_in.weight"][1],
            encoder_blocks=1 + max(_numbers(shapes, r"encoder\.down\.0\.block\.(\d+)\.conv1\.weight")),
            decoder_blocks=1 + max(_numbers(shapes, r"decoder\.up\.0\.block\.(\d+)\.conv1\.weight"), default=-1),
            colours=shapes["encoder.conv_in.weight"][1],
        )


def _numbers(names: Mapping[str, object], pattern: str) -> list[int]:
    return [int(match[1]) for match in map(re.compile(pattern).fullmatch, names) if match]


def _norm(channels: int, groups: int) -> nn.GroupNorm:
    return nn.GroupNorm(groups, channels, eps=1e-6)


def _conv(inner: int, outer: int) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, 3, padding=1)


class _Residual(nn.Module):
    def __init__(self, inner: int, outer: int, groups: int) -> None:
        super().__init__()
        self.norm1 = _norm(inner, groups)
        self.conv1 = _conv(inner, outer)
        self.norm2 = _norm(outer, groups)
        self.conv2 = _conv(outer, outer)
        self.nin_shortcut = nn.Conv2d(inner, outer, 1) if inner != outer else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        out: Tensor = h + (x if self.nin_shortcut is None else self.nin_shortcut(x))
        return out


class _Attention(nn.Module):
    """Single-head self-attention over all places."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = _norm(channels, groups)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (part(h).flatten(2).transpose(1, 2).unsqueeze(1) for part in (self.q, self.k, self.v))
        h = F.scaled_dot_product_attention(q, k, v).squeeze(1).transpose(1, 2).reshape(x.shape)
        out: Tensor = x + self.proj_out(h)
        return out


class _Middle(nn.Module):
    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.block_1 = _Residual(channels, channels, groups)
        self.attn_1 = _Attention(channels, groups)
        self.block_2 = _Residual(channels, channels, groups)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block_2(self.attn_1(self.block_1(x)))
        return out


class _Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return out


class _Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


class _Level(nn.Module):
    """The residual blocks of one resolution, and the way to the next."""

    def __init__(self, inner: int, outer: int, blocks: int, groups: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(_Residual(outer if i else inner, outer, groups) for i in range(blocks))
        self.downsample: _Downsample | None = None
        self.upsample: _Upsample | None = None

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        resize = self.downsample or self.upsample
        return x if resize is None else torch.as_tensor(resize(x))


class _Encoder(nn.Module):
    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        widths, groups = config.widths, config.groups
        self.conv_in = _conv(config.colours, widths[0])
        self.down = nn.ModuleList()
        for i, width in enumerate(widths):
            level = _Level(widths[max(i - 1, 0)], width, config.encoder_blocks, groups)
            level.downsample = _Downsample(width) if i + 1 < len(widths) else None
            self.down.append(level)
        self.mid = _Middle(widths[-1], groups)
        self.norm_out = _norm(widths[-1], groups)
        self.conv_out = _conv(widths[-1], 2 * config.latent)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(self.mid(x))))
        return out


class _Decoder(nn.Module):
    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        widths, groups = config.widths, config.groups
        deepest = len(widths) - 1
        self.conv_in = _conv(config.latent, widths[-1])
        self.mid = _Middle(widths[-1], groups)
        self.up = nn.ModuleList()  # counted from the picture's side, so the last one runs first
        for i, width in enumerate(widths):
            level = _Level(widths[min(i + 1, deepest)], width, config.decoder_blocks, groups)
            level.upsample = _Upsample(width) if i else None
            self.up.append(level)
        self.norm_out = _norm(widths[0], groups)
        self.conv_out = _conv(widths[0], config.colours)

    def forward(self, z: Tensor) -> Tensor:
        x = self.mid(self.conv_in(z))
        for i in reversed(range(len(self.up))):
            x = self.up[i](x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return out


class SD3VAE(nn.Module):
    """The autoencoder, whose parameters carry the official names.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: VAEConfig | None = None) -> None:
        super().__init__()
        self.config = config or VAEConfig()
        self.encoder = _Encoder(self.config)
        self.decoder = _Decoder(self.config)

    def encode(self, pixels: Tensor) -> Tensor:
        """Turn pixels into latents: the mean, without noise, so that the same picture gives the same latents.

        Args:
            pixels: In [0, 1] with shape ``(B, 3, H, W)``, `H` and `W` multiples of 8.

        Returns:
            Raw latents in fp32 with shape ``(B, 16, H/8, W/8)``.

        Raises:
            InvalidInput: A side is not a multiple of 8.
        """
        self._check(pixels)
        try:
            return self._encode(pixels)
        except torch.OutOfMemoryError:
            return self.encode_tiled(pixels)

    def decode(self, latents: Tensor) -> Tensor:
        """Turn latents into pixels; in tiles if memory does not suffice.

        Args:
            latents: Raw, with shape ``(B, 16, h, w)``.

        Returns:
            Pixels in [0, 1] in fp32 with shape ``(B, 3, 8h, 8w)``.
        """
        try:
            return self._decode(latents)
        except torch.OutOfMemoryError:
            return self.decode_tiled(latents)

    def encode_tiled(self, pixels: Tensor, tile: int = TILE, overlap: int = OVERLAP) -> Tensor:
        """Encode in overlapping tiles: little memory, and nearly but not exactly the latents of `encode`.

        Args:
            pixels: As for `encode`.
            tile: Side of a tile in latent places.
            overlap: Shared by neighbouring tiles, in latent places.

        Raises:
            InvalidInput: A side is not a multiple of 8, or `overlap` is not smaller than `tile`.
        """
        self._check(pixels)
        return _tiled(pixels, self._encode, tile, overlap, unit=self.config.factor, up=1)

    def decode_tiled(self, latents: Tensor, tile: int = TILE, overlap: int = OVERLAP) -> Tensor:
        """Decode in overlapping tiles: little memory, and nearly but not exactly the pixels of `decode`.

        Args:
            latents: As for `decode`.
            tile: Side of a tile in latent places.
            overlap: Shared by neighbouring tiles, in latent places.

        Raises:
            InvalidInput: `overlap` is not smaller than `tile`.
        """
        return _tiled(latents, self._decode, tile, overlap, unit=1, up=self.config.factor)

    def _encode(self, pixels: Tensor) -> Tensor:
        mean, _log_variance = self.encoder(self._ready(2 * pixels - 1)).float().chunk(2, dim=1)
        return torch.as_tensor(mean).contiguous()

    def _decode(self, latents: Tensor) -> Tensor:
        pixels: Tensor = self.decoder(self._ready(latents)).float()
        return ((pixels + 1) / 2).clamp(0, 1).contiguous()

    def _ready(self, x: Tensor) -> Tensor:
        weight = self.encoder.conv_in.weight
        return x.to(weight.device, weight.dtype).contiguous(memory_format=torch.channels_last)

    def _check(self, pixels: Tensor) -> None:
        height, width = pixels.shape[-2:]
        if height % self.config.factor or width % self.config.factor:
            raise InvalidInput("size", f"{width}x{height}", f"a multiple of {self.config.factor} on each side")


def _tiled(x: Tensor, run: Callable[[Tensor], Tensor], tile: int, overlap: int, unit: int, up: int) -> Tensor:
    """Run on overlapping tiles and blend linearly.

    Args:
        x: Input; one latent place is `unit` of its places.
        run: Makes a tile's output; one latent place is `up` of its places.
        tile: In latent places.
        overlap: In latent places.
        unit: Input places for each latent place.
        up: Output places for each latent place.
    """
    if not 0 <= overlap < tile:
        raise InvalidInput("overlap", overlap, f"at least 0 and less than the tile ({tile})")
    height, width = (side // unit for side in x.shape[-2:])
    if height <= tile and width <= tile:
        return run(x)
    total: Tensor | None = None
    weight = torch.zeros(height * up, width * up)
    for top in _starts(height, tile, overlap):
        for left in _starts(width, tile, overlap):
            bottom, right = min(top + tile, height), min(left + tile, width)
            out = run(x[..., top * unit : bottom * unit, left * unit : right * unit]).cpu()
            rows, columns = slice(top * up, bottom * up), slice(left * up, right * up)
            mask = _ramp(top, bottom, height, overlap, up)[:, None] * _ramp(left, right, width, overlap, up)
            if total is None:
                total = out.new_zeros(*out.shape[:-2], height * up, width * up)
            total[..., rows, columns] += out * mask
            weight[rows, columns] += mask
    if total is None:
        raise InvalidInput("size", tuple(x.shape), "at least one place")
    return (total / weight).to(x.device)


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Return where tiles start so that they cover `length`; the last one ends with it."""
    last = max(length - tile, 0)
    return [*range(0, last, tile - overlap), last]


def _ramp(start: int, end: int, length: int, overlap: int, up: int) -> Tensor:
    """Return a tile's weights along one axis: rising and falling where a neighbour shares the places."""
    places = torch.arange((end - start) * up) + 0.5
    ramp = torch.ones_like(places)
    if start > 0:
        ramp = ramp.minimum(places / (overlap * up)) if overlap else ramp
    if end < length:
        ramp = ramp.minimum(places.flip(0) / (overlap * up)) if overlap else ramp
    return ramp
