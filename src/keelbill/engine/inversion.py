"""Words that text encoders were taught after their training. Knows tensors and names, not prompts' weights or files.

A taught word is a few rows of a text encoder's input: `embedding:name` in a prompt stands for them. Here such a row
is a token whose number lies beyond the vocabulary, so that everything that cuts and weighs tokens works on it as is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from keelbill.core.errors import BadWeights
from keelbill.engine.naming import Part

MAX_ROWS: Final = 512
"""Rows of one word; published ones have at most 75."""

_NAMES: Final = {"clip_l": Part.CLIP_L, "clip_g": Part.CLIP_G, "t5xxl": Part.T5, "t5": Part.T5}

Word = Mapping[Part, Tensor]
"""What each text encoder was taught, with shapes ``(rows, width)``."""

Vocabulary = Mapping[str, Word]
"""Taught words by their names."""


def read_word(tensors: Mapping[str, Tensor], widths: Mapping[Part, int], *, name: str) -> dict[Part, Tensor]:
    """Read a taught word off the tensors of its file.

    Args:
        tensors: ``clip_l``, ``clip_g`` and ``t5xxl``, each with shape ``(rows, width)`` or ``(width,)``; or a single
            tensor of any name, which belongs to the encoder of its width.
        widths: Of the text encoders that there are.
        name: What to call it in errors.

    Returns:
        What each of the encoders was taught; at least one.

    Raises:
        BadWeights: It was taught to other encoders, or its tensors are damaged.
    """
    found: dict[Part, Tensor] = {}
    for key, tensor in tensors.items():
        part = _NAMES.get(key)
        if part is None and len(tensors) == 1:
            part = next((each for each, width in widths.items() if tensor.shape[-1:] == (width,)), None)
        if part is not None and part in widths:
            found[part] = _rows(tensor, widths[part], f"{name}: {key}")
    if not found:
        expected = ", ".join(f"{part.value} ({width} wide)" for part, width in widths.items())
        raise BadWeights(
            f"The embedding {name} was made for another model.", hint=f"The text encoders here are {expected}."
        )
    return found


def _rows(tensor: Tensor, width: int, what: str) -> Tensor:
    rows = tensor[None] if tensor.ndim == 1 else tensor
    if rows.ndim != 2 or rows.shape[1] != width or not 1 <= len(rows) <= MAX_ROWS:
        raise BadWeights(f"{what} has the shape {tuple(tensor.shape)}; 1 to {MAX_ROWS} rows of {width} are needed.")
    if not rows.is_floating_point() or not bool(torch.isfinite(rows.float()).all()):
        raise BadWeights(f"{what} holds values that are not numbers.")
    return rows.float()


class TaughtTokens:
    """Taught words as one text encoder sees them.

    Args:
        words: All of them; what was taught to other encoders is left out.
        part: Which encoder.
        first: Its first number that is no token, the size of its vocabulary.
    """

    def __init__(self, words: Vocabulary, part: Part, first: int) -> None:
        self.ids: dict[str, range] = {}
        """Numbers by name; none for a word that this encoder was not taught."""
        rows: list[Tensor] = []
        for name, word in words.items():
            count = len(word[part]) if part in word else 0
            self.ids[name] = range(first, first + count)
            first += count
            rows += [word[part]] if count else []
        self.rows = torch.cat(rows) if rows else None


def embedded(ids: Tensor, table: Tensor, rows: Tensor | None) -> Tensor:
    """Look tokens up.

    Args:
        ids: With any shape.
        table: The encoder's own rows, with shape ``(vocabulary, width)``.
        rows: Those of the numbers beyond the vocabulary.
    """
    if rows is None:
        return torch.nn.functional.embedding(ids, table)
    beyond = ids >= len(table)
    own = torch.nn.functional.embedding(ids.masked_fill(beyond, 0), table)
    taught = rows.to(table)[(ids - len(table)).clamp_min(0)]
    return torch.where(beyond[..., None], taught, own)
