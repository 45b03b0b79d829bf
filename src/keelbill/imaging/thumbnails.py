"""Makes small forms of pictures for lists. Knows neither owners nor where anything is kept."""

from __future__ import annotations

from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from keelbill.imaging.decode import open_header

SIDE: Final = 320
QUALITY: Final = 80
MEDIA_TYPE: Final = "image/webp"
MAX_BYTES: Final = 64 * 2**20
MAX_PIXELS: Final = 32 * 2**20


def thumbnail(content: bytes, side: int = SIDE) -> bytes:
    """Return a WebP of at most `side` pixels each way, without recipe or any other metadata.

    Raises:
        BadImage: The bytes are no picture that we read.
    """
    with open_header(content, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS) as opened:
        opened.draft("RGB", (side, side))  # a JPEG decodes to about this size at once
        small = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
    return _small(small, side)


def small_form(pixels: NDArray[np.uint8], side: int = SIDE) -> bytes:
    """Return the same of pixels with shape ``(H, W, 3)`` or ``(H, W, 4)``."""
    return _small(Image.fromarray(pixels), side)


def _small(small: Image.Image, side: int) -> bytes:
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = BytesIO()
    small.save(out, "WEBP", quality=QUALITY, method=2)
    return out.getvalue()
