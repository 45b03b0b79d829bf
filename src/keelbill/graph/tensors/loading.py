"""From names in a graph to handles. Files of their own are loaded; names of installed models only noted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from keelbill.core.errors import BadWeights, NotInstalled
from keelbill.engine.clip import END_TOKEN, CLIPConfig, CLIPText
from keelbill.engine.config import MMDiTConfig
from keelbill.engine.loader import best_device, default_dtype
from keelbill.engine.lora import DOTTED_PREFIXES, UNDERSCORE_PREFIXES, Lora, read_lora
from keelbill.engine.mmdit import MMDiT
from keelbill.engine.naming import Part, Shapes, check_vae, find_parts
from keelbill.engine.sd3text import CLIPPart, SD3TextEncoder, T5Part
from keelbill.engine.t5 import T5Config, T5Encoder
from keelbill.engine.tokenize import FileTokenizer
from keelbill.engine.vae import SD3VAE, VAEConfig
from keelbill.engine.weights import check_finite, load_into
from keelbill.graph.tensors.handles import (
    ClipHandle,
    Coder,
    Installed,
    ModelHandle,
    Painter,
    Reader,
    VaeHandle,
    module_bytes,
)
from keelbill.graph.tensors.prompts import plain_encoder

if TYPE_CHECKING:
    from torch import nn

    from keelbill.graph.context import Models

CONTEXT_DIM: Final = 4096
POOLED_DIM: Final = 2048
ENCODERS: Final = (Part.CLIP_L, Part.CLIP_G, Part.T5)
KNOWN_TYPES: Final = ("sd3", "stable_diffusion")


def checkpoint(models: Models, name: str) -> tuple[ModelHandle, ClipHandle, VaeHandle]:
    """Return the three parts of a whole model.

    Raises:
        UnknownModel: It is not installed.
    """
    models.checkpoint(name)
    source = Installed("checkpoints", name)
    return ModelHandle(source), ClipHandle(source), VaeHandle(source)


def unet(models: Models, name: str) -> ModelHandle:
    """Return a transformer by itself.

    Raises:
        BadWeights: The file is none.
    """
    if models.stand_in("diffusion_models", name) is not None:
        return ModelHandle(Installed("diffusion_models", name))
    tensors = _part(models.tensors("diffusion_models", name), Part.TRANSFORMER, name)
    config = MMDiTConfig.from_tensors(_shapes(tensors))
    device = best_device()
    with torch.device("meta"):
        network = MMDiT(config)
    positions = network.pos_embed
    network = network.to(default_dtype(config, device))
    network.pos_embed = positions  # the table stays in float32
    load_into(network, tensors, "transformer")
    return ModelHandle(Painter(network.to(device).eval().requires_grad_(False)))


def vae(models: Models, name: str) -> VaeHandle:
    """Return an autoencoder by itself.

    Raises:
        BadWeights: The file is none.
    """
    if models.stand_in("vae", name) is not None:
        return VaeHandle(Installed("vae", name))
    tensors = _part(models.tensors("vae", name), Part.VAE, name)
    check_vae(_shapes(tensors))
    with torch.device("meta"):
        network = SD3VAE(VAEConfig.from_tensors(_shapes(tensors)))
    device = best_device()
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    load_into(network, {key: tensor.to(dtype) for key, tensor in tensors.items()}, "autoencoder")
    return VaeHandle(Coder(network.to(device).eval().requires_grad_(False)))


def clip(models: Models, names: Sequence[str], kind: str = "sd3") -> ClipHandle:
    """Return text encoders by themselves; which file holds which is seen from its tensors.

    Args:
        models: Where they are.
        names: In any order.
        kind: The family of models for which they are meant, as graphs call it.

    Raises:
        NotInstalled: The family is another.
        BadWeights: A file is no text encoder of the family, or one is there twice.
    """
    if kind not in KNOWN_TYPES:
        raise NotInstalled(f"Text encoders of type {kind!r} are not supported; use sd3.")
    for name in names:
        if models.stand_in("text_encoders", name) is not None:
            return ClipHandle(Installed("text_encoders", name))
    found: dict[Part, dict[str, Tensor]] = {}
    tokenizer = ""
    for name in names:
        tensors = models.tensors("text_encoders", name)
        parts = [part for part in find_parts(_shapes(tensors), file_name=name) if part in ENCODERS]
        if not parts:
            raise BadWeights(f"{name} holds none of the text encoders CLIP-L, CLIP-G and T5-XXL.")
        for part in parts:
            if part in found:
                raise BadWeights(f"{name} is the second file with the {part.value}.")
            found[part] = _part(tensors, part, name)
            tokenizer = models.tokenizer(name) if part is Part.T5 else tokenizer
    encoder = _encoder(found, tokenizer)
    return ClipHandle(Reader(encoder, sum(module_bytes(each) for each in encoder.networks.values())))


def with_lora(
    models: Models, name: str, model: ModelHandle, clip: ClipHandle | None, strengths: tuple[float, float]
) -> tuple[ModelHandle, ClipHandle | None]:
    """Return a model and a text encoder that a LoRA changes.

    Args:
        models: Where it is.
        name: In `loras`.
        model: Whose transformer changes.
        clip: Which text encoder changes; nothing leaves that part of the LoRA out.
        strengths: For the transformer and for the text encoder; what has 0 stays as it is.

    Raises:
        BadWeights: The file is no LoRA, or was made for another model.
    """
    shapes: dict[Part, Shapes] = {Part.TRANSFORMER: _network_shapes(model.open(models).transformer)}
    encoder = plain_encoder(clip.open(models)) if clip is not None else None
    if isinstance(encoder, SD3TextEncoder):
        shapes |= {part: _network_shapes(network) for part, network in encoder.networks.items()}
    tensors = models.tensors("loras", name)
    check_finite(tensors, f"LoRA {name}")
    lora = read_lora({key: t for key, t in tensors.items() if _owner(key) in shapes}, shapes, name=name)
    for_model: Lora = {Part.TRANSFORMER: lora.get(Part.TRANSFORMER, {})}
    for_clip: Lora = {part: layers for part, layers in lora.items() if part is not Part.TRANSFORMER}
    if strengths[0] and for_model[Part.TRANSFORMER]:
        model = replace(model, loras=(*model.loras, (for_model, strengths[0])))
    if clip is not None and strengths[1] and for_clip:
        clip = replace(clip, loras=(*clip.loras, (for_clip, strengths[1])))
    return model, clip


def _owner(key: str) -> Part:
    """Say which network a LoRA's tensor changes."""
    for prefix, part in (*UNDERSCORE_PREFIXES, *DOTTED_PREFIXES):
        if key.startswith(prefix):
            return part
    return Part.TRANSFORMER


