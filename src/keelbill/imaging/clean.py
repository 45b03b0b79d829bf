"""Rebuilds a stranger's picture from nothing but its pixels. Knows no processes; call it where a crash does no harm.

The steps are ordered so that each one only sees what the one before let through: length, first bytes, one decoder,
size in the header, number of frames, pixels, orientation, a new file.
"""

from __future__ import annotations

import hashlib
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from keelbill.core.errors import BadImage, InvalidRequest
from keelbill.imaging.decode import MAX_BYTES, ImageFormat, sniff
from keelbill.imaging.plainpng import write_png

Pixels = NDArray[np.uint8]

MAX_PIXELS: Final = 9_437_184
MAX_SCANS: Final = 64
"""Passes of a progressive JPEG. Encoders write about ten; each one costs a walk over the whole picture."""

_OPENERS: dict[ImageFormat, type[ImageFile]] = {
    ImageFormat.PNG: PngImageFile,
    ImageFormat.JPEG: JpegImageFile,
    ImageFormat.WEBP: WebPImageFile,
}
# What Pillow's three decoders raise for damaged files; anything else is a fault of ours and may rise.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


@dataclass(frozen=True)
class Limits:
    """What a picture may measure.

    Attributes:
        field: What the picture is called in errors.
        min_side: Least width and height in pixels.
        max_side: Greatest width and height in pixels, or no bound but that on pixels.
        min_pixels: Least width times height.
        max_pixels: Greatest width times height.
        max_aspect: Greatest ratio of the longer to the shorter side, or no bound.
        max_bytes: Longest file.
    """

    field: str = "image"
    min_side: int = 1
    max_side: int | None = None
    min_pixels: int = 1
    max_pixels: int = MAX_PIXELS
    max_aspect: float | None = None
    max_bytes: int = MAX_BYTES

    def check(self, width: int, height: int) -> None:
        """Check a size.

        Raises:
            BadImage: A side is zero.
            InvalidRequest: A limit is broken; every broken one is named.
        """
        if width < 1 or height < 1:
            raise BadImage(f"{self.field}: has no pixels ({width}x{height})")
        problems = []
        if min(width, height) < self.min_side:
            problems.append(f"each side must be at least {self.min_side} pixels, got {width}x{height}")
        if self.max_side is not None and max(width, height) > self.max_side:
            problems.append(f"each side must be at most {self.max_side} pixels, got {width}x{height}")
        if not self.min_pixels <= width * height <= self.max_pixels:
            problems.append(
                f"must have from {self.min_pixels:,} to {self.max_pixels:,} pixels, "
                f"got {width * height:,} ({width}x{height})"
            )
        if self.max_aspect is not None and max(width, height) > self.max_aspect * min(width, height):
            ratio = f"{self.max_aspect:g}"
            problems.append(f"must have an aspect ratio between 1:{ratio} and {ratio}:1, got {width}x{height}")
        if problems:
            raise InvalidRequest(*(f"{self.field}: {problem}" for problem in problems))


@dataclass(frozen=True)
class CleanImage:
    """A picture that was made anew from pixels.

    Attributes:
        png: A PNG file of grey, RGB or RGBA samples of 8 bits, with no other content.
        width: In pixels, after the picture was turned upright.
        height: Likewise.
        has_alpha: Whether it has a transparency channel.
    """

    png: bytes
    width: int
    height: int
    has_alpha: bool

    @property
    def sha256(self) -> str:
        """SHA-256 of `png`, hexadecimal."""
        return hashlib.sha256(self.png).hexdigest()


def clean(data: bytes, limits: Limits) -> CleanImage:
    """Rebuild a picture.

    Args:
        data: The whole file, as it was sent. Its name and declared type are not asked.
        limits: What it may measure.

    Raises:
        BadImage: The bytes are no whole, still PNG, JPEG or WebP picture.
        InvalidRequest: The picture is too small, too large or too narrow.
    """
    pixels = read_pixels(data, limits)
    png = write_png(pixels)
    height, width, channels = pixels.shape
    return CleanImage(png, width, height, channels == 4)


