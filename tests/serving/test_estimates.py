"""What tasks should take."""

from __future__ import annotations

import msgspec
import pytest

from keelbill.serving.estimates import CostModel
from keelbill.serving.messages import ImageTask

TASK = ImageTask(model="mini", width=64, height=64, steps=10)


def test_nothing_is_known() -> None:
    assert CostModel(unknown_ms=500).estimate_ms(TASK) == 500


def test_the_same_task_again() -> None:
    costs = CostModel()
    costs.learn(TASK, 800)
    assert costs.estimate_ms(msgspec.structs.replace(TASK, seed=5, prompt="another")) == 800


def test_new_observations_move_the_estimate() -> None:
    costs = CostModel()
    for took_ms in [1000.0] + [2000.0] * 30:
        costs.learn(TASK, took_ms)
    assert costs.estimate_ms(TASK) == pytest.approx(2000, rel=0.01)


def test_more_steps_take_longer() -> None:
    costs = CostModel()
    costs.learn(TASK, 1200)
    assert costs.estimate_ms(msgspec.structs.replace(TASK, steps=22)) == pytest.approx(2400)


@pytest.mark.parametrize("change", [{"model": "large"}, {"kind": "enlarge"}])
def test_another_model_or_kind_says_nothing(change: dict[str, str]) -> None:
    costs = CostModel(unknown_ms=500)
    costs.learn(TASK, 1200)
    assert costs.estimate_ms(msgspec.structs.replace(TASK, **change)) == 500


@pytest.mark.parametrize("took_ms", [0.0, -1.0, float("nan")])
def test_absurd_observations_are_passed_over(took_ms: float) -> None:
    costs = CostModel(unknown_ms=500)
    costs.learn(TASK, took_ms)
    assert costs.estimate_ms(TASK) == 500


def test_memory_is_bounded() -> None:
    costs = CostModel()
    for width in range(5000):
        costs.learn(msgspec.structs.replace(TASK, width=width), 100)
    assert len(costs._exact) <= 2048
