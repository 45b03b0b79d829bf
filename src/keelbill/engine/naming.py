"""Names of tensors: which part of a model they are, and folder names against official ones. Knows no files.

"Official" names are those of the single-file releases, without a part's prefix; "folder" names are those of the layout
with one subfolder for each part. A `Source` says how one official tensor is made of what a file holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from keelbill.core.errors import BadWeights

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


class Part(StrEnum):
    """A network that a model is made of."""

    TRANSFORMER = "transformer"
    VAE = "vae"
    CLIP_L = "clip_l"
    CLIP_G = "clip_g"
    T5 = "t5"
    MINILM = "minilm"


PREFIXES: dict[Part, tuple[str, ...]] = {
    Part.TRANSFORMER: ("model.diffusion_model.", "diffusion_model.", "transformer."),
    Part.VAE: ("first_stage_model.", "vae."),
    Part.CLIP_L: ("text_encoders.clip_l.transformer.", "clip_l.transformer.", "clip_l."),
    Part.CLIP_G: ("text_encoders.clip_g.transformer.", "clip_g.transformer.", "clip_g."),
    Part.T5: ("text_encoders.t5xxl.transformer.", "t5xxl.transformer.", "t5xxl."),
}
FOLDERS: dict[str, Part] = {
    "transformer": Part.TRANSFORMER,
    "vae": Part.VAE,
    "text_encoder": Part.CLIP_L,
    "text_encoder_2": Part.CLIP_G,
    "text_encoder_3": Part.T5,
}


@dataclass(frozen=True)
class Source:
    """How one official tensor is made of tensors of a file.

    Args:
        names: Tensors that are stacked on the first axis; mostly just one.
        swap: The two halves of the first axis change places, because one layout stores (scale, shift).
        ndim: Number of axes; a linear becomes a 1x1 convolution by two more of length 1.
    """

    names: tuple[str, ...]
    swap: bool = False
    ndim: int | None = None

    def shape(self, shapes: Shapes) -> Shape:
        """Return the shape of the official tensor."""
        first = shapes[self.names[0]]
        rows = sum(shapes[name][0] for name in self.names) if first else 0
        shape = (rows, *first[1:]) if first else first
        return shape if self.ndim is None else shape + (1,) * (self.ndim - len(shape))

    def build(self, read: Callable[[str], Tensor]) -> Tensor:
        """Return the official tensor."""
        parts = [read(name) for name in self.names]
        tensor = parts[0] if len(parts) == 1 else torch.cat(parts)
        if self.swap:
            tensor = swap_halves(tensor)
        return tensor if self.ndim is None else tensor.reshape(tensor.shape + (1,) * (self.ndim - tensor.ndim))


@dataclass(frozen=True)
class Target:
    """Where a module of the folder layout goes.

    Args:
        module: Official name of the module.
        third: Which third of a fused (q, k, v) projection it is, if it is one.
        swap: Its rows are (scale, shift) and must become (shift, scale).
    """

    module: str
    third: int | None = None
    swap: bool = False


def swap_halves(tensor: Tensor) -> Tensor:
    """Exchange the two halves of the first axis."""
    first, second = tensor.chunk(2)
    return torch.cat([second, first])


def _block_modules() -> dict[str, tuple[str, int | None]]:
    table: dict[str, tuple[str, int | None]] = {
        "attn.to_out.0": ("x_block.attn.proj", None),
        "attn.to_add_out": ("context_block.attn.proj", None),
        "attn2.to_out.0": ("x_block.attn2.proj", None),
        "norm1.linear": ("x_block.adaLN_modulation.1", None),
        "norm1_context.linear": ("context_block.adaLN_modulation.1", None),
        "ff.net.0.proj": ("x_block.mlp.fc1", None),
        "ff.net.2": ("x_block.mlp.fc2", None),
        "ff_context.net.0.proj": ("context_block.mlp.fc1", None),
        "ff_context.net.2": ("context_block.mlp.fc2", None),
    }
    for third, letter in enumerate("qkv"):
        table[f"attn.to_{letter}"] = ("x_block.attn.qkv", third)
        table[f"attn.add_{letter}_proj"] = ("context_block.attn.qkv", third)
        table[f"attn2.to_{letter}"] = ("x_block.attn2.qkv", third)
    for letter in "qk":
        table[f"attn.norm_{letter}"] = (f"x_block.attn.ln_{letter}", None)
        table[f"attn.norm_added_{letter}"] = (f"context_block.attn.ln_{letter}", None)
        table[f"attn2.norm_{letter}"] = (f"x_block.attn2.ln_{letter}", None)
    return table


BLOCK_MODULES = _block_modules()
OUTER_MODULES = {
    "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "context_embedder": "context_embedder",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "proj_out": "final_layer.linear",
}


def transformer_modules(depth: int) -> dict[str, Target]:
    """Return where each folder module of a transformer with `depth` blocks goes.

    ``norm_out.linear`` and the last block's ``norm1_context.linear`` are stored as (scale, shift) in the folder layout
    and as (shift, scale) in the official one: they carry `swap`.
    """
    table = {name: Target(official, swap=name == "norm_out.linear") for name, official in OUTER_MODULES.items()}
    for i in range(depth):
        for name, (official, third) in BLOCK_MODULES.items():
            swap = name == "norm1_context.linear" and i == depth - 1
            table[f"transformer_blocks.{i}.{name}"] = Target(f"joint_blocks.{i}.{official}", third, swap)
    return table


def vae_modules(levels: int) -> dict[str, str]:
    """Return the official name of each folder module of an autoencoder with `levels` resolutions.

    The decoder's levels count from the output side in official names and from the input side in folder names.
    """
    table: dict[str, str] = {}

    def residual(folder: str, official: str) -> None:
        for leaf in ("norm1", "conv1", "norm2", "conv2"):
            table[f"{folder}.{leaf}"] = f"{official}.{leaf}"
        table[f"{folder}.conv_shortcut"] = f"{official}.nin_shortcut"

    for side in ("encoder", "decoder"):
        for leaf in ("conv_in", "conv_out"):
            table[f"{side}.{leaf}"] = f"{side}.{leaf}"
        table[f"{side}.conv_norm_out"] = f"{side}.norm_out"
        for j in (0, 1):
            residual(f"{side}.mid_block.resnets.{j}", f"{side}.mid.block_{j + 1}")
        attention = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
        for folder, official in attention.items():
            table[f"{side}.mid_block.attentions.0.{folder}"] = f"{side}.mid.attn_1.{official}"
    for level in range(levels):
        table[f"encoder.down_blocks.{level}.downsamplers.0.conv"] = f"encoder.down.{level}.downsample.conv"
        table[f"decoder.up_blocks.{levels - 1 - level}.upsamplers.0.conv"] = f"decoder.up.{level}.upsample.conv"
        for j in range(4):
            residual(f"encoder.down_blocks.{level}.resnets.{j}", f"encoder.down.{level}.block.{j}")
            residual(f"decoder.up_blocks.{levels - 1 - level}.resnets.{j}", f"decoder.up.{level}.block.{j}")
    return table


_CONVOLUTION_1X1 = re.compile(r"\.mid\.attn_1\.(q|k|v|proj_out)\.weight$")


def depth_of(names: Iterable[str]) -> int:
    """Return the number of blocks of a transformer, from official or folder names."""
    found = [int(m[1]) for m in map(re.compile(r"(?:joint|transformer)_blocks\.(\d+)\.").match, names) if m]
    return 1 + max(found, default=-1)


def _levels_of(names: Iterable[str]) -> int:
    pattern = re.compile(r"(?:encoder\.down(?:_blocks)?|decoder\.up(?:_blocks)?)\.(\d+)\.")
    return 1 + max((int(m[1]) for m in map(pattern.match, names) if m), default=-1)


def _split(name: str) -> tuple[str, str]:
    module, _, leaf = name.rpartition(".")
    return module, leaf


def transformer_sources(names: Sequence[str], depth: int) -> dict[str, Source]:
    """Return how official tensors are made of those of a folder's transformer; names that are not known stay.

    Args:
        names: All tensors.
        depth: Number of blocks; the last one's text stream ends there. A network whose streams all go on has one more.

    Raises:
        BadWeights: A fused projection is incomplete.
    """
    table = transformer_modules(depth)
    thirds: dict[str, dict[int, str]] = {}
    sources: dict[str, Source] = {}
    for name in names:
        module, leaf = _split(name)
        target = table.get(module)
        if name == "pos_embed.pos_embed":
            sources["pos_embed"] = Source((name,))
        elif target is None:
            sources[name] = Source((name,))  # strict loading will name it
        elif target.third is None:
            sources[f"{target.module}.{leaf}"] = Source((name,), swap=target.swap)
        else:
            thirds.setdefault(f"{target.module}.{leaf}", {})[target.third] = name
    for official, found in thirds.items():
        if len(found) != 3:
            raise BadWeights(f"The transformer has {', '.join(found.values())} without the rest of its q, k and v.")
        sources[official] = Source(tuple(found[i] for i in range(3)))
    return sources


def _vae_from_folder(names: Sequence[str]) -> dict[str, Source]:
    table = vae_modules(_levels_of(names))
    sources = {}
    for name in names:
        module, leaf = _split(name)
        official = f"{table[module]}.{leaf}" if module in table else name
        sources[official] = Source((name,), ndim=4 if _CONVOLUTION_1X1.search(official) else None)
    return sources


def to_folder(part: Part, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename official tensors to the folder layout; the exact inverse of reading one.

    Args:
        part: `Part.TRANSFORMER` or `Part.VAE`; the text encoders have the same names in both layouts.
        tensors: With official names.
    """
    result: dict[str, Tensor] = {}
    if part is Part.VAE:
        back = {official: folder for folder, official in vae_modules(_levels_of(tensors)).items()}
        for name, tensor in tensors.items():
            module, leaf = _split(name)
            flat = tensor[:, :, 0, 0] if _CONVOLUTION_1X1.search(name) else tensor
            result[f"{back.get(module, module)}.{leaf}"] = flat.contiguous()
        return result
    if part is not Part.TRANSFORMER:
        return dict(tensors)
    inverse: dict[str, list[tuple[str, Target]]] = {}
    for folder, target in transformer_modules(depth_of(tensors)).items():
        inverse.setdefault(target.module, []).append((folder, target))
    for name, tensor in tensors.items():
        module, leaf = _split(name)
        if name == "pos_embed":
            result["pos_embed.pos_embed"] = tensor
        for folder, target in inverse.get(module, []):
            piece = tensor if target.third is None else tensor.chunk(3)[target.third]
            result[f"{folder}.{leaf}"] = swap_halves(piece) if target.swap else piece.contiguous()
    return result


