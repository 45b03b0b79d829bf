"""Requests to pixels: defaults, checks, seeds, images, masks and cancelling, on a small random model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from keelbill.core.errors import AppError, BadWeights, InvalidInput
from keelbill.engine.pipeline import DoneEvent, GenerationRequest, Pipeline, PreviewEvent, StepEvent
from support.models import model, random_weights


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(model())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 1000}, "width 1000 is not allowed; width must be a multiple of 16; nearest: 992 or 1008"),
        ({"height": 0}, "native"),
        ({"width": 1024}, "at most 384 pixels on each side for tiny"),
        ({"steps": 0}, "steps 0 is not allowed; steps must be a whole number from 1 to 1000"),
        ({"steps": 1001}, "steps 1001"),
        ({"strength": 1.5}, "strength 1.5 is not allowed; strength must be from 0 to 1"),
        ({"cfg": -1.0}, "cfg -1.0"),
        ({"cfg": float("nan")}, "cfg nan"),
        ({"shift": 0.0}, "shift 0.0"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 2**64}, "seed 18446744073709551616"),
        ({"sampler": "eular"}, "Did you mean 'euler'"),
        ({"schedule": "simpel"}, "Did you mean 'simple'"),
        ({"mask": torch.ones(1, 64, 64)}, "given together with image"),
        ({"skip_layers": (9,)}, "skip_layers 9"),
    ],
)
def test_values_out_of_range(pipeline: Pipeline, change: dict[str, Any], message: str) -> None:
    if message == "native":
        assert pipeline.resolve(GenerationRequest("a cat", **change)).height == 64
        return
    with pytest.raises(AppError) as error:
        pipeline.resolve(GenerationRequest("a cat", **change))
    assert message in str(error.value)


def test_defaults_come_from_the_model(pipeline: Pipeline) -> None:
    resolved = pipeline.resolve(GenerationRequest("a cat"))
    assert (resolved.width, resolved.height, resolved.steps, resolved.cfg) == (64, 64, 4, 3.0)
    assert (resolved.sampler, resolved.schedule, resolved.shift) == ("euler", "trailing", 1.0)


def test_picture_of_a_series_is_the_picture_of_its_seed(pipeline: Pipeline) -> None:
    third = pipeline.picture(GenerationRequest("a cat", seed=10, index=2))
    assert torch.equal(third, pipeline.picture(GenerationRequest("a cat", seed=12)))
    assert not torch.equal(third, pipeline.picture(GenerationRequest("a cat", seed=10)))


def test_prompt_and_negative_prompt_change_the_picture(pipeline: Pipeline) -> None:
    plain = pipeline.picture(GenerationRequest("a cat"))
    assert plain.shape == (3, 64, 64)
    assert 0 <= plain.min() < plain.max() <= 1
    assert not torch.equal(plain, pipeline.picture(GenerationRequest("a dog")))
    assert not torch.equal(plain, pipeline.picture(GenerationRequest("a cat", negative_prompt="blurry")))


def test_negative_prompt_is_idle_without_guidance(pipeline: Pipeline) -> None:
    plain = pipeline.picture(GenerationRequest("a cat", cfg=1.0))
    assert torch.equal(plain, pipeline.picture(GenerationRequest("a cat", cfg=1.0, negative_prompt="blurry")))


def test_events_come_in_order(pipeline: Pipeline) -> None:
    events = list(pipeline.generate(GenerationRequest("a cat", width=96), preview_every=2))
    steps = [e for e in events if isinstance(e, StepEvent)]
    previews = [e for e in events if isinstance(e, PreviewEvent)]
    assert [e.step for e in steps] == [1, 2, 3, 4]
    assert [p.rgb.shape for p in previews] == [(3, 8, 12)] * 2
    assert isinstance(events[-1], DoneEvent)
    assert events[-1].pixels.shape == (3, 64, 96)


def test_cancel_by_closing(pipeline: Pipeline) -> None:
    events = pipeline.generate(GenerationRequest("a cat"))
    assert isinstance(next(iter(events)), StepEvent)
    events.close()  # type: ignore[attr-defined]
    assert list(events) == []


def test_strength_zero_gives_the_image_back(pipeline: Pipeline) -> None:
    image = torch.rand(3, 64, 80)
    assert torch.equal(pipeline.picture(GenerationRequest("a cat", image=image, strength=0.0)), image)


def test_weak_strength_stays_near_the_image(pipeline: Pipeline) -> None:
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = pipeline.decode(pipeline.encode(image))
    gaps = [
        float((pipeline.picture(GenerationRequest("a cat", image=image, strength=s, steps=10)) - plain).abs().mean())
        for s in (0.1, 0.5, 1.0)
    ]
    assert gaps == sorted(gaps)


def test_pixels_outside_the_mask_are_kept(pipeline: Pipeline) -> None:
    image = torch.rand(3, 64, 64)
    mask = torch.zeros(1, 64, 64)
    mask[:, :32] = 1
    out = pipeline.picture(GenerationRequest("a cat", image=image, mask=mask))
    assert torch.equal(out[:, 32:], image[:, 32:])
    assert not torch.equal(out[:, :32], image[:, :32])


def test_soft_mask_blends(pipeline: Pipeline) -> None:
    image = torch.zeros(3, 64, 64)
    hard, soft = (
        pipeline.picture(GenerationRequest("a cat", image=image, mask=torch.full((1, 64, 64), level)))
        for level in (1.0, 0.5)
    )
    assert soft.mean() < hard.mean()


def test_image_of_another_size_is_fitted(pipeline: Pipeline) -> None:
    request = GenerationRequest("a cat", image=torch.rand(3, 50, 70), width=64, height=64)
    assert pipeline.picture(request).shape == (3, 64, 64)
    with pytest.raises(InvalidInput, match="multiple of 16"):
        pipeline.picture(GenerationRequest("a cat", image=torch.rand(3, 50, 70)))


def test_broken_network_is_named(pipeline: Pipeline) -> None:
    broken = model()
    random_weights(broken.transformer)
    with torch.no_grad():
        broken.transformer.final_layer.linear.bias.fill_(torch.nan)
    with pytest.raises(BadWeights, match="not a number at step 1 of 4"):
        Pipeline(broken).picture(GenerationRequest("a cat"))
