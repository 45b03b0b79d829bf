"""Which branches of the model run at a step, and how their velocities become one. Knows no model and no sampler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import torch
from torch import Tensor

from keelbill.core.errors import InvalidInput


class Branch(StrEnum):
    """One evaluation of the model for a request."""

    POSITIVE = "positive"
    """With the prompt."""
    NEGATIVE = "negative"
    """With the negative prompt."""
    SKIP = "skip"
    """With the prompt, and some blocks left out."""
    APART = "apart"
    """With the prompt, and one block in which the picture's tokens do not see each other."""


class Guidance(Protocol):
    """Chooses the branches of a step and combines what they predict."""

    @property
    def skip_layers(self) -> frozenset[int]:
        """Blocks that the skip branch leaves out."""
        ...

    def branches(self, sigma: float, step: int, steps: int) -> tuple[Branch, ...]:
        """Return what to evaluate.

        Args:
            sigma: Noise level of the evaluation, in [0, 1].
            step: Step it belongs to, from 0.
            steps: Number of steps in the run.
        """
        ...

    def combine(self, velocities: Mapping[Branch, Tensor]) -> Tensor:
        """Return the guided velocity.

        Args:
            velocities: Prediction of each branch that `branches` named, float32, with shape ``(..., C, h, w)``.
        """
        ...


@dataclass(frozen=True)
class Unguided:
    """Follow the prompt alone."""

    @property
    def skip_layers(self) -> frozenset[int]:
        """No blocks."""
        return frozenset()

    def branches(self, sigma: float, step: int, steps: int) -> tuple[Branch, ...]:
        """Return the positive branch."""
        return (Branch.POSITIVE,)

    def combine(self, velocities: Mapping[Branch, Tensor]) -> Tensor:
        """Return the positive branch's velocity."""
        return velocities[Branch.POSITIVE]


@dataclass(frozen=True)
class ClassifierFree:
    """Move away from the negative prompt: ``negative + scale * (positive - negative)``.

    Args:
        scale: 0 to 100; up to 1 there is no negative branch and no guidance.
        interval: Lowest and highest noise level, in [0, 1], at which to guide; elsewhere the prompt alone is followed.
        mixes: Whether a scale below 1 mixes both prompts, down to the negative one alone at 0.

    Raises:
        InvalidInput: A number is out of range.

    References:
        | Classifier-Free Diffusion Guidance (Ho and Salimans, 2022)
        | Applying Guidance in a Limited Interval Improves Sample and Distribution Quality (Kynkäänniemi et al., 2024)
    """

    scale: float
    interval: tuple[float, float] = (0.0, 1.0)
    mixes: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.scale <= 100.0:
            raise InvalidInput("guidance scale", self.scale, "from 0 to 100")
        if not 0.0 <= self.interval[0] <= self.interval[1] <= 1.0:
            raise InvalidInput("guidance interval", self.interval, "two numbers from 0 to 1, the lower first")

    @property
    def skip_layers(self) -> frozenset[int]:
        """No blocks."""
        return frozenset()

    def branches(self, sigma: float, step: int, steps: int) -> tuple[Branch, ...]:
        """Return the positive branch, and the negative one where it counts."""
        low, high = self.interval
        counts = self.scale > 1.0 or (self.mixes and self.scale != 1.0)
        if counts and low <= sigma <= high:
            return Branch.POSITIVE, Branch.NEGATIVE
        return (Branch.POSITIVE,)

    def combine(self, velocities: Mapping[Branch, Tensor]) -> Tensor:
        """Return the velocity moved away from the negative branch, if there is one."""
        positive, negative = velocities[Branch.POSITIVE], velocities.get(Branch.NEGATIVE)
        return positive if negative is None else negative + (positive - negative) * self.scale


