"""LATENT: numbers behind pictures, on the grid that suits a model. Knows no prompt and no noise.

A published model has one latent place for 8 pixels on each side. The program's own model paints small and is enlarged
afterwards; its latents say beside the numbers which picture they stand for, so that sizes in workflows stay true.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from keelbill.core.errors import InvalidInput
from keelbill.engine.upscale import FACTOR, TILE, UPSCALER
from keelbill.graph.tensors.handles import PUBLISHED_SIDE, Coder

if TYPE_CHECKING:
    from collections.abc import Callable

    from keelbill.engine.upscale import Enlarger
    from keelbill.graph.context import Models

PLACE: Final = 8
"""Pixels to one place of a published model's latents, on each side."""

CHANNELS: Final = 16
MOST_AREA: Final = 1.06
"""Part of a small model's own number of pixels up to which it paints at full size."""

LEAST_AREA: Final = 0.25
SMALLEST_PX: Final = 64
LARGEST_TILE: Final = 512
SMALLEST_TILE: Final = 128

Latent = dict[str, Any]
"""``samples`` with shape (B, C, h, w); maybe ``noise_mask``, ``batch_index`` and ``pixels``, (height, width)."""


def empty(width: int, height: int, count: int, channels: int = CHANNELS) -> Latent:
    """Return nothing, as large as a picture, some times over."""
    return {"samples": torch.zeros(count, channels, height // PLACE, width // PLACE)}


def picture_size(latent: Latent) -> tuple[int, int]:
    """Return height and width of the picture that a latent stands for, in pixels."""
    if "pixels" in latent:
        height, width = latent["pixels"]
        return int(height), int(width)
    height, width = latent["samples"].shape[-2:]
    return PLACE * height, PLACE * width


def is_small(native_side: int) -> bool:
    """Say whether a model paints smaller than its pictures are asked for."""
    return 2 * native_side < PUBLISHED_SIDE


def grid(native_side: int, height: int, width: int) -> tuple[int, int]:
    """Return how many latent places a model uses for a picture: as asked, or in its shape with a small model's area.

    Args:
        native_side: Side of the square picture that the model was trained for.
        height: Of the picture in pixels.
        width: Likewise.
    """
    area = native_side**2
    if not is_small(native_side) or LEAST_AREA * area <= height * width <= MOST_AREA * area:
        return height // PLACE, width // PLACE
    scale = math.sqrt(area / (height * width)) / (2 * PLACE)
    return max(2, 2 * round(height * scale)), max(2, 2 * round(width * scale))


# ------------------------------------------------------------ pixels


def encode(coder: Coder, pixels: Tensor, *, tile: int = 0, overlap: int = 0) -> Latent:
    """Turn pictures into latents; what does not fill a place is cut off on all sides.

    Args:
        coder: The autoencoder.
        pixels: In [0, 1] with shape ``(B, H, W, C)``; transparency is dropped.
        tile: Side of tiles in pixels; 0 means none.
        overlap: Of tiles, in pixels.
    """
    pixels = cropped(pixels)
    height, width = pixels.shape[1:3]
    rows, columns = grid(coder.native_side, height, width)
    planes = pixels[..., :3].movedim(-1, 1).float()
    if (rows * PLACE, columns * PLACE) != (height, width):
        planes = resized(planes, rows * PLACE, columns * PLACE)
    samples = torch.cat([_encoded(coder, plane[None], tile, overlap) for plane in planes])
    latent: Latent = {"samples": samples.float().cpu()}
    return latent | ({"pixels": (height, width)} if is_small(coder.native_side) else {})


def decode(coder: Coder, latent: Latent, models: Models, *, tile: int = 0, overlap: int = 0) -> Tensor:
    """Turn latents into pictures of the size that they stand for.

    Args:
        coder: The autoencoder.
        latent: From anywhere.
        models: Where the enlarging network is.
        tile: Side of tiles in pixels; 0 means none.
        overlap: Of tiles, in pixels.

    Returns:
        Pixels in [0, 1] with shape ``(B, H, W, 3)``.
    """
    samples = fitted(coder.native_side, latent)["samples"]
    if samples.shape[1] != CHANNELS:
        raise InvalidInput("latent channels", samples.shape[1], f"{CHANNELS}")
    planes = torch.cat([_decoded(coder, one[None], tile, overlap) for one in samples]).float().cpu().clamp(0, 1)
    height, width = picture_size(latent)
    if planes.shape[-2:] != (height, width):
        planes = enlarged(planes, height, width, models.upscaler(UPSCALER))
    return planes.movedim(1, -1).contiguous()


def cropped(pixels: Tensor) -> Tensor:
    """Cut pictures or masks with shape ``(B, H, W, ...)`` to whole latent places, the same on opposite sides.

    Raises:
        InvalidInput: They are smaller than one place.
    """
    height, width = pixels.shape[1:3]
    if height < PLACE or width < PLACE:
        raise InvalidInput("picture", f"{width}x{height}", f"at least {PLACE} pixels on each side")
    top, left = height % PLACE // 2, width % PLACE // 2
    return pixels[:, top : top + height - height % PLACE, left : left + width - width % PLACE]


def resized(planes: Tensor, height: int, width: int) -> Tensor:
    """Bring pictures with shape ``(B, C, H, W)`` to another size, smoothly."""
    return F.interpolate(planes, (height, width), mode="bilinear", antialias=True).clamp(0, 1)


def enlarged(planes: Tensor, height: int, width: int, upscaler: Enlarger) -> Tensor:
    """Bring pictures with shape ``(B, 3, H, W)`` to a size: learned enlargement by fours while it is far away."""
    while max(height / planes.shape[-2], width / planes.shape[-1]) > (2 if planes.shape[-2] > 256 else 1.25):
        if planes.shape[-2] * FACTOR > 4 * height or planes.shape[-1] * FACTOR > 4 * width:
            break
        planes = torch.stack([upscaler.enlarge(plane, tile=TILE).cpu() for plane in planes])
    if planes.shape[-2:] == (height, width):
        return planes
    return F.interpolate(planes, (height, width), mode="bicubic", antialias=True).clamp(0, 1)


def enlarged_by(upscaler: Enlarger, pixels: Tensor, progress: Callable[[int, int], None]) -> Tensor:
    """Return pictures with shape ``(B, H, W, C)`` as a network enlarges them; smaller tiles if memory is short.

    Args:
        upscaler: The network.
        pixels: In [0, 1]; transparency is dropped.
        progress: Told how many tiles are done, of how many.
    """
    done = []
    for place, picture in enumerate(pixels):
        step = partial(_told, progress, place, len(pixels))
        done.append(_enlarged(upscaler, picture[..., :3].movedim(-1, 0), step).movedim(0, -1).cpu())
    return torch.stack(done)


def _told(progress: Callable[[int, int], None], picture: int, pictures: int, tile: int, tiles: int) -> None:
    progress(picture * tiles + tile, pictures * tiles)


def _enlarged(upscaler: Enlarger, plane: Tensor, step: Callable[[int, int], None]) -> Tensor:
    tile = LARGEST_TILE
    while True:
        try:
            return upscaler.enlarge(plane, tile=tile, step=step)
        except torch.OutOfMemoryError:
            if tile <= SMALLEST_TILE:
                raise
            tile //= 2


def _encoded(coder: Coder, pixels: Tensor, tile: int, overlap: int) -> Tensor:
    tiled = getattr(coder.autoencoder, "encode_tiled", None)
    pixels = pixels.to(coder.device)
    if tile and tiled is not None:
        return torch.as_tensor(tiled(pixels, *_tiles(tile, overlap)))
    return coder.autoencoder.encode(pixels)


def _decoded(coder: Coder, samples: Tensor, tile: int, overlap: int) -> Tensor:
    tiled = getattr(coder.autoencoder, "decode_tiled", None)
    samples = samples.to(coder.device)
    if tile and tiled is not None:
        return torch.as_tensor(tiled(samples, *_tiles(tile, overlap)))
    return coder.autoencoder.decode(samples)


def _tiles(tile: int, overlap: int) -> tuple[int, int]:
    """Return side and overlap in latent places; the overlap is at most a quarter of the tile."""
    return tile // PLACE, min(overlap, tile // 4) // PLACE


# ------------------------------------------------------------ models


def fitted(native_side: int, latent: Latent) -> Latent:
    """Return a latent on the grid of a model.

    An empty one is made anew. One with content must come from a model of the same kind.

    Raises:
        InvalidInput: It comes from another kind of model.
    """
    samples: Tensor = latent["samples"]
    height, width = picture_size(latent)
    small = is_small(native_side)
    if not torch.any(samples):
        rows, columns = grid(native_side, height, width) if small else samples.shape[-2:]
        latent = {**latent, "samples": samples.new_zeros(samples.shape[0], CHANNELS, rows, columns)}
    elif small != ("pixels" in latent):
        raise InvalidInput("latent", "one of another model's autoencoder", "encoded with the VAE of the model")
    elif samples.shape[1] != CHANNELS:
        raise InvalidInput("latent channels", samples.shape[1], f"{CHANNELS}")
    return {**latent, "pixels": (height, width)} if small else latent


# ------------------------------------------------------------ masks


def mask_planes(mask: Tensor) -> Tensor:
    """Return a mask of any form with shape ``(B, 1, H, W)``."""
    return mask.reshape(-1, 1, *mask.shape[-2:]).float()


def with_mask(latent: Latent, mask: Tensor) -> Latent:
    """Return a latent of which only the masked part is painted anew."""
    return {**latent, "noise_mask": mask_planes(mask)}


def mask_on_grid(latent: Latent) -> Tensor | None:
    """Return the latent's mask with the shape ``(B, 1, h, w)`` of its samples, if it has one."""
    if "noise_mask" not in latent:
        return None
    samples = latent["samples"]
    mask = mask_planes(latent["noise_mask"])
    if mask.shape[-2:] != samples.shape[-2:]:
        mask = F.interpolate(mask, samples.shape[-2:], mode="bilinear")
    return repeated(mask, samples.shape[0])


def repeated(tensor: Tensor, count: int) -> Tensor:
    """Repeat a batch from its start until it has `count` entries; cut it if it has more."""
    times = -(-count // tensor.shape[0])
    return tensor.repeat(times, *[1] * (tensor.dim() - 1))[:count]


def encode_for_inpaint(coder: Coder, pixels: Tensor, mask: Tensor, grow_px: int) -> Latent:
    """Encode pictures whose masked part is grey, with a mask that is a little larger."""
    planes, grey = _greyed(pixels, mask)
    side = grow_px if grow_px % 2 else grow_px + 1
    grown = F.max_pool2d(planes.round(), side, stride=1, padding=side // 2) if grow_px else planes.round()
    return with_mask(encode(coder, grey), grown)


def encode_greyed(coder: Coder, pixels: Tensor, mask: Tensor) -> tuple[Latent, Tensor]:
    """Encode pictures whose masked part is grey; also return the mask with shape ``(B, 1, H, W)``."""
    planes, grey = _greyed(pixels, mask)
    return encode(coder, grey), planes


def _greyed(pixels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    pixels = cropped(pixels)[..., :3]
    planes = mask_planes(mask)
    height, width = pixels.shape[1:3]
    if planes.shape[-2:] != (height, width):
        whole = planes.shape[-2] - planes.shape[-2] % PLACE, planes.shape[-1] - planes.shape[-1] % PLACE
        if whole == (height, width):
            planes = cropped(planes.movedim(1, -1)).movedim(-1, 1)
        else:
            planes = F.interpolate(planes, (height, width), mode="bilinear")
    kept = 1 - repeated(planes, pixels.shape[0]).round().movedim(1, -1)
    return planes, (pixels - 0.5) * kept + 0.5


# ------------------------------------------------------------ sizes


def upscaled(latent: Latent, method: str, width: int, height: int, *, crop: bool) -> Latent:
    """Return a latent for a picture of another size.

    Args:
        latent: From anywhere.
        method: ``nearest-exact``, ``bilinear``, ``area``, ``bicubic`` or ``bislerp``.
        width: In pixels; 0 keeps the shape; both 0 leave all as it is.
        height: Likewise.
        crop: Whether a different shape is cut rather than distorted.
    """
    before = picture_size(latent)
    if width == 0 and height == 0:
        return dict(latent)
    width = width or max(SMALLEST_PX, round(before[1] * height / before[0]))
    height = height or max(SMALLEST_PX, round(before[0] * width / before[1]))
    width, height = max(SMALLEST_PX, width) // PLACE * PLACE, max(SMALLEST_PX, height) // PLACE * PLACE
    return _rescaled(latent, method, height, width, crop=crop)


def upscaled_by(latent: Latent, method: str, factor: float) -> Latent:
    """Return a latent for a picture `factor` times as large."""
    height, width = (max(PLACE, PLACE * round(side * factor / PLACE)) for side in picture_size(latent))
    return _rescaled(latent, method, height, width, crop=False)


def _rescaled(latent: Latent, method: str, height: int, width: int, *, crop: bool) -> Latent:
    samples: Tensor = latent["samples"]
    if crop:
        samples = _cut_to_ratio(samples, height / width)
    rows, columns = height // PLACE, width // PLACE
    if "pixels" in latent:  # a small model keeps its own number of places; only the shape may change
        area = samples.shape[-2] * samples.shape[-1]
        rows, columns = (2 * max(1, round(math.sqrt(area * r) / 2)) for r in (height / width, width / height))
        latent = {**latent, "pixels": (height, width)}
    return {**latent, "samples": interpolated(samples, method, rows, columns)}


def _cut_to_ratio(samples: Tensor, ratio: float) -> Tensor:
    height, width = samples.shape[-2:]
    top = max(0, round((height - width * ratio) / 2))
    left = max(0, round((width - height / ratio) / 2))
    return samples[..., top : height - top, left : width - left]


def interpolated(samples: Tensor, method: str, rows: int, columns: int) -> Tensor:
    """Bring samples with shape ``(B, C, h, w)`` to another grid by a method that a graph names."""
    if samples.shape[-2:] == (rows, columns):
        return samples
    if method == "bislerp":
        return _bislerp(_bislerp(samples, columns, -1), rows, -2)
    found: Tensor = F.interpolate(samples, (rows, columns), mode=method)
    return found


def _bislerp(samples: Tensor, count: int, axis: int) -> Tensor:
    """Interpolate along one axis on the sphere of directions, and lengths linearly: mixed vectors keep their length.

    References:
        | Animating Rotation with Quaternion Curves (Shoemake, 1985)
    """
    length = samples.shape[axis]
    at = ((torch.arange(count, dtype=torch.float64) + 0.5) * length / count - 0.5).clamp(0, length - 1)
    low = at.floor().long()
    part = (at - low).float().reshape([-1] + [1] * (-axis - 1)).to(samples)
    a = samples.index_select(axis, low)
    b = samples.index_select(axis, (low + 1).clamp(max=length - 1))
    size_a, size_b = (each.norm(dim=1, keepdim=True) for each in (a, b))
    unit_a, unit_b = a / size_a.clamp_min(1e-12), b / size_b.clamp_min(1e-12)
    cosine = (unit_a * unit_b).sum(1, keepdim=True).clamp(-1, 1)
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    is_flat = sine < 1e-4
    divisor = torch.where(is_flat, torch.ones_like(sine), sine)
    share_a = torch.where(is_flat, 1 - part, torch.sin((1 - part) * angle) / divisor)
    share_b = torch.where(is_flat, part.expand_as(sine), torch.sin(part * angle) / divisor)
    mixed: Tensor = (unit_a * share_a + unit_b * share_b) * (size_a * (1 - part) + size_b * part)
    return mixed


# ------------------------------------------------------------ batches


def composite(below: Latent, above: Latent, x_px: int, y_px: int, feather_px: int) -> Latent:
    """Lay one latent over another.

    Args:
        below: What is under it.
        above: What is laid.
        x_px: Where its left edge comes, in pixels.
        y_px: Where its upper edge comes.
        feather_px: Width of the soft edge on those sides that lie inside `below`.
    """
    samples: Tensor = below["samples"].clone()
    height, width = picture_size(below)
    rows, columns = samples.shape[-2:]
    down, across = rows / height, columns / width
    top, left = min(round(y_px * down), rows), min(round(x_px * across), columns)
    laid = repeated(above["samples"], samples.shape[0])[..., : rows - top, : columns - left]
    bottom, right = top + laid.shape[-2], left + laid.shape[-1]
    weight = torch.ones(laid.shape[-2:])
    if feather_px:
        ramps = round(feather_px * down), round(feather_px * across)
        weight = _edge(bottom - top, ramps[0], top > 0, bottom < rows)[:, None] * _edge(
            right - left, ramps[1], left > 0, right < columns
        )
    under = samples[..., top:bottom, left:right]
    samples[..., top:bottom, left:right] = laid * weight + under * (1 - weight)
    return {**below, "samples": samples}


def _edge(length: int, ramp: int, at_start: bool, at_end: bool) -> Tensor:
    """Return weights that rise from the start and fall to the end, where asked."""
    places = torch.arange(length) + 1.0
    weight = torch.ones(length)
    if at_start and ramp:
        weight = weight.minimum(places / ramp)
    if at_end and ramp:
        weight = weight.minimum(places.flip(0) / ramp)
    return weight


def repeat_batch(latent: Latent, amount: int) -> Latent:
    """Return each latent several times, so that each copy gets noise of its own."""
    samples: Tensor = latent["samples"]
    found: Latent = {**latent, "samples": samples.repeat(amount, 1, 1, 1)}
    mask = latent.get("noise_mask")
    if mask is not None and mask_planes(mask).shape[0] > 1:
        found["noise_mask"] = mask_planes(mask).repeat(amount, 1, 1, 1)
    if "batch_index" in latent:
        first = list(latent["batch_index"])
        span = max(first) - min(first) + 1
        found["batch_index"] = [index + turn * span for turn in range(amount) for index in first]
    return found


def from_batch(latent: Latent, start: int, length: int) -> Latent:
    """Return some latents of a batch; they remember their places, and so their noise."""
    samples: Tensor = latent["samples"]
    start = min(start, samples.shape[0] - 1)
    end = min(start + length, samples.shape[0])
    found: Latent = {**latent, "samples": samples[start:end].clone()}
    if "noise_mask" in latent:
        mask = mask_planes(latent["noise_mask"])
        found["noise_mask"] = mask if mask.shape[0] == 1 else repeated(mask, samples.shape[0])[start:end]
    indices = latent.get("batch_index") or list(range(samples.shape[0]))
    found["batch_index"] = list(indices[start:end])
    return found
