"""Text chunks of PNG files: found, and put into another file. Knows the format's frame, no pixels.

Reference: PNG Specification, Third Edition, sections 5.3 and 11.3.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
MAX_TEXT_BYTES: Final = 4 * 2**20
_TEXTS: Final = (b"tEXt", b"zTXt", b"iTXt")


def texts_of(png: bytes, keys: Sequence[str]) -> list[bytes]:
    """Return the whole text chunks of some keys, unread; none if the file is no PNG or they are too long."""
    wanted = {key.encode("latin-1") for key in keys}
    found = [chunk for kind, data, chunk in _chunks(png) if kind in _TEXTS and data.partition(b"\0")[0] in wanted]
    return found if sum(map(len, found)) <= MAX_TEXT_BYTES else []


def with_texts(png: bytes, chunks: Iterable[bytes]) -> bytes:
    """Return a PNG with more chunks behind its header."""
    added = b"".join(chunks)
    if not added:
        return png
    head = len(SIGNATURE) + 25  # the header chunk always has this length
    return png[:head] + added + png[head:]


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield type, data and the whole of each chunk whose check sum holds."""
    if not png.startswith(SIGNATURE):
        return
    at = len(SIGNATURE)
    while at + 12 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        end = at + 12 + length
        if end > len(png):
            return
        if kind in _TEXTS:
            data = png[at + 8 : end - 4]
            if zlib.crc32(data, zlib.crc32(kind)) == struct.unpack_from(">I", png, end - 4)[0]:
                yield kind, data, png[at:end]
        at = end
