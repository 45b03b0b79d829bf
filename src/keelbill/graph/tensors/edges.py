"""Soft and sharp edges of pictures: a Gaussian blur, and Canny's lines. Knows no file and no network."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from keelbill.graph.tensors.pictures import colours

LUMA: Final = (0.299, 0.587, 0.114)
SIGMA: Final = 1.0
RADIUS: Final = 2
_ROUNDS: Final = 10_000


def blurred(pixels: Tensor, radius: int, sigma: float) -> Tensor:
    """Blur pictures ``(B, H, W, C)`` with a Gaussian bell.

    Args:
        pixels: In [0, 1].
        radius: Pixels on each side that count.
        sigma: Width of the bell in pixels.
    """
    planes = pixels.movedim(-1, 1)
    for axis in (-2, -1):
        planes = _along(planes, _bell(radius, sigma), axis)
    return planes.movedim(1, -1)


def canny(pixels: Tensor, low: float, high: float) -> Tensor:
    """Draw the edges of pictures as white lines on black.

    Args:
        pixels: In [0, 1] with shape ``(B, H, W, C)``.
        low: Slope from which a line goes on, 0 to 1.
        high: Slope from which a line begins, 0 to 1.

    Returns:
        Zeros and ones with shape ``(B, H, W, 3)``.

    References:
        | A Computational Approach to Edge Detection (Canny, 1986)
    """
    grey = (colours(pixels) * torch.tensor(LUMA)).sum(-1)[:, None]
    grey = blurred(grey.movedim(1, -1), RADIUS, SIGMA).movedim(-1, 1)
    smooth, slope = torch.tensor([1.0, 2.0, 1.0]), torch.tensor([-1.0, 0.0, 1.0])
    across = _along(_along(grey, slope, -1), smooth, -2)
    down = _along(_along(grey, slope, -2), smooth, -1)
    size = torch.sqrt(across**2 + down**2 + 1e-12)
    thin = _thinned(size, across, down)
    lines = _followed(thin > min(low, high), thin > high)
    return lines.float().movedim(1, -1).expand(-1, -1, -1, 3).contiguous()


def _bell(radius: int, sigma: float) -> Tensor:
    places = torch.arange(-radius, radius + 1, dtype=torch.float32)
    weights = torch.exp(-(places**2) / (2 * sigma**2))
    return weights / weights.sum()


def _along(planes: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Convolve planes ``(B, C, H, W)`` along an axis; the picture is mirrored at its edges where it is large enough."""
    reach = len(weights) // 2
    before = (reach, reach, 0, 0) if axis == -1 else (0, 0, reach, reach)
    mode = "reflect" if planes.shape[axis] > reach else "replicate"
    wide = F.pad(planes, before, mode=mode)
    length = planes.shape[axis]
    return torch.stack([wide.narrow(axis, at, length) * weight for at, weight in enumerate(weights.tolist())]).sum(0)


def _thinned(size: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Keep slopes that are highest along their own direction, out of four; ridges become one pixel wide."""
    wide = F.pad(size, (1, 1, 1, 1))
    rows, columns = size.shape[-2:]
    angle = torch.rad2deg(torch.atan2(down, across))
    sector = torch.round(angle / 45).long() % 4
    steps = ((0, 1), (1, 1), (1, 0), (1, -1))
    kept = torch.zeros_like(size, dtype=torch.bool)
    for index, (y, x) in enumerate(steps):
        ahead = wide[..., 1 + y : 1 + y + rows, 1 + x : 1 + x + columns]
        behind = wide[..., 1 - y : 1 - y + rows, 1 - x : 1 - x + columns]
        kept |= (sector == index) & (size > ahead) & (size >= behind)
    return size * kept


def _followed(weak: Tensor, strong: Tensor) -> Tensor:
    """Keep weak points that hang together with strong ones."""
    found = strong & weak
    for _ in range(_ROUNDS):
        wider = (F.max_pool2d(found.float(), 3, stride=1, padding=1) > 0) & weak
        if torch.equal(wider, found):
            break
        found = wider
    return found
