"""Foretells what nodes will give: sizes, counts, steps, plain values. Runs no node, and knows no price.

Numbers that decide how much work a graph is must be known before it runs. They come from fields, from primitive nodes
and from pictures whose sizes somebody looks up. Where a node is of a kind that is not known here, its pictures count as
large as those that go into it, or as a published picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import sqrt
from typing import Any, Final

from keelbill.core.sizes import MEGAPIXEL, core_size, published_size, scaled_to
from keelbill.core.types import Size
from keelbill.graph.node import Node
from keelbill.graph.outlook import Known, ModelFile, Outlook, Shape, Sizes, Steps

PLACE: Final = 8
"""Pixels to a place of a latent, on each side."""

ENLARGED: Final = 4
SHAPED: Final = frozenset({"IMAGE", "MASK", "LATENT"})


def outlooks(graph: Mapping[str, Any], nodes: Mapping[str, type[Node]], sizes: Sizes) -> dict[str, Outlook]:
    """Look at all nodes of a validated graph, each after those that it needs.

    Args:
        graph: In the API format, valid and without circles.
        nodes: Classes by name.
        sizes: Of pictures by name.

    Raises:
        GraphInvalid: A number that decides about the work is known only when the graph runs.
    """
    seen: dict[str, Outlook] = {}
    for name in _ordered(graph):
        kind, inputs = nodes[graph[name]["class_type"]], graph[name]["inputs"]
        known: dict[str, Known] = {}
        is_repeated = False
        for each in kind.inputs:
            if each.name not in inputs:
                continue
            value = inputs[each.name]
            if not isinstance(value, list):
                known[each.name] = value if isinstance(value, int | float | str) else None
                continue
            source, slot = seen[value[0]], value[1]
            known[each.name] = source.outputs[slot]
            is_list = source.kind.outputs[slot].is_list
            is_repeated |= (is_list or source.is_repeated) and not kind.takes_lists
        outlook = Outlook(name, kind, known, sizes, is_repeated)
        seen[name] = replace(outlook, outputs=_foretold(outlook))
    return seen


def _ordered(graph: Mapping[str, Any]) -> list[str]:
    """Return the ids so that each comes after those that it needs; without recursion."""
    done: dict[str, None] = {}
    for first in graph:
        todo = [(first, False)]
        while todo:
            name, is_ready = todo.pop()
            if name in done:
                continue
            if is_ready:
                done[name] = None
                continue
            todo.append((name, True))
            todo += [(value[0], False) for value in graph[name]["inputs"].values() if isinstance(value, list)]
    return list(done)


def _foretold(node: Outlook) -> tuple[Known, ...]:
    """Return what is known of each output."""
    rule = _RULES.get(node.kind.name)
    if rule is None and hasattr(node.kind, "price_item"):
        rule = _served
    known: Sequence[Known] = (
        rule(node) if rule is not None else [_passed(node, each.type) for each in node.kind.outputs]
    )
    count = len(node.kind.outputs)
    return tuple([*known, *[None] * count][:count])


def _passed(node: Outlook, kind: str) -> Known:
    """Return what an output of a type has when the node passes on what it gets."""
    if kind in SHAPED:
        same = [each.name for each in node.kind.inputs if each.type == kind]
        return node.shape(*same)
    if kind in {"MODEL", "GUIDER"}:
        return node.find(ModelFile)
    return node.find(Steps) if kind == "SIGMAS" else None


# ------------------------------------------------------------ rules


def _whole_places(width: float, height: float, count: int = 1) -> Shape:
    return Shape(max(PLACE, int(width) // PLACE * PLACE), max(PLACE, int(height) // PLACE * PLACE), count)


def _made(node: Outlook) -> list[Known]:
    return [Shape(node.whole("width"), node.whole("height"), node.whole("batch_size"))]


def _latent(node: Outlook) -> list[Known]:
    return [_whole_places(node.whole("width"), node.whole("height"), node.whole("batch_size"))]


def _read(node: Outlook) -> list[Known]:
    size = node.sizes(node.said("image"))
    shape = Shape(size.width, size.height) if size else Shape(1024, 1024)
    return [shape, shape]


def _coded(*names: str) -> Callable[[Outlook], list[Known]]:
    def coded(node: Outlook) -> list[Known]:
        shape = node.shape(*names)
        return [_whole_places(shape.width, shape.height, shape.count)]

    return coded


def _inpainted(node: Outlook) -> list[Known]:
    return [None, None, *_coded("pixels")(node)]


def _resized(node: Outlook, name: str) -> Shape:
    """Return a size that is given; 0 keeps the shape."""
    shape, width, height = node.shape(name), node.whole("width"), node.whole("height")
    if not width and not height:
        return shape
    width = width or max(1, round(shape.width * height / shape.height))
    return Shape(width, height or max(1, round(shape.height * width / shape.width)), shape.count)


def _latent_resized(node: Outlook) -> list[Known]:
    shape = _resized(node, "samples")
    return [_whole_places(max(64, shape.width), max(64, shape.height), shape.count)]


def _latent_scaled(node: Outlook) -> list[Known]:
    shape, factor = node.shape("samples"), node.real("scale_by")
    return [_whole_places(round(shape.width * factor), round(shape.height * factor), shape.count)]


def _scaled(node: Outlook) -> list[Known]:
    shape, factor = node.shape("image"), node.real("scale_by")
    return [Shape(max(1, round(shape.width * factor)), max(1, round(shape.height * factor)), shape.count)]


def _to_area(node: Outlook) -> list[Known]:
    shape, step = node.shape("image"), node.whole("resolution_steps")
    factor = sqrt(node.real("megapixels") * MEGAPIXEL / (shape.width * shape.height))
    width, height = (max(step, round(side * factor / step) * step) for side in (shape.width, shape.height))
    return [Shape(width, height, shape.count)]


def _enlarged(node: Outlook) -> list[Known]:
    shape = node.shape("image")
    return [Shape(ENLARGED * shape.width, ENLARGED * shape.height, shape.count)]


def _padded(node: Outlook) -> list[Known]:
    shape = node.shape("image")
    width = shape.width + node.whole("left") + node.whole("right")
    padded = Shape(width, shape.height + node.whole("top") + node.whole("bottom"), shape.count)
    return [padded, replace(padded, count=1)]


def _batched(node: Outlook) -> list[Known]:
    first, second = node.shape("image1"), node.shape("image2")
    return [replace(first, count=first.count + second.count)]


def _cut(name: str) -> Callable[[Outlook], list[Known]]:
    def cut(node: Outlook) -> list[Known]:
        shape = node.shape(name)
        width, height = min(shape.width, node.whole("width")), min(shape.height, node.whole("height"))
        return [Shape(width, height, shape.count)]

    return cut


def _solid(node: Outlook) -> list[Known]:
    return [Shape(node.whole("width"), node.whole("height"))]


def _measured(node: Outlook) -> list[Known]:
    shape = node.shape("image")
    return [shape.width, shape.height, shape.count]


def _repeated(node: Outlook) -> list[Known]:
    shape = node.shape("samples")
    return [replace(shape, count=shape.count * node.whole("amount"))]


def _picked(node: Outlook) -> list[Known]:
    shape = node.shape("samples")
    return [replace(shape, count=max(1, min(node.whole("length"), shape.count - node.whole("batch_index"))))]


def _loaded(field: str) -> Callable[[Outlook], list[Known]]:
    return lambda node: [ModelFile(node.said(field))]


def _same(*names: str) -> Callable[[Outlook], list[Known]]:
    return lambda node: [node.shape(*names), node.shape(*names)]


def _value(node: Outlook) -> list[Known]:
    return [node.inputs.get("value")]


def _scheduled(node: Outlook) -> list[Known]:
    return [Steps(node.whole("steps") if node.real("denoise") > 0 else 0)]


def _split(node: Outlook) -> list[Known]:
    whole, at = node.find(Steps) or Steps(0), node.whole("step")
    return [Steps(min(at, whole.count)), Steps(max(0, whole.count - at))]


def _served(node: Outlook) -> list[Known]:
    """Return what the image service gives: see its published sizes."""
    item: str = node.kind.price_item(node.inputs)  # type: ignore[attr-defined]  # asked before
    given = None if node.said("mode") == "text-to-image" else node.find(Shape)
    ratio = node.said("aspect_ratio").partition("(")[0].strip() or "1:1"
    image = Size(given.width, given.height) if given else Size(1024, 1024)
    if item == "core":
        size = core_size(ratio)
    elif item.startswith("sd3") or item == "ultra":
        size = scaled_to(image, MEGAPIXEL) if given else published_size(ratio)
    elif item == "upscale-fast":
        size = Size(ENLARGED * image.width, ENLARGED * image.height)
    elif item.startswith("upscale-"):
        size = scaled_to(image, 4 * MEGAPIXEL)
    elif item == "outpaint":
        left, right, up, down = (node.whole(side) for side in ("left", "right", "up", "down"))
        size = Size(image.width + left + right, image.height + up + down)
    else:
        size = image
    return [Shape(size.width, size.height)]


_RULES: Final[Mapping[str, Callable[[Outlook], list[Known]]]] = {
    "EmptySD3LatentImage": _latent,
    "EmptyLatentImage": _latent,
    "EmptyImage": _made,
    "SolidMask": _solid,
    "LoadImage": _read,
    "LoadImageMask": _read,
    "LoadImageOutput": _read,
    "CheckpointLoaderSimple": _loaded("ckpt_name"),
    "UNETLoader": _loaded("unet_name"),
    "VAEEncode": _coded("pixels"),
    "VAEEncodeTiled": _coded("pixels"),
    "VAEEncodeForInpaint": _coded("pixels"),
    "InpaintModelConditioning": _inpainted,
    "LatentUpscale": _latent_resized,
    "LatentUpscaleBy": _latent_scaled,
    "LatentComposite": _same("samples_to"),
    "RepeatLatentBatch": _repeated,
    "LatentFromBatch": _picked,
    "KSampler": _same("latent_image"),
    "KSamplerAdvanced": _same("latent_image"),
    "SamplerCustom": _same("latent_image"),
    "SamplerCustomAdvanced": _same("latent_image"),
    "ImageScale": lambda node: [_resized(node, "image")],
    "ImageScaleBy": _scaled,
    "ImageScaleToTotalPixels": _to_area,
    "ImageUpscaleWithModel": _enlarged,
    "ImagePadForOutpaint": _padded,
    "ImageBatch": _batched,
    "ImageCrop": _cut("image"),
    "CropMask": _cut("mask"),
    "ImageCompositeMasked": _same("destination"),
    "MaskComposite": _same("destination"),
    "GetImageSize": _measured,
    "PrimitiveInt": _value,
    "PrimitiveFloat": _value,
    "PrimitiveString": _value,
    "PrimitiveStringMultiline": _value,
    "PrimitiveBoolean": _value,
    "BasicScheduler": _scheduled,
    "SplitSigmas": _split,
}