def _has(names: Iterable[str], prefix: str, *leaves: str) -> bool:
    known = set(names)
    return all(prefix + leaf in known for leaf in leaves)


# Newer folders leave the trunk's name out.
_CLIP_TRUNK = "text_model."
_CLIP_TOKENS = "embeddings.token_embedding.weight"
_CLIP_MODULES = ("embeddings.", "encoder.", "final_layer_norm.")

_MARKERS: dict[Part, tuple[tuple[str, ...], ...]] = {
    Part.TRANSFORMER: (
        ("x_embedder.proj.weight", "joint_blocks.0.x_block.attn.qkv.weight"),
        ("pos_embed.proj.weight", "transformer_blocks.0.attn.add_q_proj.weight"),
    ),
    Part.T5: (("encoder.block.0.layer.0.SelfAttention.q.weight",),),
    Part.CLIP_L: ((f"{_CLIP_TRUNK}{_CLIP_TOKENS}",), (_CLIP_TOKENS,)),
    Part.CLIP_G: ((f"{_CLIP_TRUNK}{_CLIP_TOKENS}",), (_CLIP_TOKENS,)),
    Part.MINILM: (("embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.query.weight"),),
}


def _is_vae(names: Iterable[str], prefix: str) -> bool:
    sides = {name[len(prefix) :].partition(".")[0] for name in names if name.startswith(prefix)}
    return {"encoder", "decoder"} <= sides <= {"encoder", "decoder", "quant_conv", "post_quant_conv"}


