"""Learns how long a task keeps a worker busy. Knows neither queue nor clock."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from keelbill.serving.messages import ImageTask

UNKNOWN_MS: Final = 2000.0
"""The guess for a task while nothing like it has been done."""

_LEARNING: Final = 0.25
"""Weight of the newest observation."""

_KEPT: Final = 2048
"""Exact combinations that are remembered; the least used is forgotten first."""


class _Exact(NamedTuple):
    kind: str
    model: str
    width: int
    height: int
    steps: int | None
    guided: bool | None


class CostModel:
    """Estimates worker milliseconds by what like tasks took: the same model, size, steps and kind, else per work.

    Args:
        unknown_ms: The guess while nothing is known.
    """

    def __init__(self, unknown_ms: float = UNKNOWN_MS) -> None:
        self.unknown_ms = unknown_ms
        self._exact: OrderedDict[_Exact, float] = OrderedDict()
        self._per_work: dict[tuple[str, str], float] = {}

    def estimate_ms(self, task: ImageTask) -> float:
        """Return the worker milliseconds that a task should take."""
        exact = _exact(task)
        known = self._exact.get(exact)
        if known is not None:
            self._exact.move_to_end(exact)
            return known
        per_work = self._per_work.get((task.kind, task.model))
        return self.unknown_ms if per_work is None else per_work * _work(task)

    def learn(self, task: ImageTask, took_ms: float) -> None:
        """Note what a task took.

        Args:
            task: What was done.
            took_ms: Its share of a worker's time in milliseconds; ignored unless above 0.
        """
        if not took_ms > 0:
            return
        exact, like = _exact(task), (task.kind, task.model)
        self._exact[exact] = _blend(self._exact.get(exact), took_ms)
        self._exact.move_to_end(exact)
        if len(self._exact) > _KEPT:
            self._exact.popitem(last=False)
        self._per_work[like] = _blend(self._per_work.get(like), took_ms / _work(task))


def _exact(task: ImageTask) -> _Exact:
    guided = None if task.cfg is None else task.cfg > 1
    return _Exact(task.kind, task.model, task.width, task.height, task.steps, guided)


def _work(task: ImageTask) -> float:
    """Return how much there is to do, in any unit: a fixed part, and steps; a task that names none has 28."""
    return 2.0 + (28 if task.steps is None else task.steps)


def _blend(known: float | None, new: float) -> float:
    return new if known is None else known + _LEARNING * (new - known)
