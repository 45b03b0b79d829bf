"""Estimates when jobs begin, from what waits, what runs and who works. Changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from keelbill.core.clock import Clock
from keelbill.serving.admission import Load
from keelbill.serving.messages import Queued, WorkerInfo
from keelbill.serving.queue import FairQueue

FRESH_S: Final = 0.5
"""How long looked-up places are believed; for a job that came since, a tenth of it."""


@dataclass
class _Places:
    at_s: float = -math.inf
    of: dict[str, tuple[int, float]] = field(default_factory=dict)


class Forecast:
    """Looks ahead.

    Args:
        queue: What waits.
        workers: Asks for all workers.
        running: Asks for each running job's estimated milliseconds and when it began.
        clock: Tells the time.
    """

    def __init__(
        self,
        queue: FairQueue,
        workers: Callable[[], list[WorkerInfo]],
        running: Callable[[], Iterable[tuple[float, float]]],
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._workers = workers
        self._running = running
        self._clock = clock
        self._places = _Places()

    @property
    def hands(self) -> int:
        """Workers that take jobs, at least one."""
        return max(1, sum(worker.ready for worker in self._workers()))

    @property
    def drain_s(self) -> float:
        """Seconds until all that waits and runs is done."""
        return (self._queue.total_ms + self._running_ms()) / 1000 / self.hands

    def load(self, org_id: str, *, weight: int, is_free: bool) -> Load:
        """Return what the queue looks like to an account.

        Args:
            org_id: The account.
            weight: Of its plan.
            is_free: Whether a worker would take a job now.
        """
        if not len(self._queue) and is_free:
            return Load(0, 0.0, 0.0, 1.0)
        hands, running_ms = self.hands, self._running_ms()
        wait_s = (self._queue.ahead_ms(org_id, weight=weight) + running_ms) / 1000 / hands
        drain_s = (self._queue.total_ms + running_ms) / 1000 / hands
        return Load(len(self._queue), wait_s, drain_s, min(wait_s, running_ms / 1000 / hands or wait_s))

    def place(self, job_id: str) -> Queued:
        """Return a waiting job's place; places are looked up for all jobs at once, and not more often than needed."""
        now_s = self._clock.monotonic_s()
        if now_s - self._places.at_s > (FRESH_S if job_id in self._places.of else FRESH_S / 10):
            self._places = _Places(now_s, self._queue.places())
        position, before_ms = self._places.of.get(job_id, (len(self._queue), self._queue.total_ms))
        return Queued(position, (before_ms + self._running_ms()) / self.hands)

    def _running_ms(self) -> float:
        now_s = self._clock.monotonic_s()
        return sum(max(0.0, cost_ms - (now_s - began_s) * 1000) for cost_ms, began_s in self._running())
