"""The embedded model's text network: a small BERT, the character branch, 8-bit rows. Knows tensors, not prompts.

The network is written out here, and not taken from a library, because importing that library costs about five seconds
and the embedded model must go from command to picture in fewer than six.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keelbill.core.errors import BadWeights
from keelbill.engine.tokenize import CHARACTER_CODES, CHARACTER_PLACES
from keelbill.engine.weights import load_into

_SCALE = ".row_scale"
_UNUSED = re.compile(r"(pooler\..*|embeddings\.position_ids)\Z")


@dataclass(frozen=True)
class MiniLMConfig:
    """Sizes of a BERT encoder.

    References:
        | BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding (Devlin et al., 2019)
        | MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression (Wang et al., 2020)
    """

    vocabulary: int = 30522
    positions: int = 512
    width: int = 384
    depth: int = 6
    mlp: int = 1536
    head_dim: int = 32

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> MiniLMConfig:
        """Read the sizes off tensors with official names.

        Raises:
            BadWeights: A tensor that gives a size is missing.
        """
        needed = (
            "embeddings.word_embeddings.weight",
            "embeddings.position_embeddings.weight",
            "encoder.layer.0.intermediate.dense.weight",
        )
        for name in needed:
            if name not in tensors:
                raise BadWeights(f"This is not a BERT text encoder: it has no tensor {name!r}.")
        layers = (re.match(r"encoder\.layer\.(\d+)\.", name) for name in tensors)
        vocabulary, width = tensors[needed[0]].shape
        return cls(
            vocabulary=vocabulary,
            positions=tensors[needed[1]].shape[0],
            width=width,
            depth=1 + max(int(match[1]) for match in layers if match),
            mlp=tensors[needed[2]].shape[0],
        )


class _Residual(nn.Module):
    """A linear whose output is added to the stream and normalised."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, stream: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(self.dense(x) + stream)
        return normed


class _SelfAttention(nn.Module):
    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


class _Attention(nn.Module):
    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.self = _SelfAttention(width, head_dim)
        self.output = _Residual(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        out: Tensor = self.output(self.self(x, mask), x)
        return out


class _Dense(nn.Module):
    def __init__(self, width: int, mlp: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, mlp)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dense(x))


class _Layer(nn.Module):
    def __init__(self, config: MiniLMConfig) -> None:
        super().__init__()
        self.attention = _Attention(config.width, config.head_dim)
        self.intermediate = _Dense(config.width, config.mlp)
        self.output = _Residual(config.mlp, config.width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.attention(x, mask)
        out: Tensor = self.output(self.intermediate(x), x)
        return out


def _embedding(rows: int, width: int) -> nn.Embedding:
    """Make a table; a normal start on the meta device would import torch's compiler, a second's work."""
    table: nn.Embedding = nn.Embedding.from_pretrained(torch.empty(rows, width).uniform_(-1, 1), freeze=False)
    return table


class _Embeddings(nn.Module):
    def __init__(self, config: MiniLMConfig) -> None:
        super().__init__()
        self.word_embeddings = _embedding(config.vocabulary, config.width)
        self.position_embeddings = _embedding(config.positions, config.width)
        self.token_type_embeddings = _embedding(2, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, eps=1e-12)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.word_embeddings(ids) + self.position_embeddings.weight[: ids.shape[1]]
        normed: Tensor = self.LayerNorm(x + self.token_type_embeddings.weight[0])
        return normed


class _Encoder(nn.Module):
    def __init__(self, config: MiniLMConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config) for _ in range(config.depth))


