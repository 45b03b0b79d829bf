"""At what size a model paints a picture of another size, and how much around a hole it sees. Knows no pixels."""

from __future__ import annotations

from typing import Final, NamedTuple

from keelbill.core.types import Size
from keelbill.imaging.resize import size_for_ratio

LEAST_AREA: Final = 0.25
"""Part of a model's own number of pixels below which it paints larger than asked."""

MOST_AREA: Final = 1.06
"""Part above which it paints smaller than asked."""


class Box(NamedTuple):
    """A part of a picture in pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        """Width and height."""
        return Size(self.right - self.left, self.bottom - self.top)


def painting_size(wanted: Size, *, native_side: int, multiple: int, largest_side: int) -> Size:
    """Choose the size at which a model paints: as wanted if that suits it, else its own area in the wanted shape.

    Args:
        wanted: Size of the finished picture.
        native_side: Side of the square that the model was trained for.
        multiple: Both sides become multiples of it.
        largest_side: Longest side that the model can paint.
    """
    area = native_side**2
    fits = wanted.width % multiple == wanted.height % multiple == 0
    if (
        fits
        and LEAST_AREA * area <= wanted.width * wanted.height <= MOST_AREA * area
        and max(wanted.width, wanted.height) <= largest_side
    ):
        return wanted
    found = size_for_ratio(wanted.width, wanted.height, area, multiple)
    return Size(min(found.width, largest_side), min(found.height, largest_side))


def surroundings(painted: Box, whole: Size, *, least_side: int) -> Box:
    """Widen a box by half its size on each side, to at least `least_side` where the picture allows, so that what is
    painted in it sees what is around it.

    Args:
        painted: What is painted anew.
        whole: Size of the picture.
        least_side: In pixels.
    """
    left, right = _widened(painted.left, painted.right, whole.width, least_side)
    top, bottom = _widened(painted.top, painted.bottom, whole.height, least_side)
    return Box(left, top, right, bottom)


def _widened(start: int, end: int, length: int, least: int) -> tuple[int, int]:
    span = min(length, max(least, 2 * (end - start)))
    start = max(0, (start + end - span) // 2)
    start = min(start, length - span)
    return start, start + span
