"""Guidance against its formulas on numbers solved by hand."""

from __future__ import annotations

import pytest
import torch

from keelbill.core.errors import InvalidInput
from keelbill.engine.guidance import Branch, ClassifierFree, Guidance, Rescaled, SkipLayer, Unguided

P, N, S = Branch.POSITIVE, Branch.NEGATIVE, Branch.SKIP


def flat(value: float) -> torch.Tensor:
    return torch.full((1, 2, 2), value)


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestRefusals:
    @pytest.mark.parametrize("scale", [-1.0, 101.0, float("nan")])
    def test_scale_out_of_range(self, scale: float) -> None:
        with pytest.raises(InvalidInput, match="guidance scale"):
            ClassifierFree(scale)

    @pytest.mark.parametrize("interval", [(0.5, 0.2), (-0.1, 1.0), (0.0, 1.1)])
    def test_interval_out_of_order_or_range(self, interval: tuple[float, float]) -> None:
        with pytest.raises(InvalidInput, match="guidance interval"):
            ClassifierFree(5.0, interval)
        with pytest.raises(InvalidInput, match="skip-layer interval"):
            SkipLayer(Unguided(), interval=interval)

    def test_skip_layer_numbers_out_of_range(self) -> None:
        with pytest.raises(InvalidInput, match="skip-layer scale"):
            SkipLayer(Unguided(), scale=-1.0)
        with pytest.raises(InvalidInput, match="skip-layer start"):
            SkipLayer(Unguided(), start=-0.1)
        with pytest.raises(InvalidInput, match="skip-layer end"):
            SkipLayer(Unguided(), end=1.5)

    def test_multiplier_out_of_range(self) -> None:
        with pytest.raises(InvalidInput, match="rescale multiplier"):
            Rescaled(Unguided(), 1.5)


class TestUnguided:
    def test_only_the_positive_branch(self) -> None:
        assert Unguided().branches(0.5, 3, 28) == (P,)
        assert torch.equal(Unguided().combine({P: flat(2.0)}), flat(2.0))
        assert Unguided().skip_layers == frozenset()


class TestClassifierFree:
    def test_moves_away_from_the_negative(self) -> None:
        guided = ClassifierFree(5.0).combine({P: flat(3.0), N: flat(1.0)})
        assert torch.equal(guided, flat(11.0))

    @pytest.mark.parametrize("scale", [0.0, 0.5, 1.0])
    def test_no_negative_branch_up_to_scale_one(self, scale: float) -> None:
        assert ClassifierFree(scale).branches(0.5, 0, 28) == (P,)
        assert torch.equal(ClassifierFree(scale).combine({P: flat(3.0)}), flat(3.0))

    def test_guides_everywhere_by_default(self) -> None:
        assert [ClassifierFree(5.0).branches(sigma, 0, 28) for sigma in (1.0, 0.5, 0.001)] == [(P, N)] * 3

    def test_guides_only_within_the_interval(self) -> None:
        guidance = ClassifierFree(5.0, interval=(0.25, 0.75))
        guided = [sigma for sigma in (1.0, 0.76, 0.75, 0.5, 0.25, 0.24) if N in guidance.branches(sigma, 0, 28)]
        assert guided == [0.75, 0.5, 0.25]


