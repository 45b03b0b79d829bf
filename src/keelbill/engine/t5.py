"""The T5 v1.1 encoder, as SD3 uses it. Knows tokens and tensors, not prompts or files.

Written out here for the same reasons as CLIP: short, strict about names, and independent of a library's version.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from keelbill.core.errors import BadWeights
from keelbill.engine.inversion import embedded

MAX_DISTANCE = 128


@dataclass(frozen=True)
class T5Config:
    """Sizes of a T5 v1.1 encoder.

    References:
        | Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer (Raffel et al., 2020)
    """

    width: int
    depth: int
    heads: int
    head_dim: int
    mlp: int
    vocabulary: int = 32128
    buckets: int = 32

    @classmethod
    def from_tensors(cls, shapes: Mapping[str, Sequence[int]]) -> T5Config:
        """Read the sizes off the shapes of tensors with official names.

        Raises:
            BadWeights: The shapes are not those of a T5 v1.1 encoder.
        """
        attention = "encoder.block.0.layer.0.SelfAttention"
        needed = (
            "shared.weight",
            f"{attention}.relative_attention_bias.weight",
            f"{attention}.q.weight",
            "encoder.block.0.layer.1.DenseReluDense.wi_0.weight",
        )
        for name in needed:
            if name not in shapes:
                raise BadWeights(f"This is not a T5 v1.1 text encoder: it has no tensor {name!r}.")
        blocks = (re.match(r"encoder\.block\.(\d+)\.", name) for name in shapes)
        vocabulary, width = shapes[needed[0]]
        buckets, heads = shapes[needed[1]]
        return cls(
            width=width,
            depth=1 + max(int(match[1]) for match in blocks if match),
            heads=heads,
            head_dim=shapes[needed[2]][0] // heads,
            mlp=shapes[needed[3]][0],
            vocabulary=vocabulary,
            buckets=buckets,
        )


class _Norm(nn.Module):
    """Root-mean-square norm, computed in fp32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        h = x.float()
        h = h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6)
        return self.weight * h.to(self.weight.dtype)


class _SelfAttention(nn.Module):
    def __init__(self, config: T5Config, *, has_table: bool) -> None:
        super().__init__()
        inner = config.heads * config.head_dim
        self.head_dim = config.head_dim
        self.q = nn.Linear(config.width, inner, bias=False)
        self.k = nn.Linear(config.width, inner, bias=False)
        self.v = nn.Linear(config.width, inner, bias=False)
        self.o = nn.Linear(inner, config.width, bias=False)
        self.relative_attention_bias: nn.Embedding | None = None
        if has_table:
            self.relative_attention_bias = nn.Embedding(config.buckets, config.heads)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        q, k, v = (part(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in (self.q, self.k, self.v))
        # T5 is trained without the usual division by the square root of the head size.
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        out: Tensor = self.o(h.transpose(1, 2).flatten(2))
        return out


class _Attention(nn.Module):
    def __init__(self, config: T5Config, *, has_table: bool) -> None:
        super().__init__()
        self.SelfAttention = _SelfAttention(config, has_table=has_table)
        self.layer_norm = _Norm(config.width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        return x + torch.as_tensor(self.SelfAttention(self.layer_norm(x), bias))


class _GatedMLP(nn.Module):
    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.wi_0 = nn.Linear(config.width, config.mlp, bias=False)
        self.wi_1 = nn.Linear(config.width, config.mlp, bias=False)
        self.wo = nn.Linear(config.mlp, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))
        return out


class _Feed(nn.Module):
    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.DenseReluDense = _GatedMLP(config)
        self.layer_norm = _Norm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.as_tensor(self.DenseReluDense(self.layer_norm(x)))


class _Block(nn.Module):
    def __init__(self, config: T5Config, *, has_table: bool) -> None:
        super().__init__()
        self.layer = nn.ModuleList((_Attention(config, has_table=has_table), _Feed(config)))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        attention, feed = self.layer
        return torch.as_tensor(feed(attention(x, bias)))


class _Encoder(nn.Module):
    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.block = nn.ModuleList(_Block(config, has_table=i == 0) for i in range(config.depth))
        self.final_layer_norm = _Norm(config.width)


class T5Encoder(nn.Module):
    """A T5 v1.1 encoder, whose parameters carry the official names. Run it in bf16 or fp32: in fp16 it overflows.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        self.shared = nn.Embedding(config.vocabulary, config.width)
        self.encoder = _Encoder(config)

    def forward(self, ids: Tensor, taught: Tensor | None = None) -> Tensor:
        """Encode tokens; padding is attended to like any token, as in the reference.

        Args:
            ids: Token ids with shape ``(B, L)``.
            taught: Rows for ids beyond the vocabulary, with shape ``(rows, width)``.

        Returns:
            Last hidden states after the final norm, with shape ``(B, L, width)``.
        """
        x = embedded(ids, self.shared.weight, taught)
        table = self.get_parameter("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
        bias = table[relative_buckets(ids.shape[1], self.config.buckets).to(table.device)]
        bias = bias.permute(2, 0, 1).unsqueeze(0).to(x.dtype)
        for block in self.encoder.block:
            x = block(x, bias)
        return torch.as_tensor(self.encoder.final_layer_norm(x))


def relative_buckets(length: int, buckets: int = 32) -> Tensor:
    """Return which bias each pair of places uses.

    Half of the buckets are for keys after the query. Of each half, one half is for exact small distances and the rest
    grows logarithmically up to 128 places.

    Returns:
        Bucket indices with shape ``(length, length)``: query, key.
    """
    places = torch.arange(length)
    offset = places[None, :] - places[:, None]
    half = buckets // 2
    exact = half // 2
    distance = offset.abs()
    grown = torch.log(distance.float().clamp_min(1) / exact) / math.log(MAX_DISTANCE / exact) * (half - exact)
    far = (exact + grown.long()).clamp_max(half - 1)
    return torch.where(distance < exact, distance, far) + half * (offset > 0)
