"""Attention inside rows of packed tokens. Knows nothing of blocks or of what the tokens mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F

QKV = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values, each ``(T, heads, 64)`` when packed and ``(B, N, heads, 64)`` when batched."""

Attend = Callable[[QKV, QKV], tuple[Tensor, Tensor]]
"""Joint attention: image and text in, image and text out, heads joined."""


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Full softmax attention of ``(B, N, heads, 64)``; the result has shape ``(B, N, heads * 64)``."""
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    if q.requires_grad and q.device.type == "cpu":
        # The fused kernel's backward pass takes a third of a training step on the short rows of small pictures.
        weights = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1)
        out = weights.to(v.dtype) @ v
    else:
        out = F.scaled_dot_product_attention(q, k, v)
    return out.transpose(1, 2).flatten(2)


def attend_jointly(image: QKV, text: QKV) -> tuple[Tensor, Tensor]:
    """Let text and image tokens of every row of a plain batch attend to each other, without a mask."""
    q, k, v = (torch.cat([t, i], dim=1) for t, i in zip(text, image, strict=True))
    out = attend(q, k, v)
    count = text[0].shape[1]
    return out[:, count:], out[:, :count]


def attend_image(image: QKV) -> Tensor:
    """Let image tokens of every row of a plain batch attend to each other."""
    return attend(*image)


@dataclass(frozen=True)
class Packing:
    """Which packed tokens belong to which row.

    Args:
        image: Number of image tokens of each row.
        text: Number of text tokens of each row.
    """

    image: tuple[int, ...]
    text: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.image)

    def attend_jointly(self, image: QKV, text: QKV) -> tuple[Tensor, Tensor]:
        """Let text and image tokens attend to each other within their row; nothing is padded or masked.

        Each row is computed by itself, so that its result cannot depend on its neighbours.
        """
        image_rows = [t.split(self.image) for t in image]
        text_rows = [t.split(self.text) for t in text]
        outs, texts = [], []
        for row, count in enumerate(self.text):
            q, k, v = (torch.cat([t[row], i[row]])[None] for t, i in zip(text_rows, image_rows, strict=True))
            out = attend(q, k, v)[0]
            texts.append(out[:count])
            outs.append(out[count:])
        return _join(outs), _join(texts)

    def attend_image(self, image: QKV) -> Tensor:
        """Let image tokens attend to each other within their row."""
        rows = zip(*(t.split(self.image) for t in image), strict=True)
        return _join([attend(q[None], k[None], v[None])[0] for q, k, v in rows])

    def attend_apart(self, image: QKV, text: QKV) -> tuple[Tensor, Tensor]:
        """Let text see everything, and each image token only itself and its row's text."""
        image_rows = zip(*(t.split(self.image) for t in image), strict=True)
        text_rows = zip(*(t.split(self.text) for t in text), strict=True)
        outs, texts = [], []
        for (q, k, v), (q_text, k_text, v_text) in zip(image_rows, text_rows, strict=True):
            texts.append(attend(q_text[None], torch.cat([k_text, k])[None], torch.cat([v_text, v])[None])[0])
            outs.append(_attend_itself(q, k, v, k_text, v_text))
        return _join(outs), _join(texts)

    def spread_image(self, table: Tensor) -> Tensor:
        """Repeat each row of a table with shape ``(rows, n)`` for its image tokens."""
        return _spread(table, self.image)

    def spread_text(self, table: Tensor) -> Tensor:
        """Repeat each row of a table with shape ``(rows, n)`` for its text tokens."""
        return _spread(table, self.text)

    def image_slices(self) -> list[slice]:
        """Where each row's image tokens lie."""
        return _slices(self.image)

    def text_slices(self) -> list[slice]:
        """Where each row's text tokens lie."""
        return _slices(self.text)


def itself(image: QKV) -> Tensor:
    """Let every image token see only itself: what it gives is its value."""
    return image[2].flatten(-2)


def _attend_itself(q: Tensor, k: Tensor, v: Tensor, k_text: Tensor, v_text: Tensor) -> Tensor:
    """Attend to text and to itself; all of one row with shape ``(N, heads, 64)``."""
    scale = q.shape[-1] ** -0.5
    others = torch.einsum("nhd,lhd->nhl", q, k_text).float()
    own = (q * k).sum(-1, keepdim=True).float()
    weights = torch.softmax(torch.cat([others, own], dim=-1) * scale, dim=-1).to(v.dtype)
    mixed = torch.einsum("nhl,lhd->nhd", weights[..., :-1], v_text) + weights[..., -1:] * v
    return mixed.flatten(-2)


def _join(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _spread(table: Tensor, counts: tuple[int, ...]) -> Tensor:
    if len(counts) == 1:
        return table
    return torch.cat([row.expand(count, -1) for row, count in zip(table.split(1), counts, strict=True)])


def _slices(counts: tuple[int, ...]) -> list[slice]:
    ends = list(accumulate(counts))
    return [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
