"""Turns a task into what a model paints, and what it painted into the finished pixels. Knows no queue and no files.

A model paints at its own scale. The picture that was asked for is larger or of another shape more often than not, so
it is enlarged afterwards, and what a mask keeps is put back from the original at full size, to the last bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from keelbill.core.errors import BadImage, InvalidInput, NotInstalled
from keelbill.core.types import Size
from keelbill.engine.pipeline import GenerationRequest, Pipeline
from keelbill.imaging import masks
from keelbill.imaging.decode import decode
from keelbill.imaging.encode import from_pixels, to_pixels
from keelbill.imaging.margins import Margins
from keelbill.imaging.resize import cover, flatten, stretch
from keelbill.imaging.sandbox import MAX_CLEAN_BYTES
from keelbill.serving.fill import fill_holes
from keelbill.serving.messages import ImageTask
from keelbill.serving.sizes import Box, painting_size, surroundings

if TYPE_CHECKING:
    from torch import Tensor

    from keelbill.engine.model import Model

Pixels = NDArray[np.uint8]
Mask = NDArray[np.float32]

FACTOR: Final = 4
ERASE_STRENGTH: Final = 0.6

MOST_PIXELS: Final = 2**26


class Enlarger(Protocol):
    """Makes a picture four times as large."""

    def enlarge(self, pixels: Tensor) -> Tensor:
        """Turn pixels in [0, 1] with shape ``(3, H, W)`` into ``(3, 4H, 4W)``."""
        ...


@dataclass(frozen=True)
class Plan(ABC):
    """How one task is done.

    Args:
        size: Of the finished picture.
        request: What the model paints; nothing if it paints nothing.
    """

    size: Size
    request: GenerationRequest | None

    @property
    def is_quick(self) -> bool:
        """Whether what is painted is the finished picture, so that nothing has to be enlarged."""
        return self.request is not None and (self.request.width, self.request.height) == (
            self.size.width,
            self.size.height,
        )

    @abstractmethod
    def compose(self, painted: Pixels | None, enlarger: Enlarger) -> Pixels:
        """Make the finished picture.

        Args:
            painted: What the model painted, with shape ``(h, w, 3)``; nothing if it painted nothing.
            enlarger: Makes pictures larger.

        Returns:
            Pixels with shape ``(height, width, 3 or 4)``.
        """


@dataclass(frozen=True)
class _Whole(Plan):
    """The whole picture is painted, from nothing or from another picture."""

    kept: Pixels | None = None

    def compose(self, painted: Pixels | None, enlarger: Enlarger) -> Pixels:
        pixels = self.kept if painted is None else painted
        if pixels is None:
            raise TypeError("nothing was painted and nothing is kept")
        return enlarged(pixels, self.size, enlarger)


@dataclass(frozen=True)
class _Part(Plan):
    """A part is painted anew where a mask says so; the rest stays as it is."""

    base: Pixels
    mask: Mask
    box: Box

    def compose(self, painted: Pixels | None, enlarger: Enlarger) -> Pixels:
        if painted is None:
            return self.base
        part = enlarged(painted, self.box.size, enlarger, cut=False)
        here = np.s_[self.box.top : self.box.bottom, self.box.left : self.box.right]
        mask = self.mask[here][:, :, None]
        mixed = np.rint(part * mask + self.base[here] * (1 - mask)).astype(np.uint8)
        finished = self.base.copy()
        finished[here] = mixed
        return finished


@dataclass(frozen=True)
class _Enlarged(Plan):
    """Nothing is painted; transparency is enlarged beside the colours."""

    pixels: Pixels

    def compose(self, painted: Pixels | None, enlarger: Enlarger) -> Pixels:
        colours = enlarged(np.ascontiguousarray(self.pixels[:, :, :3]), self.size, enlarger)
        if self.pixels.shape[2] == 3:
            return colours
        return np.dstack([colours, cover(np.ascontiguousarray(self.pixels[:, :, 3]), self.size)])


@dataclass(frozen=True)
class _Refined(Plan):
    """The picture is enlarged, and what a light repainting changes at the model's scale is added to it.

    The model sees and changes only what is visible at its own scale; finer detail is the enlarged original's.
    """

    pixels: Pixels
    seen: Pixels
    """What the model's autoencoder makes of `pixels` at the size at which the model paints."""

    def compose(self, painted: Pixels | None, enlarger: Enlarger) -> Pixels:
        large = enlarged(self.pixels, self.size, enlarger)
        if painted is None:
            return large
        # One picture of the change around the middle grey, so that it can be scaled like any picture.
        change = np.clip((painted.astype(np.int16) - self.seen) // 2 + 128, 0, 255).astype(np.uint8)
        added = (stretch(change, self.size).astype(np.int16) - 128) * 2
        refined: Pixels = np.clip(large.astype(np.int16) + added, 0, 255).astype(np.uint8)
        return refined


def plan(task: ImageTask, model: Model, read: Callable[[str], bytes]) -> Plan:
    """Decide how a task is done with a model.

    Args:
        task: What is wanted.
        model: Who paints.
        read: Reads an input picture by its reference.

    Raises:
        BadImage: An input is missing or is no picture.
        InvalidInput: The picture would be too large.
        NotInstalled: No installed network can do it.
    """
    if task.kind == "style":
        raise NotInstalled("No installed model takes its style from a picture.")
    if task.kind == "generate" and not task.image:
        size = Size(task.width or model.native_side, task.height or model.native_side)
        return _Whole(_checked(size), _request(task, model, _scale(size, model)))
    if not task.image:
        raise BadImage(f"image is missing; {task.kind!r} starts from a picture.")
    pixels = decode(read(task.image), max_bytes=MAX_CLEAN_BYTES)
    return _PLANS[task.kind](task, model, pixels, read)


def enlarged(pixels: Pixels, size: Size, enlarger: Enlarger, *, cut: bool = True) -> Pixels:
    """Bring a picture to a size: learned enlargement by fours while that is more than double, then exactly.

    Args:
        pixels: With shape ``(H, W, 3)``.
        size: What is wanted.
        enlarger: Makes pictures larger.
        cut: Whether a different shape is cut rather than distorted.
    """
    while max(size.width / pixels.shape[1], size.height / pixels.shape[0]) > (2 if pixels.shape[0] > 256 else 1.25):
        pixels = to_pixels(enlarger.enlarge(torch.from_numpy(from_pixels(pixels))).numpy())
    return cover(pixels, size) if cut else stretch(pixels, size)


# ------------------------------------------------------------ kinds


def _from_picture(task: ImageTask, model: Model, pixels: Pixels, read: Callable[[str], bytes]) -> Plan:
    pixels = flatten(pixels)
    size = _checked(_asked(task, pixels))
    if task.strength == 0:
        return _Whole(size, None, kept=pixels)
    at = _scale(size, model)
    return _Whole(size, _request(task, model, at, image=cover(pixels, at), strength=task.strength))


def _inpaint(task: ImageTask, model: Model, pixels: Pixels, read: Callable[[str], bytes]) -> Plan:
    mask = _mask(task, pixels, read)
    base = flatten(pixels)
    if task.kind == "erase":
        base_seen, strength = fill_holes(base, mask), ERASE_STRENGTH
    else:
        base_seen, strength = (base if task.mask else fill_holes(base, mask)), task.strength
    return _part(task, model, base, base_seen, mask, strength)


def _outpaint(task: ImageTask, model: Model, pixels: Pixels, read: Callable[[str], bytes]) -> Plan:
    pixels = flatten(pixels)
    height, width = pixels.shape[:2]
    size = _checked(Size(width + task.left + task.right, height + task.up + task.down))
    margins = Margins(task.left, task.up, task.right, task.down)
    base, mask = margins.widened(pixels), margins.mask(height, width)
    strength = 0.7 + 0.3 * task.creativity
    return _part(task, model, base, base, mask, strength, box=Box(0, 0, size.width, size.height))


def _enlarge(task: ImageTask, model: Model, pixels: Pixels, read: Callable[[str], bytes]) -> Plan:
    return _Enlarged(_checked(_asked(task, pixels, FACTOR)), None, pixels)


def _upscale(task: ImageTask, model: Model, pixels: Pixels, read: Callable[[str], bytes]) -> Plan:
    pixels = flatten(pixels)
    size = _checked(_asked(task, pixels, FACTOR))
    at = _scale(Size(pixels.shape[1], pixels.shape[0]), model)
    seen = stretch(pixels, at)
    pixels = cover(pixels, size) if _is_smaller(size, pixels) else pixels
    if not task.creativity:
        return _Refined(size, None, pixels, seen)
    pipeline = Pipeline(model)  # what the autoencoder loses is no change of the model's
    coded = to_pixels(pipeline.decode(pipeline.encode(torch.from_numpy(from_pixels(seen)))).numpy())
    return _Refined(size, _request(task, model, at, image=seen, strength=0.6 * task.creativity), pixels, coded)


_PLANS: Final[dict[str, Callable[[ImageTask, Model, Pixels, Callable[[str], bytes]], Plan]]] = {
    "generate": _from_picture,
    "inpaint": _inpaint,
    "erase": _inpaint,
    "outpaint": _outpaint,
    "enlarge": _enlarge,
    "upscale": _upscale,
}


# ------------------------------------------------------------ parts


def _part(
    task: ImageTask, model: Model, base: Pixels, seen: Pixels, mask: Mask, strength: float, box: Box | None = None
) -> Plan:
    height, width = base.shape[:2]
    size = Size(width, height)
    painted = np.argwhere(mask > 0)
    if not len(painted) or strength == 0:
        return _Part(size, None, base, mask, Box(0, 0, width, height))
    if box is None:
        (top, left), (bottom, right) = painted.min(0), painted.max(0) + 1
        tight = Box(int(left), int(top), int(right), int(bottom))
        box = surroundings(tight, size, least_side=model.native_side)
    here = np.s_[box.top : box.bottom, box.left : box.right]
    at = _scale(box.size, model)
    request = _request(
        task,
        model,
        at,
        image=stretch(np.ascontiguousarray(seen[here]), at),
        strength=strength,
        mask=_stretched(mask[here], at),
    )
    return _Part(size, request, base, mask, box)


def _mask(task: ImageTask, pixels: Pixels, read: Callable[[str], bytes]) -> Mask:
    if task.mask:
        drawn = decode(read(task.mask), field="mask", max_bytes=MAX_CLEAN_BYTES)
        mask = masks.from_brightness(stretch(drawn, Size(pixels.shape[1], pixels.shape[0])))
    else:
        mask = masks.from_transparency(pixels)
    return masks.grow(mask, task.grow_mask)


def _stretched(mask: Mask, size: Size) -> Mask:
    return stretch(np.rint(mask * 255).astype(np.uint8), size).astype(np.float32) / np.float32(255)


def _asked(task: ImageTask, pixels: Pixels, factor: int = 1) -> Size:
    height, width = pixels.shape[:2]
    return Size(task.width or factor * width, task.height or factor * height)


def _checked(size: Size) -> Size:
    if size.width * size.height > MOST_PIXELS:
        raise InvalidInput("size", str(size), f"of at most {MOST_PIXELS:,} pixels")
    return size


def _is_smaller(size: Size, pixels: Pixels) -> bool:
    return bool(size.width < pixels.shape[1] and size.height < pixels.shape[0])


def _scale(size: Size, model: Model) -> Size:
    return painting_size(size, native_side=model.native_side, multiple=model.multiple, largest_side=model.largest_side)


def _request(
    task: ImageTask,
    model: Model,
    at: Size,
    *,
    image: Pixels | None = None,
    strength: float = 1.0,
    mask: Mask | None = None,
) -> GenerationRequest:
    return GenerationRequest(
        prompt=task.prompt,
        negative_prompt=task.negative_prompt,
        width=at.width,
        height=at.height,
        seed=task.seed,
        steps=task.steps,
        cfg=task.cfg,
        sampler=task.sampler or None,
        schedule=task.schedule or None,
        image=None if image is None else torch.from_numpy(from_pixels(image)),
        strength=strength,
        mask=None if mask is None else torch.from_numpy(mask)[None],
    )
