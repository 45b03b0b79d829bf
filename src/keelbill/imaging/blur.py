"""Makes a picture unrecognisable while it keeps its size and its mood. Does not know why it is asked to."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from keelbill.core.errors import InvalidInput
from keelbill.imaging.resize import flatten

Pixels = NDArray[np.uint8]

CELLS: Final = 8
"""Patches of colour along the longer side that are left of a picture; faces and bodies need three times as many."""


def blur(pixels: Pixels) -> Pixels:
    """Replace a picture by a few soft patches of its colours.

    The picture is averaged down to at most `CELLS` by `CELLS` values before it is enlarged again, so what is lost
    cannot be computed back; a Gaussian alone could be sharpened.

    Args:
        pixels: With shape ``(H, W, 3)`` or ``(H, W, 4)``.

    Returns:
        Pixels of the same shape. Transparency is laid on white and the result is opaque, because an outline can be
        recognised too.

    Raises:
        InvalidInput: The array is no picture.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.size == 0:
        raise InvalidInput("pixels", f"{pixels.dtype}{pixels.shape}", "uint8 with shape (height, width, 3 or 4)")
    height, width = pixels.shape[:2]
    longer = max(width, height)
    cells = (max(1, round(CELLS * width / longer)), max(1, round(CELLS * height / longer)))
    small = Image.fromarray(flatten(pixels)).resize(cells, Image.Resampling.BOX)
    large = small.resize((width, height), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(longer / 24))
    soft = np.asarray(large, dtype=np.uint8)
    if pixels.shape[2] == 3:
        return soft.copy()
    return np.dstack([soft, np.full((height, width), 255, dtype=np.uint8)])