def find_parts(shapes: Shapes, *, expect: Part | None = None, file_name: str = "") -> dict[Part, dict[str, Source]]:
    """Find the parts of a model among the tensors of a file.

    Args:
        shapes: Names as they are in the file.
        expect: The part that the file's place says it is (``text_encoder_2/``).
        file_name: Helps to tell unusual CLIP encoders apart.

    Returns:
        For each part, how its official tensors are made. Empty if nothing is recognised.

    Raises:
        BadWeights: A text encoder is neither CLIP-L nor CLIP-G, or a fused projection is incomplete.
    """
    parts: dict[Part, dict[str, Source]] = {}
    for part, prefixes in PREFIXES.items():
        for prefix in prefixes:
            if part not in parts and _holds(part, shapes, prefix):
                parts[part] = _sources(part, shapes, prefix)
    if parts:
        return parts
    for part in (Part.TRANSFORMER, Part.T5, Part.MINILM, Part.VAE):
        if _holds(part, shapes, ""):
            return {part: _sources(part, shapes, "")}
    if _holds(Part.CLIP_L, shapes, ""):
        part = expect if expect in (Part.CLIP_L, Part.CLIP_G) else _which_clip(shapes, file_name)
        return {part: _sources(part, shapes, "")}
    return {}


def _holds(part: Part, shapes: Shapes, prefix: str) -> bool:
    if part is Part.VAE:
        return _is_vae(shapes, prefix) if not prefix else any(name.startswith(prefix) for name in shapes)
    return any(_has(shapes, prefix, *markers) for markers in _MARKERS[part])


