"""Nodes that make and change masks, and that join them with pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keelbill.graph.node import Node, Output, choice, integer, number, socket, switch
from keelbill.graph.registry import register

if TYPE_CHECKING:
    from keelbill.graph.context import Context

MAX_SIDE: Final = 16384
MODULE: Final = "comfy_extras.nodes_mask"

_MASK: Final = (Output("MASK"),)
_X: Final = integer("x", 0, 0, MAX_SIDE)
_Y: Final = integer("y", 0, 0, MAX_SIDE)
_WIDTH: Final = integer("width", 512, 1, MAX_SIDE)
_HEIGHT: Final = integer("height", 512, 1, MAX_SIDE)


@register
class MaskToImage(Node):
    """Masks as grey pictures."""

    name = "MaskToImage"
    display_name = "Convert Mask to Image"
    category = "mask"
    description = "Shows masks as grey pictures; what is masked is white."
    module = MODULE
    inputs = (socket("mask", "MASK"),)
    outputs = (Output("IMAGE"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Convert."""
        from keelbill.graph.tensors import masks

        return (masks.as_picture(values["mask"]),)


@register
class ImageToMask(Node):
    """A channel of pictures as masks."""

    name = "ImageToMask"
    display_name = "Convert Image to Mask"
    category = "mask"
    description = "Takes one channel of pictures as masks."
    module = MODULE
    inputs = (socket("image", "IMAGE"), choice("channel", ("red", "green", "blue", "alpha")))
    outputs = _MASK

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Convert."""
        from keelbill.graph.tensors import masks

        return (masks.channel(values["image"], values["channel"]),)


@register
class ImageColorToMask(Node):
    """Places of one colour."""

    name = "ImageColorToMask"
    category = "mask"
    description = "Masks the places that have exactly one colour, given as a number: red x 65536 + green x 256 + blue."
    module = MODULE
    inputs = (socket("image", "IMAGE"), integer("color", 0, 0, 0xFFFFFF, display="number"))
    outputs = _MASK

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Compare."""
        from keelbill.graph.tensors import masks

        return (masks.matching(values["image"], values["color"]),)


@register
class InvertMask(Node):
    """Masked and unmasked exchanged."""

    name = "InvertMask"
    category = "mask"
    description = "Masks what was not masked."
    module = MODULE
    inputs = (socket("mask", "MASK"),)
    outputs = _MASK

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Invert."""
        return (1.0 - values["mask"],)


@register
class GrowMask(Node):
    """Wider or narrower masks."""

    name = "GrowMask"
    display_name = "Grow Mask"
    category = "mask"
    description = "Widens masks by so many pixels; below 0 narrows them."
    module = MODULE
    inputs = (
        socket("mask", "MASK"),
        integer("expand", 0, -MAX_SIDE, MAX_SIDE),
        switch("tapered_corners", True),
    )
    outputs = _MASK

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Grow."""
        from keelbill.graph.tensors import masks

        return (masks.grown(values["mask"], values["expand"], tapered=values["tapered_corners"]),)


@register
class FeatherMask(Node):
    """Masks that fade."""

    name = "FeatherMask"
    category = "mask"
    description = "Lets masks fade towards the edges of the picture."
    module = MODULE
    inputs = (
        socket("mask", "MASK"),
        *(integer(side, 0, 0, MAX_SIDE) for side in ("left", "top", "right", "bottom")),
    )
    outputs = _MASK

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Fade."""
        from keelbill.graph.tensors import masks

        sides = (values[side] for side in ("left", "top", "right", "bottom"))
        return (masks.feathered(values["mask"], *sides),)


@register
class SolidMask(Node):
    """A mask of one value."""

    name = "SolidMask"
    category = "mask"
    description = "A mask of one value everywhere."
    module = MODULE
    inputs = (number("value", 1.0, 0.0, 1.0), _WIDTH, _HEIGHT)
    outputs = _MASK

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Fill."""
        from keelbill.graph.tensors import masks

        return (masks.solid(values["value"], values["width"], values["height"]),)


@register
class MaskComposite(Node):
    """Masks over others."""

    name = "MaskComposite"
    category = "mask"
    description = "Combines masks at a place; and, or, xor take values above a half as masked."
    module = MODULE
    inputs = (
        socket("destination", "MASK"),
        socket("source", "MASK"),
        _X,
        _Y,
        choice("operation", ("multiply", "add", "subtract", "and", "or", "xor")),
    )
    outputs = _MASK

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Combine."""
        from keelbill.graph.tensors import masks

        names = ("destination", "source", "x", "y", "operation")
        return (masks.combined(*(values[name] for name in names)),)


@register
class CropMask(Node):
    """A part of masks."""

    name = "CropMask"
    category = "mask"
    description = "Cuts a part out of masks."
    module = MODULE
    inputs = (socket("mask", "MASK"), _X, _Y, _WIDTH, _HEIGHT)
    outputs = _MASK

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Cut."""
        from keelbill.graph.tensors import masks, pictures

        place = values["x"], values["y"], values["width"], values["height"]
        return (pictures.cut(masks.planes(values["mask"]), *place),)


@register
class ThresholdMask(Node):
    """Masks of yes and no."""

    name = "ThresholdMask"
    category = "mask"
    description = "Masks wholly what is masked more than a value, and nothing else."
    module = MODULE
    inputs = (socket("mask", "MASK"), number("value", 0.5, 0.0, 1.0))
    outputs = _MASK

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Decide."""
        return ((values["mask"] > values["value"]).float(),)


@register
class JoinImageWithAlpha(Node):
    """Pictures with transparency."""

    name = "JoinImageWithAlpha"
    display_name = "Join Image with Alpha"
    category = "mask/compositing"
    description = "Makes what is masked transparent."
    module = "comfy_extras.nodes_compositing"
    inputs = (socket("image", "IMAGE"), socket("alpha", "MASK"))
    outputs = (Output("IMAGE"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Join."""
        import torch

        from keelbill.graph.tensors import masks, pictures

        image = pictures.colours(values["image"])
        return (torch.cat([image, 1.0 - masks.fitted(values["alpha"], image)[..., None]], dim=-1),)


@register
class SplitImageWithAlpha(Node):
    """Colours and transparency apart."""

    name = "SplitImageWithAlpha"
    display_name = "Split Image with Alpha"
    category = "mask/compositing"
    description = "Takes transparency off pictures and gives it as masks."
    module = "comfy_extras.nodes_compositing"
    inputs = (socket("image", "IMAGE"),)
    outputs = (Output("IMAGE"), Output("MASK"))

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Split."""
        from keelbill.graph.tensors import masks, pictures

        return pictures.colours(values["image"]), 1.0 - masks.channel(values["image"], "alpha")
