"""Samplers on a model whose answer is known: clean latents that are Gaussian with mean MU and spread C.

Its denoised estimate is a straight line in x, and so is every sampler, which makes exact results easy to find.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import count, pairwise
from pathlib import Path

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from torch import Tensor

from keelbill.core.errors import InvalidInput, UnknownName
from keelbill.engine.samplers import SAMPLERS, Sampler, denoise, evaluation_sigmas
from keelbill.engine.samplers.ode import UniPC, deis_weights, fixed_weights, lagrange_weights
from keelbill.engine.samplers.sde import (
    DPM2Ancestral,
    DPMpp2MSDE,
    DPMpp2SAncestral,
    DPMpp3MSDE,
    DPMppSDE,
    EulerAncestral,
    Seeds2,
)
from keelbill.engine.schedules import sigmas as schedule

MU, C = 0.5, 0.7

ODE = [name for name in SAMPLERS.names() if not SAMPLERS.get(name).stochastic]
SDE = [name for name in SAMPLERS.names() if SAMPLERS.get(name).stochastic and name != "lcm"]
BELOW_THE_STEP = {"dpm_2_ancestral", "dpmpp_2s_ancestral"}
"""They evaluate on the way to a level below the step's end."""

WITHOUT_NOISE: dict[str, Sampler] = {
    "euler_ancestral": EulerAncestral(eta=0.0),
    "dpm_2_ancestral": DPM2Ancestral(eta=0.0),
    "dpmpp_2s_ancestral": DPMpp2SAncestral(eta=0.0),
    "dpmpp_sde": DPMppSDE(eta=0.0),
    "dpmpp_2m_sde": DPMpp2MSDE(eta=0.0),
    "dpmpp_2m_sde_heun": DPMpp2MSDE(eta=0.0, heun=True),
    "dpmpp_3m_sde": DPMpp3MSDE(eta=0.0),
    "seeds_2": Seeds2(eta=0.0),
}


def variance(sigma: float) -> float:
    return ((1.0 - sigma) * C) ** 2 + sigma**2


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """The exact mean of the clean latent, given the noisy one."""
    slope = (1.0 - sigma) * C**2 / variance(sigma)
    return MU + (x - (1.0 - sigma) * MU) * slope


def flow(x: Tensor, start: float, end: float) -> Tensor:
    """Where the exact flow carries `x`."""
    spread = math.sqrt(variance(end) / variance(start))
    return (1.0 - end) * MU + (x - (1.0 - start) * MU) * spread


def even(start: float, end: float, steps: int) -> list[float]:
    return [start + (end - start) * k / steps for k in range(steps + 1)]


def silence() -> Tensor:
    raise AssertionError("a deterministic sampler drew noise")


def draws(seed: int, *shape: int) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(*shape, generator=generator)


def error_of(sampler: Sampler, levels: Sequence[float]) -> float:
    x = torch.tensor([-1.5, 0.2, 2.0], dtype=torch.float64)
    found = denoise(sampler, gaussian, x, levels, silence)
    return float((found - flow(x, levels[0], levels[-1])).abs().max())


def law(sampler: Sampler, levels: Sequence[float]) -> tuple[float, float]:
    """Return the exact mean and variance of the result, from the responses to the start and to each draw.

    Element 0 holds the mean; elements 1, 2 ... hold what one unit of the start, the first draw ... becomes.
    """
    size = 2 * len(levels) + 2
    number = count(2)

    def unit(k: int) -> Tensor:
        return torch.zeros(size, dtype=torch.float64).index_fill_(0, torch.tensor(k), 1.0)

    def model(x: Tensor, sigma: float) -> Tensor:
        shifted = gaussian(x, sigma)
        response = shifted - gaussian(torch.zeros(1, dtype=torch.float64), sigma)
        return torch.cat([shifted[:1], response[1:]])

    start = unit(1) * math.sqrt(variance(levels[0]))
    start[0] = (1.0 - levels[0]) * MU
    found = denoise(sampler, model, start, levels, lambda: unit(next(number)))
    return float(found[0]), float((found[1:] ** 2).sum())


