"""How many pictures a step may carry."""

from __future__ import annotations

import pytest

from keelbill.serving.pace import Pace


def test_nothing_is_known_before_the_first_step() -> None:
    assert Pace().room(0, "cpu") is None
    assert Pace().room(2, "cpu") is None


def test_the_first_step_is_believed_and_later_ones_change_it_slowly() -> None:
    pace = Pace()
    pace.learn(0.1)
    assert pace.step_s == pytest.approx(0.1)
    pace.learn(0.2)
    assert pace.step_s == pytest.approx(0.12)
    assert pace.steps == 2


@pytest.mark.parametrize(
    ("step_s", "painting", "device", "room"),
    [
        (0.5, 2, "cpu", 2),
        (0.5, 5, "cpu", 5),
        (0.99, 3, "cpu", 0),
        (3.0, 3, "cpu", 0),
        (0.1, 1, "cuda:1 NVIDIA", 1),
        (0.2, 1, "cuda", 0),
        (0.15, 8, "mps", 5),
    ],
)
def test_a_step_keeps_within_its_target(step_s: float, painting: int, device: str, room: int) -> None:
    pace = Pace()
    pace.learn(step_s)
    assert pace.room(painting, device) == room


def test_an_empty_worker_is_not_held_back_by_old_steps() -> None:
    pace = Pace()
    pace.learn(9.0)
    assert pace.room(0, "cpu") is None
