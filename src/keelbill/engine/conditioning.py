"""What a prompt becomes before the transformer sees it. Knows nothing of how it was encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from keelbill.engine.control import Control


@dataclass(frozen=True)
class Conditioning:
    """One encoded prompt.

    Args:
        context: Tokens with shape ``(L, context_dim)``.
        pooled: Summary of the prompt with shape ``(pooled_dim,)``.
    """

    context: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class Box:
    """A part of a latent, in places; bottom and right are exclusive."""

    top: int
    left: int
    bottom: int
    right: int

    def cut(self, x: Tensor) -> Tensor:
        """Return the part of a tensor with shape ``(..., h, w)``."""
        return x[..., self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True)
class Share:
    """An encoded prompt that counts for a part of the picture or of the run.

    Args:
        conditioning: The prompt.
        strength: Weight against other shares at the same place, above 0.
        interval: Lowest and highest noise level at which it counts, in [0, 1], bounds included.
        box: Where it is evaluated; nothing means everywhere.
        weight: Of each place with shape ``(1, h, w)`` of the whole latent, 0 or more; nothing means 1.
        controls: ControlNets that steer what it paints.
    """

    conditioning: Conditioning
    strength: float = 1.0
    interval: tuple[float, float] = (0.0, 1.0)
    box: Box | None = None
    weight: Tensor | None = None
    controls: tuple[Control, ...] = ()

    def acts(self, sigma: float) -> bool:
        """Say whether it counts at a noise level."""
        return self.interval[0] <= sigma <= self.interval[1]

    def cut(self, x: Tensor) -> Tensor:
        """Return what it is evaluated on."""
        return x if self.box is None else self.box.cut(x)

    def places(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of what it is evaluated on, for a latent of this size."""
        box = self.box
        if box is None:
            return height, width
        return min(box.bottom, height) - box.top, min(box.right, width) - box.left


Prompt = Conditioning | tuple[Share, ...]
"""What a branch follows: one prompt, or several that share the picture."""


def shares_of(prompt: Prompt) -> tuple[Share, ...]:
    """Return the shares of a prompt; one prompt alone is a single share of everything."""
    return (Share(prompt),) if isinstance(prompt, Conditioning) else prompt


def blend(x: Tensor, sigma: float, shares: Sequence[Share], velocities: Sequence[Tensor]) -> Tensor:
    """Return the weighted mean of what several prompts predict.

    Where no prompt counts the denoised estimate is the zero latent.

    Args:
        x: What was evaluated, with shape ``(C, h, w)``.
        sigma: Its noise level, above 0.
        shares: Whose predictions they are.
        velocities: The predictions, each on its share's part of `x`.
    """
    if len(shares) == 1 and shares[0].box is None and shares[0].weight is None:
        return velocities[0]
    total, weights = torch.zeros_like(x), x.new_zeros(1, *x.shape[-2:])
    for share, velocity in zip(shares, velocities, strict=True):
        weight = torch.ones_like(weights) if share.weight is None else share.weight.to(weights)
        weight = share.cut(weight) * share.strength
        share.cut(total).add_(velocity * weight)
        share.cut(weights).add_(weight)
    covered = weights > 0
    return torch.where(covered, total / torch.where(covered, weights, torch.ones_like(weights)), x / sigma)
