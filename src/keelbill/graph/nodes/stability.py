"""The image service's nodes that come with every editor: Stable Image and the upscalers. Know no server."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from keelbill.graph.context import Context
from keelbill.graph.node import Input, Literals, Node, Output, choice, integer, number, socket, text
from keelbill.graph.registry import register
from keelbill.graph.service import Wish, fulfil
from keelbill.prompting.presets import PRESETS

LARGEST_SEED: Final = 2**32 - 2
NO_STYLE: Final = "None"
STYLES: Final = (NO_STYLE, *PRESETS)
EDITOR_RATIOS: Final = ("1:1", "16:9", "9:16", "3:2", "2:3", "5:4", "4:5", "21:9", "9:21")

_PROMPT: Final = text("prompt", multiline=True, tooltip="What to paint.")
_RATIO: Final = choice("aspect_ratio", EDITOR_RATIOS, "1:1")
_STYLE: Final = choice("style_preset", STYLES)
_SEED: Final = integer("seed", 0, 0, LARGEST_SEED, control=True, display="number")
_NEGATIVE: Final = text("negative_prompt", socket_only=True, optional=True, tooltip="What to avoid.")
_IMAGE: Final = socket("image", "IMAGE", optional=True)
_DENOISE: Final = number(
    "image_denoise", 0.5, 0.0, 1.0, optional=True, tooltip="How much of the image is painted anew: 0 keeps it."
)


class ServiceNode(Node):
    """Base of nodes that ask the image service for a picture."""

    category = "api node/image/Stability AI"
    module = "comfy_api_nodes.nodes_stability"
    outputs: ClassVar[tuple[Output, ...]] = (Output("IMAGE"),)
    route: ClassVar[str]
    item: ClassVar[str] = ""
    """Of the price list; "" where the model's name is the item."""

    @classmethod
    def price_item(cls, literals: Literals) -> str:
        """Return the item of the price list that a run of this node costs."""
        return cls.item or str(literals.get("model", "sd3.5-large"))

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Ask for the picture."""
        return (fulfil(context, Wish(self.route, self.fields(values), self.images(values))),)

    def fields(self, values: dict[str, Any]) -> dict[str, str | int | float]:
        """Return the fields of the request; what the service does not know is left out."""
        known = ("prompt", "negative_prompt", "model", "seed", "cfg_scale", "creativity", "aspect_ratio")
        said = {name: values[name] for name in known if name in values}
        if values.get("style_preset", NO_STYLE) != NO_STYLE:
            said["style_preset"] = values["style_preset"]
        if "image" in values and self.route.startswith("generate/"):
            said["strength"] = values.get("image_denoise", 0.5)
            said.pop("aspect_ratio", None)
            if self.route == "generate/sd3":
                said["mode"] = "image-to-image"
        return said

    def images(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the pictures of the request, the first of each batch."""
        return {name: values[name][0] for name in ("image", "mask") if values.get(name) is not None}


@register
class StableImage35(ServiceNode):
    """Stable Diffusion 3.5, from a prompt or a picture."""

    name = "StabilityStableImageSD_3_5Node"
    display_name = "Stability AI Stable Diffusion 3.5 Image"
    description = "Makes a picture from a prompt, or from a prompt and a picture, with Stable Diffusion 3.5."
    route = "generate/sd3"
    inputs: ClassVar[tuple[Input, ...]] = (
        _PROMPT,
        choice("model", ("sd3.5-large", "sd3.5-medium")),
        _RATIO,
        _STYLE,
        number("cfg_scale", 4.0, 1.0, 10.0, 0.1, tooltip="How closely the prompt is followed."),
        _SEED,
        _IMAGE,
        _NEGATIVE,
        _DENOISE,
    )


@register
class StableImageUltra(ServiceNode):
    """Stable Image Ultra, from a prompt or a picture."""

    name = "StabilityStableImageUltraNode"
    display_name = "Stability AI Stable Image Ultra"
    description = "Makes a picture from a prompt, or from a prompt and a picture, with the best installed model."
    route = "generate/ultra"
    item = "ultra"
    inputs: ClassVar[tuple[Input, ...]] = (_PROMPT, _RATIO, _STYLE, _SEED, _IMAGE, _NEGATIVE, _DENOISE)


@register
class UpscaleConservative(ServiceNode):
    """A picture of four megapixels that stays close to the given one."""

    name = "StabilityUpscaleConservativeNode"
    display_name = "Stability AI Upscale Conservative"
    description = "Enlarges a picture to four megapixels and changes little."
    route = "upscale/conservative"
    item = "upscale-conservative"
    inputs: ClassVar[tuple[Input, ...]] = (
        socket("image", "IMAGE"),
        _PROMPT,
        number("creativity", 0.35, 0.2, 0.5),
        _SEED,
        _NEGATIVE,
    )


@register
class UpscaleCreative(ServiceNode):
    """A picture of four megapixels with new detail."""

    name = "StabilityUpscaleCreativeNode"
    display_name = "Stability AI Upscale Creative"
    description = "Enlarges a picture to four megapixels and paints detail anew."
    route = "upscale/creative"
    item = "upscale-creative"
    inputs: ClassVar[tuple[Input, ...]] = (
        socket("image", "IMAGE"),
        _PROMPT,
        number("creativity", 0.3, 0.1, 0.5),
        _STYLE,
        _SEED,
        _NEGATIVE,
    )


@register
class UpscaleFast(ServiceNode):
    """A picture four times as large, at once."""

    name = "StabilityUpscaleFastNode"
    display_name = "Stability AI Upscale Fast"
    description = "Enlarges a picture four times in a moment."
    route = "upscale/fast"
    item = "upscale-fast"
    inputs: ClassVar[tuple[Input, ...]] = (socket("image", "IMAGE"),)