def _which_clip(shapes: Shapes, file_name: str) -> Part:
    width = next(shapes[name][-1] for name in (_CLIP_TRUNK + _CLIP_TOKENS, _CLIP_TOKENS) if name in shapes)
    by_width = {768: Part.CLIP_L, 1280: Part.CLIP_G}
    by_name = [part for part in (Part.CLIP_L, Part.CLIP_G) if part.value in file_name.lower()]
    if width in by_width:
        return by_width[width]
    if by_name:
        return by_name[0]
    raise BadWeights(f"A CLIP text encoder of width {width} is neither CLIP-L (768) nor CLIP-G (1280).")


def _sources(part: Part, shapes: Shapes, prefix: str) -> dict[str, Source]:
    names = [name[len(prefix) :] for name in shapes if name.startswith(prefix)]
    if part is Part.TRANSFORMER and "pos_embed.proj.weight" in names:
        sources = transformer_sources(names, depth_of(names))
    elif part is Part.VAE and "decoder.mid_block.resnets.0.conv1.weight" in names:
        sources = _vae_from_folder(names)
    else:
        sources = {_text_name(part, name): Source((name,)) for name in names if not _is_spare(part, name, names)}
    return {
        official: Source(tuple(prefix + name for name in source.names), source.swap, source.ndim)
        for official, source in sources.items()
    }


def _is_spare(part: Part, name: str, names: Sequence[str]) -> bool:
    """Say whether a tensor is stored with an encoder and never used by this family."""
    if part in (Part.CLIP_L, Part.CLIP_G):
        # The pooled CLIP-L state is used without its projection (Esser et al., 2024; reference code).
        unused = ("logit_scale", "text_model.embeddings.position_ids", "embeddings.position_ids")
        return name in unused or (part is Part.CLIP_L and name.startswith("text_projection"))
    if part is Part.T5:
        copied = name == "encoder.embed_tokens.weight" and "shared.weight" in names
        return copied or name.startswith(("decoder.", "lm_head.", "logit_scale", "spiece_model"))
    return part is Part.MINILM and name.endswith("position_ids")


def _text_name(part: Part, name: str) -> str:
    if part is Part.T5 and name == "encoder.embed_tokens.weight":
        return "shared.weight"
    if part in (Part.CLIP_L, Part.CLIP_G) and name.startswith(_CLIP_MODULES):
        return _CLIP_TRUNK + name
    return "text_projection.weight" if part is Part.CLIP_G and name == "text_projection" else name


def guess_family(shapes: Shapes) -> str:
    """Say what model family foreign names seem to be; empty if nothing is known about them.

    Args:
        shapes: Names and shapes as they are in the file.
    """
    names = set(shapes)

    def some(*fragments: str) -> bool:
        return any(fragment in name for name in names for fragment in fragments)

    cross = next((s[-1] for n, s in shapes.items() if n.endswith("attn2.to_k.weight") and len(s) == 2), 0)
    tests: tuple[tuple[bool, str], ...] = (
        (some("lora_", ".lora.", "lokr_", "hada_"), "a LoRA, which is used together with a model"),
        (some("controlnet_blocks", "control_model.", "input_hint_block"), "a ControlNet"),
        (some("distilled_guidance_layer"), "Chroma"),
        (some("double_stream_modulation"), "Flux.2"),
        (some("double_blocks.0.img_attn", "single_transformer_blocks.0."), "Flux"),
        (some("double_layers.0.attn.w1q", "joint_transformer_blocks.0."), "AuraFlow"),
        (some("img_mod.1.weight"), "Qwen-Image"),
        (some("adaln_single"), "PixArt"),
        (some("clip_txt_mapper", "clip_txt_pooled_mapper"), "Stable Cascade"),
        (some("conditioner.embedders.", "label_emb.0.0.", "add_embedding.linear_1") or cross == 2048, "SDXL"),
        (some("cond_stage_model.model.") or cross == 1024, "Stable Diffusion 2"),
        (some("cond_stage_model.transformer.") or cross == 768, "Stable Diffusion 1.5"),
        (some("input_blocks.0.0.", "down_blocks.0.attentions", "down_blocks.0.resnets"), "a U-Net diffusion model"),
        (some("cross_attn.norm_k"), "a video model (Wan)"),
    )
    return next((family for hit, family in tests if hit), "")


def check_vae(shapes: Shapes) -> None:
    """Refuse an autoencoder of an older family.

    Args:
        shapes: With official names.

    Raises:
        BadWeights: It has the extra 1x1 convolutions of the families with 4 latent channels.
    """
    if "quant_conv.weight" in shapes:
        channels = shapes["quant_conv.weight"][0] // 2
        raise BadWeights(
            f"This autoencoder seems to belong to Stable Diffusion 1.5 or SDXL: it has {channels} latent channels "
            "and a quant_conv layer; an SD3-family one has 16 and none."
        )
