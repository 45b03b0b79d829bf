"""What the serving layer measures, and for whom. Knows no metrics library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from keelbill.serving.messages import WorkerInfo


class Meter(Protocol):
    """Receives measurements as they happen; every label is from a short closed list."""

    def waited(self, model: str, seconds: float) -> None:
        """A job has begun after waiting."""
        ...

    def ended(self, model: str, outcome: str, phases_ms: Mapping[str, float], steps: int = 0) -> None:
        """A job has ended as ``succeeded``, ``filtered``, ``failed`` or ``cancelled``.

        Milliseconds by phase; `steps` is how many steps denoising consisted of, 0 if none was told.
        """
        ...

    def retried(self, reason: str) -> None:
        """A job starts again because its worker was lost."""
        ...

    def refused(self, reason: str) -> None:
        """A job was not let in: ``account_queue``, ``global_queue`` or ``draining``."""
        ...


class NoMeter:
    """Measures nothing."""

    def waited(self, model: str, seconds: float) -> None:
        """Pass over it."""

    def ended(self, model: str, outcome: str, phases_ms: Mapping[str, float], steps: int = 0) -> None:
        """Pass over it."""

    def retried(self, reason: str) -> None:
        """Pass over it."""

    def refused(self, reason: str) -> None:
        """Pass over it."""


@dataclass(frozen=True)
class Snapshot:
    """The serving layer at one moment.

    Args:
        queued: Waiting jobs by model.
        running: Running jobs by model.
        queue_ms: Estimated worker time of all that waits.
        desired_workers: That would start everything that waits within the target wait.
        stale: Messages of older epochs that were ignored so far.
        draining: Whether new jobs are refused.
        workers: All workers.
    """

    queued: Mapping[str, int]
    running: Mapping[str, int]
    queue_ms: float
    desired_workers: int
    stale: int
    draining: bool
    workers: tuple[WorkerInfo, ...] = field(default=())
