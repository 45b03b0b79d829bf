"""Forms and pictures as clients send them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image

Part = tuple[str | None, str | bytes]


def form(**fields: object) -> dict[str, Any]:
    """Return multipart fields for httpx: bytes become files, everything else text.

    A trailing underscore of a name is dropped, and ``files`` is what httpx calls the whole.
    """
    parts: dict[str, Part] = {}
    for name, value in fields.items():
        key = name.rstrip("_")
        parts[key] = (f"{key}.bin", value) if isinstance(value, bytes) else (None, str(value))
    return {"files": parts}


def png(width: int = 64, height: int = 64, *, mode: str = "RGB", colour: object = (200, 30, 30)) -> bytes:
    """Return a flat picture."""
    return encoded("PNG", width, height, mode=mode, colour=colour)


def encoded(
    kind: str, width: int = 64, height: int = 64, *, mode: str = "RGB", colour: object = (200, 30, 30)
) -> bytes:
    """Return a flat picture in another format, such as ``JPEG``."""
    out = BytesIO()
    Image.new(mode, (width, height), colour).save(out, kind)  # type: ignore[arg-type]
    return out.getvalue()


def cutout(width: int = 64, height: int = 64) -> bytes:
    """Return a picture whose left half is transparent."""
    image = Image.new("RGBA", (width, height), (10, 200, 10, 255))
    image.paste((0, 0, 0, 0), (0, 0, width // 2, height))
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def size_of(data: bytes) -> tuple[int, int]:
    """Return the width and height of a picture."""
    with Image.open(BytesIO(data)) as image:
        return image.size


def format_of(data: bytes) -> str:
    """Return a picture's format, such as ``PNG``."""
    with Image.open(BytesIO(data)) as image:
        return str(image.format)


def pixels_of(data: bytes) -> bytes:
    """Return a picture's pixels, so that two can be compared whatever their files say."""
    with Image.open(BytesIO(data)) as image:
        return image.convert("RGBA").tobytes()