@dataclass(frozen=True)
class SkipLayer:
    """Move away from what the model predicts without some of its blocks, on top of another guidance.

    Args:
        inner: The other guidance.
        layers: Blocks to leave out; 7, 8 and 9 for SD3.5 Medium.
        scale: 0 to 100; 0 switches it off.
        start: It acts at step i of N while ``start * N < i < end * N``, both bounds left out.
        end: See `start`.
        interval: If given, it acts from the lowest to the highest of these noise levels instead, bounds included.
        rescale: How far the result's spread is brought back to the positive branch's, 0 to 10; 0 leaves it as it is.

    Raises:
        InvalidInput: A number is out of range.
    """

    inner: Guidance
    layers: frozenset[int] = frozenset({7, 8, 9})
    scale: float = 2.5
    start: float = 0.01
    end: float = 0.20
    interval: tuple[float, float] | None = None
    rescale: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.scale <= 100.0:
            raise InvalidInput("skip-layer scale", self.scale, "from 0 to 100")
        for name, bound in (("skip-layer start", self.start), ("skip-layer end", self.end)):
            if not 0.0 <= bound <= 1.0:
                raise InvalidInput(name, bound, "from 0 to 1")
        if self.interval and not 0.0 <= self.interval[0] <= self.interval[1] <= 1.0:
            raise InvalidInput("skip-layer interval", self.interval, "two numbers from 0 to 1, the lower first")
        if not 0.0 <= self.rescale <= 10.0:
            raise InvalidInput("skip-layer rescale", self.rescale, "from 0 to 10")

    @property
    def skip_layers(self) -> frozenset[int]:
        """Blocks that the skip branch leaves out."""
        return self.layers

    def branches(self, sigma: float, step: int, steps: int) -> tuple[Branch, ...]:
        """Return the inner guidance's branches, and the skip branch while it acts."""
        wanted = self.inner.branches(sigma, step, steps)
        return (*wanted, Branch.SKIP) if self._acts(sigma, step, steps) else wanted

    def combine(self, velocities: Mapping[Branch, Tensor]) -> Tensor:
        """Return the inner guidance's velocity moved away from the skip branch, if there is one."""
        velocity = self.inner.combine(velocities)
        skipped = velocities.get(Branch.SKIP)
        if skipped is None:
            return velocity
        positive = velocities[Branch.POSITIVE]
        velocity = velocity + (positive - skipped) * self.scale
        return _rescaled(velocity, positive, self.rescale) if self.rescale else velocity

    def _acts(self, sigma: float, step: int, steps: int) -> bool:
        if not self.layers or self.scale == 0.0:
            return False
        if self.interval is not None:
            return self.interval[0] <= sigma <= self.interval[1]
        return self.start * steps < step < self.end * steps


@dataclass(frozen=True)
class Perturbed:
    """Move away from what the model predicts when the picture's tokens do not see each other in one of its blocks.

    Args:
        inner: The guidance that this comes on top of.
        scale: 0 to 100; 0 switches it off.

    Raises:
        InvalidInput: `scale` is out of range.

    References:
        | Self-Rectifying Diffusion Sampling with Perturbed-Attention Guidance (Ahn et al., 2024)
    """

    inner: Guidance
    scale: float = 3.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.scale <= 100.0:
            raise InvalidInput("perturbed-attention scale", self.scale, "from 0 to 100")

    @property
    def skip_layers(self) -> frozenset[int]:
        """Blocks that the inner guidance's skip branch leaves out."""
        return self.inner.skip_layers

    def branches(self, sigma: float, step: int, steps: int) -> tuple[Branch, ...]:
        """Return the inner guidance's branches, and the perturbed one."""
        wanted = self.inner.branches(sigma, step, steps)
        return (*wanted, Branch.APART) if self.scale else wanted

    def combine(self, velocities: Mapping[Branch, Tensor]) -> Tensor:
        """Return the inner guidance's velocity moved away from the perturbed branch."""
        velocity, apart = self.inner.combine(velocities), velocities.get(Branch.APART)
        return velocity if apart is None else velocity + (velocities[Branch.POSITIVE] - apart) * self.scale


@dataclass(frozen=True)
class Rescaled:
    """Bring the spread of a guided velocity back to that of the positive branch, against washed-out or burnt colours.

    Args:
        inner: The guidance to tame.
        multiplier: How much of the correction to use, from 0 to 1.

    Raises:
        InvalidInput: `multiplier` is out of range.

    References:
        | Common Diffusion Noise Schedules and Sample Steps are Flawed (Lin et al., 2023), section 3.4
    """

    inner: Guidance
    multiplier: float = 0.7

    def __post_init__(self) -> None:
        if not 0.0 <= self.multiplier <= 1.0:
            raise InvalidInput("rescale multiplier", self.multiplier, "from 0 to 1")

    @property
    def skip_layers(self) -> frozenset[int]:
        """Blocks that the inner guidance's skip branch leaves out."""
        return self.inner.skip_layers

    def branches(self, sigma: float, step: int, steps: int) -> tuple[Branch, ...]:
        """Return the inner guidance's branches."""
        return self.inner.branches(sigma, step, steps)

    def combine(self, velocities: Mapping[Branch, Tensor]) -> Tensor:
        """Return the inner guidance's velocity, each picture scaled by the ratio of the two spreads."""
        velocity, positive = self.inner.combine(velocities), velocities[Branch.POSITIVE]
        if velocity is positive:
            return positive
        return _rescaled(velocity, positive, self.multiplier)


def _rescaled(velocity: Tensor, positive: Tensor, multiplier: float) -> Tensor:
    ratio = _spread(positive) / _spread(velocity)
    return velocity * (ratio * multiplier + (1.0 - multiplier))


def _spread(velocity: Tensor) -> Tensor:
    """Standard deviation of each picture, never 0, so that a batch can be split anywhere without changing it."""
    return torch.std(velocity, dim=(-3, -2, -1), keepdim=True).clamp_min(1e-12)
