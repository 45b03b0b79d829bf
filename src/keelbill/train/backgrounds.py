"""Paints what is behind the things of a scene. Knows colours and gradients, no things and no captions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keelbill.core.errors import InvalidInput, UnknownName
from keelbill.core.registry import Registry
from keelbill.train.palette import Bytes, Floats

VARIANTS = 12
HORIZON = 0.66


@dataclass(frozen=True)
class BackgroundColour:
    """A background colour.

    Attributes:
        rgb: Values from 0 to 255.
        hides: Colours of things that would not stand out from it.
    """

    rgb: tuple[int, int, int]
    hides: tuple[str, ...]


BACKGROUND_COLOURS: dict[str, BackgroundColour] = {
    "white": BackgroundColour((250, 250, 250), ("white",)),
    "light blue": BackgroundColour((184, 221, 250), ()),
    "blue": BackgroundColour((70, 134, 226), ("blue", "teal")),
    "dark blue": BackgroundColour((28, 42, 92), ("black", "blue", "purple")),
    "pink": BackgroundColour((250, 184, 208), ("pink",)),
    "light green": BackgroundColour((190, 234, 196), ()),
    "green": BackgroundColour((92, 180, 102), ("green", "teal")),
    "yellow": BackgroundColour((252, 218, 100), ("yellow", "orange")),
    "orange": BackgroundColour((250, 164, 84), ("orange", "yellow", "red")),
    "purple": BackgroundColour((156, 112, 214), ("purple", "blue")),
    "lavender": BackgroundColour((218, 206, 248), ()),
    "red": BackgroundColour((220, 66, 66), ("red", "orange", "pink", "brown")),
    "beige": BackgroundColour((244, 228, 204), ("white",)),
    "gray": BackgroundColour((176, 180, 188), ("gray",)),
    "dark": BackgroundColour((40, 42, 52), ("black", "brown")),
    "black": BackgroundColour((12, 12, 15), ("black", "brown")),
}


@dataclass(frozen=True)
class Background:
    """What is behind the things.

    Attributes:
        kind: A name in `PAINTERS`.
        colour: A name in `BACKGROUND_COLOURS`, for kinds that have one.
        variant: 0 to `VARIANTS` - 1; small differences between pictures of one kind and colour.
    """

    kind: str
    colour: str = ""
    variant: int = 0


class Painter:
    """Paints one kind of background."""

    grounded = False

    def paint(self, background: Background, size: int) -> Floats:
        """Return values from 0 to 255, shape ``(size, size, 3)``; out-of-range values are clipped later."""
        raise NotImplementedError


PAINTERS: Registry[type[Painter]] = Registry("background")


def is_grounded(background: Background) -> bool:
    """Whether things stand on a floor and cast a shadow."""
    return PAINTERS.get(background.kind).grounded


def paint(background: Background, size: int) -> Bytes:
    """Paint a background.

    Args:
        background: What to paint; the same value gives the same pixels.
        size: Side in pixels.

    Returns:
        Picture of shape ``(size, size, 3)``.

    Raises:
        UnknownName: Kind or colour is unknown.
        InvalidInput: The variant is out of range.
    """
    if not 0 <= background.variant < VARIANTS:
        raise InvalidInput("variant", background.variant, f"0 to {VARIANTS - 1}")
    pixels = PAINTERS.get(background.kind)().paint(background, size)
    clipped: Bytes = np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
    return clipped


def grid(size: int) -> tuple[Floats, Floats]:
    """Return x and y of pixel centres as fractions of the side, each of shape ``(size, size)``."""
    line = ((np.arange(size) + 0.5) / size).astype(np.float32)
    x, y = np.meshgrid(line, line)
    return x, y


def mix(a: Floats, b: Floats, amount: Floats) -> Floats:
    """Blend from `a` to `b`; `amount` in [0, 1] without the colour axis."""
    blended: Floats = (a + (b - a) * amount[..., None]).astype(np.float32)
    return blended


def smoothstep(low: float, high: float, value: Floats) -> Floats:
    """Rise softly from 0 at `low` to 1 at `high`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    risen: Floats = (t * t * (3 - 2 * t)).astype(np.float32)
    return risen


def base_colour(background: Background) -> Floats:
    """Return the RGB of the background's colour, a little lighter or darker by variant, from 0 to 255.

    Raises:
        UnknownName: The colour is unknown.
    """
    if background.colour not in BACKGROUND_COLOURS:
        raise UnknownName("background colour", background.colour, BACKGROUND_COLOURS)
    rgb = np.array(BACKGROUND_COLOURS[background.colour].rgb, np.float32)
    return rgb * np.float32(1 + 0.006 * (background.variant - (VARIANTS - 1) / 2))


@PAINTERS.register("plain")
class Plain(Painter):
    """One flat colour."""

    def paint(self, background: Background, size: int) -> Floats:
        """Fill with the colour."""
        return np.broadcast_to(base_colour(background), (size, size, 3)).astype(np.float32)


@PAINTERS.register("studio")
class Studio(Painter):
    """A lit wall that bends softly into a floor."""

    grounded = True

    def paint(self, background: Background, size: int) -> Floats:
        """Paint light that falls off from the middle of the wall, and a floor that brightens towards the front."""
        x, y = grid(size)
        base = base_colour(background)
        light = 0.5 + 0.025 * (background.variant - (VARIANTS - 1) / 2)
        away = np.sqrt((x - light) ** 2 + (y - 0.36) ** 2)
        wall = base * (1.07 - 0.3 * smoothstep(0.0, 0.85, away))[..., None] + 6
        floor = base * (0.88 + 0.16 * smoothstep(HORIZON, 1.0, y) - 0.12 * (x - light) ** 2)[..., None] + 6
        return mix(wall.astype(np.float32), floor.astype(np.float32), smoothstep(HORIZON - 0.035, HORIZON + 0.035, y))
