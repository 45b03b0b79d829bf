"""Nodes that load, show, save and change pictures."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from keelbill.core.clock import SystemClock
from keelbill.graph.naming import file_prefix, prefix_problem
from keelbill.graph.node import Literals, NewFile, Node, Output, Result, choice, file, integer, number, socket, switch
from keelbill.graph.node import text as text_input
from keelbill.graph.registry import register
from keelbill.imaging.workflows import texts

if TYPE_CHECKING:
    from torch import Tensor

    from keelbill.graph.context import Context

METHODS: Final = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")
MAX_SIDE: Final = 16384
SAVED_LEVEL: Final = 4
SHOWN_LEVEL: Final = 1
PNG: Final = "image/png"

_IMAGE: Final = (Output("IMAGE"),)
_HIDDEN: Final = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
_OWN_ID: Final = {"unique_id": "UNIQUE_ID"}
_METHOD: Final = choice("upscale_method", METHODS)


def _digest(literals: Literals, files: Mapping[str, str]) -> str:
    """Return what tells the pictures of one name apart."""
    return files.get(str(literals.get("image", "")), "")


# ------------------------------------------------------------ in and out


@register
class LoadImage(Node):
    """A picture of the account."""

    name = "LoadImage"
    display_name = "Load Image"
    category = "image"
    description = "Loads one of your pictures. Its transparent parts become the mask."
    inputs = (file("image", "input", upload=True),)
    outputs = (Output("IMAGE"), Output("MASK"))

    @classmethod
    def change_token(cls, literals: Literals, files: Mapping[str, str]) -> str | float:
        """Return the digest of the file."""
        return _digest(literals, files)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return its frames, upright, and a mask of what is transparent."""
        from keelbill.graph.tensors import bitmaps

        return bitmaps.load(context.read(values["image"]), values["image"])


@register
class LoadImageOutput(LoadImage):
    """A picture that an earlier graph made."""

    name = "LoadImageOutput"
    display_name = "Load Image (from Outputs)"
    description = "Loads a picture that was made here before."
    inputs = (file("image", "output", upload=True),)
    is_experimental = True


@register
class LoadImageMask(Node):
    """One channel of a picture of the account."""

    name = "LoadImageMask"
    display_name = "Load Image (as Mask)"
    category = "mask"
    description = "Loads one channel of a picture as a mask; of alpha, what is transparent is masked."
    inputs = (file("image", "input", upload=True), choice("channel", ("alpha", "red", "green", "blue")))
    outputs = (Output("MASK"),)

    @classmethod
    def change_token(cls, literals: Literals, files: Mapping[str, str]) -> str | float:
        """Return the digest of the file."""
        return _digest(literals, files)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the channel."""
        from keelbill.graph.tensors import bitmaps

        return (bitmaps.load_channel(context.read(values["image"]), values["image"], values["channel"]),)


@register
class SaveImage(Node):
    """Pictures to keep."""

    name = "SaveImage"
    display_name = "Save Image"
    category = "image"
    description = "Keeps pictures in your output folder. Each carries this graph, so that it can be opened again."
    inputs = (
        socket("images", "IMAGE"),
        text_input("filename_prefix", "ComfyUI", tooltip="May hold folders, %width%, %year% and the like."),
    )
    hidden = _HIDDEN
    is_output = True

    @classmethod
    def check(cls, literals: Literals) -> str:
        """Say whether the name would leave the folder."""
        return prefix_problem(str(literals.get("filename_prefix", "")))

    def run(self, context: Context, **values: Any) -> Result:
        """Return a PNG for each picture."""
        images = context.moderate(values["images"])
        height, width = images.shape[1:3]
        now = SystemClock().now().astimezone()
        names = [
            file_prefix(values["filename_prefix"], width=width, height=height, now=now, place=place)
            for place in range(len(images))
        ]
        files = _pngs(context, images, values, SAVED_LEVEL)
        return Result(files=tuple(NewFile(data, PNG, name) for data, name in zip(files, names, strict=True)))


@register
class PreviewImage(Node):
    """Pictures to look at."""

    name = "PreviewImage"
    display_name = "Preview Image"
    category = "image"
    description = "Shows pictures without keeping them."
    inputs = (socket("images", "IMAGE"),)
    hidden = _HIDDEN
    is_output = True

    def run(self, context: Context, **values: Any) -> Result:
        """Return a PNG for each picture, to be forgotten later."""
        images = context.moderate(values["images"])
        prefix = f"ComfyUI_temp_{uuid.uuid4().hex[:5]}"
        files = _pngs(context, images, values, SHOWN_LEVEL)
        return Result(files=tuple(NewFile(data, PNG, prefix, "temp") for data in files))


@register
class SaveImageWebsocket(Node):
    """Pictures that go straight to whoever asked for them."""

    name = "SaveImageWebsocket"
    category = "api/image"
    description = "Sends pictures over the socket; nothing is kept. Read by a program, the last frames are the result."
    inputs = (socket("images", "IMAGE"),)
    is_output = True

    @classmethod
    def change_token(cls, literals: Literals, files: Mapping[str, str]) -> str | float:
        """Return what never equals itself: each run sends."""
        return math.nan

    def run(self, context: Context, **values: Any) -> Result:
        """Send a PNG of each picture."""
        from keelbill.graph.tensors import bitmaps

        images = context.moderate(values["images"])
        for place, image in enumerate(images, start=1):
            context.progress(place, len(images), bitmaps.png(image, {}, SHOWN_LEVEL))
        return Result()


def _pngs(context: Context, images: Tensor, values: Mapping[str, Any], level: int) -> list[bytes]:
    from keelbill.graph.tensors import bitmaps

    carried = texts(values.get("prompt"), values.get("extra_pnginfo")) if context.writes_metadata else {}
    return [bitmaps.png(image, carried, level) for image in images]


# ------------------------------------------------------------ sizes


@register
class ImageScale(Node):
    """Pictures in another size."""

    name = "ImageScale"
    display_name = "Upscale Image"
    category = "image/upscaling"
    description = "Scales pictures to a size; a side of 0 follows from the other one."
    inputs = (
        socket("image", "IMAGE"),
        _METHOD,
        integer("width", 512, 0, MAX_SIDE),
        integer("height", 512, 0, MAX_SIDE),
        choice("crop", ("disabled", "center")),
    )
    outputs = _IMAGE
    aliases = ("resize",)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Scale."""
        from keelbill.graph.tensors import pictures

        size = values["width"], values["height"]
        return (pictures.scaled(values["image"], values["upscale_method"], *size, crop=values["crop"] == "center"),)