class MiniLM(nn.Module):
    """A BERT encoder whose parameters carry the official names."""

    def __init__(self, config: MiniLMConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> MiniLM:
        """Build the network from its tensors, plain or as `quantise_rows` left them; kept in fp32.

        Raises:
            BadWeights: Tensors are missing, left over or of the wrong shape.
        """
        plain = {k: v.float() for k, v in dequantise_rows(tensors).items() if not _UNUSED.match(k)}
        with torch.device("meta"):
            model = cls(MiniLMConfig.from_tensors(plain))
        load_into(model, plain, "text encoder")
        return model.eval().requires_grad_(False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode tokens.

        Args:
            ids: Token ids with shape ``(B, L)``.
            mask: True where a token is real, with shape ``(B, L)``; each row has at least one.

        Returns:
            Last hidden states with shape ``(B, L, width)``; places outside the mask hold nothing of use.
        """
        x = self.embeddings(ids)
        keys = mask[:, None, None, :]
        for layer in self.encoder.layer:
            x = layer(x, keys)
        return torch.as_tensor(x)


def pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Summarise hidden states by their direction.

    Args:
        hidden: With shape ``(B, L, width)``.
        mask: True where a token is real, with shape ``(B, L)``.

    Returns:
        The masked mean with length ``sqrt(width) / 2``, shape ``(B, width)``; zeros where no token is real.
    """
    total = (hidden * mask.unsqueeze(-1)).sum(1)
    return F.normalize(total, dim=-1) * (sqrt(hidden.shape[-1]) / 2)


class CharacterEncoder(nn.Module):
    """Spells: the sum of three embeddings, of the character, its place in the word and the word's place.

    The codes are random and differ clearly, so that the transformer's own context projection can learn to read them;
    training them as well is possible, not needed.

    Args:
        width: Width of the context tokens.
    """

    def __init__(self, width: int = 384) -> None:
        super().__init__()
        self.character = nn.Embedding(CHARACTER_CODES, width)
        self.in_word = nn.Embedding(CHARACTER_PLACES, width)
        self.word = nn.Embedding(CHARACTER_PLACES, width)

    @classmethod
    def seeded(cls, width: int = 384, seed: int = 0) -> CharacterEncoder:
        """Draw the codes; together they have about the size of MiniLM's states."""
        encoder = cls(width).requires_grad_(False)
        generator = torch.Generator().manual_seed(seed)
        for embedding, deviation in ((encoder.character, 0.4), (encoder.in_word, 0.25), (encoder.word, 0.15)):
            embedding.weight.normal_(0.0, deviation, generator=generator)
        return encoder

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> CharacterEncoder:
        """Build the encoder from its tensors; kept in fp32.

        Raises:
            BadWeights: Tensors are missing, left over or of the wrong shape.
        """
        table = tensors.get("character.weight")
        if table is None or table.dim() != 2:
            raise BadWeights("The text encoder's character branch has no tensor 'character.weight'.")
        with torch.device("meta"):
            encoder = cls(table.shape[1])
        load_into(encoder, tensors, "character branch")
        return encoder.requires_grad_(False)

    def forward(self, ids: Tensor) -> Tensor:
        """Embed characters.

        Args:
            ids: Triples of `tokenize.character_ids` with shape ``(..., 3)``.

        Returns:
            Context tokens with shape ``(..., width)``.
        """
        character, in_word, word = ids.unbind(-1)
        tokens: Tensor = self.character(character) + self.in_word(in_word) + self.word(word)
        return tokens


def quantise_rows(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Store matrices as int8 rows with one fp16 scale each, everything else as fp16.

    Args:
        tensors: Floating-point tensors by name.

    Returns:
        The same names, and ``<name>.row_scale`` with shape ``(rows,)`` beside each matrix.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.dim() != 2:
            packed[name] = tensor.half() if tensor.is_floating_point() else tensor
            continue
        rows = tensor.float()
        smallest = torch.finfo(torch.float16).smallest_normal
        scale = (rows.abs().amax(1) / 127).clamp_min(smallest).half()
        packed[name] = (rows / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8)
        packed[name + _SCALE] = scale
    return packed


def dequantise_rows(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `quantise_rows` as far as it can be undone; tensors without a scale pass through.

    Returns:
        Tensors by name, the matrices in fp32.

    Raises:
        BadWeights: An int8 matrix has no scale, or one of the wrong length.
    """
    plain: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(_SCALE):
            continue
        if tensor.dtype is not torch.int8:
            plain[name] = tensor
            continue
        scale = tensors.get(name + _SCALE)
        if scale is None or scale.shape != tensor.shape[:1]:
            raise BadWeights(f"The 8-bit tensor {name!r} has no matching {name + _SCALE!r}.")
        plain[name] = tensor.float() * scale.float()[:, None]
    return plain
