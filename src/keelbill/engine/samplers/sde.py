"""Stochastic samplers: they remove more noise than a step needs and add fresh noise. Knows nothing of seeds.

On a flow the signal's scale is ``1 - sigma``, so fresh noise comes with a rescaling that keeps a latent at the level
``x = (1 - sigma) * x0 + sigma * noise``. Samplers that measure time by ``log((1 - sigma) / sigma)`` treat a run that
starts at sigma = 1 as if it started just below. Each draw is one Gaussian of the latent's shape; no Brownian tree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from keelbill.engine.samplers.base import SAMPLERS, Evaluation, Evaluations, Noise, mix

START = 2.9997 / 2.9998
"""Stands for sigma = 1 where its logarithm is needed: one ten-thousandth of the way at shift 3, as is usual."""


def half_log_snr(sigma: float) -> float:
    """Return ``log((1 - sigma) / sigma)`` for `sigma` strictly between 0 and 1."""
    return math.log1p(-sigma) - math.log(sigma)


def sigma_of(half_log_snr: float) -> float:
    """Return the noise level that has this half log signal-to-noise ratio."""
    return 1.0 / (1.0 + math.exp(half_log_snr))


def below_one(sigmas: Sequence[float]) -> list[float]:
    """Return the levels with a first one of 1 moved just below, and above the second."""
    levels = list(sigmas)
    if len(levels) > 1 and levels[0] >= 1.0:
        levels[0] = START if levels[1] < START else 0.5 * (1.0 + levels[1])
    return levels


@dataclass(frozen=True)
class Split:
    """A step taken apart: down to a lower level, then up again by rescaling and fresh noise.

    Args:
        down: The level to step down to.
        scale: What the latent there is multiplied by.
        fresh: What fresh noise is multiplied by, to arrive at the step's own end.
    """

    down: float
    scale: float
    fresh: float

    @classmethod
    def of(cls, sigma: float, after: float, eta: float) -> Split:
        """Split the step from `sigma` to `after`; `eta` in [0, 1] says how far down it goes."""
        down = after * (1.0 + (after / sigma - 1.0) * eta)
        scale = (1.0 - after) / (1.0 - down)
        return cls(down, scale, math.sqrt(max(after**2 - (down * scale) ** 2, 0.0)))

    def up(self, x: Tensor, noise: Noise) -> Tensor:
        """Go from the lower level to the step's end."""
        return x * self.scale + noise() * self.fresh if self.fresh > 0.0 else x * self.scale


@dataclass(frozen=True)
class EulerAncestral:
    """Euler's step to a lower level, then fresh noise.

    Args:
        eta: Amount of fresh noise: 0 none, 1 as much as the diffusion had.
    """

    eta: float = 1.0

    order = 1
    evaluations = 1

    @property
    def stochastic(self) -> bool:
        """Whether it adds noise on the way."""
        return self.eta > 0.0

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        for step, (sigma, after) in enumerate(pairwise(sigmas)):
            denoised = yield Evaluation(x, sigma, step)
            split = Split.of(sigma, after, self.eta)
            x = mix(x, denoised, split.down / sigma)
            if after > 0.0:
                x = split.up(x, noise)
        return x


@dataclass(frozen=True)
class DPM2Ancestral:
    """The midpoint step of `dpm_2` to a lower level, then fresh noise.

    Args:
        eta: Amount of fresh noise: 0 none, 1 as much as the diffusion had.
    """

    eta: float = 1.0

    order = 2
    evaluations = 2

    @property
    def stochastic(self) -> bool:
        """Whether it adds noise on the way."""
        return self.eta > 0.0

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        for step, (sigma, after) in enumerate(pairwise(sigmas)):
            denoised = yield Evaluation(x, sigma, step)
            if after == 0.0:
                return denoised
            split = Split.of(sigma, after, self.eta)
            middle = math.sqrt(sigma * split.down)
            halfway = mix(x, denoised, middle / sigma)
            denoised = yield Evaluation(halfway, middle, step)
            x = split.up(x + (halfway - denoised) * ((split.down - sigma) / middle), noise)
        return x


