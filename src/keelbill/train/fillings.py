"""Builds one thing out of many small ones: packs pictures of a class into a silhouette. Knows no scenes or captions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from scipy import ndimage

from keelbill.core.errors import InvalidInput
from keelbill.train.palette import Bytes, Floats, MainColour, has_colour, to_hsv

Mask = npt.NDArray[np.bool_]

_SIZES = (0.28, 0.22, 0.17, 0.13, 0.1, 0.08)
_RADIUS = 0.4
_GAP = 0.3
_MOST_KEPT = 0.52
_DARK = 0.4


@dataclass(frozen=True)
class Filling:
    """A class of small things that larger ones can be made of.

    Attributes:
        members: Names of the things.
        dyed: Whether members may be moved to any colour; else only those that have the colour by nature are taken.
    """

    members: tuple[str, ...]
    dyed: bool = False


FILLINGS: dict[str, Filling] = {
    "fruit": Filling(
        (
            "strawberry", "apple", "orange", "lemon", "pear", "peach", "cherries", "kiwi", "grapes", "blueberries",
            "mango", "watermelon", "banana", "melon", "pineapple",
        )
    ),
    "vegetables": Filling(
        (
            "tomato", "carrot", "broccoli", "bell pepper", "cucumber", "chili pepper", "onion", "eggplant", "corn cob",
            "potato",
        )
    ),
    "flowers": Filling(("cherry blossom", "hibiscus", "sunflower", "daisy", "rose", "tulip"), dyed=True),
    "candy": Filling(("candy", "lollipop", "donut", "cupcake", "cookie"), dyed=True),
    "balloons": Filling(("balloon",), dyed=True),
    "hearts": Filling(("heart",), dyed=True),
    "stars": Filling(("star",), dyed=True),
    "leaves": Filling(("maple leaf", "four-leaf clover"), dyed=True),
    "books": Filling(("book",), dyed=True),
    "coins": Filling(("coin",)),
    "cookies": Filling(("cookie",)),
    "gems": Filling(("diamond",), dyed=True),
    "balls": Filling(("soccer ball", "basketball", "baseball")),
}  # fmt: skip


def fill(sprite: Bytes, main: MainColour | None, pieces: Sequence[Bytes], rng: random.Random) -> Bytes:
    """Pack small pictures into a thing, largest first, and keep other parts (wheels, windows, eyes).

    Args:
        sprite: The thing with straight alpha, shape ``(S, S, 4)``.
        main: Its main colour; what has this colour is replaced.
        pieces: Small things with straight alpha, each cut out and centred in a square; they are drawn at random.
        rng: Source of chance.

    Returns:
        A picture of the same shape.

    Raises:
        InvalidInput: `pieces` is empty, or nothing is visible.
    """
    if not pieces:
        raise InvalidInput("pieces", pieces, "at least one picture")
    side = len(sprite)
    visible = sprite[..., 3] > 100
    if not visible.any():
        raise InvalidInput("sprite", "fully transparent", "a visible picture")
    kept = _kept_parts(sprite, main, visible)
    canvas = Image.fromarray(_underpaint(sprite, visible))
    shading = _shading(sprite, visible)
    free = ndimage.distance_transform_edt(np.pad(visible & (kept < 0.5), 1))[1:-1, 1:-1].astype(np.float32)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    for size in (share * side for share in _SIZES):
        while free.max() >= size * _GAP:
            rows, columns = np.nonzero(free >= max(size * _GAP, float(free.max()) * 0.8))
            at = rng.randrange(len(rows))
            row, column = int(rows[at]), int(columns[at])
            scale = size * rng.uniform(0.95, 1.15)
            _stick(canvas, rng.choice(pieces), row, column, scale, rng.uniform(-55, 55))
            free = np.minimum(free, np.hypot(y - row, x - column) - scale * _RADIUS)
    packed = np.array(canvas)
    packed[..., :3] = np.clip(packed[..., :3] * shading[..., None], 0, 255)
    top = np.array(sprite)
    top[..., 3] = (top[..., 3] * kept).astype(np.uint8)
    whole = Image.fromarray(packed)
    whole.alpha_composite(Image.fromarray(top))
    return np.asarray(whole)


def _kept_parts(sprite: Bytes, main: MainColour | None, visible: Mask) -> Floats:
    """Return where the thing's own pixels stay, from 0 to 1: sizeable parts that do not have the main colour."""
    if main is None:
        return np.zeros(sprite.shape[:2], np.float32)
    rgb = (sprite[..., :3] / np.float32(255)).astype(np.float32)
    other = visible & ~has_colour(rgb, main)
    if other.sum() > _MOST_KEPT * visible.sum():
        other = visible & (to_hsv(rgb)[2] < _DARK)
    other = ndimage.binary_opening(other, iterations=1)
    labels, _ = ndimage.label(other)
    areas = np.bincount(labels.ravel())
    large = areas >= 0.004 * visible.sum()
    large[0] = False
    kept = ndimage.gaussian_filter(large[labels].astype(np.float32), 0.7)
    return kept.astype(np.float32)


def _underpaint(sprite: Bytes, visible: Mask) -> Bytes:
    under = np.array(sprite)
    under[..., :3] = (sprite[..., :3][visible].mean(0) * 0.42).astype(np.uint8)
    return under


def _shading(sprite: Bytes, visible: Mask) -> Floats:
    """Return factors near 1 that carry the large light and shadow of the thing, darker towards its edge."""
    light = sprite[..., :3].astype(np.float32) @ np.array([0.3, 0.59, 0.11], np.float32) / 255
    weight = ndimage.gaussian_filter(visible.astype(np.float32), 6)
    soft = ndimage.gaussian_filter(light * visible, 6) / np.maximum(weight, 1e-3)
    edge = np.clip(ndimage.distance_transform_edt(visible) / (0.09 * len(sprite)), 0, 1)
    factor: Floats = np.clip((0.82 + 0.26 * edge) * (1 + 0.7 * (soft - soft[visible].mean())), 0.5, 1.25)
    return factor.astype(np.float32)


def _stick(canvas: Image.Image, piece: Bytes, row: int, column: int, size: float, turn: float) -> None:
    side = max(4, round(size))
    picture = Image.fromarray(piece).resize((side, side), Image.Resampling.LANCZOS)
    picture = picture.rotate(turn, Image.Resampling.BICUBIC, expand=True)
    shade = Image.new("RGBA", picture.size, (12, 8, 20, 0))
    shade.putalpha(picture.getchannel("A").point(lambda v: v * 0.55).filter(ImageFilter.GaussianBlur(1.2)))
    corner = (column - picture.width // 2, row - picture.height // 2)
    for layer, shift in ((shade, max(1, side // 18)), (picture, 0)):
        _composite(canvas, layer, (corner[0], corner[1] + shift))


def _composite(canvas: Image.Image, layer: Image.Image, corner: tuple[int, int]) -> None:
    left, top = max(0, -corner[0]), max(0, -corner[1])
    seen = layer.crop((left, top, layer.width, layer.height))
    canvas.alpha_composite(seen, (max(0, corner[0]), max(0, corner[1])))