class TestRefusals:
    def test_unknown_name_suggests_the_nearest(self) -> None:
        with pytest.raises(UnknownName, match="'dpmpp_2m'"):
            SAMPLERS.get("dpmp_2m")

    def test_latents_too_coarse_to_sample(self) -> None:
        with pytest.raises(InvalidInput, match=r"torch\.float32"):
            denoise(SAMPLERS.get("euler"), gaussian, torch.zeros(3, dtype=torch.bfloat16), [1.0, 0.0], silence)


class TestDeterministic:
    @pytest.mark.parametrize("name", ODE)
    def test_reaches_the_exact_solution_with_its_order(self, name: str) -> None:
        sampler = SAMPLERS.get(name)
        coarse, fine = (error_of(sampler, even(0.9, 0.1, steps)) for steps in (80, 160))
        assert fine < (1e-2 if sampler.order == 1 else 2e-4)
        assert math.log2(coarse / fine) > sampler.order - 0.15

    @pytest.mark.parametrize("name", ODE)
    def test_from_pure_noise_to_the_clean_latent(self, name: str) -> None:
        levels = schedule("trailing", 200, 3.0).tolist()
        assert error_of(SAMPLERS.get(name), levels) < (2e-2 if SAMPLERS.get(name).order == 1 else 1e-2)

    @pytest.mark.parametrize("name", WITHOUT_NOISE)
    def test_stochastic_family_without_its_noise(self, name: str) -> None:
        sampler = WITHOUT_NOISE[name]
        coarse, fine = (error_of(sampler, even(0.9, 0.1, steps)) for steps in (400, 800))
        assert not sampler.stochastic
        assert math.log2(coarse / fine) > sampler.order - 0.15

    @pytest.mark.parametrize("name", ["lms", "ipndm", "uni_pc", "uni_pc_bh2"])
    def test_longer_memory_beats_the_second_order(self, name: str) -> None:
        levels = even(0.9, 0.1, 80)
        assert error_of(SAMPLERS.get(name), levels) < 0.5 * error_of(SAMPLERS.get("dpmpp_2m"), levels)

    @pytest.mark.parametrize("name", ODE)
    def test_a_perfect_model_is_followed_exactly(self, name: str) -> None:
        clean, x = torch.tensor([0.3, -2.0]), torch.tensor([1.0, -0.5])
        levels = schedule("reference", 6, 3.0).tolist()
        found = denoise(SAMPLERS.get(name), lambda x, sigma: clean, x, levels, silence)
        assert torch.equal(found, clean)
        halfway = denoise(SAMPLERS.get(name), lambda x, sigma: clean, x, levels[:4], silence)
        assert torch.allclose(halfway, clean + (x - clean) * levels[3], atol=1e-4)


