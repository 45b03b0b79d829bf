"""Nodes that read prompts and say where and when they count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keelbill.graph.node import Node, Output, choice, integer, number, socket, switch, text
from keelbill.graph.registry import register

if TYPE_CHECKING:
    from keelbill.graph.context import Context

_CONDITIONING = (Output("CONDITIONING"),)


@register
class CLIPTextEncode(Node):
    """A prompt."""

    name = "CLIPTextEncode"
    display_name = "CLIP Text Encode (Prompt)"
    category = "conditioning"
    description = (
        "Reads a prompt. (words) count a little more, (words:1.3) as much as the number says; "
        "embedding:name stands for a file in embeddings."
    )
    inputs = (text("text", multiline=True, dynamic=True), socket("clip", "CLIP"))
    outputs = _CONDITIONING
    aliases = ("prompt", "text")

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the encoded prompt."""
        from keelbill.graph.tensors import prompts

        return (prompts.encode(values["clip"], context.models, values["text"]),)


@register
class CLIPTextEncodeSD3(Node):
    """A prompt for each text encoder."""

    name = "CLIPTextEncodeSD3"
    category = "advanced/conditioning"
    description = "Reads another prompt with each text encoder."
    module = "comfy_extras.nodes_sd3"
    inputs = (
        socket("clip", "CLIP"),
        text("clip_l", multiline=True, dynamic=True),
        text("clip_g", multiline=True, dynamic=True),
        text("t5xxl", multiline=True, dynamic=True),
        choice("empty_padding", ("none", "empty_prompt")),
    )
    outputs = _CONDITIONING

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the encoded prompts as one."""
        from keelbill.graph.tensors import prompts

        return (
            prompts.encode_parts(
                values["clip"],
                context.models,
                values["clip_l"],
                values["clip_g"],
                values["t5xxl"],
                pads_empty=values["empty_padding"] == "empty_prompt",
            ),
        )


@register
class CLIPSetLastLayer(Node):
    """An earlier layer of the CLIP networks."""

    name = "CLIPSetLastLayer"
    display_name = "CLIP Set Last Layer"
    category = "conditioning"
    description = "Uses the states of an earlier layer of the CLIP networks; the models expect -2."
    inputs = (socket("clip", "CLIP"), integer("stop_at_clip_layer", -1, -24, -1))
    outputs = (Output("CLIP"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the text encoder with another last layer."""
        from dataclasses import replace

        return (replace(values["clip"], stop=values["stop_at_clip_layer"]),)


@register
class ConditioningZeroOut(Node):
    """A prompt that says nothing at all."""

    name = "ConditioningZeroOut"
    category = "advanced/conditioning"
    description = "Replaces a prompt by zeros, or by what else the model has learnt to take for no prompt."
    inputs = (socket("conditioning", "CONDITIONING"),)
    outputs = _CONDITIONING

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return a prompt that says nothing."""
        from keelbill.graph.tensors import prompts

        return (prompts.zeroed(values["conditioning"]),)


@register
class ConditioningCombine(Node):
    """Two prompts at once."""

    name = "ConditioningCombine"
    display_name = "Conditioning (Combine)"
    category = "conditioning"
    description = "Follows two prompts at once: what they want is averaged."
    inputs = (socket("conditioning_1", "CONDITIONING"), socket("conditioning_2", "CONDITIONING"))
    outputs = _CONDITIONING

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return both."""
        from keelbill.graph.tensors import prompts

        return (prompts.together(values["conditioning_1"], values["conditioning_2"]),)


@register
class ConditioningConcat(Node):
    """A prompt with another one behind it."""

    name = "ConditioningConcat"
    display_name = "Conditioning (Concat)"
    category = "conditioning"
    description = "Puts the tokens of one prompt behind those of another."
    inputs = (socket("conditioning_to", "CONDITIONING"), socket("conditioning_from", "CONDITIONING"))
    outputs = _CONDITIONING

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the longer prompt."""
        from keelbill.graph.tensors import prompts

        return (prompts.joined(values["conditioning_to"], values["conditioning_from"]),)


@register
class ConditioningAverage(Node):
    """A prompt between two."""

    name = "ConditioningAverage"
    category = "conditioning"
    description = "Mixes the tokens of two prompts."
    inputs = (
        socket("conditioning_to", "CONDITIONING"),
        socket("conditioning_from", "CONDITIONING"),
        number("conditioning_to_strength", 1.0, 0.0, 1.0),
    )
    outputs = _CONDITIONING

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the mixture."""
        from keelbill.graph.tensors import prompts

        part = values["conditioning_to_strength"]
        return (prompts.averaged(values["conditioning_to"], values["conditioning_from"], part),)


