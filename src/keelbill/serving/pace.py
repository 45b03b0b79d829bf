"""How long a step takes, learnt from steps, and how many more pictures it may carry. Knows no job and no clock."""

from __future__ import annotations

from typing import Final

STEP_TARGET_S: Final = {"cpu": 1.0}
OTHER_STEP_TARGET_S: Final = 0.25
_LEARNING: Final = 0.2


class Pace:
    """What a worker knows of its steps.

    Attributes:
        steps: Made so far.
        step_s: How long one takes; 0 before the first.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.step_s = 0.0

    def learn(self, took_s: float) -> None:
        """Note how long a step took."""
        self.steps += 1
        self.step_s = took_s if not self.step_s else self.step_s + _LEARNING * (took_s - self.step_s)

    def room(self, painting: int, device: str) -> int | None:
        """Return how many more pictures keep a step within its target, or nothing if no step says.

        Args:
            painting: Pictures that share a step now.
            device: On which they are painted, such as ``cpu`` or ``cuda:1 NVIDIA …``.
        """
        if not painting or not self.step_s:
            return None
        target_s = STEP_TARGET_S.get(device.split()[0], OTHER_STEP_TARGET_S)
        return max(0, int((target_s - self.step_s) / (self.step_s / painting)))
