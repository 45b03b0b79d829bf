"""The first public node for Stable Diffusion 3 over the image service, as tutorials of its time use it."""

from __future__ import annotations

from typing import Any, ClassVar

from keelbill.core.errors import InvalidInput
from keelbill.graph.context import Context
from keelbill.graph.node import Input, choice, integer, number, socket, text
from keelbill.graph.nodes.stability import ServiceNode
from keelbill.graph.registry import register

_TO_IMAGE = "image-to-image"


@register
class StableDiffusion3(ServiceNode):
    """Stable Diffusion 3 or its turbo form, from a prompt or a picture."""

    name = "SD3_Zho"
    display_name = "🔥Stable Diffusion 3"
    category = "🔥SD3"
    module = "custom_nodes.sd3"
    description = "Makes a picture from a prompt, or from a prompt and a picture, with Stable Diffusion 3 or its turbo."
    route = "generate/sd3"
    inputs: ClassVar[tuple[Input, ...]] = (
        text("positive", "cat", multiline=True),
        text("negative", "worst quality, low quality", multiline=True),
        choice("aspect_ratio", ("21:9", "16:9", "5:4", "3:2", "1:1", "2:3", "4:5", "9:16", "9:21")),
        choice("mode", ("text-to-image", _TO_IMAGE)),
        choice("model", ("sd3", "sd3-turbo")),
        integer("seed", 66, 0, 1_000_000),
        socket("image", "IMAGE", optional=True),
        number("strength", 0.7, 0.0, 1.0, optional=True),
    )

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Ask for the picture.

        Raises:
            InvalidInput: The mode asks for a picture and there is none.
        """
        if values["mode"] == _TO_IMAGE and values.get("image") is None:
            raise InvalidInput("image", "nothing", "a picture when the mode is image-to-image")
        return super().run(context, **values)

    def fields(self, values: dict[str, Any]) -> dict[str, str | int | float]:
        """Return the fields of the request; the turbo form takes no negative prompt."""
        said = {"prompt": values["positive"], "model": values["model"], "seed": values["seed"]}
        if values["model"] == "sd3":
            said["negative_prompt"] = values["negative"]
        if self.images(values):
            return said | {"mode": _TO_IMAGE, "strength": values.get("strength", 0.7)}
        return said | {"aspect_ratio": values["aspect_ratio"]}

    def images(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the picture to start from, if the mode asks for one."""
        return super().images(values) if values["mode"] == _TO_IMAGE else {}
