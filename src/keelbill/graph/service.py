"""What nodes ask of the image service: a route, fields and pictures, painted here or by another server. Knows no node.

The same request goes to whichever server the operator chose, so a workflow gives the same kind of picture on both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from keelbill.core.errors import InvalidInput, NotInstalled
from keelbill.core.sizes import MEGAPIXEL, core_size, published_size, scaled_to
from keelbill.core.types import Size
from keelbill.prompting.presets import apply_preset
from keelbill.serving.messages import ImageTask
from keelbill.storage.published import MISSING, PUBLIC_MODELS

if TYPE_CHECKING:
    from torch import Tensor

    from keelbill.graph.context import Context

MAX_BYTES: Final = 64 * 2**20
_KINDS: Final = {
    "edit/inpaint": "inpaint",
    "edit/erase": "erase",
    "edit/outpaint": "outpaint",
    "upscale/fast": "enlarge",
    "upscale/conservative": "upscale",
    "upscale/creative": "upscale",
}


@dataclass(frozen=True)
class Wish:
    """A request to the image service.

    Attributes:
        route: Below ``/v2beta/stable-image/``.
        fields: Of the form; numbers as they are.
        images: Pictures of the form by field, with shape ``(H, W, 3 or 4)``; a mask has shape ``(H, W)``.
    """

    route: str
    fields: Mapping[str, str | int | float] = field(default_factory=dict)
    images: Mapping[str, Tensor] = field(default_factory=dict)


def fulfil(context: Context, wish: Wish) -> Tensor:
    """Have a picture made.

    Returns:
        A batch of one, with shape ``(1, H, W, 3)``.

    Raises:
        NotInstalled: This server paints and lacks the network for it.
        InvalidInput: A value or a picture is missing.
    """
    remote = context.remote()
    if remote is None:
        task, images = local_task(wish)
        return context.paint(task, images)[None]
    import torch

    from keelbill.imaging.decode import ImageFormat, decode
    from keelbill.imaging.encode import encode, from_pixels, to_pixels
    from keelbill.imaging.resize import flatten

    files = {
        name: encode(to_pixels(_coloured(image).movedim(-1, 0).cpu().numpy()), ImageFormat.PNG)
        for name, image in wish.images.items()
    }
    fields = {name: str(value) for name, value in wish.fields.items() if value != ""}
    pixels = decode(remote(wish.route, fields, files), max_bytes=MAX_BYTES)
    return torch.from_numpy(from_pixels(flatten(pixels))).movedim(0, -1)[None]


def local_task(wish: Wish) -> tuple[ImageTask, list[Tensor]]:
    """Return a request as a task for a worker, with the task's pictures in the order of their numbers.

    Raises:
        NotInstalled: No installed network can do it.
        InvalidInput: A value or a picture is missing.
    """
    if wish.route in MISSING:
        raise NotInstalled(MISSING[wish.route])
    said = dict(wish.fields)
    prompt, model = str(said.get("prompt", "")), str(said.get("model", ""))
    styled, negative = apply_preset(prompt, str(said.get("negative_prompt", "")), str(said.get("style_preset", "")))
    public = PUBLIC_MODELS.get(model)
    is_distilled = public is not None and public.is_distilled
    image, mask = wish.images.get("image"), wish.images.get("mask")
    size = _size(wish.route, str(said.get("aspect_ratio", "1:1")), None if image is None else _size_of(image), said)
    if image is not None and mask is None and wish.route in {"edit/inpaint", "edit/erase"}:
        image, mask = _cut_out(image)
    images = [each for each in (image, mask) if each is not None]
    task = ImageTask(
        kind=_KINDS.get(wish.route, "generate"),  # type: ignore[arg-type]  # the values are kinds
        model=model,
        prompt=styled,
        negative_prompt="" if is_distilled else negative,
        recipe_prompt=prompt,
        width=size.width,
        height=size.height,
        seed=int(said.get("seed", 0)),
        cfg=float(said["cfg_scale"]) if "cfg_scale" in said and not is_distilled else None,
        image="" if image is None else "0",
        mask="" if mask is None else "1",
        strength=float(said.get("strength", 1.0)),
        grow_mask=int(said.get("grow_mask", 0)),
        creativity=float(said.get("creativity", 0.5)),
        left=int(said.get("left", 0)),
        right=int(said.get("right", 0)),
        up=int(said.get("up", 0)),
        down=int(said.get("down", 0)),
    )
    return task, [_coloured(each) for each in images]


def _size(route: str, ratio: str, given: Size | None, said: Mapping[str, str | int | float]) -> Size:
    """Return the size of the finished picture."""
    if route == "generate/core":
        return core_size(ratio)
    if route.startswith("generate/"):
        return published_size(ratio) if given is None else scaled_to(given, MEGAPIXEL)
    if given is None:
        raise InvalidInput("image", "nothing", "a picture")
    if route == "upscale/fast":
        return Size(4 * given.width, 4 * given.height)
    if route.startswith("upscale/"):
        return scaled_to(given, 4 * MEGAPIXEL)
    if route == "edit/outpaint":
        left, right, up, down = (int(said.get(side, 0)) for side in ("left", "right", "up", "down"))
        return Size(given.width + left + right, given.height + up + down)
    return given


def _size_of(image: Tensor) -> Size:
    height, width = image.shape[:2]
    return Size(width, height)


def _cut_out(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return a picture and the mask that its transparency is.

    Raises:
        InvalidInput: It has none.
    """
    if image.shape[-1] < 4 or bool((image[..., 3] >= 1).all()):
        raise InvalidInput("mask", "nothing", "a mask, or an image with transparency")
    return image[..., :3], 1 - image[..., 3]


def _coloured(image: Tensor) -> Tensor:
    """Return a picture ``(H, W, 3 or 4)``; a mask ``(H, W)`` becomes a grey one."""
    return image[..., None].expand(*image.shape, 3) if image.dim() == 2 else image
