"""CLIP's text network, as SD3 uses it. Knows tokens and tensors, not prompts or files.

The network is written out here instead of taken from a library: it is short, keeps the names of the published files so
that they load strictly, does not change with a library's version, and starts without a five-second import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from keelbill.core.errors import BadWeights
from keelbill.engine.inversion import embedded

HEAD_DIM = 64
END_TOKEN = 49407


@dataclass(frozen=True)
class CLIPConfig:
    """Sizes of a CLIP text network.

    Args:
        projection: Width of the pooled vector after its projection; nothing means no projection.
        quick_gelu: Whether the activation is ``x sigmoid(1.702 x)`` and not the exact GELU.

    References:
        | Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021)
    """

    width: int
    depth: int
    mlp: int
    vocabulary: int = 49408
    positions: int = 77
    projection: int | None = None
    quick_gelu: bool = True

    @classmethod
    def from_tensors(cls, shapes: Mapping[str, Sequence[int]]) -> CLIPConfig:
        """Read the sizes off the shapes of tensors with official names; bigG is the one with a projection.

        Raises:
            BadWeights: The shapes are not those of a CLIP text network.
        """
        needed = (
            "text_model.embeddings.token_embedding.weight",
            "text_model.embeddings.position_embedding.weight",
            "text_model.encoder.layers.0.mlp.fc1.weight",
        )
        for name in needed:
            if name not in shapes:
                raise BadWeights(f"This is not a CLIP text encoder: it has no tensor {name!r}.")
        layers = (re.match(r"text_model\.encoder\.layers\.(\d+)\.", name) for name in shapes)
        projection = shapes.get("text_projection.weight")
        vocabulary, width = shapes[needed[0]]
        return cls(
            width=width,
            depth=1 + max(int(match[1]) for match in layers if match),
            mlp=shapes[needed[2]][0],
            vocabulary=vocabulary,
            positions=shapes[needed[1]][0],
            projection=projection[0] if projection else None,
            quick_gelu=projection is None,
        )


class _SelfAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2) for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        out: Tensor = self.out_proj(h)
        return out


class _MLP(nn.Module):
    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.mlp)
        self.fc2 = nn.Linear(config.mlp, config.width)
        self.quick_gelu = config.quick_gelu

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        out: Tensor = self.fc2(h * torch.sigmoid(1.702 * h) if self.quick_gelu else F.gelu(h))
        return out


class _Layer(nn.Module):
    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.width)
        self.self_attn = _SelfAttention(config.width)
        self.layer_norm2 = nn.LayerNorm(config.width)
        self.mlp = _MLP(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + torch.as_tensor(self.mlp(self.layer_norm2(x)))


class _Embeddings(nn.Module):
    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocabulary, config.width)
        self.position_embedding = nn.Embedding(config.positions, config.width)

    def forward(self, ids: Tensor, taught: Tensor | None = None) -> Tensor:
        return embedded(ids, self.token_embedding.weight, taught) + self.position_embedding.weight[: ids.shape[1]]


class _Encoder(nn.Module):
    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.depth))


class _TextModel(nn.Module):
    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)
        self.final_layer_norm = nn.LayerNorm(config.width)


class CLIPText(nn.Module):
    """A CLIP text network, whose parameters carry the official names.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.config = config
        self.text_model = _TextModel(config)
        self.text_projection: nn.Linear | None = None
        if config.projection is not None:
            self.text_projection = nn.Linear(config.width, config.projection, bias=False)

    def forward(self, ids: Tensor, stop: int = -2, taught: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode tokens.

        Args:
            ids: Token ids with shape ``(B, L)``, `L` at most 77; each row has an end token.
            stop: Whose states are wanted, counted from the last layer, -1; at most as many as there are.
            taught: Rows for ids beyond the vocabulary, with shape ``(rows, width)``.

        Returns:
            The hidden states after that layer, by default the one before the last, without final norm, with shape
            ``(B, L, width)``; and the pooled state at the first end token, projected if there is a projection, with
            shape ``(B, width or projection)``.
        """
        x = self.text_model.embeddings(ids, taught)
        states = [x]
        for layer in self.text_model.encoder.layers:
            x = layer(x)
            states.append(x)
        end = (ids == END_TOKEN).int().argmax(dim=1)
        pooled = self.text_model.final_layer_norm(x)[torch.arange(len(ids), device=ids.device), end]
        if self.text_projection is not None:
            pooled = self.text_projection(pooled)
        return torch.as_tensor(states[max(stop, -len(states))]), torch.as_tensor(pooled)