@register
class ImageScaleBy(Node):
    """Pictures so many times as large."""

    name = "ImageScaleBy"
    display_name = "Upscale Image By"
    category = "image/upscaling"
    description = "Scales both sides of pictures by a factor."
    inputs = (socket("image", "IMAGE"), _METHOD, number("scale_by", 1.0, 0.01, 8.0))
    outputs = _IMAGE

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Scale."""
        from keelbill.graph.tensors import pictures

        return (pictures.scaled_by(values["image"], values["upscale_method"], values["scale_by"]),)


@register
class ImageScaleToTotalPixels(Node):
    """Pictures with about a number of pixels."""

    name = "ImageScaleToTotalPixels"
    category = "image/upscaling"
    description = "Scales pictures to a number of megapixels of 1024 x 1024, in their shape."
    module = "comfy_extras.nodes_post_processing"
    inputs = (
        socket("image", "IMAGE"),
        _METHOD,
        number("megapixels", 1.0, 0.01, 16.0),
        integer("resolution_steps", 1, 1, 256),
    )
    outputs = _IMAGE

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Scale."""
        from keelbill.graph.tensors import pictures

        step = values.get("resolution_steps", 1)
        return (pictures.scaled_to_area(values["image"], values["upscale_method"], values["megapixels"], step),)


@register
class ImageCrop(Node):
    """A part of pictures."""

    name = "ImageCrop"
    display_name = "Image Crop"
    category = "image/transform"
    description = "Cuts a part out of pictures."
    module = "comfy_extras.nodes_images"
    inputs = (
        socket("image", "IMAGE"),
        integer("width", 512, 1, MAX_SIDE),
        integer("height", 512, 1, MAX_SIDE),
        integer("x", 0, 0, MAX_SIDE),
        integer("y", 0, 0, MAX_SIDE),
    )
    outputs = _IMAGE

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Cut."""
        from keelbill.graph.tensors import pictures

        place = values["x"], values["y"], values["width"], values["height"]
        return (pictures.cut(values["image"], *place),)


@register
class ImagePadForOutpaint(Node):
    """Pictures with room around them."""

    name = "ImagePadForOutpaint"
    display_name = "Pad Image for Outpainting"
    category = "image"
    description = "Adds grey room around pictures and masks it, so that it can be painted."
    inputs = (
        socket("image", "IMAGE"),
        *(integer(side, 0, 0, MAX_SIDE, 8) for side in ("left", "top", "right", "bottom")),
        integer("feathering", 40, 0, MAX_SIDE, tooltip="Width of the mask's soft edge inside the picture, in pixels."),
    )
    outputs = (Output("IMAGE"), Output("MASK"))

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Pad."""
        from keelbill.graph.tensors import pictures

        sides = {side: values[side] for side in ("left", "top", "right", "bottom")}
        return pictures.padded(values["image"], **sides, feather=values["feathering"])


