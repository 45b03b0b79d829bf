"""The graph of nodes that a picture carries, as other programs write and read it. Knows no node and no pixel."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from keelbill.imaging.decode import MAX_BYTES, ImageFormat, open_header, quiet, sniff

PROMPT: Final = "prompt"
WORKFLOW: Final = "workflow"
PARAMETERS: Final = "parameters"
MAX_TEXT_BYTES: Final = 4 * 2**20
MAX_TEXTS: Final = 16

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_TAKEN: Final = frozenset({"keelbill", PARAMETERS})
_TAGS: Final = {WORKFLOW: ExifTags.Base.Make, PROMPT: ExifTags.Base.Model}


def texts(prompt: Any, extra: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Write a graph as the texts that a picture carries.

    Args:
        prompt: The graph in the API format; nothing leaves it out.
        extra: Each entry becomes a text of its own; ``workflow`` is the graph as an editor shows it. Entries with
            names that do not fit into a picture, and what is too long, are left out.

    Returns:
        Name to JSON in ASCII.
    """
    found = {PROMPT: _json(prompt)} if prompt is not None else {}
    for name, value in list((extra or {}).items())[:MAX_TEXTS]:
        if _NAME.fullmatch(name) and name not in _TAKEN | {PROMPT} and value is not None:
            found[name] = _json(value)
    return {name: text for name, text in found.items() if len(text) <= MAX_TEXT_BYTES}


def add_to_png(info: PngInfo, carried: Mapping[str, str]) -> None:
    """Add texts to those of a PNG picture; ASCII stays plain, as every reader knows it."""
    for name, text in carried.items():
        info.add_text(name, text)


def add_to_exif(block: bytes, carried: Mapping[str, str]) -> bytes:
    """Add the graph to an EXIF block, where readers of WebP look for it: in the camera's maker and model.

    Args:
        block: As it is so far; may be empty.
        carried: ``workflow`` and ``prompt`` are kept, other texts are not.

    Returns:
        The block; the same one if there is nothing to add.
    """
    if _TAGS.keys().isdisjoint(carried):
        return block
    exif = Image.Exif()
    if block:
        exif.load(block)
    for name, tag in _TAGS.items():
        if name in carried:
            exif[tag] = f"{name}:{carried[name]}"
    return exif.tobytes()


def read_texts(data: bytes, *, field: str = "image", max_bytes: int = MAX_BYTES) -> dict[str, str]:
    """Read ``workflow``, ``prompt`` and ``parameters`` of a PNG or WebP picture, without decoding its pixels.

    Args:
        data: The whole file.
        field: What the picture is called in errors.
        max_bytes: Longest file.

    Returns:
        What there is, by name; texts longer than `MAX_TEXT_BYTES` are passed over.

    Raises:
        BadImage: The bytes are no picture.
    """
    image = open_header(data, field=field, max_bytes=max_bytes)
    kind = sniff(data)
    found: dict[str, Any] = {}
    if kind is ImageFormat.PNG:
        found = {name: image.info.get(name) for name in (WORKFLOW, PROMPT, PARAMETERS)}
    elif kind is ImageFormat.WEBP:
        found = _from_exif(image.info.get("exif"))
    return {name: str(text) for name, text in found.items() if isinstance(text, str) and len(text) <= MAX_TEXT_BYTES}


def _from_exif(block: object) -> dict[str, Any]:
    exif = Image.Exif()
    try:
        with quiet():
            if isinstance(block, bytes):
                exif.load(block)
            values = [exif.get(tag) for tag in _TAGS.values()]
    except (OSError, ValueError, SyntaxError, KeyError, TypeError):
        return {}  # a damaged block of another program
    found = {}
    for value in values:  # some programs exchange the two tags
        name, mark, text = value.partition(":") if isinstance(value, str) else ("", "", "")
        if mark and name.lower() in _TAGS:
            found[name.lower()] = text.rstrip("\x00")
    return found


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=True, separators=(",", ":"))
