"""Nodes that make, encode, decode and change latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keelbill.graph.node import Node, Output, choice, integer, number, socket
from keelbill.graph.registry import register

if TYPE_CHECKING:
    from keelbill.graph.context import Context

_LATENT = (Output("LATENT"),)
METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "bislerp")
_TEMPORAL = (
    integer("temporal_size", 64, 8, 4096, 4, tooltip="For video only; has no effect."),
    integer("temporal_overlap", 8, 4, 4096, 4, tooltip="For video only; has no effect."),
)


@register
class EmptySD3LatentImage(Node):
    """Nothing, for the SD3 family."""

    name = "EmptySD3LatentImage"
    category = "latent/sd3"
    description = "An empty latent to start from."
    module = "comfy_extras.nodes_sd3"
    inputs = (
        integer("width", 1024, 16, 16384, 16),
        integer("height", 1024, 16, 16384, 16),
        integer("batch_size", 1, 1, 4096),
    )
    outputs = _LATENT

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return zeros of 16 channels."""
        from keelbill.graph.tensors import latents

        return (latents.empty(values["width"], values["height"], values["batch_size"]),)


@register
class EmptyLatentImage(Node):
    """Nothing, for any model."""

    name = "EmptyLatentImage"
    display_name = "Empty Latent Image"
    category = "latent"
    description = "An empty latent to start from."
    inputs = (
        integer("width", 512, 16, 16384, 8),
        integer("height", 512, 16, 16384, 8),
        integer("batch_size", 1, 1, 4096),
    )
    outputs = _LATENT

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return zeros of 4 channels; a model makes as many of them as it needs."""
        from keelbill.graph.tensors import latents

        return (latents.empty(values["width"], values["height"], values["batch_size"], channels=4),)


@register
class VAEEncode(Node):
    """Pictures to latents."""

    name = "VAEEncode"
    display_name = "VAE Encode"
    category = "latent"
    description = "Turns pictures into latents. Sides become multiples of 8."
    inputs = (socket("pixels", "IMAGE"), socket("vae", "VAE"))
    outputs = _LATENT

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the latents."""
        from keelbill.graph.tensors import latents

        return (latents.encode(values["vae"].open(context.models), values["pixels"]),)


