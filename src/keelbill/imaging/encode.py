"""Turns pixels into the bytes of a picture that carries its recipe. Knows nothing of files or who asked."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from keelbill.core.errors import InvalidInput
from keelbill.imaging.decode import ImageFormat
from keelbill.imaging.metadata import MAX_EXIF_BYTES, Recipe, exif_bytes, png_info
from keelbill.imaging.resize import flatten
from keelbill.imaging.workflows import WORKFLOW, add_to_exif, add_to_png

Pixels = NDArray[np.uint8]

PNG_LEVEL: Final = 2  # a quarter of the default level's time for a tenth more bytes
JPEG_QUALITY: Final = 95
WEBP_QUALITY: Final = 95


def encode(pixels: Pixels, kind: ImageFormat, recipe: Recipe | None = None, *, workflow: str = "") -> bytes:
    """Encode a picture.

    Args:
        pixels: With shape ``(H, W, 3)`` or ``(H, W, 4)``; JPEG knows no transparency and gets a white background.
        kind: PNG keeps every value; JPEG and WebP are lossy, at quality 95.
        recipe: What the picture carries: PNG text chunks, or EXIF.
        workflow: JSON of a graph of nodes that makes it, for PNG and WebP only; "" for none.

    Raises:
        BadRecipe: The recipe does not fit into a JPEG.
        InvalidInput: The array is no picture.
    """
    _check(pixels)
    texts = {WORKFLOW: workflow} if workflow else {}
    out = BytesIO()
    if kind is ImageFormat.PNG:
        image = Image.fromarray(pixels)
        info = png_info(recipe) if recipe else PngInfo()
        add_to_png(info, texts)
        image.save(out, "PNG", compress_level=PNG_LEVEL, pnginfo=info)
    elif kind is ImageFormat.JPEG:
        exif = exif_bytes(recipe, max_bytes=MAX_EXIF_BYTES) if recipe else b""
        Image.fromarray(flatten(pixels)).save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0, exif=exif)
    else:
        exif = exif_bytes(recipe) if recipe else b""
        Image.fromarray(pixels).save(out, "WEBP", quality=WEBP_QUALITY, exif=add_to_exif(exif, texts))
    return out.getvalue()


def encode_png(pixels: Pixels, texts: Mapping[str, str], level: int = PNG_LEVEL) -> bytes:
    """Encode a picture as PNG that carries the graph by which it was made.

    Args:
        pixels: With shape ``(H, W, 3)`` or ``(H, W, 4)``.
        texts: Such as ``prompt`` and ``workflow``, in JSON.
        level: Of compression, 0 to 9.

    Raises:
        InvalidInput: The array is no picture.
    """
    _check(pixels)
    info = PngInfo()
    add_to_png(info, texts)
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=level, pnginfo=info)
    return out.getvalue()


def _check(pixels: Pixels) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.size == 0:
        raise InvalidInput("pixels", f"{pixels.dtype}{pixels.shape}", "uint8 with shape (height, width, 3 or 4)")


def to_pixels(picture: NDArray[np.float32]) -> Pixels:
    """Turn floats in [0, 1] with shape ``(3, H, W)`` into bytes with shape ``(H, W, 3)``, rounding."""
    levels = np.rint(np.clip(picture, 0.0, 1.0) * np.float32(255)).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))


def from_pixels(pixels: Pixels) -> NDArray[np.float32]:
    """Turn bytes with shape ``(H, W, 3)`` into floats in [0, 1] with shape ``(3, H, W)``."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)
