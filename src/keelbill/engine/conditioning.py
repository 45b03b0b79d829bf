"""What a prompt becomes before the transformer sees it. Knows nothing of how it was encoded."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Conditioning:
    """One encoded prompt.

    Args:
        context: Tokens with shape ``(L, context_dim)``.
        pooled: Summary of the prompt with shape ``(pooled_dim,)``.
    """

    context: Tensor
    pooled: Tensor
