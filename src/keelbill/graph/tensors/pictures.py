"""IMAGE: pictures as numbers in [0, 1] with shape (B, H, W, C): sizes, edges, layers. Knows no file and no network."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from keelbill.core.errors import InvalidInput

MOST_PIXELS: Final = 2**26
"""Pixels that a batch may have in all."""

GREY: Final = 0.5
_LANCZOS: Final = "lanczos"


def bounded(count: int, height: int, width: int) -> None:
    """Refuse a batch that is too large.

    Raises:
        InvalidInput: It has more than `MOST_PIXELS` pixels.
    """
    if count * height * width > MOST_PIXELS:
        raise InvalidInput("picture size", f"{count} x {width}x{height}", f"at most {MOST_PIXELS:,} pixels in all")


def filled(width: int, height: int, count: int, color: int) -> Tensor:
    """Return plain pictures of a colour ``0xRRGGBB``."""
    bounded(count, height, width)
    channels = torch.tensor([(color >> shift & 255) / 255 for shift in (16, 8, 0)])
    return channels.expand(count, height, width, 3).contiguous()


# ------------------------------------------------------------ sizes


def scaled(pixels: Tensor, method: str, width: int, height: int, *, crop: bool = False) -> Tensor:
    """Scale pictures.

    Args:
        pixels: With shape ``(B, H, W, C)``.
        method: ``nearest-exact``, ``bilinear``, ``area``, ``bicubic`` or ``lanczos``.
        width: In pixels; 0 keeps the shape; both 0 leave all as it is.
        height: Likewise.
        crop: Whether a different shape is cut rather than distorted.
    """
    rows, columns = pixels.shape[1:3]
    if width == 0 and height == 0:
        return pixels
    width = width or max(1, round(columns * height / rows))
    height = height or max(1, round(rows * width / columns))
    bounded(pixels.shape[0], height, width)
    if crop:
        pixels = cut_to_shape(pixels, width / height)
    if tuple(pixels.shape[1:3]) == (height, width):
        return pixels
    if method == _LANCZOS:
        return torch.stack([_lanczos(picture, width, height) for picture in pixels])
    return F.interpolate(pixels.movedim(-1, 1), (height, width), mode=method).movedim(1, -1)


def scaled_by(pixels: Tensor, method: str, factor: float) -> Tensor:
    """Scale both sides of pictures by a factor."""
    rows, columns = pixels.shape[1:3]
    return scaled(pixels, method, max(1, round(columns * factor)), max(1, round(rows * factor)))


def scaled_to_area(pixels: Tensor, method: str, megapixels: float, step: int) -> Tensor:
    """Scale pictures to about a number of pixels.

    Args:
        pixels: With shape ``(B, H, W, C)``.
        method: As for `scaled`.
        megapixels: Wanted area; one is 1024 times 1024 pixels.
        step: Both sides become multiples of this many pixels.
    """
    rows, columns = pixels.shape[1:3]
    factor = math.sqrt(megapixels * 1024 * 1024 / (rows * columns))
    width, height = (max(step, round(side * factor / step) * step) for side in (columns, rows))
    return scaled(pixels, method, width, height)


def cut_to_shape(pixels: Tensor, ratio: float) -> Tensor:
    """Cut the largest centred part of which the width is `ratio` times the height."""
    rows, columns = pixels.shape[1:3]
    width = min(columns, max(1, round(rows * ratio)))
    height = min(rows, max(1, round(columns / ratio)))
    left, top = (columns - width) // 2, (rows - height) // 2
    return pixels[:, top : top + height, left : left + width]


def cut(pixels: Tensor, x: int, y: int, width: int, height: int) -> Tensor:
    """Cut a part out of pictures or masks, as much of it as there is and at least one pixel."""
    y, x = min(y, pixels.shape[1] - 1), min(x, pixels.shape[2] - 1)
    return pixels[:, y : y + height, x : x + width]


def _lanczos(picture: Tensor, width: int, height: int) -> Tensor:
    """Scale one picture through 8 bits, as picture programs do."""
    levels = (picture.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    image = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
    found = torch.from_numpy(np.array(image.resize((width, height), Image.Resampling.LANCZOS)))
    return found.reshape(height, width, picture.shape[-1]).float() / 255


def padded(pixels: Tensor, left: int, top: int, right: int, bottom: int, feather: int) -> tuple[Tensor, Tensor]:
    """Add grey around pictures.

    Args:
        pixels: With shape ``(B, H, W, C)``.
        left: Pixels that are added there.
        top: Likewise.
        right: Likewise.
        bottom: Likewise.
        feather: Width of the soft edge inside the picture, in pixels, on those sides that are padded.

    Returns:
        The pictures, and a mask ``(1, H, W)`` that is 1 in what was added.
    """
    count, rows, columns, channels = pixels.shape
    bounded(count, rows + top + bottom, columns + left + right)
    canvas = torch.full((count, rows + top + bottom, columns + left + right, channels), GREY)
    canvas[:, top : top + rows, left : left + columns] = pixels
    mask = torch.ones(1, *canvas.shape[1:3])
    down = _edge_distance(rows, top > 0, bottom > 0)
    across = _edge_distance(columns, left > 0, right > 0)
    inside = torch.zeros(rows, columns)
    if feather > 0:
        inside = (1 - torch.minimum(down[:, None], across[None]) / feather).clamp(0, 1) ** 2
    mask[0, top : top + rows, left : left + columns] = inside
    return canvas, mask


def _edge_distance(length: int, at_start: bool, at_end: bool) -> Tensor:
    """Return how far each place is from the nearest end that counts; infinity if none does."""
    places = torch.arange(length, dtype=torch.float32)
    far = torch.full((length,), math.inf)
    return torch.minimum(places if at_start else far, places.flip(0) if at_end else far)


# ------------------------------------------------------------ layers


def colours(pixels: Tensor) -> Tensor:
    """Return pictures with three channels: transparency is dropped, grey repeated."""
    return pixels.expand(*pixels.shape[:-1], 3) if pixels.shape[-1] == 1 else pixels[..., :3]


def repeated(batch: Tensor, count: int) -> Tensor:
    """Repeat a batch from its start until it has `count` entries; cut it if it has more."""
    times = -(-count // batch.shape[0])
    return batch.repeat(times, *[1] * (batch.dim() - 1))[:count]


def alike(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Give two batches the same channels; added transparency is opaque."""
    most = max(one.shape[-1], other.shape[-1])
    return _widened(one, most), _widened(other, most)


