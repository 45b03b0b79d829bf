"""Deterministic samplers: solvers of the flow's differential equation. Knows nothing of random numbers.

With ``d`` the denoised estimate, ``dx/dsigma = (x - d) / sigma``. The logarithmic samplers here measure time by
``-log(sigma)``, which is finite at sigma = 1; some libraries use ``log((1 - sigma) / sigma)`` and get other pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from torch import Tensor

from keelbill.engine.samplers.base import SAMPLERS, Evaluation, Evaluations, Noise, mix


@dataclass(frozen=True)
class Euler:
    """Straight steps along the flow; the last one lands on the denoised estimate."""

    order = 1
    evaluations = 1
    stochastic = False

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        for step, (sigma, after) in enumerate(pairwise(sigmas)):
            denoised = yield Evaluation(x, sigma, step)
            x = mix(x, denoised, after / sigma)
        return x


@dataclass(frozen=True)
class Heun:
    """Averages the slopes at both ends of a step.

    References:
        | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), algorithm 1
    """

    order = 2
    evaluations = 2
    stochastic = False

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        for step, (sigma, after) in enumerate(pairwise(sigmas)):
            denoised = yield Evaluation(x, sigma, step)
            ahead = mix(x, denoised, after / sigma)
            if after > 0.0:
                slope = (x - denoised) / sigma
                denoised = yield Evaluation(ahead, after, step)
                slope_ahead = (ahead - denoised) / after
                ahead = x + (slope + slope_ahead) * (0.5 * (after - sigma))
            x = ahead
        return x


@dataclass(frozen=True)
class DPM2:
    """Takes the slope from the middle of a step, halfway in the logarithm of the noise.

    References:
        | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), algorithm 3
        | DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling (Lu et al., 2022)
    """

    order = 2
    evaluations = 2
    stochastic = False

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        for step, (sigma, after) in enumerate(pairwise(sigmas)):
            denoised = yield Evaluation(x, sigma, step)
            if after > 0.0:
                middle = math.sqrt(sigma * after)
                halfway = mix(x, denoised, middle / sigma)
                denoised = yield Evaluation(halfway, middle, step)
                x = x + (halfway - denoised) * ((after - sigma) / middle)
            else:
                x = denoised
        return x


@dataclass(frozen=True)
class DPMpp2M:
    """Extrapolates the denoised estimate through this step and the one before, in logarithmic time.

    References:
        | DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022), algorithm 2
    """

    order = 2
    evaluations = 1
    stochastic = False

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        before: tuple[float, Tensor] | None = None
        for step, (sigma, after) in enumerate(pairwise(sigmas)):
            denoised = yield Evaluation(x, sigma, step)
            target = denoised
            if before is not None and after > 0.0:
                ratio = math.log(before[0] / sigma) / math.log(sigma / after)
                weight = 1.0 / (2.0 * ratio)
                target = denoised * (1.0 + weight) - before[1] * weight
            x = mix(x, target, after / sigma)
            before = sigma, denoised
        return x


@dataclass(frozen=True)
class ResMultistep:
    """Integrates the line through the last two denoised estimates exactly, in logarithmic time.

    References:
        | Improved Order Analysis and Design of Exponential Integrator for Diffusion Models (Zhang et al., 2023)
    """

    order = 2
    evaluations = 1
    stochastic = False

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        before: tuple[float, Tensor] | None = None
        for step, (sigma, after) in enumerate(pairwise(sigmas)):
            denoised = yield Evaluation(x, sigma, step)
            if before is None or after == 0.0:
                following = mix(x, denoised, after / sigma)
            else:
                h, gone = math.log(sigma / after), math.log(before[0] / sigma)
                slope_weight = (math.expm1(-h) + h) / gone  # h^2 phi_2(-h) over the distance of the two estimates
                current_weight = -math.expm1(-h) + slope_weight
                following = x * (after / sigma) + denoised * current_weight - before[1] * slope_weight
            x, before = following, (sigma, denoised)
        return x


@dataclass(frozen=True)
class GradientEstimation:
    """Euler's step with a slope that is pushed away from the one before.

    Args:
        gamma: How far: 1 is Euler's step.

    References:
        | Interpreting and Improving Diffusion Models from an Optimization Perspective (Permenter and Yuan, 2023)
    """

    gamma: float = 2.0

    order = 1
    evaluations = 1
    stochastic = False

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        slope_before: Tensor | None = None
        for step, (sigma, after) in enumerate(pairwise(sigmas)):
            denoised = yield Evaluation(x, sigma, step)
            slope = (x - denoised) / sigma
            following = mix(x, denoised, after / sigma)
            if slope_before is not None and after > 0.0:
                following = following + (slope - slope_before) * ((self.gamma - 1.0) * (after - sigma))
            x, slope_before = following, slope
        return x


Weights = Callable[[Sequence[float], float], list[float]]
"""From (the last noise levels, newest first; the next one) to one weight for each slope."""


def fixed_weights(levels: Sequence[float], after: float) -> list[float]:
    """Adams-Bashforth weights for even steps, applied to uneven ones."""
    table = (
        (1.0,),
        (3.0 / 2.0, -1.0 / 2.0),
        (23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0),
        (55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0),
    )
    return [weight * (after - levels[0]) for weight in table[len(levels) - 1]]


def lagrange_weights(levels: Sequence[float], after: float) -> list[float]:
    """Integrals over the step of the polynomials in sigma that are 1 at one past level and 0 at the others."""
    return _polynomial_weights(levels, after, lambda sigma: sigma)


def deis_weights(levels: Sequence[float], after: float) -> list[float]:
    """Like `lagrange_weights`, with polynomials in the time of the linear variance-preserving process."""
    return _polynomial_weights(levels, after, _variance_preserving_time)


def _variance_preserving_time(sigma: float) -> float:
    """The time at which the linear process has this noise-to-signal ratio: 0.002 at time 0.001, and 80 at time 1."""
    early, low, high = 1e-3, math.log1p(0.002**2), math.log1p(80.0**2)
    growth = 2.0 * (low / early - high) / (early - 1.0)
    start = high - 0.5 * growth
    return (math.sqrt(start**2 + 2.0 * growth * math.log1p(sigma**2)) - start) / growth


def _polynomial_weights(levels: Sequence[float], after: float, clock: Callable[[float], float]) -> list[float]:
    points, point_weights = np.polynomial.legendre.leggauss(16)
    half, centre = 0.5 * (after - levels[0]), 0.5 * (after + levels[0])
    nodes = [clock(level) for level in levels]
    weights = [0.0] * len(nodes)
    for point, point_weight in zip(points.tolist(), point_weights.tolist(), strict=True):
        now = clock(centre + half * point)
        for j, node in enumerate(nodes):
            basis = math.prod((now - other) / (node - other) for k, other in enumerate(nodes) if k != j)
            weights[j] += half * point_weight * basis
    return weights


@dataclass(frozen=True)
class AdamsBashforth:
    """Extrapolates the slopes of the last few steps; the last step lands on the denoised estimate.

    Args:
        memory: How many slopes, 1 to 4.
        weights: How they are weighted.

    References:
        | Fast Sampling of Diffusion Models with Exponential Integrator (Zhang and Chen, 2022): DEIS and iPNDM
    """

    memory: int
    weights: Weights

    order = 2  # the first step, with one slope only, holds the whole run to the second order
    evaluations = 1
    stochastic = False

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        slopes: list[Tensor] = []
        for step, (sigma, after) in enumerate(pairwise(sigmas)):
            denoised = yield Evaluation(x, sigma, step)
            if after == 0.0:
                return denoised
            slopes = [(x - denoised) / sigma, *slopes][: self.memory]
            levels = [sigmas[step - k] for k in range(len(slopes))]
            for slope, weight in zip(slopes, self.weights(levels, after), strict=True):
                x = x + slope * weight
        return x


@dataclass(frozen=True)
class UniPC:
    """Predicts the next latent from the last estimates, then corrects it with the new one at no extra evaluation.

    Time is ``-log(sigma)``. The order falls to 1 at the end of the run, and the last step is not corrected.

    Args:
        variant: Which of the paper's two scalings B(h).
        most: Highest order of the predictor.

    References:
        | UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models (Zhao et al., 2023)
    """

    variant: Literal["bh1", "bh2"] = "bh1"
    most: int = 3

    order = 2  # the last step, of the first order and not corrected, holds the whole run to the second
    evaluations = 1
    stochastic = False

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        steps = len(sigmas) - 1
        highest = min(self.most, max(steps - 1, 1))
        history: list[tuple[float, Tensor]] = []  # newest first: noise level, denoised estimate
        uncorrected: tuple[Tensor, int] | None = None  # where the last step began, and its order
        for step, (sigma, after) in enumerate(pairwise(sigmas)):
            denoised = yield Evaluation(x, sigma, step)
            if uncorrected is not None:
                start, order = uncorrected
                x = self.move(start, history[:order], sigma, denoised)
            history = [(sigma, denoised), *history][: self.most]
            if after == 0.0:
                return denoised
            order = min(highest, step + 1, steps - step)
            uncorrected = x, order
            x = self.move(x, history[:order], after, None)
        return x

    def move(self, x: Tensor, history: Sequence[tuple[float, Tensor]], after: float, arrived: Tensor | None) -> Tensor:
        """Take one step: predict, or correct what was predicted.

        Args:
            x: The latent at the newest level of `history`.
            history: Noise levels with their denoised estimates, newest first; as many as the order of the step.
            after: The level to go to, above 0.
            arrived: The estimate at `after`, to correct with it; None predicts.
        """
        (sigma, denoised), *older = history
        h = math.log(sigma / after)
        ratios = [math.log(sigma / level) / h for level, _ in older]
        slopes = [(estimate - denoised) / ratio for (_, estimate), ratio in zip(older, ratios, strict=True)]
        if arrived is not None:
            ratios, slopes = [*ratios, 1.0], [*slopes, arrived - denoised]
        x = mix(x, denoised, after / sigma)
        for slope, weight in zip(slopes, self._weights(ratios, h), strict=True):
            x = x + slope * weight
        return x

    def _weights(self, ratios: Sequence[float], h: float) -> list[float]:
        """Solve the paper's order conditions for the weights of the differences."""
        if not ratios:
            return []
        scale = h if self.variant == "bh1" else -math.expm1(-h)
        if len(ratios) == 1:
            return [0.5 * scale]  # the paper's choice for the smallest system, for any B(h)
        phi, factorial = math.expm1(-h) / -h - 1.0, 1.0
        conditions = []
        for i in range(len(ratios)):
            conditions.append(-phi * factorial)
            factorial *= i + 2
            phi = phi / -h - 1.0 / factorial
        powers = [[ratio**i for ratio in ratios] for i in range(len(ratios))]
        solved: list[float] = np.linalg.solve(powers, conditions).tolist()
        return solved


SAMPLERS.register("euler")(Euler())
SAMPLERS.register("ddim")(Euler())  # on a flow, DDIM without noise is Euler's step
SAMPLERS.register("heun")(Heun())
SAMPLERS.register("dpm_2")(DPM2())
SAMPLERS.register("lms")(AdamsBashforth(4, lagrange_weights))
SAMPLERS.register("ipndm")(AdamsBashforth(4, fixed_weights))
SAMPLERS.register("ipndm_v")(AdamsBashforth(4, lagrange_weights))
SAMPLERS.register("deis")(AdamsBashforth(3, deis_weights))
SAMPLERS.register("dpmpp_2m")(DPMpp2M())
SAMPLERS.register("res_multistep")(ResMultistep())
SAMPLERS.register("gradient_estimation")(GradientEstimation())
SAMPLERS.register("uni_pc")(UniPC("bh1"))
SAMPLERS.register("uni_pc_bh2")(UniPC("bh2"))
