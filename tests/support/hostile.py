"""Pictures made to harm whoever decodes them, built byte by byte. Nothing here is written to disk."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def noise(width: int, height: int, channels: int = 3) -> NDArray[np.uint8]:
    """Return pixels that no compressor can shrink; always the same ones."""
    return np.random.default_rng(7).integers(0, 256, (height, width, channels), dtype=np.uint8)


def photo(width: int = 96, height: int = 64, kind: str = "PNG", **options: object) -> bytes:
    """Return an honest file with soft shapes."""
    small = Image.fromarray(noise(8, 8))
    out = BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, body: bytes, *, length: int | None = None, crc: int | None = None) -> bytes:
    """Return one PNG chunk, with a false length or checksum if asked."""
    real = zlib.crc32(kind + body)
    return (
        struct.pack(">I", len(body) if length is None else length)
        + kind
        + body
        + struct.pack(">I", real if crc is None else crc)
    )


def header(width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    """Return the IHDR chunk."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def png(*chunks: bytes) -> bytes:
    """Return a PNG file of these chunks, with IEND."""
    return PNG_MAGIC + b"".join(chunks) + chunk(b"IEND", b"")


def bomb(width: int, height: int, colour: int = 2) -> bytes:
    """Return a PNG whose few bytes unfold to a whole picture of zeros."""
    samples = {0: 1, 2: 3, 6: 4}[colour]
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + width * samples)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return png(header(width, height, colour=colour), chunk(b"IDAT", body))


def with_chunk(extra: bytes, base: bytes | None = None) -> bytes:
    """Return an honest PNG with one more chunk behind its header."""
    data = base or photo()
    return data[:33] + extra + data[33:]


def unfolding(size_bytes: int) -> bytes:
    """Return a zlib stream of zeros that unfolds to `size_bytes`."""
    packer = zlib.compressobj(9)
    block = b"\0" * 2**20
    return b"".join(packer.compress(block) for _ in range(size_bytes // 2**20)) + packer.flush()


def webp_extended(width: int, height: int, flags: int = 0, rest: bytes = b"") -> bytes:
    """Return a WebP file whose extended header claims a size, followed by `rest`."""
    body = struct.pack("<I", flags)[:4] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunks = b"VP8X" + struct.pack("<I", len(body)) + body + rest
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def jpeg_with_size(width: int, height: int) -> bytes:
    """Return an honest JPEG whose frame header was changed to claim another size."""
    data = bytearray(photo(64, 64, "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_scan_bomb(width: int, height: int, scans: int, detail: int = 64) -> bytes:
    """Return a progressive JPEG that repeats one of its passes over the whole picture.

    Args:
        width: In pixels.
        height: Likewise.
        scans: How many times.
        detail: Pixels from one patch of colour to the next; the fewer, the more work each pass is.
    """
    out = BytesIO()
    pixels = Image.fromarray(noise(width // detail, height // detail)).resize((width, height), Image.Resampling.BICUBIC)
    pixels.save(out, "JPEG", progressive=True, quality=50)
    data = out.getvalue()
    at = [index for index in range(len(data) - 1) if data[index : index + 2] == b"\xff\xda"]
    last = data[at[-1] : -2]
    return data[:-2] + last * scans + data[-2:]


def tiff_like(*tags: tuple[int, int, int, int]) -> bytes:
    """Return an EXIF block with these (tag, type, count, value) entries, little-endian."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0\0\0\0"