def _widened(pixels: Tensor, channels: int) -> Tensor:
    if pixels.shape[-1] == channels:
        return pixels
    pixels = colours(pixels)
    return pixels if channels == 3 else F.pad(pixels, (0, 1), value=1.0)


def batched(one: Tensor, other: Tensor) -> Tensor:
    """Put two batches one after the other; the second is scaled and cut to the first one's size."""
    bounded(one.shape[0] + other.shape[0], one.shape[1], one.shape[2])
    one, other = alike(one, other)
    return torch.cat([one, scaled(other, "bilinear", one.shape[2], one.shape[1], crop=True)])


def inverted(pixels: Tensor) -> Tensor:
    """Return negatives; transparency stays."""
    return torch.cat([1 - pixels[..., :3], pixels[..., 3:]], dim=-1)


def laid(below: Tensor, above: Tensor, x: int, y: int, mask: Tensor | None = None, *, resize: bool = False) -> Tensor:
    """Lay pictures over others.

    Args:
        below: With shape ``(B, H, W, C)``; gives the result its size and its channels.
        above: What is laid; repeated for each picture below.
        x: Where its left edge comes, in pixels.
        y: Where its upper edge comes.
        mask: Where it is laid, with shape ``(B, h, w)``, brought to the size of `above`; nothing means everywhere.
        resize: Whether `above` is scaled to the size of `below` first.
    """
    below, above = below.clone(), _widened(above, below.shape[-1])
    if resize:
        above = scaled(above, "bilinear", below.shape[2], below.shape[1])
    count, rows, columns = below.shape[:3]
    above = repeated(above, count)
    weight = torch.ones(1, *above.shape[1:3])
    if mask is not None:
        weight = F.interpolate(mask.reshape(-1, 1, *mask.shape[-2:]), tuple(above.shape[1:3]), mode="bilinear")[:, 0]
    weight = repeated(weight, count)[..., None]
    x, y = min(x, columns), min(y, rows)
    above, weight = above[:, : rows - y, : columns - x], weight[:, : rows - y, : columns - x]
    under = below[:, y : y + above.shape[1], x : x + above.shape[2]]
    below[:, y : y + above.shape[1], x : x + above.shape[2]] = above * weight + under * (1 - weight)
    return below
