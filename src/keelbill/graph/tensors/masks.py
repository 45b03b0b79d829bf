"""MASK: places of pictures as numbers in [0, 1] with shape (B, H, W); 1 is masked. Knows no file and no network."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from keelbill.graph.tensors.pictures import bounded, repeated

CHANNELS = ("red", "green", "blue", "alpha")


def planes(mask: Tensor) -> Tensor:
    """Return masks with shape ``(B, H, W)``, whether they came with a batch or not."""
    return mask.reshape(-1, *mask.shape[-2:])


def channel(pixels: Tensor, name: str) -> Tensor:
    """Return one channel of pictures as masks; alpha is opaque where there is none."""
    place = CHANNELS.index(name)
    if place < pixels.shape[-1]:
        return pixels[..., place]
    return torch.ones(pixels.shape[:-1]) if name == "alpha" else pixels[..., 0]


def matching(pixels: Tensor, color: int) -> Tensor:
    """Return 1 where pictures have exactly a colour ``0xRRGGBB`` in 8 bits."""
    wanted = torch.tensor([color >> shift & 255 for shift in (16, 8, 0)])
    levels = (pixels[..., :3].clamp(0, 1) * 255).round().long()
    return (levels == wanted).all(dim=-1).float()


def solid(value: float, width: int, height: int) -> Tensor:
    """Return a mask of one value."""
    bounded(1, height, width)
    return torch.full((1, height, width), value)


def as_picture(mask: Tensor) -> Tensor:
    """Return masks as grey pictures ``(B, H, W, 3)``."""
    return planes(mask)[..., None].expand(-1, -1, -1, 3).contiguous()


def fitted(mask: Tensor, like: Tensor) -> Tensor:
    """Bring masks to the size and the number of pictures ``(B, H, W, C)``."""
    found = planes(mask)
    if found.shape[1:] != like.shape[1:3]:
        found = F.interpolate(found[:, None], tuple(like.shape[1:3]), mode="bilinear")[:, 0]
    return repeated(found, like.shape[0])


def grown(mask: Tensor, reach: int, *, tapered: bool) -> Tensor:
    """Widen masks, or narrow them.

    Args:
        mask: With shape ``(B, H, W)``.
        reach: By how many pixels; below 0 narrows.
        tapered: Whether steps go along rows and columns only, which bevels corners, or slantwise too.
    """
    found = planes(mask)
    if reach < 0:
        return 1 - grown(1 - found, -reach, tapered=tapered)
    reach = min(reach, sum(found.shape[1:]) if tapered else max(found.shape[1:]))
    return _diamond(found, reach) if tapered else _row(_row(found, reach, 1), reach, 2)


def _diamond(mask: Tensor, reach: int) -> Tensor:
    """Take the highest value within `reach` steps along rows and columns.

    A diamond, moved by half its own reach in the four directions, covers a larger one, and never by way of a place
    outside the picture; so few rounds do.
    """
    done = 0
    while done < reach:
        step = min(max((done + 1) // 2, 1), reach - done)
        moved = [_moved(mask, by, axis) for axis in (1, 2) for by in (-step, step)]
        mask = torch.stack([mask, *moved]).amax(0)
        done += step
    return mask


def _row(mask: Tensor, reach: int, axis: int) -> Tensor:
    """Take the highest value within `reach` places along one axis; few rounds, as the reach doubles."""
    done = 0
    while done < reach:
        step = min(done + 1, reach - done)
        mask = torch.stack([mask, _moved(mask, -step, axis), _moved(mask, step, axis)]).amax(0)
        done += step
    return mask


def _moved(mask: Tensor, by: int, axis: int) -> Tensor:
    """Move masks along an axis; nothing comes in from outside."""
    length = mask.shape[axis]
    moved = torch.zeros_like(mask)
    if abs(by) < length:
        kept = mask.narrow(axis, max(0, -by), length - abs(by))
        moved.narrow(axis, max(0, by), length - abs(by)).copy_(kept)
    return moved


def feathered(mask: Tensor, left: int, top: int, right: int, bottom: int) -> Tensor:
    """Let masks fade towards their edges, over so many pixels on each side."""
    found = planes(mask)
    rows, columns = found.shape[1:]
    down = _ramp(rows, top) * _ramp(rows, bottom).flip(0)
    across = _ramp(columns, left) * _ramp(columns, right).flip(0)
    return found * down[:, None] * across[None]


def _ramp(length: int, width: int) -> Tensor:
    width = min(width, length)
    return ((torch.arange(length) + 1.0) / width).clamp(max=1.0) if width else torch.ones(length)


def combined(below: Tensor, above: Tensor, x: int, y: int, operation: str) -> Tensor:
    """Lay masks over others.

    Args:
        below: Gives the result its size.
        above: What is laid.
        x: Where its left edge comes, in pixels.
        y: Where its upper edge comes.
        operation: ``multiply``, ``add``, ``subtract``, or ``and``, ``or``, ``xor`` of rounded values.
    """
    found = planes(below).clone()
    rows, columns = found.shape[1:]
    x, y = min(x, columns), min(y, rows)
    laid = repeated(planes(above), found.shape[0])[:, : rows - y, : columns - x]
    place = (slice(None), slice(y, y + laid.shape[1]), slice(x, x + laid.shape[2]))
    under = found[place]
    if operation in {"and", "or", "xor"}:
        one, other = under.round().bool(), laid.round().bool()
        result = (one & other if operation == "and" else one | other if operation == "or" else one ^ other).float()
    else:
        result = under * laid if operation == "multiply" else under + laid if operation == "add" else under - laid
    found[place] = result
    return found.clamp(0, 1)
