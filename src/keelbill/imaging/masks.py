"""Turns pictures into masks of what to repaint: 1 is new, 0 is kept. Knows nothing of latents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from keelbill.core.errors import BadImage, InvalidInput
from keelbill.core.types import Size
from keelbill.imaging.resize import cover

Pixels = NDArray[np.uint8]
Mask = NDArray[np.float32]

MAX_GROW = 100


def from_brightness(pixels: Pixels) -> Mask:
    """Read a mask picture: white is repainted, black is kept, grey is blended.

    Args:
        pixels: With shape ``(H, W, 3)`` or ``(H, W, 4)``; transparent parts count as black.

    Returns:
        A mask with shape ``(H, W)`` and values in [0, 1].
    """
    grey = np.asarray(Image.fromarray(np.ascontiguousarray(pixels[:, :, :3])).convert("L"), dtype=np.float32) / 255
    if pixels.shape[2] == 4:
        grey = grey * (pixels[:, :, 3].astype(np.float32) / 255)
    return grey.astype(np.float32)


def from_transparency(pixels: Pixels) -> Mask:
    """Read a mask from a picture's own transparency: what is transparent is repainted.

    Args:
        pixels: With shape ``(H, W, 4)``.

    Returns:
        A mask with shape ``(H, W)`` and values in [0, 1].

    Raises:
        BadImage: The picture has no transparency.
    """
    if pixels.shape[2] != 4:
        raise BadImage("image has no transparent part; give a mask, or an image with transparency.")
    return (1 - pixels[:, :, 3].astype(np.float32) / 255).astype(np.float32)


def fit(mask: Mask, size: Size) -> Mask:
    """Cut and scale a mask with shape ``(H, W)`` to `size`, as `resize.cover` does with the picture it belongs to."""
    return (cover(np.rint(mask * 255).astype(np.uint8), size).astype(np.float32) / 255).astype(np.float32)


def grow(mask: Mask, pixels: int) -> Mask:
    """Widen what is repainted by some pixels and soften its edge over the same distance.

    Args:
        mask: With shape ``(H, W)`` and values in [0, 1].
        pixels: How far, 0 to 100.

    Raises:
        InvalidInput: `pixels` is out of range.
    """
    if not 0 <= pixels <= MAX_GROW:
        raise InvalidInput("grow_mask", pixels, f"from 0 to {MAX_GROW} pixels")
    if pixels == 0:
        return mask
    image = Image.fromarray(np.rint(mask * 255).astype(np.uint8))
    wide = image.filter(ImageFilter.MaxFilter(2 * pixels + 1)).filter(ImageFilter.GaussianBlur(pixels / 2))
    return np.maximum(mask, np.asarray(wide, dtype=np.float32) / 255)
