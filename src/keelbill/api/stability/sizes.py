"""How large pictures may be that come in. Knows no bytes and no models."""

from __future__ import annotations

from dataclasses import dataclass

from keelbill.core.sizes import MEGAPIXEL

MOST_PIXELS = 9_437_184


@dataclass(frozen=True)
class PictureLimits:
    """Bounds of an input picture; all are inclusive.

    Attributes:
        least_side: Of either side, in pixels.
        most_side: Of either side, in pixels, or nothing.
        least_pixels: Width times height.
        most_pixels: Width times height.
        shape_limited: Whether the longer side may be at most 2.5 times the shorter one.
    """

    least_side: int = 64
    most_side: int | None = None
    least_pixels: int = 4096
    most_pixels: int = MOST_PIXELS
    shape_limited: bool = False


SD3_IMAGE = PictureLimits()
ULTRA_IMAGE = PictureLimits(most_side=16_384)
EDIT_IMAGE = PictureLimits()
SHAPED_IMAGE = PictureLimits(shape_limited=True)
CUTOUT_IMAGE = PictureLimits(most_pixels=4_194_304)
FAST_IMAGE = PictureLimits(least_side=32, most_side=1536, least_pixels=1024, most_pixels=MEGAPIXEL)
CREATIVE_IMAGE = PictureLimits(most_pixels=MEGAPIXEL)
MASK = PictureLimits(least_side=1, least_pixels=1)