class TestStochastic:
    @pytest.mark.parametrize("name", SDE)
    def test_reproduces_mean_and_variance(self, name: str) -> None:
        levels = even(0.98, 0.02, 400)
        mean, spread = law(SAMPLERS.get(name), levels)
        assert mean == pytest.approx(0.98 * MU, abs=2e-3)
        assert spread == pytest.approx(variance(0.02), rel=2e-2 if SAMPLERS.get(name).order == 1 else 3e-3)

    @pytest.mark.parametrize("name", SDE)
    def test_the_law_converges_with_its_order(self, name: str) -> None:
        coarse, fine = (abs(law(SAMPLERS.get(name), even(0.9, 0.1, steps))[1] - variance(0.1)) for steps in (200, 400))
        assert math.log2(coarse / fine) > SAMPLERS.get(name).order - 0.15

    @pytest.mark.parametrize("name", SDE)
    def test_from_pure_noise_to_the_clean_latent(self, name: str) -> None:
        mean, spread = law(SAMPLERS.get(name), schedule("reference", 500, 3.0).tolist())
        assert mean == pytest.approx(MU, abs=5e-3)
        assert spread == pytest.approx(C**2, rel=3e-2)

    @pytest.mark.parametrize("name", [*SDE, "lcm"])
    def test_a_perfect_model_is_reached_exactly(self, name: str) -> None:
        clean = torch.tensor([0.3, -2.0])
        levels = schedule("trailing", 4, 3.0).tolist()
        found = denoise(SAMPLERS.get(name), lambda x, sigma: clean, torch.randn(2), levels, draws(0, 2))
        assert torch.equal(found, clean)

    @pytest.mark.parametrize("name", [*SDE, "lcm"])
    def test_a_perfect_model_keeps_the_noise_level_at_every_step(self, name: str) -> None:
        """With one clean latent for all, what is left must be ``(1 - sigma) * x0 + sigma * noise`` in law."""
        levels = [1.0, 0.9, 0.6, 0.25]
        size, number = 32, count(1)

        def draw() -> Tensor:
            return torch.zeros(size).index_fill_(0, torch.tensor(next(number)), 1.0)

        def model(x: Tensor, sigma: float) -> Tensor:
            return torch.zeros(size)

        start = torch.zeros(size).index_fill_(0, torch.tensor(0), 1.0)
        spread = float(denoise(SAMPLERS.get(name), model, start, levels, draw).square().sum())
        assert spread == pytest.approx(0.25**2, rel=2e-4)

    def test_consistency_step_by_hand(self) -> None:
        x, fresh = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 0.25])
        found = denoise(SAMPLERS.get("lcm"), lambda x, sigma: x * 0.5, x, [1.0, 0.4], lambda: fresh)
        assert torch.allclose(found, 0.6 * 0.5 * x + 0.4 * fresh)

    def test_ancestral_step_by_hand(self) -> None:
        x, fresh = torch.tensor([1.0]), torch.tensor([0.5])
        found = denoise(SAMPLERS.get("euler_ancestral"), lambda x, sigma: x * 0.2, x, [0.8, 0.4], lambda: fresh)
        at_down = 0.2 + (1.0 - 0.2) * 0.2 / 0.8  # level 0.4 * 0.4 / 0.8 = 0.2
        expected = at_down * 0.6 / 0.8 + 0.5 * math.sqrt(0.4**2 - (0.2 * 0.6 / 0.8) ** 2)
        assert found.item() == pytest.approx(expected)

    def test_the_same_draws_give_the_same_bits(self) -> None:
        levels = schedule("reference", 6, 3.0).tolist()
        for name in SDE:
            first, second = (
                denoise(SAMPLERS.get(name), gaussian, torch.ones(16, 4, 4), levels, draws(7, 16, 4, 4))
                for _ in range(2)
            )
            assert torch.equal(first, second)


class TestAgainstTheCommonLibrary:
    @pytest.mark.parametrize("steps", [4, 28])
    def test_euler_on_the_same_velocities(self, steps: int) -> None:
        theirs = FlowMatchEulerDiscreteScheduler(shift=3.0)
        theirs.set_timesteps(steps)
        x = start = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
        velocities: list[Tensor] = []

        def model(x: Tensor, sigma: float) -> Tensor:
            velocities.append(torch.sin(3.0 * x) - sigma)
            return x - sigma * velocities[-1]

        ours = denoise(SAMPLERS.get("euler"), model, x, theirs.sigmas.tolist(), silence)
        for velocity, time in zip(velocities, theirs.timesteps, strict=True):
            start = theirs.step(velocity, time, start, return_dict=False)[0]
        assert torch.allclose(ours, start, rtol=0, atol=2e-6)


