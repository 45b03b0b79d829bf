"""Packs pictures and their recipes into a ZIP file while it is sent. Knows no database.

Nothing is compressed, because pictures are already, and only one picture is in memory at a time.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from keelbill.gallery.schemas import Picture

RECIPES: Final = "recipes.json"
ENDINGS: Final = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
_EARLIEST: Final = datetime(1980, 1, 1, tzinfo=UTC)
_READABLE: Final = 0o644 << 16


class _Outlet(io.RawIOBase):
    """Takes what is written and gives it away in pieces; it cannot go back, so sizes follow the files."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._written += content
        return len(content)

    def take(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken


def file_name(picture: Picture) -> str:
    """Return the name of a picture's file: its id only, so that nothing that people write becomes a path."""
    return f"{picture.id}.{ENDINGS.get(picture.media_type, 'bin')}"


async def packed(pictures: Iterable[Picture], read: Callable[[str], Awaitable[bytes]]) -> AsyncIterator[bytes]:
    """Yield a ZIP file of pictures and of one list with all recipes.

    Args:
        pictures: Which.
        read: Returns the bytes of a blob.
    """
    outlet = _Outlet()
    recipes: list[dict[str, Any]] = []
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as archive:
        for picture in pictures:
            archive.writestr(_entry(file_name(picture), picture.created_ms), await read(picture.blob_ref))
            recipes.append(_facts(picture))
            yield outlet.take()
        newest = max((picture["created_ms"] for picture in recipes), default=0)
        archive.writestr(_entry(RECIPES, newest), json.dumps(recipes, indent=1, ensure_ascii=False) + "\n")
    yield outlet.take()


def _entry(name: str, made_ms: int) -> zipfile.ZipInfo:
    made = max(datetime.fromtimestamp(made_ms / 1000, UTC), _EARLIEST)
    entry = zipfile.ZipInfo(name, made.timetuple()[:6])
    entry.external_attr = _READABLE
    return entry


def _facts(picture: Picture) -> dict[str, Any]:
    return {
        "file": file_name(picture),
        "id": picture.id,
        "prompt": picture.prompt,
        "negative_prompt": picture.negative,
        "model": picture.model,
        "seed": picture.seed,
        "width": picture.width,
        "height": picture.height,
        "created_ms": picture.created_ms,
        "recipe": json.loads(picture.recipe or "{}"),
    }
