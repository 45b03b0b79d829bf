"""What a sampler is, and how one is driven. Knows no particular sampler, no model and no guidance."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from keelbill.core.errors import InvalidInput
from keelbill.core.registry import Registry

Noise = Callable[[], Tensor]
"""Draws the next unit Gaussian of the latent's shape from the request's own generator."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A sampler's question to the model: what is the clean latent behind `x`?

    Args:
        x: The noisy latent, of the shape the run began with.
        sigma: Its noise level, above 0 and at most 1.
        step: The step this belongs to, from 0; some samplers ask twice in a step.
    """

    x: Tensor
    sigma: float
    step: int


Evaluations = Generator[Evaluation, Tensor, Tensor]
"""Yields what to evaluate, is sent the denoised estimate of the same shape, and returns the final latent."""


class Sampler(Protocol):
    """A way to get from noise to a latent by asking the model.

    It works on each element of the latent alone, with sums and products only, so the result does not depend on what
    else is in the batch. Random draws are taken in the order of the steps, none for a step that ends at 0.
    """

    @property
    def order(self) -> int:
        """Power of the step size by which the error falls (without the random part), with even steps."""
        ...

    @property
    def evaluations(self) -> int:
        """Questions to the model in each step but the last."""
        ...

    @property
    def stochastic(self) -> bool:
        """Whether it adds noise on the way."""
        ...

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run.

        Args:
            x: The latent at noise level ``sigmas[0]``, ``(1 - sigma) * x0 + sigma * noise``.
            sigmas: Strictly decreasing noise levels in [0, 1]; fewer than two leave `x` as it is.
            noise: Called only by stochastic samplers.
        """
        ...


SAMPLERS: Registry[Sampler] = Registry("sampler")


def denoise(
    sampler: Sampler,
    model: Callable[[Tensor, float], Tensor],
    x: Tensor,
    sigmas: Sequence[float],
    noise: Noise,
    on_step: Callable[[int, float, Tensor], None] | None = None,
) -> Tensor:
    """Run a sampler from start to end on one latent: the plain loop beside the batcher.

    Args:
        sampler: Which way to go.
        model: From (x, sigma) to the denoised estimate.
        x: The latent at noise level ``sigmas[0]``.
        sigmas: Strictly decreasing noise levels.
        noise: Source of unit Gaussians of the shape of `x`.
        on_step: Told (steps done, noise level reached, latest denoised estimate) after each step.

    Returns:
        The latent at noise level ``sigmas[-1]``.

    Raises:
        InvalidInput: `x` is of a type that is too coarse for sampling.
    """
    if x.dtype not in (torch.float32, torch.float64):
        raise InvalidInput("latent type", str(x.dtype), "torch.float32")
    run = sampler.run(x, sigmas, noise)
    wanted = _start(run)
    while isinstance(wanted, Evaluation):
        denoised = model(wanted.x, wanted.sigma)
        following = _resume(run, denoised)
        if on_step and (not isinstance(following, Evaluation) or following.step > wanted.step):
            on_step(wanted.step + 1, sigmas[wanted.step + 1], denoised)
        wanted = following
    return wanted


def _start(run: Evaluations) -> Evaluation | Tensor:
    """Return the first question, or the result of a run that has none."""
    try:
        return next(run)
    except StopIteration as end:
        return _result(end)


def _resume(run: Evaluations, denoised: Tensor) -> Evaluation | Tensor:
    """Answer the last question; return the next one, or the result."""
    try:
        return run.send(denoised)
    except StopIteration as end:
        return _result(end)


def _result(end: StopIteration) -> Tensor:
    latent: Tensor = end.value
    return latent


def evaluation_sigmas(sampler: Sampler, sigmas: Sequence[float]) -> list[float]:
    """Return the noise levels that a run will ask the model about, in order: a dry run on one zero."""
    asked: list[float] = []
    zero = torch.zeros(1)

    def record(x: Tensor, sigma: float) -> Tensor:
        asked.append(sigma)
        return x

    denoise(sampler, record, zero, sigmas, lambda: zero)
    return asked


def mix(x: Tensor, denoised: Tensor, kept: float) -> Tensor:
    """Move `x` along the straight line to `denoised`, keeping the fraction `kept` of its noise (Euler's step)."""
    return x * kept + denoised * (1.0 - kept)
