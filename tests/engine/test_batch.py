"""A crowd of strangers: whatever else runs, a picture stays the same to the last bit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from keelbill.core.errors import InvalidInput
from keelbill.engine.batch import Batch, Failed, Finished, Sampling, Stepped, sample_alone
from keelbill.engine.mmdit import LowRankUpdate, MMDiT
from keelbill.engine.pipeline import GenerationRequest, Pipeline
from support.models import LARGE_SHAPED, MEDIUM_SHAPED, model, transformer

PIPELINES = {dtype: Pipeline(model(MEDIUM_SHAPED, dtype=dtype)) for dtype in (torch.float32, torch.bfloat16)}
SAMPLERS = ("euler", "euler_ancestral", "heun", "dpmpp_2m", "dpmpp_2m_sde")
SIZES = (64, 80, 96, 128)


@dataclass(frozen=True)
class Guest:
    """A request and when it comes and goes."""

    request: GenerationRequest
    joins_at: int
    leaves_at: int | None


def picture(seed: int, side: int) -> Tensor:
    return torch.rand(3, side, side, generator=torch.Generator().manual_seed(seed))


@st.composite
def guests(draw: st.DrawFn) -> Guest:
    width, height = draw(st.sampled_from(SIZES)), draw(st.sampled_from(SIZES))
    with_image = draw(st.booleans())
    masked = with_image and draw(st.booleans())
    mask = torch.zeros(1, height, width)
    mask[:, : height // 2] = 1
    request = GenerationRequest(
        prompt=draw(st.sampled_from(["a cat", "two red boats on a lake at dawn", ""])),
        negative_prompt=draw(st.sampled_from(["", "blurry"])),
        width=width,
        height=height,
        seed=draw(st.integers(0, 2**32)),
        steps=draw(st.integers(1, 5)),
        cfg=draw(st.sampled_from([1.0, 3.0, 7.5])),
        guided=draw(st.sampled_from([(0.0, 1.0), (0.2, 0.8)])),
        sampler=draw(st.sampled_from(SAMPLERS)),
        schedule=draw(st.sampled_from(["reference", "trailing", "beta"])),
        image=picture(draw(st.integers(0, 9)), height) if with_image and width == height else None,
        strength=draw(st.sampled_from([0.5, 1.0])),
        mask=mask if masked and width == height else None,
        skip_layers=draw(st.sampled_from([(), (1, 2)])),
        skip_window=(0.01, 0.9),
    )
    leaves = draw(st.one_of(st.none(), st.none(), st.integers(0, 6)))
    return Guest(request, draw(st.integers(0, 6)), leaves)


def party(pipeline: Pipeline, invited: list[Guest], *, token_budget: int) -> dict[int, Tensor]:
    """Run all guests together; return the latents of those who stayed."""
    batch = Batch(pipeline.model.transformer, token_budget=token_budget)
    tickets: dict[int, int] = {}
    done: dict[int, Tensor] = {}
    step = 0
    while step < 7 or len(batch):
        for i, guest in enumerate(invited):
            if guest.joins_at == step:
                tickets[batch.admit(pipeline.prepare(guest.request))] = i
            if guest.leaves_at is not None and guest.leaves_at == step - guest.joins_at:
                leaving = [t for t, who in tickets.items() if who == i]
                batch.cancel(leaving[0])
        for event in batch.step():
            if isinstance(event, Finished):
                done[tickets[event.ticket]] = event.latents
            assert not isinstance(event, Failed)
        step += 1
    return done


@pytest.mark.parametrize("dtype", list(PIPELINES))
@settings(max_examples=15, deadline=None)
@given(invited=st.lists(guests(), min_size=2, max_size=6), token_budget=st.sampled_from([60, 400, 10**6]))
def test_crowd_picture_equals_picture_made_alone(dtype: torch.dtype, invited: list[Guest], token_budget: int) -> None:
    pipeline = PIPELINES[dtype]
    done = party(pipeline, invited, token_budget=token_budget)
    for i, guest in enumerate(invited):
        if guest.leaves_at is None:
            alone = sample_alone(pipeline.model.transformer, pipeline.prepare(guest.request))
            assert torch.equal(done[i], alone)


def test_crowd_of_low_rank_updates() -> None:
    pipeline = PIPELINES[torch.float32]
    width = MEDIUM_SHAPED.width

    def adapter(seed: int) -> LowRankUpdate:
        generator = torch.Generator().manual_seed(seed)
        down, up = torch.randn(2, width, generator=generator), torch.randn(3 * width, 2, generator=generator)
        return LowRankUpdate({"joint_blocks.0.x_block.attn.qkv": (0.1 * down, 0.1 * up)})

    plain = pipeline.prepare(GenerationRequest("a cat", seed=1))
    crowd = [plain, *(replace(pipeline.prepare(GenerationRequest("a cat", seed=1)), update=adapter(i)) for i in (1, 2))]
    batch = Batch(pipeline.model.transformer)
    tickets = [batch.admit(sampling) for sampling in crowd]
    done = {e.ticket: e.latents for e in batch.run() if isinstance(e, Finished)}
    alone = [sample_alone(pipeline.model.transformer, s) for s in crowd]
    assert all(torch.equal(done[t], latents) for t, latents in zip(tickets, alone, strict=True))
    assert not torch.equal(alone[0], alone[1])
    assert not torch.equal(alone[1], alone[2])


def test_crowd_on_a_small_budget_takes_turns() -> None:
    pipeline = PIPELINES[torch.float32]
    batch = Batch(pipeline.model.transformer, token_budget=1)
    tickets = [batch.admit(pipeline.prepare(GenerationRequest("a cat", seed=i, steps=2))) for i in range(3)]
    order = [e.ticket for e in batch.run() if isinstance(e, Stepped)]
    assert order == [*tickets, *tickets]


def test_crowd_survives_a_neighbour_that_fails() -> None:
    pipeline = PIPELINES[torch.float32]
    good = pipeline.prepare(GenerationRequest("a cat", seed=5))
    bad = pipeline.prepare(GenerationRequest("a dog", seed=6))
    bad = replace(bad, x=torch.full_like(bad.x, torch.nan))
    batch = Batch(pipeline.model.transformer)
    first, second = batch.admit(good), batch.admit(bad)
    events = list(batch.run())
    assert [e.ticket for e in events if isinstance(e, Failed)] == [second]
    latents = next(e.latents for e in events if isinstance(e, Finished) and e.ticket == first)
    assert torch.equal(latents, sample_alone(pipeline.model.transformer, good))


def test_cancelled_request_leaves_at_once() -> None:
    pipeline = PIPELINES[torch.float32]
    batch = Batch(pipeline.model.transformer)
    ticket = batch.admit(pipeline.prepare(GenerationRequest("a cat")))
    batch.step()
    assert batch.cancel(ticket)
    assert len(batch) == 0
    assert not batch.cancel(ticket)
    assert batch.step() == []


def test_schedule_without_steps() -> None:
    pipeline = PIPELINES[torch.float32]
    sampling = replace(pipeline.prepare(GenerationRequest("a cat")), sigmas=[1.0])
    with pytest.raises(InvalidInput, match="at least two noise levels"):
        Batch(pipeline.model.transformer).admit(sampling)


def test_tables_ahead_of_time_equal_tables_step_by_step() -> None:
    pipeline = PIPELINES[torch.float32]
    sampling = pipeline.prepare(GenerationRequest("a cat", steps=70))
    assert sampling.steps > 64
    batch = Batch(pipeline.model.transformer)
    batch.admit(sampling)
    *_, last = batch.run()
    assert isinstance(last, Finished)
    again: Sampling = pipeline.prepare(GenerationRequest("a cat", steps=70))
    assert torch.equal(last.latents, sample_alone(pipeline.model.transformer, again))


def test_fast_mode_is_close_to_strict_mode() -> None:
    strict, fast = transformer(LARGE_SHAPED), transformer(LARGE_SHAPED, strict=False)
    pipeline = Pipeline(model(LARGE_SHAPED))

    def run(network: MMDiT) -> Tensor:
        return sample_alone(network, pipeline.prepare(GenerationRequest("a cat", seed=3)))

    assert (run(strict) - run(fast)).abs().max() < 1e-4
