"""Nodes that steer prompts by pictures: ControlNets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keelbill.graph.node import Input, Node, Output, file, number, socket
from keelbill.graph.registry import register

if TYPE_CHECKING:
    from keelbill.graph.context import Context

_CATEGORY = "conditioning/controlnet"
_BOTH = (Output("CONDITIONING", "positive"), Output("CONDITIONING", "negative"))


def _strength() -> Input:
    return number("strength", 1.0, 0.0, 10.0)


def _span() -> tuple[Input, Input]:
    return number("start_percent", 0.0, 0.0, 1.0, 0.001), number("end_percent", 1.0, 0.0, 1.0, 0.001)


def _prompts() -> tuple[Input, Input, Input]:
    return (
        socket("positive", "CONDITIONING"),
        socket("negative", "CONDITIONING"),
        socket("control_net", "CONTROL_NET"),
    )


def _steered(values: dict[str, Any]) -> tuple[Any, ...]:
    from keelbill.graph.tensors import controls

    span = values["start_percent"], values["end_percent"]
    use = values["control_net"], values["image"], values.get("vae"), values["strength"], span, values.get("mask")
    return tuple(controls.applied(values[name], *use) for name in ("positive", "negative"))


@register
class ControlNetLoader(Node):
    """A ControlNet."""

    name = "ControlNetLoader"
    display_name = "Load ControlNet Model"
    category = "loaders"
    description = "Loads a network that steers a model of the SD3 family by a picture."
    inputs = (file("control_net_name", "controlnet"),)
    outputs = (Output("CONTROL_NET"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the network."""
        from keelbill.graph.tensors import controls

        return (controls.load(context.models, values["control_net_name"]),)


@register
class ControlNetApply(Node):
    """A prompt that a picture steers, in the old form without a VAE."""

    name = "ControlNetApply"
    display_name = "Apply ControlNet (OLD)"
    category = _CATEGORY
    description = "For ControlNets that need no VAE; those of the SD3 family do: use Apply ControlNet."
    is_deprecated = True
    inputs = (
        socket("conditioning", "CONDITIONING"),
        socket("control_net", "CONTROL_NET"),
        socket("image", "IMAGE"),
        _strength(),
    )
    outputs = (Output("CONDITIONING"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the steered prompt."""
        from keelbill.graph.tensors import controls

        use = values["control_net"], values["image"], None, values["strength"]
        return (controls.applied(values["conditioning"], *use),)


@register
class ControlNetApplyAdvanced(Node):
    """Two prompts that a picture steers."""

    name = "ControlNetApplyAdvanced"
    display_name = "Apply ControlNet"
    category = _CATEGORY
    description = "Steers both prompts by a picture, for a part of the run."
    inputs = (
        *_prompts(),
        socket("image", "IMAGE"),
        _strength(),
        *_span(),
        socket("vae", "VAE", optional=True),
    )
    outputs = _BOTH

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return both prompts, steered."""
        return _steered(values)


@register
class ControlNetApplySD3(Node):
    """Two prompts that a picture steers, with the VAE in front."""

    name = "ControlNetApplySD3"
    display_name = "Apply Controlnet with VAE"
    category = _CATEGORY
    description = "Steers both prompts by a picture, for a part of the run."
    module = "comfy_extras.nodes_sd3"
    is_deprecated = True
    inputs = (*_prompts(), socket("vae", "VAE"), socket("image", "IMAGE"), _strength(), *_span())
    outputs = _BOTH

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return both prompts, steered."""
        return _steered(values)


@register
class ControlNetInpaintingAliMamaApply(Node):
    """Two prompts that a picture with a hole steers."""

    name = "ControlNetInpaintingAliMamaApply"
    category = _CATEGORY
    description = "Steers both prompts by a picture of which a masked part is to be painted anew."
    module = "comfy_extras.nodes_controlnet"
    inputs = (
        *_prompts(),
        socket("vae", "VAE"),
        socket("image", "IMAGE"),
        socket("mask", "MASK"),
        _strength(),
        *_span(),
    )
    outputs = _BOTH

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return both prompts, steered."""
        return _steered(values)
