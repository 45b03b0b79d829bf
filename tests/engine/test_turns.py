"""Who takes part in a step: everyone, unless small pictures are among large ones."""

from __future__ import annotations

import torch

from keelbill.engine.batch import Batch, Finished
from keelbill.engine.pipeline import GenerationRequest, Pipeline
from keelbill.engine.turns import LIGHTER, PATIENCE, Turn, choose
from support.models import MEDIUM_SHAPED, model

ENGINE = Pipeline(model(MEDIUM_SHAPED))


def test_nobody_waits() -> None:
    assert choose({}, 100) == []


def test_pictures_of_a_kind_share_every_step() -> None:
    waiting = {key: (Turn(100 + key), 10) for key in range(5)}
    assert choose(waiting, 1000) == [0, 1, 2, 3, 4]
    assert all(turn.aside == 0 for turn, _ in waiting.values())


def test_the_budget_leaves_the_last_ones_out() -> None:
    waiting = {key: (Turn(100), 10) for key in range(5)}
    assert choose(waiting, 25) == [0, 1]
    assert choose(waiting, 1) == [0]


def test_a_large_picture_stands_aside_for_a_small_one() -> None:
    large, small = Turn(1000), Turn(100)
    assert choose({1: (large, 50), 2: (small, 10)}, 1000) == [2]
    assert large.aside == 10


def test_a_picture_that_is_not_much_larger_does_not() -> None:
    assert choose({1: (Turn(100 * LIGHTER - 1), 50), 2: (Turn(100), 10)}, 1000) == [1, 2]


def test_several_small_ones_share_their_steps() -> None:
    large = Turn(1000)
    assert choose({1: (large, 50), 2: (Turn(100), 10), 3: (Turn(120), 12)}, 1000) == [2, 3]
    assert large.aside == 22


def test_a_large_picture_waits_for_as_much_work_as_its_own_and_no_more() -> None:
    large = Turn(1000)
    steps_aside = 0
    for _ in range(200):  # one small picture after the other
        if choose({1: (large, 50), 2: (Turn(100), 10)}, 1000) == [2]:
            steps_aside += 1
    assert steps_aside * 10 == PATIENCE * large.work


def test_small_ones_that_fill_the_budget() -> None:
    large = Turn(1000)
    waiting = {1: (large, 50), **{key: (Turn(100), 10) for key in range(2, 10)}}
    assert choose(waiting, 30) == [2, 3, 4]
    assert large.aside == 30


def test_the_small_picture_among_large_ones_takes_its_own_steps_only() -> None:
    batch = Batch(ENGINE.model.transformer)
    for seed in range(2):
        batch.admit(ENGINE.prepare(GenerationRequest("a wide hill", width=128, height=128, steps=12, seed=seed)))
    batch.step()
    small = batch.admit(ENGINE.prepare(GenerationRequest("a pebble", width=64, height=64, steps=3, seed=9)))
    events = [batch.step() for _ in range(3)]
    assert [{event.ticket for event in step} for step in events] == [{small}] * 3
    assert isinstance(events[-1][-1], Finished)
    assert {event.ticket for event in batch.step()} == {0, 1}


def test_standing_aside_changes_no_bit() -> None:
    wishes = [
        GenerationRequest("a wide hill", width=128, height=128, steps=9, seed=4),
        GenerationRequest("a pebble", width=64, height=64, steps=2, seed=5),
    ]

    def latents(*requests: GenerationRequest) -> list[torch.Tensor]:
        batch = Batch(ENGINE.model.transformer)
        tickets = [batch.admit(ENGINE.prepare(request)) for request in requests]
        done = {event.ticket: event.latents for event in batch.run() if isinstance(event, Finished)}
        return [done[ticket] for ticket in tickets]

    for request, together in zip(wishes, latents(*wishes), strict=True):
        assert torch.equal(latents(request)[0], together)


class TestPaused:
    """A step of large pictures that a small one interrupts."""

    large = (
        GenerationRequest("a wide hill", width=128, height=128, steps=9, seed=4),
        GenerationRequest("a wide sea", width=128, height=128, steps=9, seed=6),
    )
    small = GenerationRequest("a pebble", width=64, height=64, steps=2, seed=5)

    def paused(self) -> Batch:
        batch = Batch(ENGINE.model.transformer)
        for request in self.large:
            batch.admit(ENGINE.prepare(request))
        batch.hurry = lambda: True
        assert batch.step() == []
        assert batch.is_paused
        return batch

    def test_the_small_one_is_painted_first(self) -> None:
        batch = self.paused()
        small = batch.admit(ENGINE.prepare(self.small))
        for _ in range(2):
            assert {event.ticket for event in batch.step()} == {small}
            assert batch.is_paused
        batch.hurry = lambda: False
        assert {event.ticket for event in batch.step()} == {0, 1}
        assert not batch.is_paused

    def test_pausing_after_every_block_changes_no_bit(self) -> None:
        batch = self.paused()
        batch.admit(ENGINE.prepare(self.small))
        found = {event.ticket: event.latents for event in batch.run() if isinstance(event, Finished)}
        for ticket, request in enumerate((*self.large, self.small)):
            alone = Batch(ENGINE.model.transformer)
            alone.admit(ENGINE.prepare(request))
            (latents,) = [event.latents for event in alone.run() if isinstance(event, Finished)]
            assert torch.equal(found[ticket], latents)

    def test_another_large_one_waits_for_the_end_of_the_step(self) -> None:
        batch = self.paused()
        batch.hurry = lambda: False
        another = batch.admit(ENGINE.prepare(self.large[0]))
        assert {event.ticket for event in batch.step()} == {0, 1}
        assert {event.ticket for event in batch.step()} == {0, 1, another}

    def test_one_of_its_pictures_is_cancelled(self) -> None:
        batch = self.paused()
        batch.hurry = lambda: False
        assert batch.cancel(0)
        assert {event.ticket for event in batch.step()} == {1}

    def test_all_of_its_pictures_are_cancelled(self) -> None:
        batch = self.paused()
        assert batch.cancel(0)
        assert batch.cancel(1)
        assert not batch.is_paused
        small = batch.admit(ENGINE.prepare(self.small))
        batch.hurry = lambda: False
        assert {event.ticket for event in batch.step()} == {small}

    def test_it_goes_on_when_its_pictures_have_stood_aside_enough(self) -> None:
        batch = self.paused()
        seen: list[set[int]] = []
        while len(seen) < 60:
            if len(batch) < 3:
                batch.admit(ENGINE.prepare(self.small))
            seen.append({event.ticket for event in batch.step()})
        assert any({0, 1} <= tickets for tickets in seen)
