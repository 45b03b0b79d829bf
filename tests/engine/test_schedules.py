"""Schedules against the published numbers, the reference library, and their own definitions."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from keelbill.core.errors import InvalidInput, UnknownName
from keelbill.engine.schedules import (
    SCHEDULES,
    resolution_shift,
    sigma_at_percent,
    sigmas,
    sigmas_for_denoise,
    sigmas_for_strength,
    time_shift,
    validate_sigmas,
)

EXACT = [name for name in SCHEDULES if name not in ("beta", "ddim_uniform")]


def table(shift: float) -> list[float]:
    return [time_shift((i + 1) / 1000, shift) for i in range(1000)]


class TestRefusals:
    def test_unknown_name_suggests_the_nearest(self) -> None:
        with pytest.raises(UnknownName, match="'trailing'"):
            sigmas("trailling", 4, 3.0)

    @pytest.mark.parametrize("steps", [0, -1, 10_001])
    def test_steps_out_of_range(self, steps: int) -> None:
        with pytest.raises(InvalidInput, match="steps"):
            sigmas("reference", steps, 3.0)

    @pytest.mark.parametrize("shift", [0.0, -3.0, 101.0, math.nan, math.inf])
    def test_shift_out_of_range(self, shift: float) -> None:
        with pytest.raises(InvalidInput, match="shift"):
            sigmas("reference", 4, shift)

    @pytest.mark.parametrize("denoise", [-0.1, 1.1, math.nan, 1e-9])
    def test_denoise_out_of_range(self, denoise: float) -> None:
        with pytest.raises(InvalidInput, match="denoise"):
            sigmas("reference", 20, 3.0, denoise)

    @pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan])
    def test_strength_out_of_range(self, strength: float) -> None:
        with pytest.raises(InvalidInput, match="strength"):
            sigmas_for_strength("reference", 20, 3.0, strength)

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            ([], "a list of"),
            ([1.0], "a list of"),
            ([1.0, 0.5, 0.5, 0.0], "0.5 follows 0.5"),
            ([1.0, 0.5, 0.7], "0.7 follows 0.5"),
            ([1.5, 0.5], "from 0 to 1"),
            ([0.5, -0.5], "from 0 to 1"),
            ([math.nan, 0.5], "from 0 to 1"),
            ([1.0, 1.0 - 1e-12, 0.0], "strictly decreasing"),
        ],
    )
    def test_custom_list_that_cannot_be_followed(self, values: list[float], reason: str) -> None:
        with pytest.raises(InvalidInput, match=reason):
            validate_sigmas(values)


class TestPublishedNumbers:
    def test_reference_in_4_steps(self) -> None:
        assert sigmas("reference", 4, 3.0).tolist() == pytest.approx([1.0, 0.857692, 0.602151, 0.008929, 0], abs=5e-7)

    def test_reference_in_28_steps(self) -> None:
        found = sigmas("reference", 28, 3.0).tolist()
        assert len(found) == 29
        assert found[:6] == pytest.approx([1.0, 0.987381, 0.974108, 0.960129, 0.945387, 0.929818], abs=5e-7)
        assert found[-4:] == pytest.approx([0.199827, 0.110906, 0.008929, 0.0], abs=5e-7)

    @pytest.mark.parametrize("name", ["trailing", "simple"])
    def test_few_steps(self, name: str) -> None:
        assert sigmas(name, 4, 3.0).tolist() == pytest.approx([1.0, 0.9, 0.75, 0.5, 0.0], abs=1e-7)

    @pytest.mark.parametrize("steps", [4, 6, 28, 50])
    @pytest.mark.parametrize("shift", [1.0, 3.0])
    def test_reference_is_what_the_common_library_does(self, steps: int, shift: float) -> None:
        theirs = FlowMatchEulerDiscreteScheduler(shift=shift)
        theirs.set_timesteps(steps)
        assert torch.allclose(sigmas("reference", steps, shift), theirs.sigmas, rtol=0, atol=1e-7)


class TestDefinitions:
    def test_simple_counts_table_entries_from_the_top(self) -> None:
        entries = table(3.0)
        expected = [entries[-1 - math.floor(k * 1000 / 7)] for k in range(7)] + [0.0]
        assert sigmas("simple", 7, 3.0).tolist() == pytest.approx(expected, abs=1e-7)

    def test_sgm_uniform_leaves_out_the_last_of_one_step_more(self) -> None:
        longer = sigmas("normal", 8, 3.0).tolist()
        assert sigmas("sgm_uniform", 7, 3.0).tolist() == pytest.approx([*longer[:7], 0.0], abs=1e-7)

    @pytest.mark.parametrize("steps", [1, 5, 20, 100, 1000])
    def test_beta_rounds_quantiles_to_table_indices(self, steps: int) -> None:
        entries = table(3.0)
        quantiles = beta(0.6, 0.6).ppf([1.0 - k / steps for k in range(steps)])
        indices = dict.fromkeys(round(float(q) * 999) for q in quantiles)
        expected = [entries[index] for index in indices] + [0.0]
        assert sigmas("beta", steps, 3.0).tolist() == pytest.approx(expected, abs=1e-7)

    def test_karras_is_even_in_the_seventh_root(self) -> None:
        roots = [s ** (1 / 7) for s in sigmas("karras", 6, 3.0).tolist()[:-1]]
        assert [a - b for a, b in pairwise(roots)] == pytest.approx([roots[0] - roots[1]] * 5, rel=1e-5)

    def test_exponential_is_even_in_the_logarithm(self) -> None:
        logs = [math.log(s) for s in sigmas("exponential", 6, 3.0).tolist()[:-1]]
        assert [a - b for a, b in pairwise(logs)] == pytest.approx([logs[0] - logs[1]] * 5, rel=1e-5)

    def test_kl_optimal_is_even_in_the_arctangent(self) -> None:
        angles = [math.atan(s) for s in sigmas("kl_optimal", 6, 3.0).tolist()[:-1]]
        assert [a - b for a, b in pairwise(angles)] == pytest.approx([angles[0] - angles[1]] * 5, rel=1e-5)

    @pytest.mark.parametrize("name", ["karras", "exponential", "kl_optimal"])
    def test_end_before_zero_is_the_smallest_trained_level(self, name: str) -> None:
        assert sigmas(name, 9, 3.0)[-2].item() == pytest.approx(time_shift(0.001, 3.0), abs=1e-7)

    def test_ddim_uniform_strides_through_the_table(self) -> None:
        expected = [*reversed(table(3.0)[1::50]), 0.0]
        assert sigmas("ddim_uniform", 20, 3.0).tolist() == pytest.approx(expected, abs=1e-7)

    def test_linear_quadratic_is_linear_then_smooth(self) -> None:
        passed = [1.0 - s for s in sigmas("linear_quadratic", 40, 3.0).tolist()]
        gaps = [b - a for a, b in pairwise(passed)]
        assert passed[20] == pytest.approx(0.025, abs=1e-6)
        assert gaps[:20] == pytest.approx([0.025 / 20] * 20, abs=1e-6)
        assert [b - a for a, b in pairwise(gaps[20:])] == pytest.approx([gaps[21] - gaps[20]] * 19, abs=1e-6)

    @pytest.mark.parametrize("name", SCHEDULES.names())
    def test_single_step(self, name: str) -> None:
        found = sigmas(name, 1, 3.0).tolist()
        assert found[-1] == 0.0
        assert len(found) == 2 or name == "ddim_uniform"

    def test_shift_follows_the_picture_size(self) -> None:
        assert resolution_shift(512 * 512, 1024 * 1024, 3.0) == 1.5

    def test_percent_of_model_time(self) -> None:
        assert [sigma_at_percent(p, 3.0) for p in (-1.0, 0.0, 0.5, 1.0, 2.0)] == [1.0, 1.0, 0.75, 0.0, 0.0]


class TestPartOfTheWay:
    def test_denoise_keeps_the_end_of_a_longer_schedule(self) -> None:
        longer = sigmas("simple", int(20 / 0.6), 3.0)
        assert torch.equal(sigmas_for_denoise("simple", 20, 3.0, 0.6), longer[-21:])
        assert torch.equal(sigmas("simple", 20, 3.0, 0.6), longer[-21:])

    def test_full_denoise_is_the_whole_schedule(self) -> None:
        assert torch.equal(sigmas_for_denoise("normal", 20, 3.0, 1.0), sigmas("normal", 20, 3.0))

    def test_no_denoise_is_no_schedule(self) -> None:
        assert sigmas_for_denoise("normal", 20, 3.0, 0.0).tolist() == []

    def test_strength_leaves_out_the_first_steps(self) -> None:
        whole = sigmas("reference", 28, 3.0)
        assert torch.equal(sigmas_for_strength("reference", 28, 3.0, 0.6), whole[11:])

    def test_strength_that_binary_fractions_cannot_hold(self) -> None:
        assert len(sigmas_for_strength("reference", 10, 3.0, 0.9)) == 10

    def test_full_and_no_strength(self) -> None:
        assert torch.equal(sigmas_for_strength("trailing", 4, 3.0, 1.0), sigmas("trailing", 4, 3.0))
        assert sigmas_for_strength("trailing", 4, 3.0, 0.0).tolist() == [0.0]


class TestProperties:
    @settings(deadline=None)
    @given(
        name=st.sampled_from(SCHEDULES.names()),
        steps=st.integers(1, 300) | st.sampled_from([999, 1000, 1001, 2000]),
        shift=st.floats(0.01, 100.0),
        denoise=st.floats(0.05, 1.0),
    )
    def test_strictly_decreasing_to_zero(self, name: str, steps: int, shift: float, denoise: float) -> None:
        found = sigmas(name, steps, shift, denoise)
        values = found.tolist()
        assert found.dtype == torch.float32
        assert values[0] <= 1.0
        assert values[-1] == 0.0
        assert all(before > after for before, after in pairwise(values))

    @settings(deadline=None)
    @given(name=st.sampled_from(EXACT), steps=st.integers(1, 300), shift=st.floats(0.5, 10.0))
    def test_number_of_steps(self, name: str, steps: int, shift: float) -> None:
        assert len(sigmas(name, steps, shift)) == steps + 1

    @settings(deadline=None)
    @given(
        values=st.lists(st.integers(0, 1000), min_size=2, max_size=40, unique=True).map(
            lambda v: [x / 1000 for x in sorted(v, reverse=True)]
        )
    )
    def test_custom_lists_that_fall_are_kept(self, values: list[float]) -> None:
        assert validate_sigmas(values).tolist() == pytest.approx(values, abs=1e-7)