@register
class VAEDecode(Node):
    """Latents to pictures."""

    name = "VAEDecode"
    display_name = "VAE Decode"
    category = "latent"
    description = "Turns latents into pictures."
    inputs = (socket("samples", "LATENT"), socket("vae", "VAE"))
    outputs = (Output("IMAGE"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the pictures."""
        from keelbill.graph.tensors import latents

        return (latents.decode(values["vae"].open(context.models), values["samples"], context.models),)


@register
class VAEEncodeTiled(Node):
    """Large pictures to latents."""

    name = "VAEEncodeTiled"
    display_name = "VAE Encode (Tiled)"
    category = "_for_testing"
    description = "Turns large pictures into latents, tile by tile, with little memory."
    inputs = (
        socket("pixels", "IMAGE"),
        socket("vae", "VAE"),
        integer("tile_size", 512, 64, 4096, 64),
        integer("overlap", 64, 0, 4096, 32),
        *_TEMPORAL,
    )
    outputs = _LATENT

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the latents."""
        from keelbill.graph.tensors import latents

        coder, tile, overlap = values["vae"].open(context.models), values["tile_size"], values["overlap"]
        return (latents.encode(coder, values["pixels"], tile=tile, overlap=overlap),)


@register
class VAEDecodeTiled(Node):
    """Latents to large pictures."""

    name = "VAEDecodeTiled"
    display_name = "VAE Decode (Tiled)"
    category = "_for_testing"
    description = "Turns latents into large pictures, tile by tile, with little memory."
    inputs = (
        socket("samples", "LATENT"),
        socket("vae", "VAE"),
        integer("tile_size", 512, 64, 4096, 32),
        integer("overlap", 64, 0, 4096, 32),
        *_TEMPORAL,
    )
    outputs = (Output("IMAGE"),)

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the pictures."""
        from keelbill.graph.tensors import latents

        coder, tile, overlap = values["vae"].open(context.models), values["tile_size"], values["overlap"]
        return (latents.decode(coder, values["samples"], context.models, tile=tile, overlap=overlap),)


@register
class VAEEncodeForInpaint(Node):
    """A picture with a hole."""

    name = "VAEEncodeForInpaint"
    display_name = "VAE Encode (for Inpainting)"
    category = "latent/inpaint"
    description = "Encodes a picture whose masked part is grey, so that it is painted from nothing."
    inputs = (
        socket("pixels", "IMAGE"),
        socket("vae", "VAE"),
        socket("mask", "MASK"),
        integer("grow_mask_by", 6, 0, 64),
    )
    outputs = _LATENT

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the latents with the mask."""
        from keelbill.graph.tensors import latents

        coder, grow_px = values["vae"].open(context.models), values["grow_mask_by"]
        return (latents.encode_for_inpaint(coder, values["pixels"], values["mask"], grow_px),)


@register
class SetLatentNoiseMask(Node):
    """A latent of which a part is painted anew."""

    name = "SetLatentNoiseMask"
    display_name = "Set Latent Noise Mask"
    category = "latent/inpaint"
    description = "Paints anew only where a mask is white."
    inputs = (socket("samples", "LATENT"), socket("mask", "MASK"))
    outputs = _LATENT

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the latent with the mask."""
        from keelbill.graph.tensors import latents

        return (latents.with_mask(values["samples"], values["mask"]),)


@register
class LatentUpscale(Node):
    """A latent for another size."""

    name = "LatentUpscale"
    display_name = "Upscale Latent"
    category = "latent"
    description = "Scales latents for pictures of another size, in pixels; 0 keeps the shape."
    inputs = (
        socket("samples", "LATENT"),
        choice("upscale_method", METHODS),
        integer("width", 512, 0, 16384, 8),
        integer("height", 512, 0, 16384, 8),
        choice("crop", ("disabled", "center")),
    )
    outputs = _LATENT

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the scaled latent."""
        from keelbill.graph.tensors import latents

        method, size = values["upscale_method"], (values["width"], values["height"])
        return (latents.upscaled(values["samples"], method, *size, crop=values["crop"] == "center"),)


@register
class LatentUpscaleBy(Node):
    """A latent for a size so many times larger."""

    name = "LatentUpscaleBy"
    display_name = "Upscale Latent By"
    category = "latent"
    description = "Scales latents by a factor."
    inputs = (
        socket("samples", "LATENT"),
        choice("upscale_method", METHODS),
        number("scale_by", 1.5, 0.01, 8.0),
    )
    outputs = _LATENT

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the scaled latent."""
        from keelbill.graph.tensors import latents

        return (latents.upscaled_by(values["samples"], values["upscale_method"], values["scale_by"]),)


@register
class LatentComposite(Node):
    """A latent laid over another."""

    name = "LatentComposite"
    display_name = "Latent Composite"
    category = "latent"
    description = "Lays one latent over another."
    inputs = (
        socket("samples_to", "LATENT"),
        socket("samples_from", "LATENT"),
        integer("x", 0, 0, 16384, 8),
        integer("y", 0, 0, 16384, 8),
        integer("feather", 0, 0, 16384, 8),
    )
    outputs = _LATENT

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the composition."""
        from keelbill.graph.tensors import latents

        at = values["x"], values["y"], values["feather"]
        return (latents.composite(values["samples_to"], values["samples_from"], *at),)


@register
class RepeatLatentBatch(Node):
    """A latent, several times."""

    name = "RepeatLatentBatch"
    display_name = "Repeat Latent Batch"
    category = "latent/batch"
    description = "Repeats latents; each copy gets noise of its own."
    inputs = (socket("samples", "LATENT"), integer("amount", 1, 1, 64))
    outputs = _LATENT

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the larger batch."""
        from keelbill.graph.tensors import latents

        return (latents.repeat_batch(values["samples"], values["amount"]),)


@register
class LatentFromBatch(Node):
    """Some latents of a batch."""

    name = "LatentFromBatch"
    display_name = "Latent From Batch"
    category = "latent/batch"
    description = "Takes latents out of a batch; they keep the noise of their place."
    inputs = (socket("samples", "LATENT"), integer("batch_index", 0, 0, 63), integer("length", 1, 1, 64))
    outputs = _LATENT

    def run(self, context: Context, **values: Any) -> tuple[Any, ...]:
        """Return the smaller batch."""
        from keelbill.graph.tensors import latents

        return (latents.from_batch(values["samples"], values["batch_index"], values["length"]),)
