"""What every pool of workers offers, and what the queue asks of whoever keeps the jobs. Knows no implementation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from keelbill.serving.messages import Event, Failed, JobSpec, Succeeded, WorkerInfo

OnEvent = Callable[[str, int, Event], None]
"""Receives a job's id, its epoch and what happened; called on the event loop."""

OnLost = Callable[[str, Mapping[str, int], str], None]
"""Receives a lost worker's name, its jobs with their epochs, and the reason; called on the event loop."""


class WorkerPool(Protocol):
    """Workers somewhere: child processes, a cluster's actors, or a script. Only the gateway talks to it."""

    async def start(self, on_event: OnEvent, on_lost: OnLost) -> None:
        """Bring the workers up; returns when at least one takes jobs or the first load has begun."""
        ...

    async def stop(self) -> None:
        """End every worker."""
        ...

    def run(self, worker: str, job: JobSpec) -> None:
        """Hand a claimed job to a worker that has a free slot."""
        ...

    def cancel(self, job_id: str, reason: str) -> None:
        """Ask for a running job to end at its next step; what is not running is passed over."""
        ...

    def acknowledge(self, job_id: str, epoch: int) -> None:
        """Say that a finished job is stored, so that its worker may forget the picture."""
        ...

    def workers(self) -> list[WorkerInfo]:
        """Return all workers."""
        ...


class JobBook(Protocol):
    """Whoever keeps jobs durably. Every method is one transaction; the gateway calls it and never a database."""

    async def claim(self, job_id: str, worker: str, lease_s: float) -> int | None:
        """Mark a queued job as running and return its new epoch, or nothing if nobody wants it any more."""
        ...

    async def renew(self, epochs: Mapping[str, int], lease_s: float) -> set[str]:
        """Extend the leases of running jobs and return the ids that are still ours."""
        ...

    async def succeed(self, job_id: str, epoch: int, result: Succeeded) -> bool:
        """Store the picture and capture its price; false if the epoch is stale and nothing was changed."""
        ...

    async def fail(self, job_id: str, epoch: int, failure: Failed) -> bool:
        """End the job without a picture and release its price; false if the epoch is stale."""
        ...

    async def cancelled(self, job_id: str, epoch: int, reason: str) -> bool:
        """End a running job that was cancelled and release its price; false if the epoch is stale."""
        ...

    async def requeue(self, job_id: str, epoch: int, reason: str) -> int | None:
        """Put a running job back after its worker was lost and return the next attempt, or nothing if it has ended."""
        ...
