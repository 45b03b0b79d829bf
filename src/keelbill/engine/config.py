"""Sizes of the networks, read off their tensors' shapes. Knows no weights and no file formats."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

from keelbill.core.errors import BadWeights

HEAD_DIM = 64

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class MMDiTConfig:
    """Sizes of a multimodal diffusion transformer.

    References:
        | Scaling Rectified Flow Transformers for High-Resolution Image Synthesis (Esser et al., 2024)
    """

    depth: int
    width: int
    pos_side: int
    context_dim: int
    pooled_dim: int
    patch: int = 2
    in_channels: int = 16
    out_channels: int = 16
    qk_norm: bool = True
    dual_blocks: tuple[int, ...] = ()

    @property
    def heads(self) -> int:
        """Number of attention heads of 64 channels."""
        return self.width // HEAD_DIM

    @classmethod
    def from_tensors(cls, shapes: Shapes) -> MMDiTConfig:
        """Read the configuration off the shapes of tensors with official names, without prefix.

        Raises:
            BadWeights: The shapes are not those of an SD3-family transformer.
        """
        needed = (
            "x_embedder.proj.weight",
            "pos_embed",
            "context_embedder.weight",
            "y_embedder.mlp.0.weight",
            "final_layer.linear.weight",
        )
        for name in needed:
            if name not in shapes:
                raise BadWeights(f"This is not an SD3-family transformer: it has no tensor {name!r}.")
        width, in_channels, patch, _ = shapes["x_embedder.proj.weight"]
        block = re.compile(r"joint_blocks\.(\d+)\.(.*)")
        blocks = [m for m in map(block.match, shapes) if m]
        if not blocks:
            raise BadWeights("This is not an SD3-family transformer: it has no joint_blocks.")
        return cls(
            depth=1 + max(int(m[1]) for m in blocks),
            width=width,
            pos_side=isqrt(shapes["pos_embed"][1]),
            context_dim=shapes["context_embedder.weight"][1],
            pooled_dim=shapes["y_embedder.mlp.0.weight"][1],
            patch=patch,
            in_channels=in_channels,
            out_channels=shapes["final_layer.linear.weight"][0] // patch**2,
            qk_norm="joint_blocks.0.context_block.attn.ln_k.weight" in shapes,
            dual_blocks=tuple(sorted(int(m[1]) for m in blocks if m[2] == "x_block.attn2.qkv.weight")),
        )

    @property
    def family(self) -> str:
        """The public name of the family member with these sizes."""
        if self.depth == 38:
            return "SD3.5 Large"
        if self.width == 1536:
            return "SD3.5 Medium" if self.pos_side == 384 else "SD3 Medium"
        return "small MMDiT"

    def parameters(self, *, modulation: bool = True) -> int:
        """Count the parameters without the position table; with or without the adaLN linears."""
        w, d = self.width, self.depth
        attention = 4 * w * w + 4 * w + (2 * HEAD_DIM if self.qk_norm else 0)
        mlp = 8 * w * w + 5 * w
        streams = d * (attention + mlp) * 2 + len(self.dual_blocks) * attention
        last_context = w * w + w + mlp  # the last context stream has no projection and no MLP
        embedders = w * self.in_channels * self.patch**2 + w + w * self.context_dim + w
        embedders += 257 * w + w * w + w + (self.pooled_dim + 1) * w + w * w + w
        final = (w + 1) * self.out_channels * self.patch**2
        chunks = 12 * d - 4 + 3 * len(self.dual_blocks) + 2
        return streams - last_context + embedders + final + (chunks * w * (w + 1) if modulation else 0)

    def flops(self, image_tokens: int, text_tokens: int) -> float:
        """Floating-point operations of one forward pass of one row, two per multiply-add."""
        w, d, dual = self.width, self.depth, len(self.dual_blocks)
        total = image_tokens + text_tokens
        linear = 24.0 * w * w * (d * total) + 8.0 * w * w * dual * image_tokens
        linear -= 18.0 * w * w * text_tokens  # the last block's text stream ends after q, k and v
        attention = 4.0 * w * (d * total**2 + dual * image_tokens**2)
        return linear + attention


@dataclass(frozen=True)
class LatentFormat:
    """How raw autoencoder latents become the transformer's: ``(raw - shift) * scale`` per channel.

    Args:
        scale: One number, or one for each channel.
        shift: Likewise.
    """

    scale: tuple[float, ...] = (1.5305,)
    shift: tuple[float, ...] = (0.0609,)
    channels: int = 16
    factor: int = 8

    def _column(self, values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1)

    def to_model(self, raw: Tensor) -> Tensor:
        """Turn raw latents with shape ``(..., C, h, w)`` into what the transformer works on."""
        return (raw - self._column(self.shift, raw)) * self._column(self.scale, raw)

    def to_raw(self, latents: Tensor) -> Tensor:
        """Turn the transformer's latents with shape ``(..., C, h, w)`` into what the autoencoder decodes."""
        return latents / self._column(self.scale, latents) + self._column(self.shift, latents)


SD3_LATENTS = LatentFormat()
