"""Widens pictures for outpainting: what lies in the new margins at first, and how new each place is. Paints nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Mask = NDArray[np.float32]

SEAM = 32.0
"""Most pixels of a margin over which what is kept passes into what is new."""


@dataclass(frozen=True)
class Margins:
    """Pixels that are added on each side, 0 or more."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def __str__(self) -> str:
        return f"{self.left},{self.top},{self.right},{self.bottom}"

    def widened(self, pixels: Pixels) -> Pixels:
        """Return a picture with shape ``(H, W, 3)`` with its mirror image in the margins."""
        return np.pad(pixels, ((self.top, self.bottom), (self.left, self.right), (0, 0)), mode="symmetric")

    def mask(self, height: int, width: int) -> Mask:
        """Return how new each place of a widened picture is.

        Args:
            height: Of the picture as it was, in pixels.
            width: Likewise.

        Returns:
            0 in the picture, rising over the seam to 1 in the margins, with shape ``(H, W)`` of the widened picture.
        """
        rows, columns = _away(height, self.top, self.bottom), _away(width, self.left, self.right)
        return np.maximum(rows[:, None], columns[None, :])


def _away(length: int, before: int, after: int) -> Mask:
    """Return how new each place along one side is."""
    places = np.arange(-before, length + after, dtype=np.float32)
    distance = np.maximum(-places, places - (length - 1)).clip(min=0)
    seam = max(1.0, min(SEAM, max(before, after) / 2))
    return (distance / seam).clip(max=1).astype(np.float32)
