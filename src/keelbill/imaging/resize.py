"""Brings pictures to the sizes that networks take. Knows nothing of networks but a step in pixels."""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from keelbill.core.types import MAX_SIDE, Size

Pixels = NDArray[np.uint8]


def stretch(pixels: Pixels, size: Size) -> Pixels:
    """Scale a picture to `size`, whatever its shape.

    Args:
        pixels: With shape ``(H, W, 3)``, ``(H, W, 4)`` or ``(H, W)``.
        size: The wanted width and height.
    """
    if (pixels.shape[1], pixels.shape[0]) == (size.width, size.height):
        return pixels
    image = Image.fromarray(pixels)
    return np.array(image.resize((size.width, size.height), Image.Resampling.LANCZOS), dtype=np.uint8)


def cover(pixels: Pixels, size: Size) -> Pixels:
    """Cut the largest centred part with the shape of `size` and scale it to `size`; nothing is distorted.

    Args:
        pixels: With shape ``(H, W, 3)``, ``(H, W, 4)`` or ``(H, W)``.
        size: The wanted width and height.
    """
    height, width = pixels.shape[:2]
    scale = max(size.width / width, size.height / height)
    cut_width = max(1, min(width, round(size.width / scale)))
    cut_height = max(1, min(height, round(size.height / scale)))
    left, top = (width - cut_width) // 2, (height - cut_height) // 2
    return stretch(pixels[top : top + cut_height, left : left + cut_width], size)


def flatten(pixels: Pixels, background: tuple[int, int, int] = (255, 255, 255)) -> Pixels:
    """Lay a picture with transparency on a plain background.

    Args:
        pixels: With shape ``(H, W, 3)`` or ``(H, W, 4)``.
        background: Red, green and blue, 0 to 255.

    Returns:
        Pixels with shape ``(H, W, 3)``.
    """
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[:, :, 3:].astype(np.float32) / 255
    mixed = pixels[:, :, :3] * alpha + np.array(background, dtype=np.float32) * (1 - alpha)
    return np.rint(mixed).astype(np.uint8)


def size_for_ratio(width: float, height: float, area: int, step: int) -> Size:
    """Find the size of a given shape with about a given area, both sides multiples of `step`.

    Args:
        width: Width of the wanted shape, in any unit.
        height: Height of the wanted shape, in the same unit.
        area: Wanted pixels; the result has at most 6 % more.
        step: Both sides become multiples of this many pixels.
    """
    ratio = width / height
    best, least = Size(step, step), float("inf")
    for columns in range(1, MAX_SIDE // step + 1):
        most_rows = int(1.06 * area / (columns * step * step))
        for rows in {r for r in (round(columns / ratio), most_rows) if 1 <= r <= min(most_rows, MAX_SIDE // step)}:
            # Shape matters twice as much as area; both as ratios, so that twice and half weigh the same.
            cost = 2 * abs(log(columns / rows / ratio)) + abs(log(columns * rows * step * step / area))
            if cost < least:
                best, least = Size(columns * step, rows * step), cost
    return best