def read_pixels(data: bytes, limits: Limits) -> Pixels:
    """Decode a picture, upright.

    Returns:
        Pixels with shape ``(H, W, C)``; C is 1 for grey, 3 for RGB and 4 for RGBA.

    Raises:
        BadImage: As `clean`.
        InvalidRequest: As `clean`.
    """
    field = limits.field
    kind = check_length_and_kind(data, field, limits.max_bytes)
    if kind is ImageFormat.WEBP:
        # The decoder makes room for the whole picture when it opens the file, so the header is read before.
        limits.check(*_webp_size(data, field))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = _OPENERS[kind](BytesIO(data))
            limits.check(*image.size)
            _check_frames(image, data, kind, field)
            image.load()
            return _pixels(_upright(image))
    except _DAMAGE as error:
        raise BadImage(f"{field}: is a damaged or truncated {kind.upper()} file") from error
    except MemoryError as error:
        raise BadImage(f"{field}: needs more memory to decode than a picture may") from error


def check_length_and_kind(data: bytes, field: str, max_bytes: int) -> ImageFormat:
    """Make the two checks that cost nothing: the length and the first bytes.

    Raises:
        BadImage: The file is empty, too long, or neither PNG, JPEG nor WebP.
    """
    if not data:
        raise BadImage(f"{field}: is empty; must be a PNG, JPEG or WebP picture")
    if len(data) > max_bytes:
        raise BadImage(f"{field}: must have at most {max_bytes:,} bytes, got {len(data):,}")
    kind = sniff(data)
    if kind is None:
        raise BadImage(f"{field}: must be a PNG, JPEG or WebP picture; no other format is read")
    return kind


def _check_frames(image: ImageFile, data: bytes, kind: ImageFormat, field: str) -> None:
    frames = int(getattr(image, "n_frames", 1))
    if frames > 1:
        raise BadImage(f"{field}: must be a still picture, got {frames} frames")
    if kind is ImageFormat.JPEG and _scans(data) > MAX_SCANS:
        raise BadImage(f"{field}: must be a JPEG of at most {MAX_SCANS} scans")


def _scans(data: bytes) -> int:
    """Count the passes of a JPEG up to its end marker; what follows that is not part of the picture."""
    at, scans = 2, 0
    while scans <= MAX_SCANS:
        found = _JPEG_MARKER.search(data, at)
        if found is None or data[found.start() + 1] == 0xD9:
            break
        marker, at = data[found.start() + 1], found.end()
        scans += marker == 0xDA
        if marker not in (0x01, 0xD8):  # every other marker carries its length
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
    return scans


def _webp_size(data: bytes, field: str) -> tuple[int, int]:
    """Read width and height from the first chunk (RFC 9649, sections 2.5 to 2.7)."""
    chunk, head = data[12:16], data[20:30]
    if len(head) == 10:
        if chunk == b"VP8X":
            return 1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little")
        if chunk == b"VP8L" and head[0] == 0x2F:
            bits = int.from_bytes(head[1:5], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        if chunk == b"VP8 " and head[3:6] == b"\x9d\x01\x2a":
            return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
    raise BadImage(f"{field}: is a damaged or truncated WEBP file")


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF orientation says; a broken EXIF block counts as none."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:
        return image
    if orientation not in range(2, 9):
        return image
    image.info.pop("exif", None)  # parsed above; turning a picture must not write it anew
    turned = image.transpose(_TURNS[orientation])
    if "transparency" in image.info:
        turned.info["transparency"] = image.info["transparency"]
    return turned


# What undoes each EXIF orientation (Exif 3.0, section 4.6.5, tag 0x0112).
_TURNS: dict[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _pixels(image: Image.Image) -> Pixels:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow would clip it instead of scaling
        grey = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        return grey[:, :, None]
    if image.has_transparency_data:
        return np.asarray(image.convert("RGBA"))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[:, :, None]
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