@dataclass(frozen=True)
class DPMpp2SAncestral:
    """A step to a lower level with the estimate from its middle, in half log signal-to-noise time; then fresh noise.

    Args:
        eta: Amount of fresh noise: 0 none, 1 as much as the diffusion had.

    References:
        | DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022), algorithm 1
    """

    eta: float = 1.0

    order = 2
    evaluations = 2

    @property
    def stochastic(self) -> bool:
        """Whether it adds noise on the way."""
        return self.eta > 0.0

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        for step, (sigma, after) in enumerate(pairwise(sigmas)):
            denoised = yield Evaluation(x, sigma, step)
            if after == 0.0:
                return denoised
            split = Split.of(sigma, after, self.eta)
            if sigma >= 1.0:  # time is infinite here; the middle is taken just below
                middle = max(0.9999, 0.5 * (1.0 + split.down))
            else:
                middle = sigma_of(0.5 * (half_log_snr(sigma) + half_log_snr(split.down)))
            halfway = mix(x, denoised, middle / sigma)
            denoised = yield Evaluation(halfway, middle, step)
            x = split.up(mix(x, denoised, split.down / sigma), noise)
        return x


@dataclass(frozen=True)
class DPMppSDE:
    """A stochastic step with the estimate from its middle.

    Both noises of a step come from one Brownian motion in sigma: the second holds the first and a fresh part.

    Args:
        eta: Amount of fresh noise: 0 none, 1 as much as the diffusion had.

    References:
        | DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022)
    """

    eta: float = 1.0

    order = 2
    evaluations = 2

    @property
    def stochastic(self) -> bool:
        """Whether it adds noise on the way."""
        return self.eta > 0.0

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        for step, (sigma, after) in enumerate(pairwise(below_one(sigmas))):
            denoised = yield Evaluation(x, sigma, step)
            if after == 0.0:
                return denoised
            middle = sigma_of(0.5 * (half_log_snr(sigma) + half_log_snr(after)))
            halfway, fresh = self._move(x, denoised, sigma, middle)
            drawn = noise() if fresh > 0.0 else None
            if drawn is not None:
                halfway = halfway + drawn * fresh
            denoised = yield Evaluation(halfway, middle, step)
            x, fresh = self._move(x, denoised, sigma, after)
            if drawn is not None:
                shared = (sigma - middle) / (sigma - after)
                x = x + (drawn * math.sqrt(shared) + noise() * math.sqrt(1.0 - shared)) * fresh
        return x

    def _move(self, x: Tensor, denoised: Tensor, sigma: float, after: float) -> tuple[Tensor, float]:
        """Go from `sigma` to `after`, and say how much noise is missing there."""
        start, end = sigma / (1.0 - sigma), after / (1.0 - after)  # noise over signal
        fresh = min(end, self.eta * end * math.sqrt(1.0 - (end / start) ** 2))
        down = math.sqrt(end**2 - fresh**2)
        kept = down / start
        alpha = 1.0 - after
        return x * (kept * alpha / (1.0 - sigma)) + denoised * (alpha * (1.0 - kept)), fresh * alpha


@dataclass(frozen=True)
class DPMpp2MSDE:
    """A stochastic step that extrapolates the denoised estimate through this step and the one before.

    Args:
        eta: Amount of fresh noise: 0 none, 1 as much as the diffusion had.
        heun: Integrate the extrapolated line exactly, instead of taking its middle.

    References:
        | DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022), SDE form
    """

    eta: float = 1.0
    heun: bool = False

    order = 2
    evaluations = 1

    @property
    def stochastic(self) -> bool:
        """Whether it adds noise on the way."""
        return self.eta > 0.0

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        before: tuple[float, Tensor] | None = None
        for step, (sigma, after) in enumerate(pairwise(below_one(sigmas))):
            denoised = yield Evaluation(x, sigma, step)
            if after == 0.0:
                return denoised
            stride = Stride.of(sigma, after, self.eta)
            target = denoised * stride.weight
            if before is not None:
                ratio = before[0] / stride.h
                weight = stride.slope if self.heun else 0.5 * stride.weight
                target = target + (denoised - before[1]) * (weight / ratio)
            x = stride.land(x, target, noise)
            before = stride.h, denoised
        return x