@register
class GetImageSize(Node):
    """How large pictures are."""

    name = "GetImageSize"
    display_name = "Get Image Size"
    category = "image"
    description = "Tells width and height in pixels, and how many pictures there are."
    module = "comfy_extras.nodes_images"
    inputs = (socket("image", "IMAGE"),)
    outputs = (Output("INT", "width"), Output("INT", "height"), Output("INT", "batch_size"))
    hidden = _OWN_ID

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Measure."""
        count, height, width = values["image"].shape[:3]
        return width, height, count


# ------------------------------------------------------------ colours and layers


@register
class EmptyImage(Node):
    """Pictures of one colour."""

    name = "EmptyImage"
    category = "image"
    description = "Plain pictures of one colour."
    inputs = (
        integer("width", 512, 1, MAX_SIDE),
        integer("height", 512, 1, MAX_SIDE),
        integer("batch_size", 1, 1, 4096),
        integer("color", 0, 0, 0xFFFFFF, display="color"),
    )
    outputs = _IMAGE

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Fill."""
        from keelbill.graph.tensors import pictures

        return (pictures.filled(values["width"], values["height"], values["batch_size"], values["color"]),)


@register
class ImageInvert(Node):
    """Negatives."""

    name = "ImageInvert"
    display_name = "Invert Image"
    category = "image"
    description = "Turns colours into their opposites."
    inputs = (socket("image", "IMAGE"),)
    outputs = _IMAGE

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Invert."""
        from keelbill.graph.tensors import pictures

        return (pictures.inverted(values["image"]),)


@register
class ImageBatch(Node):
    """Two batches as one."""

    name = "ImageBatch"
    display_name = "Batch Images"
    category = "image"
    description = "Puts pictures one after the other; the second ones are brought to the size of the first."
    inputs = (socket("image1", "IMAGE"), socket("image2", "IMAGE"))
    outputs = _IMAGE
    is_deprecated = True

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Join."""
        from keelbill.graph.tensors import pictures

        return (pictures.batched(values["image1"], values["image2"]),)


@register
class ImageCompositeMasked(Node):
    """Pictures over others."""

    name = "ImageCompositeMasked"
    category = "image"
    description = "Lays pictures over others, where a mask says so."
    module = "comfy_extras.nodes_mask"
    inputs = (
        socket("destination", "IMAGE"),
        socket("source", "IMAGE"),
        integer("x", 0, 0, MAX_SIDE),
        integer("y", 0, 0, MAX_SIDE),
        switch("resize_source"),
        socket("mask", "MASK", optional=True),
    )
    outputs = _IMAGE

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Lay."""
        from keelbill.graph.tensors import pictures

        below, above, x, y = (values[name] for name in ("destination", "source", "x", "y"))
        return (pictures.laid(below, above, x, y, values.get("mask"), resize=values["resize_source"]),)


@register
class ImageBlur(Node):
    """Blurred pictures."""

    name = "ImageBlur"
    category = "image/postprocessing"
    description = "Blurs pictures."
    module = "comfy_extras.nodes_post_processing"
    inputs = (
        socket("image", "IMAGE"),
        integer("blur_radius", 1, 1, 31),
        number("sigma", 1.0, 0.1, 10.0, 0.1),
    )
    outputs = _IMAGE

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Blur."""
        from keelbill.graph.tensors import edges

        return (edges.blurred(values["image"], values["blur_radius"], values["sigma"]),)


@register
class Canny(Node):
    """The edges of pictures."""

    name = "Canny"
    category = "image/preprocessors"
    description = "Draws the edges of pictures as white lines on black."
    module = "comfy_extras.nodes_canny"
    inputs = (
        socket("image", "IMAGE"),
        number("low_threshold", 0.4, 0.01, 0.99),
        number("high_threshold", 0.8, 0.01, 0.99),
    )
    outputs = _IMAGE

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Draw."""
        from keelbill.graph.tensors import edges

        return (edges.canny(values["image"], values["low_threshold"], values["high_threshold"]),)
