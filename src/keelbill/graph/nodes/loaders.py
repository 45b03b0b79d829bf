"""Nodes that name models, LoRAs and enlarging networks; what they give are handles, opened where they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keelbill.graph.node import Input, Node, Output, choice, file, number, socket
from keelbill.graph.registry import register

if TYPE_CHECKING:
    from keelbill.graph.context import Context

CLIP_TYPES = (
    "stable_diffusion", "stable_cascade", "sd3", "stable_audio", "mochi", "ltxv", "pixart", "cosmos", "lumina2", "wan",
    "hidream", "chroma", "ace", "omnigen2", "qwen_image", "hunyuan_image", "flux2", "ovis",
)  # fmt: skip
DUAL_TYPES = (
    "sdxl", "sd3", "flux", "hunyuan_video", "hidream", "hunyuan_image", "hunyuan_video_15", "kandinsky5",
    "kandinsky5_image", "ltxv", "newbie",
)  # fmt: skip


def _device() -> Input:
    return choice("device", ("default", "cpu"), advanced=True, optional=True)


@register
class CheckpointLoaderSimple(Node):
    """A whole model."""

    name = "CheckpointLoaderSimple"
    display_name = "Load Checkpoint"
    category = "loaders"
    description = "Loads a model with its text encoder and its VAE."
    inputs = (file("ckpt_name", "checkpoints"),)
    outputs = (Output("MODEL"), Output("CLIP"), Output("VAE"))

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the model's three parts."""
        from keelbill.graph.tensors import loading

        return loading.checkpoint(context.models, values["ckpt_name"])


@register
class UNETLoader(Node):
    """A transformer alone."""

    name = "UNETLoader"
    display_name = "Load Diffusion Model"
    category = "advanced/loaders"
    description = "Loads a diffusion model without text encoder and VAE. The precision is chosen by the server."
    inputs = (
        file("unet_name", "diffusion_models"),
        choice("weight_dtype", ("default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2")),
    )
    outputs = (Output("MODEL"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the model."""
        from keelbill.graph.tensors import loading

        return (loading.unet(context.models, values["unet_name"]),)


@register
class CLIPLoader(Node):
    """One file of text encoders."""

    name = "CLIPLoader"
    display_name = "Load CLIP"
    category = "advanced/loaders"
    description = "Loads a text encoder of the SD3 family: CLIP-L, CLIP-G or T5-XXL. What is missing counts as silent."
    inputs = (file("clip_name", "text_encoders"), choice("type", CLIP_TYPES), _device())
    outputs = (Output("CLIP"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the text encoder."""
        from keelbill.graph.tensors import loading

        return (loading.clip(context.models, [values["clip_name"]], values["type"]),)


@register
class DualCLIPLoader(Node):
    """Two files of text encoders."""

    name = "DualCLIPLoader"
    category = "advanced/loaders"
    description = "Loads two text encoders of the SD3 family, in any order."
    inputs = (
        file("clip_name1", "text_encoders"),
        file("clip_name2", "text_encoders"),
        choice("type", DUAL_TYPES),
        _device(),
    )
    outputs = (Output("CLIP"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the text encoders as one."""
        from keelbill.graph.tensors import loading

        names = [values["clip_name1"], values["clip_name2"]]
        return (loading.clip(context.models, names, values["type"]),)


@register
class TripleCLIPLoader(Node):
    """Three files of text encoders."""

    name = "TripleCLIPLoader"
    category = "advanced/loaders"
    description = "Loads the three text encoders of the SD3 family, in any order."
    module = "comfy_extras.nodes_sd3"
    inputs = tuple(file(f"clip_name{place}", "text_encoders") for place in (1, 2, 3))
    outputs = (Output("CLIP"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the text encoders as one."""
        from keelbill.graph.tensors import loading

        return (loading.clip(context.models, [values[f"clip_name{place}"] for place in (1, 2, 3)]),)


@register
class VAELoader(Node):
    """An autoencoder alone."""

    name = "VAELoader"
    display_name = "Load VAE"
    category = "loaders"
    description = "Loads a VAE, which turns pictures into latents and back."
    inputs = (file("vae_name", "vae"),)
    outputs = (Output("VAE"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the autoencoder."""
        from keelbill.graph.tensors import loading

        return (loading.vae(context.models, values["vae_name"]),)


@register
class LoraLoader(Node):
    """A LoRA for a model and its text encoder."""

    name = "LoraLoader"
    display_name = "Load LoRA"
    category = "loaders"
    description = "Changes a model and its text encoder by a LoRA."
    inputs = (
        socket("model", "MODEL"),
        socket("clip", "CLIP"),
        file("lora_name", "loras"),
        number("strength_model", 1.0, -100.0, 100.0),
        number("strength_clip", 1.0, -100.0, 100.0),
    )
    outputs = (Output("MODEL"), Output("CLIP"))

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return both, changed."""
        from keelbill.graph.tensors import loading

        strengths = values["strength_model"], values["strength_clip"]
        return loading.with_lora(context.models, values["lora_name"], values["model"], values["clip"], strengths)


@register
class LoraLoaderModelOnly(Node):
    """A LoRA for a model."""

    name = "LoraLoaderModelOnly"
    category = "loaders"
    description = "Changes a model by a LoRA; its text encoder stays as it is."
    inputs = (
        socket("model", "MODEL"),
        file("lora_name", "loras"),
        number("strength_model", 1.0, -100.0, 100.0),
    )
    outputs = (Output("MODEL"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the model, changed."""
        from keelbill.graph.tensors import loading

        strengths = values["strength_model"], 0.0
        model, _ = loading.with_lora(context.models, values["lora_name"], values["model"], None, strengths)
        return (model,)


@register
class UpscaleModelLoader(Node):
    """An enlarging network."""

    name = "UpscaleModelLoader"
    display_name = "Load Upscale Model"
    category = "loaders"
    description = "Loads a network that enlarges pictures: Keelbill's own, ESRGAN, Real-ESRGAN or compact."
    module = "comfy_extras.nodes_upscale_model"
    inputs = (file("model_name", "upscale_models"),)
    outputs = (Output("UPSCALE_MODEL"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the network."""
        from keelbill.graph.tensors.handles import UpscalerHandle

        return (UpscalerHandle(context.models.upscaler(values["model_name"])),)


@register
class ImageUpscaleWithModel(Node):
    """Pictures, enlarged by a network."""

    name = "ImageUpscaleWithModel"
    display_name = "Upscale Image (using Model)"
    category = "image/upscaling"
    description = "Enlarges pictures with a network."
    module = "comfy_extras.nodes_upscale_model"
    inputs = (socket("upscale_model", "UPSCALE_MODEL"), socket("image", "IMAGE"))
    outputs = (Output("IMAGE"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the larger pictures."""
        from keelbill.graph.tensors import latents

        return (latents.enlarged_by(values["upscale_model"].network, values["image"], context.progress),)