@dataclass(frozen=True)
class DPMpp3MSDE:
    """A stochastic step that extrapolates the denoised estimate through this step and the two before.

    The quadratic term has half its exact weight, as in the widely used form, so the order stays 2.

    Args:
        eta: Amount of fresh noise: 0 none, 1 as much as the diffusion had.

    References:
        | DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022), SDE form
    """

    eta: float = 1.0

    order = 2
    evaluations = 1

    @property
    def stochastic(self) -> bool:
        """Whether it adds noise on the way."""
        return self.eta > 0.0

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        history: list[tuple[float, Tensor]] = []  # newest first: stride from there, denoised estimate
        for step, (sigma, after) in enumerate(pairwise(below_one(sigmas))):
            denoised = yield Evaluation(x, sigma, step)
            if after == 0.0:
                return denoised
            stride = Stride.of(sigma, after, self.eta)
            target = denoised * stride.weight
            if history:
                first = history[0][0] / stride.h
                slope = (denoised - history[0][1]) * (1.0 / first)
                if len(history) > 1:
                    second = history[1][0] / stride.h
                    bend = (slope - (history[0][1] - history[1][1]) * (1.0 / second)) * (1.0 / (first + second))
                    slope = slope + bend * first
                    target = target + bend * (0.5 - stride.slope / stride.h_eta)
                target = target + slope * stride.slope
            x = stride.land(x, target, noise)
            history = [(stride.h, denoised), *history][:2]
        return x


@dataclass(frozen=True)
class Stride:
    """A step of the reverse diffusion in half log signal-to-noise time, without its denoised part.

    Args:
        h: Its length.
        h_eta: Its length times ``1 + eta``.
        kept: What the latent is multiplied by.
        alpha: The signal's scale at its end.
        weight: Integral of the denoised estimate's weight over the step, before `alpha`.
        slope: The same for an estimate that grows from 0 to 1 during the step.
        fresh: What fresh noise is multiplied by.
    """

    h: float
    h_eta: float
    kept: float
    alpha: float
    weight: float
    slope: float
    fresh: float

    @classmethod
    def of(cls, sigma: float, after: float, eta: float) -> Stride:
        """Measure the step from `sigma` to `after`, both strictly between 0 and 1."""
        h = half_log_snr(after) - half_log_snr(sigma)
        h_eta = h * (1.0 + eta)
        weight = -math.expm1(-h_eta)
        return cls(
            h=h,
            h_eta=h_eta,
            kept=after / sigma * math.exp(-h * eta),
            alpha=1.0 - after,
            weight=weight,
            slope=1.0 - weight / h_eta,
            fresh=after * math.sqrt(-math.expm1(-2.0 * h * eta)),
        )

    def land(self, x: Tensor, target: Tensor, noise: Noise) -> Tensor:
        """Finish the step, given the integral of the weighted denoised estimate."""
        x = x * self.kept + target * self.alpha
        return x + noise() * self.fresh if self.fresh > 0.0 else x


@dataclass(frozen=True)
class Seeds2:
    """A two-stage exponential step whose noises are the exact ones of the linear equation.

    Args:
        eta: Amount of fresh noise: 0 none, 1 as much as the diffusion had.
        part: Where the second stage evaluates, as a part of the step in (0, 1].
        exact_slope: Integrate the line through both stages exactly (phi_2), instead of averaging them (phi_1).

    References:
        | SEEDS: Exponential SDE Solvers for Fast High-Quality Sampling from Diffusion Models (Gonzalez et al., 2023)
    """

    eta: float = 1.0
    part: float = 0.5
    exact_slope: bool = False

    order = 2
    evaluations = 2

    @property
    def stochastic(self) -> bool:
        """Whether it adds noise on the way."""
        return self.eta > 0.0

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        for step, (sigma, after) in enumerate(pairwise(below_one(sigmas))):
            denoised = yield Evaluation(x, sigma, step)
            if after == 0.0:
                return denoised
            begin, end = half_log_snr(sigma), half_log_snr(after)
            middle = after if self.part == 1.0 else sigma_of(begin + self.part * (end - begin))
            first, whole = Stride.of(sigma, middle, self.eta), Stride.of(sigma, after, self.eta)
            halfway = x * first.kept + denoised * (first.alpha * first.weight)
            drawn = noise() if self.stochastic else None
            if drawn is not None:
                halfway = halfway + drawn * first.fresh
            second = yield Evaluation(halfway, middle, step)
            weight = (whole.slope if self.exact_slope else 0.5 * whole.weight) / self.part
            x = x * whole.kept + (denoised * (whole.weight - weight) + second * weight) * whole.alpha
            if drawn is not None:
                carried = after * math.exp(-(end - half_log_snr(middle)) * self.eta) / middle
                x = x + drawn * (first.fresh * carried)
                if middle > after:
                    x = x + noise() * Stride.of(middle, after, self.eta).fresh
        return x


