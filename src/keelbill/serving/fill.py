"""Fills holes of a picture with the colours around them, smoothly. Knows no model; what it fills has no detail.

References:
    | Pull-push interpolation, in: The Lumigraph (Gortler et al., 1996)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Mask = NDArray[np.float32]
_Plane = NDArray[np.float32]


def fill_holes(pixels: Pixels, mask: Mask) -> Pixels:
    """Replace what a mask marks by what is around it.

    Args:
        pixels: With shape ``(H, W, 3)``.
        mask: 1 in the holes, 0 outside, soft in between, with shape ``(H, W)``.

    Returns:
        Pixels of the same shape; where `mask` is 0 they are the same.
    """
    weight = (1 - mask)[:, :, None].astype(np.float32)
    filled = _filled(pixels.astype(np.float32) * weight, weight)
    return np.rint(pixels * weight + filled * (1 - weight)).clip(0, 255).astype(np.uint8)


def _filled(sums: _Plane, weight: _Plane) -> _Plane:
    """Return colours everywhere, from sums of weighted colours: averages of ever larger squares where none is known."""
    here = np.divide(sums, weight, out=np.zeros_like(sums), where=weight > 0)
    if max(sums.shape[:2]) == 1 or weight.min() >= 1:
        return here
    sums_below, weight_below = _halved(sums), _halved(weight)
    clipped = np.minimum(weight_below, 1)
    scale = np.divide(clipped, weight_below, out=np.ones_like(clipped), where=weight_below > 1)
    coarse = _filled(sums_below * scale, clipped)
    grown = _doubled(coarse, sums.shape[0], sums.shape[1])
    known = np.minimum(weight, 1)
    blended: _Plane = here * known + grown * (1 - known)
    return blended


def _halved(plane: _Plane) -> _Plane:
    height, width = plane.shape[:2]
    padded = np.pad(plane, ((0, height % 2), (0, width % 2), (0, 0)))
    halved: _Plane = padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]
    return halved


def _doubled(plane: _Plane, height: int, width: int) -> _Plane:
    """Enlarge to twice the size with linear interpolation."""
    for axis, length in ((0, height), (1, width)):
        at = (np.arange(length, dtype=np.float32) - 0.5) / 2
        low = np.floor(at).astype(int)
        part = (at - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        last = plane.shape[axis] - 1
        below, above = np.clip(low, 0, last), np.clip(low + 1, 0, last)
        plane = np.take(plane, below, axis) * (1 - part) + np.take(plane, above, axis) * part
    return plane
