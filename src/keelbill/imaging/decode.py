"""Turns the bytes of strangers into pixels, within bounds. Knows nothing of models, masks or recipes."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from keelbill.core.errors import BadImage

Pixels = NDArray[np.uint8]

MAX_BYTES: Final = 10 * 2**20
MAX_PIXELS: Final = 2**26

# What Pillow's three decoders raise for damaged files; anything else is a fault of ours and may rise.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_quiet_lock = threading.Lock()


class ImageFormat(StrEnum):
    """The picture formats that are read and written."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @property
    def suffix(self) -> str:
        """The usual end of a file name, with its dot."""
        return ".jpg" if self is ImageFormat.JPEG else f".{self.value}"


_OPENERS: dict[ImageFormat, type[ImageFile]] = {
    ImageFormat.PNG: PngImageFile,
    ImageFormat.JPEG: JpegImageFile,
    ImageFormat.WEBP: WebPImageFile,
}


def sniff(data: bytes) -> ImageFormat | None:
    """Tell the format by the first bytes; names and declared types are not asked."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return ImageFormat.PNG
    if data.startswith(b"\xff\xd8\xff"):
        return ImageFormat.JPEG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ImageFormat.WEBP
    return None


def open_header(
    data: bytes, *, field: str = "image", max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> ImageFile:
    """Read a picture's header and check it against the bounds, before any pixel is decoded.

    Args:
        data: The whole file.
        field: What the picture is called in errors.
        max_bytes: Longest file.
        max_pixels: Largest width times height.

    Raises:
        BadImage: The bytes are empty, too many, of another format, damaged, animated, or of too many pixels.
    """
    image, frames = _opened(data, field, max_bytes, max_pixels)
    if frames > 1:
        raise BadImage(f"{field} is animated ({frames} frames); it must be a still picture.")
    return image


def _opened(data: bytes, field: str, max_bytes: int, max_pixels: int) -> tuple[ImageFile, int]:
    """Read a picture's header, and how many frames it has."""
    if not data:
        raise BadImage(f"{field} is empty (0 bytes); it must be a PNG, JPEG or WebP picture.")
    if len(data) > max_bytes:
        raise BadImage(f"{field} has more bytes than the {max_bytes:,} that are allowed.")
    kind = sniff(data)
    if kind is None:
        raise BadImage(f"{field} is not a PNG, JPEG or WebP picture; no other format is read.")
    try:
        with quiet():
            # The plug-in itself, not Image.open: no other decoder can be tricked into reading the bytes.
            image = _OPENERS[kind](BytesIO(data))
            frames = getattr(image, "n_frames", 1)
    except _DAMAGE as error:
        raise _damaged(field, kind, error) from error
    width, height = image.size
    if width * height > max_pixels:
        raise BadImage(f"{field} has {width}x{height} pixels; at most {max_pixels:,} pixels are allowed.")
    return image, frames


def decode(data: bytes, *, field: str = "image", max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode a PNG, JPEG or WebP picture, upright, without any of its metadata.

    Args:
        data: The whole file.
        field: What the picture is called in errors.
        max_bytes: Longest file.
        max_pixels: Largest width times height.

    Returns:
        Pixels with shape ``(H, W, 3)``, or ``(H, W, 4)`` if the picture has transparency.

    Raises:
        BadImage: The bytes are no whole picture within the bounds; the message says which rule they break.
    """
    image = open_header(data, field=field, max_bytes=max_bytes, max_pixels=max_pixels)
    try:
        image.load()
        with quiet():
            upright = _upright(image)
        return _to_rgb(upright)
    except _DAMAGE as error:
        raise _damaged(field, sniff(data), error) from error


def decode_frames(
    data: bytes, *, field: str = "image", max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> list[Pixels]:
    """Decode a still or animated picture, upright, without any of its metadata.

    Args:
        data: The whole file.
        field: What the picture is called in errors.
        max_bytes: Longest file.
        max_pixels: Largest width times height of all frames together.

    Returns:
        One array for each frame, as `decode` gives them; all have the same size.

    Raises:
        BadImage: The bytes are no whole picture within the bounds; the message says which rule they break.
    """
    image, frames = _opened(data, field, max_bytes, max_pixels)
    width, height = image.size
    if frames * width * height > max_pixels:
        raise BadImage(f"{field} has {frames} frames of {width}x{height}; at most {max_pixels:,} pixels are allowed.")
    found = []
    try:
        for place in range(frames):
            image.seek(place)
            image.load()
            with quiet():
                upright = _upright(image)
            found.append(_to_rgb(upright))
    except _DAMAGE as error:
        raise _damaged(field, sniff(data), error) from error
    return [pixels for pixels in found if pixels.shape[:2] == found[0].shape[:2]]


def read_bounded(path: Path, *, field: str = "image", max_bytes: int = MAX_BYTES) -> bytes:
    """Read a file that should be a picture, never more than one byte past the bound.

    Raises:
        BadImage: There is no such file, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadImage(f"{field} {str(path)!r} cannot be read: {reason}.") from error


def _damaged(field: str, kind: ImageFormat | None, error: BaseException) -> BadImage:
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return BadImage(f"{field} is a damaged or truncated {kind} file ({reason}).")


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF orientation says; a broken EXIF block counts as none."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:
        return image
    return ImageOps.exif_transpose(image) if orientation in range(2, 9) else image


def _to_rgb(image: Image.Image) -> Pixels:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow would clip it instead of scaling
        grey = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    converted = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return np.array(converted, dtype=np.uint8)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's remarks about odd metadata off the terminal; the lock is because filters are global."""
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