def _part(tensors: dict[str, Tensor], part: Part, name: str) -> dict[str, Tensor]:
    sources = find_parts(_shapes(tensors), file_name=name).get(part)
    if sources is None:
        raise BadWeights(f"{name} holds no {part.value} of the SD3 family.")
    return {official: source.build(lambda stored: _widened(tensors[stored])) for official, source in sources.items()}


def _widened(tensor: Tensor) -> Tensor:
    return tensor.to(torch.bfloat16) if tensor.is_floating_point() and tensor.itemsize == 1 else tensor


def _encoder(found: dict[Part, dict[str, Tensor]], tokenizer: str) -> SD3TextEncoder:
    device = best_device()
    dtype = torch.float32 if device == "cpu" else torch.float16

    def read(part: Part, pad: int) -> CLIPPart | None:
        if part not in found:
            return None
        with torch.device("meta"):
            network = CLIPText(CLIPConfig.from_tensors(_shapes(found[part])))
        load_into(network, {key: tensor.to(dtype) for key, tensor in found[part].items()}, part.value)
        return CLIPPart(network.to(device).eval().requires_grad_(False), pad)

    t5, context_dim, pooled_dim = None, CONTEXT_DIM, POOLED_DIM
    if Part.T5 in found:
        config = T5Config.from_tensors(_shapes(found[Part.T5]))
        with torch.device("meta"):
            network = T5Encoder(config)
        load_into(network, {key: tensor.to(torch.bfloat16) for key, tensor in found[Part.T5].items()}, "t5")
        t5, context_dim = (
            T5Part(network.to(device).eval().requires_grad_(False), FileTokenizer(tokenizer)),
            config.width,
        )
    clip_l, clip_g = read(Part.CLIP_L, END_TOKEN), read(Part.CLIP_G, 0)
    if clip_l is not None and clip_g is not None:
        sizes = clip_l.network.config, clip_g.network.config
        pooled_dim = sizes[0].width + (sizes[1].projection or sizes[1].width)
    return SD3TextEncoder(clip_l, clip_g, t5, context_dim, pooled_dim)


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _network_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