@register
class ConditioningSetTimestepRange(Node):
    """A prompt for a part of the run."""

    name = "ConditioningSetTimestepRange"
    category = "advanced/conditioning"
    description = "Lets a prompt count only from one part of the run to another."
    inputs = (
        socket("conditioning", "CONDITIONING"),
        number("start", 0.0, 0.0, 1.0, 0.001),
        number("end", 1.0, 0.0, 1.0, 0.001),
    )
    outputs = _CONDITIONING

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the prompt with its time."""
        from keelbill.graph.tensors import prompts

        span = {"start_percent": values["start"], "end_percent": values["end"]}
        return (prompts.changed(values["conditioning"], **span),)


@register
class ConditioningSetArea(Node):
    """A prompt for an area."""

    name = "ConditioningSetArea"
    display_name = "Conditioning (Set Area)"
    category = "conditioning"
    description = "Lets a prompt count only in a rectangle of the picture."
    inputs = (
        socket("conditioning", "CONDITIONING"),
        integer("width", 64, 64, 16384, 8),
        integer("height", 64, 64, 16384, 8),
        integer("x", 0, 0, 16384, 8),
        integer("y", 0, 0, 16384, 8),
        number("strength", 1.0, 0.0, 10.0),
    )
    outputs = _CONDITIONING

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the prompt with its area."""
        from keelbill.graph.tensors import prompts

        area = tuple(values[side] // 8 for side in ("height", "width", "y", "x"))
        return (prompts.changed(values["conditioning"], area=area, strength=values["strength"]),)


@register
class ConditioningSetMask(Node):
    """A prompt for a masked part."""

    name = "ConditioningSetMask"
    display_name = "Conditioning (Set Mask)"
    category = "conditioning"
    description = "Lets a prompt count only where a mask is white."
    inputs = (
        socket("conditioning", "CONDITIONING"),
        socket("mask", "MASK"),
        number("strength", 1.0, 0.0, 10.0),
        choice("set_cond_area", ("default", "mask bounds")),
    )
    outputs = _CONDITIONING

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the prompt with its mask."""
        from keelbill.graph.tensors import prompts

        bounds = values["set_cond_area"] != "default"
        return (
            prompts.changed(
                values["conditioning"],
                mask=values["mask"],
                mask_strength=values["strength"],
                set_area_to_bounds=bounds,
            ),
        )


@register
class InpaintModelConditioning(Node):
    """What a model for inpainting is told."""

    name = "InpaintModelConditioning"
    category = "conditioning/inpaint"
    description = "Encodes a picture for repainting a masked part, and tells the prompts what is kept."
    inputs = (
        socket("positive", "CONDITIONING"),
        socket("negative", "CONDITIONING"),
        socket("vae", "VAE"),
        socket("pixels", "IMAGE"),
        socket("mask", "MASK"),
        switch("noise_mask", default=True, tooltip="Whether only the masked part is painted anew."),
    )
    outputs = (Output("CONDITIONING", "positive"), Output("CONDITIONING", "negative"), Output("LATENT", "latent"))

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return both prompts and the latent."""
        from keelbill.graph.tensors import latents, prompts

        coder = values["vae"].open(context.models)
        latent = latents.encode(coder, values["pixels"])
        grey, mask = latents.encode_greyed(coder, values["pixels"], values["mask"])
        if values["noise_mask"]:
            latent = latents.with_mask(latent, mask)
        told = {"concat_latent_image": grey["samples"], "concat_mask": mask}
        return (*(prompts.changed(values[name], **told) for name in ("positive", "negative")), latent)
