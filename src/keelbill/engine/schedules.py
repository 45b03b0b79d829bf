"""Lists of noise levels, from most to least noise. Knows nothing of models, samplers or pictures."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from keelbill.core.errors import InvalidInput
from keelbill.core.registry import Registry

TABLE_SIZE = 1000
"""Model times are the thousandths 1/1000, 2/1000, ... 1."""

MAX_STEPS = 10_000
_MAX_TOTAL = 1_000_000

Schedule = Callable[[int, float], list[float]]
"""From (steps, shift) to the noise levels without the closing 0."""

SCHEDULES: Registry[Schedule] = Registry("schedule")


def sigmas(name: str, steps: int, shift: float, denoise: float = 1.0) -> Tensor:
    """Return the noise levels of a run, strictly decreasing and closed by 0.

    Most schedules give exactly ``steps + 1`` values. Those that read a table of 1000 entries (`simple`, `beta`,
    `ddim_uniform`) leave out repeated entries; `ddim_uniform` may also take a few steps more than asked.

    Args:
        name: One of ``SCHEDULES.names()``.
        steps: 1 to 10,000.
        shift: Above 0 up to 100; 3 for the released models.
        denoise: See `sigmas_for_denoise`.

    Returns:
        float32 with shape ``(steps + 1,)``.

    Raises:
        UnknownName: No such schedule.
        InvalidInput: A number is out of range.
    """
    return sigmas_for_denoise(name, steps, shift, denoise)


def sigmas_for_denoise(name: str, steps: int, shift: float, denoise: float) -> Tensor:
    """Return the end of a longer schedule, so that `steps` steps cover the last part of the way (the graph's rule).

    Args:
        name: One of ``SCHEDULES.names()``.
        steps: Steps to take, 1 to 10,000.
        shift: Above 0 up to 100.
        denoise: Part of the way in [0, 1]: the last ``steps + 1`` values of a schedule of ``floor(steps / denoise)``.

    Returns:
        float32; empty for ``denoise = 0``, which leaves the latent as it is.

    Raises:
        UnknownName: No such schedule.
        InvalidInput: A number is out of range.
    """
    _check(steps, shift)
    schedule = SCHEDULES.get(name)
    if not 0.0 <= denoise <= 1.0 or 0.0 < denoise < steps / _MAX_TOTAL:
        raise InvalidInput("denoise", denoise, f"0, or from {steps / _MAX_TOTAL:g} to 1")
    if denoise == 0.0:
        return torch.zeros(0)
    if denoise == 1.0:
        return _closed(schedule(steps, shift))
    levels = schedule(int(steps / denoise), shift)
    return _closed(levels[-steps:])


def sigmas_for_strength(name: str, steps: int, shift: float, strength: float) -> Tensor:
    """Return the rest of a schedule after leaving out its first steps (the API's rule for image to image).

    Args:
        name: One of ``SCHEDULES.names()``.
        steps: Steps of the whole schedule, 1 to 10,000; fewer are taken.
        shift: Above 0 up to 100.
        strength: How far the image may change, in [0, 1]: the run starts at ``int(steps * (1 - strength))``.

    Returns:
        float32; just ``[0]``, so no steps, for ``strength = 0``.

    Raises:
        UnknownName: No such schedule.
        InvalidInput: A number is out of range.
    """
    if not 0.0 <= strength <= 1.0:
        raise InvalidInput("strength", strength, "from 0 to 1")
    whole = sigmas(name, steps, shift)
    first = int((len(whole) - 1) * (1.0 - strength) + 1e-9)  # 10 * (1 - 0.9) is 1, not 0.9999999999999998
    return whole[first:]


def validate_sigmas(values: Sequence[float]) -> Tensor:
    """Return a list of noise levels chosen by the user as a float32 tensor.

    Args:
        values: 2 to 10,001 numbers in [0, 1], strictly decreasing; the last may be 0.

    Raises:
        InvalidInput: The list is too short or too long, or a value is out of range or not below the one before.
    """
    if not 2 <= len(values) <= MAX_STEPS + 1:
        raise InvalidInput("sigmas", list(values), f"a list of 2 to {MAX_STEPS + 1} numbers")
    rounded = torch.tensor(values, dtype=torch.float32)
    levels: list[float] = rounded.tolist()
    if not all(0.0 <= level <= 1.0 for level in levels):
        raise InvalidInput("sigmas", list(values), "numbers from 0 to 1")
    for before, after in pairwise(levels):
        if after >= before:
            raise InvalidInput("sigmas", list(values), f"strictly decreasing; {after:g} follows {before:g}")
    return rounded


def time_shift(u: float, shift: float) -> float:
    """Map a time in [0, 1] to a noise level in [0, 1]; shifts above 1 spend more of the run at high noise.

    References:
        | Scaling Rectified Flow Transformers for High-Resolution Image Synthesis (Esser et al., 2024), section 5.3.2
    """
    return shift * u / (1.0 + (shift - 1.0) * u)


def resolution_shift(pixels: int, reference_pixels: int, reference_shift: float) -> float:
    """Return the shift for pictures of `pixels` pixels, given the one that suits `reference_pixels`.

    References:
        | Scaling Rectified Flow Transformers for High-Resolution Image Synthesis (Esser et al., 2024), section 5.3.2
    """
    return reference_shift * math.sqrt(pixels / reference_pixels)


def sigma_at_percent(percent: float, shift: float) -> float:
    """Return the noise level when the fraction `percent` in [0, 1] of the model's time has passed."""
    return time_shift(min(max(1.0 - percent, 0.0), 1.0), shift)


def _check(steps: int, shift: float) -> None:
    if not 1 <= steps <= MAX_STEPS:
        raise InvalidInput("steps", steps, f"from 1 to {MAX_STEPS}")
    if not 0.0 < shift <= 100.0:
        raise InvalidInput("shift", shift, "above 0 and at most 100")


def _closed(levels: Sequence[float]) -> Tensor:
    """Round to float32, leave out what repeats there, and append 0."""
    values = torch.tensor([*levels, 0.0], dtype=torch.float32)
    distinct: Tensor = torch.unique_consecutive(values)
    return distinct


def _linear(first: float, last: float, count: int) -> list[float]:
    """Return `count` equally spaced values, both ends included; a single value is `first`."""
    gaps = max(count - 1, 1)
    return [first + (last - first) * k / gaps for k in range(count)]


def _lowest(shift: float) -> float:
    """The smallest noise level that the models were trained on."""
    return time_shift(1.0 / TABLE_SIZE, shift)


def _entry(index: int, shift: float) -> float:
    """Entry 0 ... 999 of the table of noise levels."""
    return time_shift((index + 1) / TABLE_SIZE, shift)


@SCHEDULES.register("reference")
def _reference(steps: int, shift: float) -> list[float]:
    # The last time is already shifted and is shifted again: so do the published code and sample pictures.
    return [time_shift(u, shift) for u in _linear(1.0, _lowest(shift), steps)]


@SCHEDULES.register("trailing")
def _trailing(steps: int, shift: float) -> list[float]:
    return [time_shift(1.0 - k / steps, shift) for k in range(steps)]


@SCHEDULES.register("simple")
def _simple(steps: int, shift: float) -> list[float]:
    return [_entry(TABLE_SIZE - 1 - k * TABLE_SIZE // steps, shift) for k in range(steps)]


@SCHEDULES.register("sgm_uniform")
def _sgm_uniform(steps: int, shift: float) -> list[float]:
    return [time_shift(u, shift) for u in _linear(1.0, _lowest(shift), steps + 1)[:-1]]


SCHEDULES.register("normal")(_reference)


@SCHEDULES.register("beta")
def _beta(steps: int, shift: float) -> list[float]:
    """Quantiles of a beta distribution, which crowd at both ends.

    References:
        | Beta Sampling is All You Need (Lee et al., 2024)
    """
    edges = _beta_bin_edges(0.6)
    tie = 1e-12  # the median lies halfway between entries 499 and 500 and takes the upper, even one
    indices = [bisect_right(edges, 1.0 - k / steps + tie) for k in range(steps)]
    return [_entry(index, shift) for index in dict.fromkeys(indices)]


@lru_cache(maxsize=4)
def _beta_bin_edges(a: float) -> list[float]:
    """Return the probabilities at which a Beta(a, a) quantile, scaled to 0 ... 999, rounds up to the next integer."""
    return [_beta_cdf((index + 0.5) / (TABLE_SIZE - 1), a) for index in range(TABLE_SIZE - 1)]


def _beta_cdf(x: float, a: float) -> float:
    """The regularised incomplete beta function I_x(a, a), by its power series at 0 (DLMF 8.17.8)."""
    if x > 0.5:
        return 1.0 - _beta_cdf(1.0 - x, a)
    total, term = 0.0, 1.0
    for n in range(60):
        total += term / (a + n)
        term *= x * (n + 1.0 - a) / (n + 1.0)
    return float(total * x**a * math.gamma(2.0 * a) / math.gamma(a) ** 2)


@SCHEDULES.register("karras")
def _karras(steps: int, shift: float) -> list[float]:
    """Steps that are equal in the seventh root of the noise level.

    References:
        | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022), equation 5
    """
    rho = 7.0
    return [float(root**rho) for root in _linear(1.0, _lowest(shift) ** (1.0 / rho), steps)]


@SCHEDULES.register("exponential")
def _exponential(steps: int, shift: float) -> list[float]:
    return [math.exp(level) for level in _linear(0.0, math.log(_lowest(shift)), steps)]


@SCHEDULES.register("kl_optimal")
def _kl_optimal(steps: int, shift: float) -> list[float]:
    """Steps that are equal in the arctangent of the noise level.

    References:
        | Align Your Steps: Optimizing Sampling Schedules in Diffusion Models (Sabour et al., 2024), section 3.1
    """
    return [math.tan(angle) for angle in _linear(math.atan(1.0), math.atan(_lowest(shift)), steps)]


@SCHEDULES.register("ddim_uniform")
def _ddim_uniform(steps: int, shift: float) -> list[float]:
    stride = max(TABLE_SIZE // steps, 1)
    return [_entry(index, shift) for index in reversed(range(1, TABLE_SIZE, stride))]


@SCHEDULES.register("linear_quadratic")
def _linear_quadratic(steps: int, shift: float) -> list[float]:
    """Tiny equal steps for the first half, then steps that grow: the join has no kink.

    References:
        | Movie Gen: A Cast of Media Foundation Models (Polyak et al., 2024), section 3.4.2
    """
    threshold, half = 0.025, steps // 2
    if half == 0:
        return [1.0]
    slope = threshold / half
    rest = steps - half
    bend = (1.0 - threshold - slope * rest) / rest**2
    passed = [slope * k + bend * max(k - half, 0) ** 2 for k in range(steps)]
    return [1.0 - part for part in passed]
