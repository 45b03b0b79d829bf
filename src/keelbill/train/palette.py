"""Named colours: finds the main colour of a picture and moves it to another. Knows arrays only, no files or scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Shade:
    """Where a colour word sits: hue in degrees (None for greys), saturation and value in [0, 1]."""

    hue: float | None
    saturation: float
    value: float


SHADES: dict[str, Shade] = {
    "red": Shade(357, 0.80, 0.87),
    "orange": Shade(27, 0.84, 0.96),
    "yellow": Shade(48, 0.78, 0.97),
    "green": Shade(126, 0.66, 0.70),
    "teal": Shade(178, 0.70, 0.72),
    "blue": Shade(215, 0.76, 0.87),
    "purple": Shade(272, 0.64, 0.80),
    "pink": Shade(334, 0.48, 0.97),
    "brown": Shade(22, 0.60, 0.50),
    "black": Shade(None, 0.12, 0.20),
    "white": Shade(None, 0.03, 0.95),
    "gray": Shade(None, 0.06, 0.62),
}
COLOURS = tuple(SHADES)

HUE_WINDOW = 30.0
HUE_SOFTNESS = 14.0
GREY_LIMIT = 0.3
GREY_SOFTNESS = 0.12

_HUE_LIMITS = (
    (12, "red"), (35.5, "orange"), (60, "yellow"), (172, "green"), (194, "teal"), (250, "blue"), (300, "purple")
)  # fmt: skip


@dataclass(frozen=True)
class MainColour:
    """The colour that dominates a picture.

    Attributes:
        name: Nearest colour word.
        hue: Centre of its hue cluster in degrees.
        saturation: Mean saturation of the cluster, in [0, 1].
        value: Mean value of the cluster, in [0, 1].
        share: Part of all colourfulness that the cluster holds, in [0, 1].
        area: Part of the visible pixels that it covers, in [0, 1].
        is_grey: Whether the cluster holds the greys, from white to black, instead of one hue.
    """

    name: str
    hue: float
    saturation: float
    value: float
    share: float
    area: float
    is_grey: bool

    @property
    def is_clear(self) -> bool:
        """Whether people would call the whole thing by this colour."""
        return self.name in SHADES and self.share > 0.5 and self.area > (0.75 if self.is_grey else 0.3)

    @property
    def can_change(self) -> bool:
        """Whether moving this colour changes how people would call the whole thing."""
        return self.share > 0.42 and self.area > (0.7 if self.is_grey else 0.22)


def to_hsv(rgb: Floats) -> tuple[Floats, Floats, Floats]:
    """Split RGB in [0, 1], shape ``(..., 3)``, into hue in degrees, saturation and value."""
    high = rgb.max(-1)
    span = high - rgb.min(-1)
    safe = np.where(span > 0, span, 1)
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    hue = np.where(high == r, (g - b) / safe % 6, np.where(high == g, (b - r) / safe + 2, (r - g) / safe + 4))
    saturation = span / np.where(high > 0, high, 1)
    return (hue * 60).astype(np.float32), saturation.astype(np.float32), high.astype(np.float32)


def from_hsv(hue: Floats, saturation: Floats, value: Floats) -> Floats:
    """Join hue in degrees, saturation and value in [0, 1] into RGB in [0, 1], shape ``(..., 3)``."""
    k = (np.array([5.0, 3.0, 1.0], np.float32) + hue[..., None] / 60) % 6
    ramp = np.clip(np.minimum(k, 4 - k), 0, 1)
    rgb: Floats = (value[..., None] * (1 - saturation[..., None] * ramp)).astype(np.float32)
    return rgb


def colour_name(hue: float, saturation: float, value: float) -> str:
    """Return the word for a colour: one of `COLOURS`, or "tan", which nobody says.

    Args:
        hue: In degrees.
        saturation: In [0, 1].
        value: In [0, 1].
    """
    if value < 0.22 or (value < 0.48 and saturation < 0.4 and not 0 <= hue < 60):
        return "black"
    if saturation < 0.14:
        return "white" if value > 0.82 else "gray"
    if 8 <= hue < 45 and value < (0.83 if saturation < 0.6 else 0.64):
        return "brown"
    if (hue < 8 or hue > 340) and saturation < 0.6 and value < 0.72:
        return "brown"
    if 8 <= hue < 45 and saturation < 0.57:
        return "tan"
    if hue >= 325:
        return "red" if saturation > 0.6 else "pink"
    return next((name for limit, name in _HUE_LIMITS if hue < limit), "pink")


def main_colour(rgba: Bytes) -> MainColour | None:
    """Find the hue cluster, or the greys, that dominate a picture.

    Args:
        rgba: Straight alpha, shape ``(H, W, 4)``.

    Returns:
        The cluster, or None when nothing is visible.
    """
    seen = rgba[..., 3] > 128
    if not seen.any():
        return None
    hue, saturation, value = to_hsv((rgba[..., :3][seen] / np.float32(255)).astype(np.float32))
    grey = saturation < GREY_LIMIT
    if grey.mean() > 0.55:
        return _main_grey(hue[grey], saturation[grey], value[grey], float(grey.mean()))
    weight = saturation * (saturation > 0.2) * (value > 0.2)
    bins = np.bincount((hue // 10).astype(int) % 36, weight, 36)
    smooth = bins + np.roll(bins, 1) + np.roll(bins, -1)
    near = np.abs((hue - (int(smooth.argmax()) * 10 + 5) + 180) % 360 - 180) < HUE_WINDOW
    part = near & (saturation > 0.16)
    if not part.any():
        return None
    centre = _mean_hue(hue[near], weight[near])
    s, v = float(saturation[part].mean()), float(value[part].mean())
    share = float(weight[near].sum() / max(1e-6, weight.sum()))
    return MainColour(colour_name(centre, s, v), centre, s, v, share, float(part.sum() / seen.sum()), is_grey=False)


def _main_grey(hue: Floats, saturation: Floats, value: Floats, area: float) -> MainColour:
    v = float(value.mean())
    name = "black" if v < 0.38 else "white" if v > 0.86 and float(saturation.mean()) < 0.12 else "gray"
    return MainColour(name, _mean_hue(hue, saturation), float(saturation.mean()), v, 1.0, area, is_grey=True)


def _mean_hue(hue: Floats, weight: Floats) -> float:
    angle = np.deg2rad(hue)
    return float(np.rad2deg(np.arctan2((np.sin(angle) * weight).sum(), (np.cos(angle) * weight).sum()))) % 360


def curve(mean: float, target: float) -> tuple[float, float]:
    """Return gain and power of ``gain * v ** power``, which carries `mean` to `target` inside [0, 1].

    Darkening is a gain, which keeps the contrast; brightening is a power, which keeps highlights from clipping.
    """
    mean, target = (min(0.985, max(0.02, v)) for v in (mean, target))
    if target <= mean:
        return target / mean, 1.0
    return 1.0, float(np.log(target) / np.log(mean))


def has_colour(rgb: Floats, main: MainColour) -> npt.NDArray[np.bool_]:
    """Return which pixels of a picture belong to its main colour.

    Args:
        rgb: Values in [0, 1], shape ``(H, W, 3)``.
        main: The picture's main colour.
    """
    hue, saturation, _ = to_hsv(rgb)
    if main.is_grey:
        return saturation < GREY_LIMIT + GREY_SOFTNESS / 2
    near = np.abs((hue - main.hue + 180) % 360 - 180) < HUE_WINDOW + HUE_SOFTNESS
    belongs: npt.NDArray[np.bool_] = near & (saturation > 0.1)
    return belongs


def recolour(rgb: Floats, main: MainColour, name: str) -> Floats:
    """Move the main colour of a picture to a named one and keep highlights, shading and other colours.

    Args:
        rgb: Values in [0, 1], shape ``(H, W, 3)``.
        main: The picture's main colour.
        name: One of `COLOURS`.

    Returns:
        New values of the same shape.
    """
    shade = SHADES[name]
    hue, saturation, value = to_hsv(rgb)
    v_gain, v_power = curve(main.value, shade.value)
    if main.is_grey:
        weight = np.clip((GREY_LIMIT + GREY_SOFTNESS - saturation) / GREY_SOFTNESS, 0, 1)
        new_hue = np.full_like(hue, shade.hue or 0.0)
        new_saturation = shade.saturation * np.clip(1.35 - 0.5 * value, 0, 1.2)
    else:
        distance = np.abs((hue - main.hue + 180) % 360 - 180)
        weight = np.clip(1 - (distance - HUE_WINDOW) / HUE_SOFTNESS, 0, 1) * np.clip((saturation - 0.06) / 0.14, 0, 1)
        s_gain, s_power = curve(main.saturation, shade.saturation)
        new_hue = np.zeros_like(hue) if shade.hue is None else (hue + shade.hue - main.hue) % 360
        new_saturation = s_gain * saturation**s_power
    new = from_hsv(new_hue, np.clip(new_saturation, 0, 1), v_gain * value**v_power)
    moved: Floats = (rgb + (new - rgb) * weight[..., None]).astype(np.float32)
    return moved
