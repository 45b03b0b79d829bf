"""The nodes of the image service's own pack, under the names that its workflows use. Know no server.

The names of these classes have spaces, and keys that are typed into them are taken out before a graph is stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from keelbill.graph.node import Input, choice, integer, number, socket, switch, text
from keelbill.graph.nodes.stability import LARGEST_SEED, ServiceNode
from keelbill.graph.registry import register
from keelbill.prompting.presets import PRESETS

MODELS: Final = (
    "sd3.5-large",
    "sd3.5-large-turbo",
    "sd3.5-medium",
    "sd3-large",
    "sd3-large-turbo",
    "sd3-medium",
)
SD3_SIZES: Final = {
    "1:1": (1024, 1024),
    "5:4": (1088, 896),
    "3:2": (1216, 832),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
}
CORE_SIZES: Final = {
    "1:1": (1536, 1536),
    "5:4": (1632, 1344),
    "3:2": (1824, 1248),
    "16:9": (2016, 1152),
    "21:9": (2304, 960),
}
STYLE_SIZES: Final = {
    "1:1": (1024, 1024),
    "5:4": (1144, 915),
    "3:2": (1254, 836),
    "16:9": (1365, 768),
    "21:9": (1564, 670),
}


def labelled(sizes: dict[str, tuple[int, int]]) -> tuple[str, ...]:
    """Return ratios with their sizes, such as ``16:9(1344, 768)``, and then those that are higher than wide."""
    upright = {":".join(reversed(ratio.split(":"))): (b, a) for ratio, (a, b) in sizes.items() if a != b}
    return tuple(f"{ratio}({width}, {height})" for ratio, (width, height) in {**sizes, **upright}.items())


_IMAGE: Final = socket("image", "IMAGE")
_START: Final = socket("image", "IMAGE", optional=True)
_MASK: Final = socket("mask", "MASK", optional=True)
_PROMPT: Final = text("prompt", multiline=True)
_SEED: Final = integer("seed", 0, 0, LARGEST_SEED, optional=True)
_STRENGTH: Final = number("strength", 0.7, 0.0, 1.0, optional=True)
_STYLE: Final = (switch("style", optional=True), choice("style_preset", PRESETS, optional=True))
_LAST: Final = (
    choice("output_format", ("png", "webp", "jpeg"), optional=True),
    text("api_key_override", optional=True, tooltip="Used for this run and stored nowhere."),
)


def _avoid() -> Input:
    return text("negative_prompt", multiline=True, optional=True)


def _ratio(sizes: dict[str, tuple[int, int]]) -> Input:
    return choice("aspect_ratio", labelled(sizes), optional=True)


def _grow(default: int) -> Input:
    return integer("grow_mask", default, 0, 20, optional=True)


class PackNode(ServiceNode):
    """Base of the pack's nodes."""

    category = "Stability"
    module = "custom_nodes.stability"
    sent: ClassVar[tuple[str, ...]] = ()
    """Fields of the service that other nodes do not have."""
    pictures: ClassVar[tuple[str, ...]] = ("image", "mask")

    def fields(self, values: dict[str, Any]) -> dict[str, str | int | float]:
        """Return the fields of the request; a style counts only if it is switched on."""
        known = ("prompt", "negative_prompt", "model", "seed", "cfg_scale", "creativity", "grow_mask", *self.sent)
        said = {name: values[name] for name in known if name in values}
        if said.get("light_source_direction") == "none":
            del said["light_source_direction"]
        said = {name: str(value).lower() if isinstance(value, bool) else value for name, value in said.items()}
        if values.get("style") and "style_preset" in values:
            said["style_preset"] = values["style_preset"]
        if values.get("aspect_ratio") and "image" not in values:
            said["aspect_ratio"] = values["aspect_ratio"].partition("(")[0]
        if self.route.startswith("generate/") and values.get("image") is not None:
            said["strength"] = values.get("strength", 0.7)
            if self.route == "generate/sd3":
                said["mode"] = "image-to-image"
        return said

    def images(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the pictures of the request, the first of each batch."""
        return {name: values[name][0] for name in self.pictures if values.get(name) is not None}


def _node(
    name: str, route: str, item: str, inputs: Iterable[Input], *, sent: tuple[str, ...] = (), pictures: str = ""
) -> type[PackNode]:
    """Make and register a class of the pack."""
    facts: dict[str, Any] = {
        "__doc__": f"The route ``{route}`` as a node.",
        "__module__": __name__,
        "name": name,
        "description": f"Asks the image service's route {route}.",
        "route": route,
        "item": item,
        "inputs": (*inputs, *_LAST),
        "sent": sent,
    }
    if pictures:
        facts["pictures"] = tuple(pictures.split())
    return register(type(name.replace(" ", ""), (PackNode,), facts))


_node(
    "Stability SD3",
    "generate/sd3",
    "",
    (
        choice("model", MODELS),
        _PROMPT,
        _START,
        _avoid(),
        number("cfg_scale", 7.0, 1.0, 10.0, optional=True),
        _SEED,
        _STRENGTH,
        _ratio(SD3_SIZES),
        *_STYLE,
    ),
)
_node(
    "Stability Image Ultra",
    "generate/ultra",
    "ultra",
    (_PROMPT, _START, _avoid(), _SEED, _STRENGTH, _ratio(SD3_SIZES), *_STYLE),
)
_node("Stability Image Core", "generate/core", "core", (_PROMPT, _avoid(), _SEED, _ratio(CORE_SIZES), *_STYLE))
_node("Stability Inpainting", "edit/inpaint", "inpaint", (_IMAGE, _PROMPT, _MASK, _avoid(), _grow(5), _SEED, *_STYLE))
_node("Stability Erase", "edit/erase", "erase", (_IMAGE, _MASK, _grow(5), _SEED))
_node(
    "Stability Outpainting",
    "edit/outpaint",
    "outpaint",
    (
        _IMAGE,
        *(integer(side, 0, 0, 512) for side in ("left", "right", "up", "down")),
        text("prompt", multiline=True, optional=True),
        number("creativity", 0.5, 0.0, 1.0, optional=True),
        _SEED,
        *_STYLE,
    ),
    sent=("left", "right", "up", "down"),
)
_node(
    "Stability Search and Replace",
    "edit/search-and-replace",
    "search-and-replace",
    (_IMAGE, text("search_prompt", multiline=True), _PROMPT, _avoid(), _grow(3), _SEED, *_STYLE),
    sent=("search_prompt",),
)
_node(
    "Stability Search And Recolor",
    "edit/search-and-recolor",
    "search-and-recolor",
    (_IMAGE, text("select_prompt", multiline=True), _PROMPT, _avoid(), _grow(3), _SEED, *_STYLE),
    sent=("select_prompt",),
)
_node("Stability Remove Background", "edit/remove-background", "remove-background", (_IMAGE,))
_node(
    "Stability Replace Background and Relight",
    "edit/replace-background-and-relight",
    "replace-background-and-relight",
    (
        socket("subject_image", "IMAGE"),
        socket("background_reference", "IMAGE", optional=True),
        text("background_prompt", multiline=True, optional=True),
        text("foreground_prompt", multiline=True, optional=True),
        _avoid(),
        number("preserve_original_subject", 0.6, 0.0, 1.0, optional=True),
        number("original_background_depth", 0.5, 0.0, 1.0, optional=True),
        switch("keep_original_background", optional=True),
        choice("light_source_direction", ("none", "above", "below", "left", "right"), optional=True),
        socket("light_reference", "IMAGE", optional=True),
        number("light_source_strength", 0.3, 0.0, 1.0, optional=True),
        _SEED,
    ),
    sent=(
        "background_prompt",
        "foreground_prompt",
        "preserve_original_subject",
        "original_background_depth",
        "keep_original_background",
        "light_source_direction",
        "light_source_strength",
    ),
    pictures="subject_image background_reference light_reference",
)
_node(
    "Stability Conservative Upscale",
    "upscale/conservative",
    "upscale-conservative",
    (_IMAGE, _PROMPT, _avoid(), _SEED, number("creativity", 0.35, 0.2, 0.5, optional=True)),
)
_node(
    "Stability Creative Upscale",
    "upscale/creative",
    "upscale-creative",
    (_IMAGE, _PROMPT, _avoid(), _SEED, number("creativity", 0.3, 0.0, 0.35, optional=True), *_STYLE),
)
_node("Stability Fast Upscale", "upscale/fast", "upscale-fast", (_IMAGE,))
for _control in ("Sketch", "Structure"):
    _node(
        f"Stability Control {_control}",
        f"control/{_control.lower()}",
        _control.lower(),
        (_IMAGE, _PROMPT, number("control_strength", 0.7, 0.01, 1.0, optional=True), _avoid(), _SEED, *_STYLE),
        sent=("control_strength",),
    )
_node(
    "Stability Control Style",
    "control/style",
    "style",
    (
        _IMAGE,
        _PROMPT,
        _ratio(STYLE_SIZES),
        number("fidelity", 0.5, 0.0, 1.0, optional=True),
        _avoid(),
        _SEED,
        *_STYLE,
    ),
    sent=("fidelity",),
)
