"""The small pieces of the transformer: modulation, patches, position, time, exact matrix products. Knows no blocks."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TILES = (16, 32, 64, 128, 256, 512, 1024)
"""Numbers of rows that a matrix product may have in strict mode, if they agree with each other."""


class Linear(Protocol):
    """Applies a linear layer to tokens with shape ``(..., in)``."""

    def __call__(self, layer: nn.Linear, x: Tensor, /) -> Tensor:
        """Return ``layer(x)``."""
        ...


def plain_linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Apply a layer the ordinary way."""
    out: Tensor = layer(x)
    return out


def strict_linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Apply a layer to tokens so that a token's result does not depend on how many others there are.

    Matrix-product kernels change the order of their sums with the number of rows, so the same row gives other
    last bits in another crowd. Here every product has one of the few row counts that are known to agree; the last
    one is filled with zeros.

    Args:
        layer: A linear layer with bias.
        x: Tokens with shape ``(T, in)``.
    """
    tiles = agreeing_tiles(
        layer.in_features,
        layer.out_features,
        x.dtype,
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
    )
    out = x.new_empty(x.shape[0], layer.out_features)
    weight = layer.weight.t()
    start, count = 0, x.shape[0]
    while start < count:
        rest = count - start
        tile = _next_tile(tiles, rest)
        if tile <= rest:
            torch.addmm(layer.bias, x[start : start + tile], weight, out=out[start : start + tile])
        else:
            filled = x.new_zeros(tile, x.shape[1])
            filled[:rest] = x[start:]
            out[start:] = torch.addmm(layer.bias, filled, weight)[:rest]
        start += tile
    return out


def _next_tile(tiles: tuple[int, ...], rest: int) -> int:
    """Choose the next product's rows: fill up when little is wasted, else take what goes in whole."""
    above = [tile for tile in tiles if tile >= rest]
    below = [tile for tile in tiles if tile <= rest]
    if above and (not below or above[0] <= 1.25 * rest):
        return above[0]
    return below[-1]


@lru_cache(maxsize=256)
def agreeing_tiles(inputs: int, outputs: int, dtype: torch.dtype, threads: int, precision: str) -> tuple[int, ...]:
    """Find the row counts at which this machine's kernel gives every row the same bits.

    A kernel's order of summation depends on the shape, the threads and the precision, not on the values, so one
    look at random values settles it for the process.

    Args:
        inputs: Columns of the tokens.
        outputs: Columns of the result.
        dtype: Precision of both.
        threads: Threads of a product; part of the question, as they divide the work.
        precision: What `torch.get_float32_matmul_precision` says, for the same reason.

    Returns:
        Members of `TILES` in rising order; 512 is always among them.
    """
    del threads, precision
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(TILES[-1], inputs, generator=generator).to(dtype)
    weight = torch.randn(outputs, inputs, generator=generator).to(dtype).t()  # as a layer holds it
    bias = torch.randn(outputs, generator=generator).to(dtype)
    exact = torch.cat([torch.addmm(bias, part, weight) for part in x.split(512)])

    def agrees(tile: int) -> bool:
        return all(
            torch.equal(torch.addmm(bias, part, weight), wanted)
            for part, wanted in zip(x.split(tile)[:3], exact.split(tile)[:3], strict=True)
        )

    return tuple(tile for tile in TILES if agrees(tile))


