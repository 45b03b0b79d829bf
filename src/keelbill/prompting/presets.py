"""Style presets: words that are put around a prompt. Knows no model, and does not know who asked."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from keelbill.core.errors import InvalidRequest

PRESETS: Final = (
    "3d-model",
    "analog-film",
    "anime",
    "cinematic",
    "comic-book",
    "digital-art",
    "enhance",
    "fantasy-art",
    "isometric",
    "line-art",
    "low-poly",
    "modeling-compound",
    "neon-punk",
    "origami",
    "photographic",
    "pixel-art",
    "tile-texture",
)
"""The 17 published names, in alphabetical order."""

_PLACE = "{prompt}"


@dataclass(frozen=True)
class Preset:
    """One style.

    Attributes:
        name: One of `PRESETS`.
        before: Text in front of the user's prompt, often empty.
        after: Text behind it.
        negative: What the style asks the model to avoid, "" for nothing.
    """

    name: str
    before: str
    after: str
    negative: str


@cache
def presets() -> dict[str, Preset]:
    """Return every preset by its name, as the data file beside this module has them."""
    text = resources.files(__package__).joinpath("presets.toml").read_text(encoding="utf-8")
    found: dict[str, Preset] = {}
    for name, entry in tomllib.loads(text).items():
        before, _, after = entry["prompt"].partition(_PLACE)
        found[name] = Preset(name, before, after, entry["negative"])
    return found


def apply_preset(prompt: str, negative: str, preset: str | None) -> tuple[str, str]:
    """Put a style's words around a prompt.

    Args:
        prompt: What to paint. Braces in it mean nothing.
        negative: What to avoid; "" for nothing.
        preset: One of `PRESETS`; nothing or "" leaves both texts as they are.

    Returns:
        The prompt and the negative prompt that the model gets.

    Raises:
        InvalidRequest: There is no such preset; the message lists those that there are.
    """
    if not preset:
        return prompt, negative
    if preset not in PRESETS:
        raise InvalidRequest(f"style_preset: must be one of {', '.join(PRESETS)}")
    style = presets()[preset]
    words = prompt.rstrip().rstrip(",;.").rstrip()
    styled = f"{style.before}{words}{style.after}" if words else (style.before + style.after).strip(", ")
    avoided = ", ".join(part for part in (negative.rstrip().rstrip(","), style.negative) if part)
    return styled, avoided