@dataclass(frozen=True)
class ERSDE:
    """A step of the extended reverse equation, with up to the second difference of the denoised estimate.

    Args:
        stages: Highest stage, 1 to 3.

    References:
        | Elucidating the Solution Space of Extended Reverse-Time SDE for Diffusion Models (Cui et al., 2023)
    """

    stages: int = 3

    order = 1  # the rectangles of the integrals leave a small first-order error
    evaluations = 1
    stochastic = True

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        levels = below_one(sigmas)
        older: list[tuple[float, Tensor]] = []  # newest first: noise over signal, denoised estimate
        slope_before: Tensor | None = None
        for step, (sigma, after) in enumerate(pairwise(levels)):
            denoised = yield Evaluation(x, sigma, step)
            if after == 0.0:
                return denoised
            start, end = sigma / (1.0 - sigma), after / (1.0 - after)
            kept = _spread(end) / _spread(start)
            target = denoised * (1.0 - kept)
            slope: Tensor | None = None
            if older and self.stages > 1:
                first, second = _spread_integrals(start, end)
                slope = (denoised - older[0][1]) * (1.0 / (start - older[0][0]))
                target = target + slope * (end - start + first * _spread(end))
                if slope_before is not None and self.stages > 2:
                    bend = (slope - slope_before) * (2.0 / (start - older[1][0]))
                    target = target + bend * (0.5 * (end - start) ** 2 + second * _spread(end))
            alpha = 1.0 - after
            x = x * (kept * alpha / (1.0 - sigma)) + target * alpha
            x = x + noise() * (alpha * math.sqrt(max(end**2 - (start * kept) ** 2, 0.0)))
            older, slope_before = [(start, denoised), *older][:2], slope
        return x


def _spread(ratio: float) -> float:
    """The paper's recommended function of the noise-to-signal ratio that sets how much fresh noise is added."""
    return ratio * (math.exp(ratio**0.3) + 10.0)


def _spread_integrals(start: float, end: float) -> tuple[float, float]:
    """Integrate ``1 / spread`` and ``(ratio - start) / spread`` from `end` up to `start` by 200 rectangles."""
    width = (start - end) / 200
    ratios = [end + k * width for k in range(200)]
    inverse = [1.0 / _spread(ratio) for ratio in ratios]
    moment = sum((ratio - start) * value for ratio, value in zip(ratios, inverse, strict=True))
    return sum(inverse) * width, moment * width


SAMPLERS.register("euler_ancestral")(EulerAncestral())
SAMPLERS.register("dpm_2_ancestral")(DPM2Ancestral())
SAMPLERS.register("dpmpp_2s_ancestral")(DPMpp2SAncestral())
for _suffix in ("", "_gpu"):  # elsewhere the suffix means noise from the GPU; here it always comes from the CPU
    SAMPLERS.register(f"dpmpp_sde{_suffix}")(DPMppSDE())
    SAMPLERS.register(f"dpmpp_2m_sde{_suffix}")(DPMpp2MSDE())
    SAMPLERS.register(f"dpmpp_2m_sde_heun{_suffix}")(DPMpp2MSDE(heun=True))
    SAMPLERS.register(f"dpmpp_3m_sde{_suffix}")(DPMpp3MSDE())
SAMPLERS.register("exp_heun_2_x0")(Seeds2(eta=0.0, part=1.0, exact_slope=True))
SAMPLERS.register("exp_heun_2_x0_sde")(Seeds2(part=1.0, exact_slope=True))
SAMPLERS.register("seeds_2")(Seeds2())
SAMPLERS.register("er_sde")(ERSDE())


@dataclass(frozen=True)
class Consistency:
    """Jumps to the denoised estimate and noises it again, for models distilled to few steps.

    References:
        | Latent Consistency Models: Synthesizing High-Resolution Images with Few-Step Inference (Luo et al., 2023)
    """

    order = 0
    evaluations = 1
    stochastic = True

    def run(self, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Evaluations:
        """Start a run; see `Sampler.run`."""
        for step, (sigma, after) in enumerate(pairwise(sigmas)):
            denoised = yield Evaluation(x, sigma, step)
            x = denoised * (1.0 - after) + noise() * after if after > 0.0 else denoised
        return x


SAMPLERS.register("lcm")(Consistency())
