"""Several prompts for one picture: how they are weighed, when they act, and that a crowd changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from keelbill.engine.batch import Batch, Finished, Release, Repaint, Sampling, sample_alone
from keelbill.engine.conditioning import Box, Conditioning, Share, blend
from keelbill.engine.guidance import Branch
from keelbill.engine.pipeline import GenerationRequest, Pipeline
from support.models import MEDIUM_SHAPED, model

PIPELINE = Pipeline(model(MEDIUM_SHAPED))
CAT, DOG = PIPELINE.model.text.encode(["a cat", "a large dog"])


def share(strength: float = 1.0, weight: Tensor | None = None, box: Box | None = None) -> Share:
    return Share(CAT, strength, weight=weight, box=box)


def sampling(*shares: Share, seed: int = 1, negative: tuple[Share, ...] | None = None, steps: int = 3) -> Sampling:
    plain = PIPELINE.prepare(GenerationRequest("a cat", seed=seed, width=96, height=64, steps=steps, cfg=3.0))
    prompts = dict(plain.conditionings) | {Branch.POSITIVE: shares}
    if negative is not None:
        prompts[Branch.NEGATIVE] = negative
    return replace(plain, conditionings=prompts)


def paint(one: Sampling) -> Tensor:
    return sample_alone(PIPELINE.model.transformer, one)


class TestBlend:
    X = torch.full((1, 2, 4), 0.5)

    def test_mean_by_strength(self) -> None:
        got = blend(self.X, 1.0, [share(1.0), share(3.0)], [torch.zeros(1, 2, 4), torch.ones(1, 2, 4)])
        assert torch.allclose(got, torch.full((1, 2, 4), 0.75))

    def test_box_counts_only_inside(self) -> None:
        left = share(box=Box(0, 0, 2, 2))
        got = blend(self.X, 1.0, [share(), left], [torch.zeros(1, 2, 4), torch.ones(1, 2, 2)])
        assert got[0, 0].tolist() == [0.5, 0.5, 0.0, 0.0]

    def test_weight_of_each_place(self) -> None:
        ramp = torch.tensor([0.0, 1.0, 1.0, 3.0]).expand(1, 2, 4)
        got = blend(self.X, 1.0, [share(), share(weight=ramp)], [torch.zeros(1, 2, 4), torch.ones(1, 2, 4)])
        assert got[0, 1].tolist() == [0.0, 0.5, 0.5, 0.75]

    def test_place_of_no_prompt_is_denoised_to_nothing(self) -> None:
        got = blend(self.X, 0.25, [share(box=Box(0, 0, 2, 2))], [torch.ones(1, 2, 2)])
        assert got[0, 0].tolist() == [1.0, 1.0, 2.0, 2.0]
        assert torch.equal(blend(self.X, 0.25, [], []), self.X / 0.25)

    def test_one_prompt_of_everything_passes_through(self) -> None:
        velocity = torch.randn(1, 2, 4)
        assert blend(self.X, 1.0, [share(0.3)], [velocity]) is velocity


class TestSampling:
    def test_single_share_equals_the_plain_prompt(self) -> None:
        plain = PIPELINE.prepare(GenerationRequest("a cat", seed=1, width=96, height=64, steps=3, cfg=3.0))
        assert torch.equal(paint(sampling(Share(CAT))), paint(plain))

    def test_second_prompt_changes_the_picture(self) -> None:
        both = paint(sampling(Share(CAT), Share(DOG)))
        assert not torch.equal(both, paint(sampling(Share(CAT))))
        assert not torch.equal(both, paint(sampling(Share(CAT), Share(DOG, strength=3.0))))

    def test_prompt_outside_its_interval_is_left_out(self) -> None:
        assert torch.equal(paint(sampling(Share(CAT), Share(DOG, interval=(1.5, 2.0)))), paint(sampling(Share(CAT))))
        early, late = Share(CAT, interval=(0.5, 1.0)), Share(DOG, interval=(0.0, 0.499))
        assert not torch.equal(paint(sampling(early, late)), paint(sampling(Share(CAT))))

    def test_negative_prompt_without_a_part_in_a_step_is_no_guidance(self) -> None:
        never = (Share(DOG, interval=(1.5, 2.0)),)
        plain = PIPELINE.prepare(GenerationRequest("a cat", seed=1, width=96, height=64, steps=3, cfg=1.0))
        assert torch.equal(paint(sampling(Share(CAT), negative=never)), paint(plain))

    def test_area_acts_mostly_inside(self) -> None:
        plain, left = paint(sampling(Share(CAT))), paint(sampling(Share(CAT), Share(DOG, box=Box(0, 0, 8, 4))))
        change = (plain - left).abs().mean(dim=(0, 1))
        assert change[:4].mean() > 2 * change[8:].mean()

    def test_crowd_picture_equals_picture_made_alone(self) -> None:
        mask = torch.linspace(0, 1, 12).expand(1, 8, 12)
        crowd = [
            sampling(Share(CAT), Share(DOG, weight=mask), seed=1),
            sampling(Share(CAT), Share(DOG, box=Box(2, 3, 8, 10)), seed=2, steps=2),
            sampling(Share(CAT, interval=(0.5, 1.0)), Share(DOG, interval=(0.0, 0.5)), seed=3, negative=(Share(DOG),)),
            PIPELINE.prepare(GenerationRequest("a house", seed=4, steps=2)),
        ]
        crowd[0] = replace(
            crowd[0], repaint=Repaint(torch.ones_like(crowd[0].x), crowd[0].x, mask, Release(crowd[0].sigmas[0]))
        )
        batch = Batch(PIPELINE.model.transformer, token_budget=400)
        tickets = [batch.admit(each) for each in crowd[:-1]]
        events = batch.step()
        tickets.append(batch.admit(crowd[-1]))
        events += batch.run()
        done = {e.ticket: e.latents for e in events if isinstance(e, Finished)}
        assert all(torch.equal(done[t], paint(each)) for t, each in zip(tickets, crowd, strict=True))

    def test_sides_that_patches_do_not_divide(self) -> None:
        one = sampling(Share(CAT), Share(DOG, box=Box(0, 0, 5, 7)))
        x = one.x[:, :7, :11]
        one = replace(one, x=x, noise=lambda: torch.zeros_like(x))
        latents = paint(one)
        assert latents.shape == (16, 7, 11)
        batch = Batch(PIPELINE.model.transformer)
        batch.admit(one)
        *_, last = batch.run()
        assert isinstance(last, Finished)
        assert torch.equal(last.latents, latents)

    def test_context_of_a_share_counts_for_the_budget(self) -> None:
        batch = Batch(PIPELINE.model.transformer, token_budget=1)
        batch.admit(sampling(Share(CAT), Share(Conditioning(CAT.context, CAT.pooled), box=Box(0, 0, 4, 4))))
        running = next(iter(batch._running.values()))
        assert running.tokens == (24 + 4) + (4 + 4) + (24 + 2)


class TestRelease:
    MASK = torch.tensor([0.0, 0.3, 0.7, 1.0]).expand(1, 1, 4)

    @pytest.mark.parametrize(
        ("sigma", "expected"), [(1.0, [0, 0, 0, 1]), (0.6, [0, 0, 1, 1]), (0.3, [0, 1, 1, 1]), (0.0, [1, 1, 1, 1])]
    )
    def test_lighter_places_come_first(self, sigma: float, expected: list[float]) -> None:
        mask = Release(1.0).mask(self.MASK, sigma)
        assert mask.flatten().tolist() == pytest.approx(expected)

    def test_strength_mixes_with_the_plain_mask(self) -> None:
        assert Release(1.0, strength=0.0).mask(self.MASK, 0.9).flatten().tolist() == pytest.approx([0, 0.3, 0.7, 1])
        half = Release(1.0, strength=0.5).mask(self.MASK, 1.0)
        assert half.flatten().tolist() == pytest.approx([0, 0.15, 0.35, 1])

    def test_run_that_ends_early(self) -> None:
        assert Release(1.0, end=0.5).mask(self.MASK, 0.65).flatten().tolist() == pytest.approx([0, 1, 1, 1])