class TestSkipLayer:
    def test_published_window_of_28_steps(self) -> None:
        guidance = SkipLayer(ClassifierFree(5.0))
        assert [i for i in range(28) if S in guidance.branches(0.5, i, 28)] == [1, 2, 3, 4, 5]

    def test_both_bounds_of_the_window_are_left_out(self) -> None:
        guidance = SkipLayer(ClassifierFree(5.0), start=0.1, end=0.4)
        assert [i for i in range(10) if S in guidance.branches(0.5, i, 10)] == [2, 3]

    def test_window_by_noise_level(self) -> None:
        guidance = SkipLayer(Unguided(), interval=(0.8, 0.9))
        assert [s for s in (0.95, 0.9, 0.85, 0.8, 0.7) if S in guidance.branches(s, 0, 10)] == [0.9, 0.85, 0.8]

    def test_adds_the_difference_to_the_guided_velocity(self) -> None:
        guidance = SkipLayer(ClassifierFree(5.0), scale=2.5)
        assert torch.equal(guidance.combine({P: flat(3.0), N: flat(1.0), S: flat(2.0)}), flat(13.5))
        assert torch.equal(guidance.combine({P: flat(3.0), N: flat(1.0)}), flat(11.0))

    @pytest.mark.parametrize("off", [SkipLayer(Unguided(), scale=0.0), SkipLayer(Unguided(), layers=frozenset())])
    def test_switched_off(self, off: SkipLayer) -> None:
        assert all(off.branches(0.9, i, 28) == (P,) for i in range(28))

    def test_names_its_layers(self) -> None:
        guidance: Guidance = Rescaled(SkipLayer(ClassifierFree(4.0), layers=frozenset({2})))
        assert guidance.skip_layers == {2}
        assert ClassifierFree(4.0).skip_layers == frozenset()


class TestRescaled:
    def test_full_correction_gives_the_positive_spread(self) -> None:
        velocities = {P: noise(1, 4, 8, 8), N: noise(2, 4, 8, 8)}
        found = Rescaled(ClassifierFree(7.0), 1.0).combine(velocities)
        assert found.std().item() == pytest.approx(velocities[P].std().item(), rel=1e-5)

    def test_part_of_the_correction(self) -> None:
        velocities = {P: noise(1, 4, 8, 8), N: noise(2, 4, 8, 8)}
        plain = ClassifierFree(7.0).combine(velocities)
        full = Rescaled(ClassifierFree(7.0), 1.0).combine(velocities)
        found = Rescaled(ClassifierFree(7.0), 0.7).combine(velocities)
        assert torch.allclose(found, 0.7 * full + 0.3 * plain, atol=1e-5)

    def test_nothing_to_correct_without_guidance(self) -> None:
        positive = noise(1, 4, 8, 8)
        assert Rescaled(Unguided()).combine({P: positive}) is positive

    def test_flat_velocities_stay_finite(self) -> None:
        assert torch.isfinite(Rescaled(ClassifierFree(7.0)).combine({P: flat(1.0), N: flat(0.5)})).all()

    def test_keeps_the_inner_branches(self) -> None:
        assert Rescaled(ClassifierFree(7.0)).branches(0.5, 0, 28) == (P, N)


@pytest.mark.parametrize(
    "guidance", [ClassifierFree(5.0), SkipLayer(ClassifierFree(5.0)), Rescaled(SkipLayer(ClassifierFree(5.0)))]
)
def test_a_picture_does_not_depend_on_its_neighbours(guidance: Guidance) -> None:
    together = {branch: noise(seed, 3, 16, 10, 6) for seed, branch in enumerate((P, N, S))}
    whole = guidance.combine(together)
    for i in range(3):
        alone = guidance.combine({branch: velocity[i].clone() for branch, velocity in together.items()})
        assert torch.equal(whole[i], alone)


class TestGraphGuidance:
    def test_scale_below_one_mixes_both_prompts(self) -> None:
        half = ClassifierFree(0.5, mixes=True)
        assert half.branches(0.5, 0, 10) == (P, N)
        assert half.combine({P: flat(4.0), N: flat(2.0)}).unique().tolist() == [3.0]
        assert ClassifierFree(0.5).branches(0.5, 0, 10) == (P,)

    def test_scale_of_one_needs_no_negative_prompt(self) -> None:
        assert ClassifierFree(1.0, mixes=True).branches(0.5, 0, 10) == (P,)

    def test_skip_layer_result_is_brought_back_to_the_positive_spread(self) -> None:
        velocities = {P: noise(1, 4, 6, 6), S: noise(2, 4, 6, 6)}
        got = SkipLayer(Unguided(), scale=3.0, interval=(0.0, 1.0), rescale=1.0).combine(velocities)
        assert float(got.std()) == pytest.approx(float(velocities[P].std()), rel=1e-5)

    def test_rescale_out_of_range(self) -> None:
        with pytest.raises(InvalidInput, match="skip-layer rescale"):
            SkipLayer(Unguided(), rescale=11.0)