class TestByHand:
    def test_dpmpp_2m(self) -> None:
        """Two steps of the reference form, with -log(sigma) as the time."""
        answers = iter([torch.tensor([0.4]), torch.tensor([0.7])])
        found = denoise(
            SAMPLERS.get("dpmpp_2m"), lambda x, s: next(answers), torch.tensor([2.0]), [1, 0.6, 0.3], silence
        )
        first = 0.6 * 2.0 + 0.4 * 0.4
        r = math.log(1 / 0.6) / math.log(0.6 / 0.3)
        d = (1 + 1 / (2 * r)) * 0.7 - 1 / (2 * r) * 0.4
        assert found.item() == pytest.approx(0.5 * first + 0.5 * d)

    def test_heun(self) -> None:
        answers = iter([torch.tensor([0.4]), torch.tensor([0.7])])
        found = denoise(SAMPLERS.get("heun"), lambda x, s: next(answers), torch.tensor([2.0]), [0.8, 0.5], silence)
        slope = (2.0 - 0.4) / 0.8
        ahead = 2.0 - 0.3 * slope
        assert found.item() == pytest.approx(2.0 - 0.3 * 0.5 * (slope + (ahead - 0.7) / 0.5))

    def test_gradient_estimation(self) -> None:
        answers = iter([torch.tensor([0.4]), torch.tensor([0.7])])
        sampler = SAMPLERS.get("gradient_estimation")
        found = denoise(sampler, lambda x, s: next(answers), torch.tensor([2.0]), [0.8, 0.5, 0.2], silence)
        slope = (2.0 - 0.4) / 0.8
        ahead = 2.0 - 0.3 * slope
        assert found.item() == pytest.approx(ahead - 0.3 * (2 * (ahead - 0.7) / 0.5 - slope))

    @pytest.mark.parametrize(("degree", "corrected"), [(2, False), (3, True)])
    @pytest.mark.parametrize("name", ["uni_pc", "uni_pc_bh2"])
    def test_uni_pc_integrates_polynomials_exactly(self, name: str, degree: int, corrected: bool) -> None:
        """With time -log(sigma), the predictor is exact for quadratic estimates and the corrector for cubic ones."""

        def estimate(sigma: float) -> float:
            return 0.2 + (-math.log(sigma)) ** degree

        def known(sigma: float) -> Tensor:
            return torch.tensor([estimate(sigma)], dtype=torch.float64)

        sampler = SAMPLERS.get(name)
        assert isinstance(sampler, UniPC)
        x, levels, after = torch.tensor([1.7], dtype=torch.float64), [0.4, 0.55, 0.8], 0.3
        history = [(level, known(level)) for level in levels]
        found = sampler.move(x, history, after, known(after) if corrected else None)
        pull, _ = quad(lambda sigma: estimate(sigma) / sigma**2, after, levels[0])
        assert found.item() == pytest.approx(after / levels[0] * 1.7 + after * pull, rel=1e-7)

    def test_slopes_that_are_cubic_in_sigma_are_integrated_exactly(self) -> None:
        levels, after = [0.4, 0.55, 0.8, 0.9], 0.3
        found = sum(w * s**3 for w, s in zip(lagrange_weights(levels, after), levels, strict=True))
        assert found == pytest.approx((after**4 - levels[0] ** 4) / 4)

    def test_fixed_weights_are_those_of_even_steps(self) -> None:
        for memory in (1, 2, 3, 4):
            levels = [0.4, 0.5, 0.6, 0.7][:memory]
            assert fixed_weights(levels, 0.3) == pytest.approx(lagrange_weights(levels, 0.3))

    @pytest.mark.parametrize("memory", [1, 2, 3])
    def test_deis_weights_add_up_to_the_step(self, memory: int) -> None:
        assert sum(deis_weights([0.4, 0.55, 0.8][:memory], 0.3)) == pytest.approx(-0.1)


class TestDriving:
    @pytest.mark.parametrize("name", SAMPLERS.names())
    def test_evaluations_per_step(self, name: str) -> None:
        asked = evaluation_sigmas(SAMPLERS.get(name), schedule("reference", 9, 3.0).tolist())
        assert len(asked) == 8 * SAMPLERS.get(name).evaluations + 1

    @pytest.mark.parametrize("name", SAMPLERS.names())
    def test_dry_run_names_what_is_evaluated(self, name: str) -> None:
        levels, asked = schedule("reference", 7, 3.0).tolist(), []

        def model(x: Tensor, sigma: float) -> Tensor:
            asked.append(sigma)
            return gaussian(x, sigma)

        denoise(SAMPLERS.get(name), model, torch.randn(5), levels, draws(3, 5))
        assert asked == evaluation_sigmas(SAMPLERS.get(name), levels)

    @pytest.mark.parametrize("name", SAMPLERS.names())
    def test_every_step_is_reported_once(self, name: str) -> None:
        levels, told = schedule("trailing", 5, 3.0).tolist(), []

        def on_step(done: int, sigma: float, denoised: Tensor) -> None:
            told.append((done, sigma, tuple(denoised.shape)))

        denoise(SAMPLERS.get(name), gaussian, torch.randn(2, 3), levels, draws(0, 2, 3), on_step)
        assert told == [(k, levels[k], (2, 3)) for k in range(1, 6)]

    @pytest.mark.parametrize("name", SAMPLERS.names())
    @pytest.mark.parametrize("levels", [[], [0.0], [0.5]])
    def test_no_steps_leave_the_latent(self, name: str, levels: list[float]) -> None:
        x = torch.randn(3)
        assert torch.equal(denoise(SAMPLERS.get(name), gaussian, x, levels, silence), x)

    @pytest.mark.parametrize("name", SAMPLERS.names())
    def test_as_many_steps_as_can_be_asked(self, name: str) -> None:
        asked = evaluation_sigmas(SAMPLERS.get(name), schedule("trailing", 10_000, 3.0)[:40].tolist())
        assert all(math.isfinite(sigma) for sigma in asked)


