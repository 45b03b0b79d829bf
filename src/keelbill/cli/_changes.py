"""Reads the options that change a model or widen a picture: adapters, precision, margins. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Final

from keelbill.cli._orders import Source
from keelbill.core.errors import InvalidInput, UnknownName
from keelbill.core.settings import Settings
from keelbill.imaging.margins import Margins
from keelbill.storage.hub import Hub, Kind

MAX_LORA: Final = 10.0
MAX_MARGIN: Final = 2000
DTYPES: Final = ("auto", "bfloat16", "float16", "float32")


def check_dtype(name: str | None) -> str | None:
    """Check a precision's name.

    Raises:
        UnknownName: There is no such precision.
    """
    if name is not None and name not in DTYPES:
        raise UnknownName("dtype", name, DTYPES)
    return name


def check_loras(wanted: Sequence[str], settings: Settings) -> tuple[tuple[Path, float], ...]:
    """Find adapters, each named as ``FILE`` or ``FILE:STRENGTH``, or by the name of an installed one.

    Raises:
        InvalidInput: A strength is no number or out of range, or a file is missing.
        UnknownModel: It looks like a name, and no adapter of that name is installed.
    """
    return tuple(_lora(text, settings) for text in wanted)


def _lora(text: str, settings: Settings) -> tuple[Path, float]:
    name, colon, tail = text.rpartition(":")
    if not colon or Path(text).expanduser().is_file() or "/" in tail or "\\" in tail:
        name, tail = text, "1"
    try:
        strength = float(tail)
    except ValueError:
        raise InvalidInput("lora", text, "FILE or FILE:STRENGTH, for example style.safetensors:0.8") from None
    if not isfinite(strength) or abs(strength) > MAX_LORA:
        raise InvalidInput("lora", text, f"with a strength from -{MAX_LORA:g} to {MAX_LORA:g}")
    path = Path(name).expanduser()
    if path.is_file():
        return path, strength
    if len(path.parts) > 1 or path.suffix:
        raise InvalidInput("lora", text, "a file that exists, or the name of an installed LoRA")
    return Hub(settings.home).get(name, Kind.LORA).path, strength


def check_margins(text: str) -> Margins:
    """Read ``LEFT,TOP,RIGHT,BOTTOM`` in pixels.

    Raises:
        InvalidInput: They are no four whole numbers from 0 to 2000, or all are 0.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 4 and all(part.isascii() and part.isdecimal() and len(part) < 6 for part in parts):
        sides = [int(part) for part in parts]
        if max(sides) in range(1, MAX_MARGIN + 1):
            return Margins(*sides)
    allowed = f"LEFT,TOP,RIGHT,BOTTOM, each from 0 to {MAX_MARGIN} pixels and one of them above 0"
    raise InvalidInput("outpaint", text, allowed)


def widened(source: Source | None, margins: Margins | None, strength: float | None) -> Source | None:
    """Widen a picture to start from by margins that are then painted.

    Args:
        source: The picture.
        margins: What to add; nothing leaves all as it is.
        strength: What was asked for; nothing paints the margins wholly anew.

    Raises:
        InvalidInput: There is no picture, or it has a mask.
    """
    if margins is None:
        return source
    if source is None:
        raise InvalidInput("outpaint", str(margins), "given together with image")
    if source.mask is not None:
        raise InvalidInput("mask", "a mask", "left out when outpaint is given, which paints the margins")
    height, width = source.pixels.shape[:2]
    return replace(
        source,
        pixels=margins.widened(source.pixels),
        mask=margins.mask(height, width),
        strength=1.0 if strength is None else strength,
        kind="outpaint",
    )
