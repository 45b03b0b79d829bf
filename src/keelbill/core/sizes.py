"""The published sizes of pictures: for a ratio, near a shape, of so many pixels. Knows no picture and no model."""

from __future__ import annotations

from math import log, sqrt

from keelbill.core.types import AspectRatio, Size

MEGAPIXEL = 1_048_576

RATIOS: tuple[str, ...] = ("21:9", "16:9", "3:2", "5:4", "1:1", "4:5", "2:3", "9:16", "9:21")

_CORE: dict[str, Size] = {
    "1:1": Size(1536, 1536),
    "5:4": Size(1632, 1344),
    "3:2": Size(1824, 1248),
    "16:9": Size(2016, 1152),
    "21:9": Size(2304, 960),
}


def published_size(ratio: str) -> Size:
    """Return the size of about one megapixel of a published ratio such as ``16:9``."""
    return AspectRatio(ratio).size


def core_size(ratio: str) -> Size:
    """Return the size that the core service paints for a published ratio."""
    if ratio in _CORE:
        return _CORE[ratio]
    wide, tall = ratio.split(":")
    turned = _CORE[f"{tall}:{wide}"]
    return Size(turned.height, turned.width)


def nearest_ratio(size: Size) -> str:
    """Return the published ratio whose shape is nearest, by the logarithm of width to height."""
    wanted = log(size.width / size.height)

    def distance(ratio: str) -> float:
        published = published_size(ratio)
        return abs(log(published.width / published.height) - wanted)

    return min(RATIOS, key=distance)


def scaled_to(size: Size, pixels: int, step: int = 16, most_side: int = 4096) -> Size:
    """Scale a size to about `pixels` and keep its shape; both sides become multiples of `step`.

    Args:
        size: Of the input.
        pixels: Wanted width times height.
        step: Both sides become multiples of this.
        most_side: Longest side of the result.
    """
    factor = min(sqrt(pixels / (size.width * size.height)), most_side / max(size.width, size.height))

    def side(length: int) -> int:
        return max(step, round(length * factor / step) * step)

    return Size(side(size.width), side(size.height))