LEVELS = st.lists(st.integers(1, 999), min_size=1, max_size=6, unique=True).flatmap(
    lambda middle: st.tuples(st.booleans(), st.booleans()).map(
        lambda ends: [*([1.0] * ends[0]), *(m / 1000 for m in sorted(middle, reverse=True)), *([0.0] * ends[1])]
    )
)


class TestProperties:
    @settings(deadline=None)
    @given(name=st.sampled_from(SAMPLERS.names()), levels=LEVELS)
    def test_evaluations_lie_within_the_schedule(self, name: str, levels: list[float]) -> None:
        asked = evaluation_sigmas(SAMPLERS.get(name), levels)
        assert all(0.0 < sigma <= levels[0] for sigma in asked)
        assert name in BELOW_THE_STEP or all(sigma >= levels[-1] - 1e-12 for sigma in asked)
        assert len(asked) >= len(levels) - 1

    @settings(deadline=None)
    @given(name=st.sampled_from(SAMPLERS.names()), levels=LEVELS)
    def test_evaluations_belong_to_their_step(self, name: str, levels: list[float]) -> None:
        steps = []
        run = SAMPLERS.get(name).run(torch.zeros(1), levels, lambda: torch.zeros(1))
        wanted = next(run, None)
        while wanted is not None:
            steps.append((wanted.step, wanted.sigma))
            try:
                wanted = run.send(wanted.x)
            except StopIteration:
                break
        bounds = list(pairwise(levels))
        for step, sigma in steps:
            start, end = bounds[step]
            lowest = end**2 / start if name in BELOW_THE_STEP else end
            assert lowest - 1e-12 <= sigma <= start
        assert [step for step, _ in steps] == sorted(step for step, _ in steps)
        assert {step for step, _ in steps} == set(range(len(bounds)))

    @settings(deadline=None)
    @given(
        name=st.sampled_from(SAMPLERS.names()),
        levels=LEVELS,
        seed=st.integers(0, 2**32 - 1),
        size=st.integers(1, 70),
        cut=st.integers(1, 69),
    )
    def test_splitting_a_batch_never_changes_an_element(
        self, name: str, levels: list[float], seed: int, size: int, cut: int
    ) -> None:
        cut = min(cut, size)
        x = torch.randn(size, generator=torch.Generator().manual_seed(seed))

        def part(which: slice) -> Tensor:
            whole = draws(seed + 1, size)
            model = lambda x, sigma: x * (1.0 - sigma) + sigma  # noqa: E731
            return denoise(SAMPLERS.get(name), model, x[which].clone(), levels, lambda: whole()[which])

        together = part(slice(None))
        assert torch.isfinite(together).all()
        assert torch.equal(together, torch.cat([part(slice(None, cut)), part(slice(cut, None))]))


class TestReferencePage:
    PAGE = Path(__file__).parents[2] / "docs" / "reference" / "samplers.md"

    def test_every_sampler_has_its_row(self) -> None:
        rows = {}
        for line in self.PAGE.read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if len(cells) == 5 and cells[0].startswith("`"):
                rows[cells[0].strip("`")] = cells[1:4]
        expected = {}
        for name in SAMPLERS.names():
            sampler = SAMPLERS.get(name)
            order = str(sampler.order) if sampler.order else "–"
            expected[name] = [order, str(sampler.evaluations), "yes" if sampler.stochastic else "no"]
        assert rows == expected