def norm(x: Tensor) -> Tensor:
    """Layer norm over the channels, without learned parameters."""
    return F.layer_norm(x, (x.shape[-1],), eps=1e-6)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Scale and shift channels: ``x * (1 + scale) + shift``."""
    return torch.addcmul(shift, x, 1 + scale)


def patchify(latents: Tensor, patch: int) -> Tensor:
    """Cut latents with shape ``(B, C, h, w)`` into tokens with shape ``(B, N, C * patch**2)``, channel slowest."""
    b, c, h, w = latents.shape
    x = latents.view(b, c, h // patch, patch, w // patch, patch)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(b, (h // patch) * (w // patch), c * patch * patch)


def unpatchify(tokens: Tensor, height: int, width: int, patch: int) -> Tensor:
    """Join tokens with shape ``(B, N, patch**2 * C)``, channel fastest, into latents of ``(B, C, height, width)``."""
    b, _, width_out = tokens.shape
    channels = width_out // patch**2
    x = tokens.view(b, height // patch, width // patch, patch, patch, channels)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(b, channels, height, width)


def crop_positions(table: Tensor, rows: int, columns: int) -> Tensor:
    """Cut the centre out of a position table.

    Args:
        table: With shape ``(1, side**2, W)``.
        rows: Patches from top to bottom, at most `side`.
        columns: Patches from left to right, at most `side`.

    Returns:
        Positions with shape ``(rows * columns, W)`` in row-major order.
    """
    side = math.isqrt(table.shape[1])
    top, left = (side - rows) // 2, (side - columns) // 2
    grid = table.view(side, side, -1)[top : top + rows, left : left + columns]
    return grid.reshape(rows * columns, -1)


def position_table(width: int, side: int, base: int) -> Tensor:
    """Make a fixed sine-cosine position table for a model that is trained from scratch.

    The first half of the channels encodes the column, the second the row. Distances are scaled so that the whole
    table spans `base` units.

    Returns:
        A table with shape ``(1, side**2, width)`` in float32.
    """
    omega = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    place = torch.arange(side, dtype=torch.float64) * base / side
    angles = place[:, None] * omega
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns = line[None, :, :].expand(side, side, -1)
    rows = line[:, None, :].expand(side, side, -1)
    return torch.cat([columns, rows], dim=2).reshape(1, side * side, width).float()


def time_embedding(sigma: Tensor) -> Tensor:
    """Turn noise levels with shape ``(R,)`` into 256 cosines and sines of ``1000 * sigma``, in float32."""
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(128, dtype=torch.float32, device=sigma.device) / 128)
    angles = (1000.0 * sigma.float())[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def gelu(x: Tensor) -> Tensor:
    """Apply the tanh form of GELU, ``x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 * x**3))``.

    In float32 on a CPU the kernel's tanh costs more than these four passes.
    """
    if x.requires_grad or x.dtype != torch.float32 or x.device.type != "cpu":
        return F.gelu(x, approximate="tanh")
    inner = torch.addcmul(x.new_tensor(1.5957691216057308), x, x, value=0.07135481282995)
    out: Tensor = inner.mul_(x).sigmoid_().mul_(x)
    return out


class RMSNorm(nn.Module):
    """Root-mean-square norm of each attention head's channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` over its last axis; the mean square is taken in float32."""
        if x.requires_grad or x.device.type != "cpu":
            return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), 1e-6)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = length.square_().div_(x.shape[-1]).add_(1e-6).rsqrt_()
        out: Tensor = (x * scale.to(x.dtype)).mul_(self.weight.to(x.dtype))
        return out


class PatchEmbed(nn.Module):
    """Projects patches; a stride-2 convolution in the file, a matrix product here."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, stride=patch)

    def as_linear(self) -> tuple[Tensor, Tensor]:
        """Return the weight with shape ``(W, C * patch**2)`` and the bias."""
        if self.proj.bias is None:
            raise RuntimeError("the patch embedding has a bias")
        return self.proj.weight.flatten(1), self.proj.bias


class Embedder(nn.Module):
    """Two linear layers with SiLU between them, for the time and for the pooled prompt."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width))

    def run(self, linear: Linear, x: Tensor) -> Tensor:
        """Embed rows with shape ``(R, inputs)``."""
        first, last = self.mlp[0], self.mlp[2]
        if not (isinstance(first, nn.Linear) and isinstance(last, nn.Linear)):
            raise TypeError("an embedder is two linear layers")
        return linear(last, F.silu(linear(first, x)))
