"""Enlarging networks from files: ESRGAN, Real-ESRGAN and its compact form. Knows no folder and no picture format.

The names of tensors tell the kind and its sizes; three generations of names for the same large network are read. What
a network sees of a picture has no sharp end, so large pictures are enlarged in tiles that overlap.

References:
    | ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks (Wang et al., 2018)
    | Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data (Wang et al., 2021)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isqrt
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from keelbill.core.errors import BadWeights
from keelbill.engine.upscale import in_tiles
from keelbill.engine.weights import load_into

OVERLAP: Final = 32
"""Pixels of the small picture that a tile sees beyond its edges."""

CPU_TILE: Final = 192
"""Most on a CPU, where a tile of 512 pixels would take several GB."""

FACTORS: Final = (1, 2, 4)
SLOPE: Final = 0.2
RESIDUAL: Final = 0.2
"""Part of a branch that is added to what it started from."""

_WRAPPERS: Final = ("params_ema.", "params.", "module.", "netG.")
_SECOND_NAMES: Final = (
    (r"RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
    (r"trunk_conv\.", "conv_body."),
    (r"upconv(\d)\.", r"conv_up\1."),
    (r"HRconv\.", "conv_hr."),
)


class _DenseBlock(nn.Module):
    """Five convolutions, each of which sees all before it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, growth, 3, padding=1)
        self.conv2 = nn.Conv2d(width + growth, growth, 3, padding=1)
        self.conv3 = nn.Conv2d(width + 2 * growth, growth, 3, padding=1)
        self.conv4 = nn.Conv2d(width + 3 * growth, growth, 3, padding=1)
        self.conv5 = nn.Conv2d(width + 4 * growth, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen = torch.cat([seen, F.leaky_relu(conv(seen), SLOPE)], dim=1)
        h: Tensor = self.conv5(seen)
        return x + RESIDUAL * h


class _ResidualBlock(nn.Module):
    """A residual of three residual dense blocks (RRDB)."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = _DenseBlock(width, growth)
        self.rdb2 = _DenseBlock(width, growth)
        self.rdb3 = _DenseBlock(width, growth)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return x + RESIDUAL * h


class RRDBNet(nn.Module):
    """The large network: residual dense blocks, then doublings.

    Args:
        blocks: Residual blocks.
        width: Channels.
        growth: Channels that each convolution of a dense block adds.
        doublings: Times that the sides are doubled at the end.
        fold: Side of the squares of pixels that become channels first: 1, 2 or 4.
    """

    def __init__(self, blocks: int, width: int, growth: int, doublings: int, fold: int = 1) -> None:
        super().__init__()
        self.fold = fold
        self.doublings = doublings
        self.conv_first = nn.Conv2d(3 * fold**2, width, 3, padding=1)
        self.body = nn.Sequential(*(_ResidualBlock(width, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(width, width, 3, padding=1)
        for number in range(1, doublings + 1):
            self.add_module(f"conv_up{number}", nn.Conv2d(width, width, 3, padding=1))
        self.conv_hr = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, 3, 3, padding=1)

    @property
    def factor(self) -> int:
        """How many times the sides grow."""
        return int(2**self.doublings) // self.fold

    def forward(self, pixels: Tensor) -> Tensor:
        """Enlarge pixels in [0, 1] with shape ``(B, 3, H, W)`` to ``(B, 3, factor * H, factor * W)``."""
        height, width = pixels.shape[-2:]
        mode = "reflect" if min(height, width) > self.fold else "replicate"
        x = F.pad(pixels, (0, -width % self.fold, 0, -height % self.fold), mode=mode)
        x = self.conv_first(F.pixel_unshuffle(x, self.fold))
        x = x + self.conv_body(self.body(x))
        for number in range(1, self.doublings + 1):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = F.leaky_relu(self.get_submodule(f"conv_up{number}")(x), SLOPE)
        out: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(x), SLOPE))
        return out[..., : self.factor * height, : self.factor * width]


class CompactNet(nn.Module):
    """The small network (SRVGGNetCompact): a row of convolutions whose channels become pixels at the end.

    Args:
        layers: Convolutions between the first and the last.
        width: Channels.
        factor: How many times the sides grow.
    """

    fold = 1

    def __init__(self, layers: int, width: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        parts: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.PReLU(width)]
        for _ in range(layers):
            parts += [nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width)]
        self.body = nn.Sequential(*parts, nn.Conv2d(width, 3 * factor**2, 3, padding=1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Enlarge pixels in [0, 1] with shape ``(B, 3, H, W)`` to ``(B, 3, factor * H, factor * W)``."""
        plain = F.interpolate(pixels, scale_factor=self.factor, mode="nearest")
        return plain + F.pixel_shuffle(self.body(pixels), self.factor)


class FileUpscaler(nn.Module):
    """An enlarging network from a file, ready for pictures of any size.

    Args:
        network: What enlarges one tile.
    """

    def __init__(self, network: RRDBNet | CompactNet) -> None:
        super().__init__()
        self.network = network

    @property
    def factor(self) -> int:
        """How many times the sides grow."""
        return self.network.factor

    @torch.inference_mode()
    def enlarge(self, pixels: Tensor, *, tile: int, step: Callable[[int, int], None] | None = None) -> Tensor:
        """Enlarge a picture in tiles that overlap.

        Args:
            pixels: In [0, 1] with shape ``(3, H, W)``.
            tile: Most pixels of a tile's side, on the small picture.
            step: Told before each tile how many are done, of how many.

        Returns:
            Pixels in [0, 1] with shape ``(3, factor * H, factor * W)`` in float32, on the CPU.

        Raises:
            InvalidInput: The shape is another.
        """
        weight = next(self.network.parameters())
        if weight.device.type == "cpu":
            tile = min(tile, CPU_TILE)

        def network(part: Tensor) -> Tensor:
            return torch.as_tensor(self.network(part.to(weight.device, weight.dtype))).float().cpu()

        return in_tiles(network, pixels, self.factor, OVERLAP, tile, unit=self.network.fold, step=step)


def build_esrgan(tensors: Mapping[str, Tensor], *, dtype: torch.dtype, device: str = "cpu") -> FileUpscaler:
    """Build an enlarging network from the tensors of a file.

    Args:
        tensors: With the names of any generation.
        dtype: In which it computes.
        device: On which.

    Raises:
        BadWeights: It is of no kind that is known here, or its tensors do not fit together.
    """
    named = _modern(tensors)
    network = _compact(named) if "body.1.weight" in named else _large(named)
    if network.factor not in FACTORS:
        raise BadWeights(f"This network enlarges {network.factor} times; {FACTORS} times are supported.")
    load_into(network, named, "upscaler")
    return FileUpscaler(network.to(device, dtype).eval().requires_grad_(False))


def _large(named: Mapping[str, Tensor]) -> RRDBNet:
    first, dense = named.get("conv_first.weight"), named.get("body.0.rdb1.conv1.weight")
    if first is None or dense is None or first.ndim != 4 or dense.ndim != 4 or first.shape[1] not in {3, 12, 48}:
        raise BadWeights("This is no enlarging network of a kind that is known here: ESRGAN, Real-ESRGAN or compact.")
    blocks = 1 + max(int(match[1]) for name in named if (match := re.match(r"body\.(\d{1,3})\.", name)))
    doublings = sum(bool(re.fullmatch(r"conv_up\d\.weight", name)) for name in named)
    fold = isqrt(first.shape[1] // 3)
    if 2**doublings < fold:
        raise BadWeights("This network's pictures would come out smaller than they go in.")
    with torch.device("meta"):
        return RRDBNet(blocks, first.shape[0], dense.shape[0], doublings, fold)


def _compact(named: Mapping[str, Tensor]) -> CompactNet:
    last = max(
        (int(match[1]) for name in named if (match := re.fullmatch(r"body\.(\d{1,3})\.weight", name))), default=0
    )
    first, end = named["body.0.weight"], named[f"body.{last}.weight"]
    if last < 2 or last % 2 or first.ndim != 4 or end.ndim != 4 or end.shape[0] != 3 * isqrt(end.shape[0] // 3) ** 2:
        raise BadWeights("This is no compact enlarging network: its last convolution does not make pixels.")
    with torch.device("meta"):
        return CompactNet(last // 2 - 1, first.shape[0], isqrt(end.shape[0] // 3))


def _modern(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by the names of today: ``conv_first``, ``body.N.rdbM.convK``, ``conv_body``, ``conv_up1`` ...

    The first generation numbered the parts of one sequence, so what a number stands for depends on the largest.
    """
    names = {name: name for name in tensors}
    for wrapper in _WRAPPERS:
        if names and all(short.startswith(wrapper) for short in names.values()):
            names = {name: short.removeprefix(wrapper) for name, short in names.items()}
    if "model.0.weight" in names.values():
        names = _from_sequence(names)
    renamed = {}
    for name, short in names.items():
        for pattern, now in _SECOND_NAMES:
            short = re.sub(rf"^{pattern}", now, short)
        renamed[short] = tensors[name]
    return renamed


def _from_sequence(names: Mapping[str, str]) -> dict[str, str]:
    numbers = sorted(
        {int(match[1]) for short in names.values() if (match := re.match(r"model\.(\d{1,3})\.[wb]", short))}
    )
    ends = dict(zip(numbers[-2:], ("conv_hr", "conv_last"), strict=False))
    ups = {number: f"conv_up{place}" for place, number in enumerate(numbers[1:-2], start=1)}
    parts = {0: "conv_first"} | ups | ends
    blocks = [
        int(match[1]) for short in names.values() if (match := re.match(r"model\.1\.sub\.(\d{1,3})\.[wb]", short))
    ]
    trunk = blocks[0] if blocks else -1

    def now(short: str) -> str:
        short = re.sub(rf"^model\.1\.sub\.{trunk}\.", "conv_body.", short)
        short = re.sub(r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3.", short)
        return re.sub(r"^model\.(\d{1,3})\.(?=[wb])", lambda match: f"{parts[int(match[1])]}.", short)

    return {name: now(short) for name, short in names.items()}
