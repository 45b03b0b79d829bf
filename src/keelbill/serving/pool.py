"""What every pool of workers offers, and what the queue asks of whoever keeps the jobs. Knows no implementation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from keelbill.serving.messages import Event, Failed, JobSpec, Succeeded, WorkerInfo

OnEvent = Callable[[str, int, Event], None]
"""Receives a job's id, its epoch and what happened; called on the event loop."""

OnLost = Callable[[str, Mapping[str, int], str], None]
"""Receives a lost worker's name, its jobs with their epochs, and the reason; called on the event loop."""

OnCapacity = Callable[[], None]
"""Called on the event loop when a worker can take more than before, other than by finishing a job."""


class WorkerPool(Protocol):
    """Workers somewhere: child processes, a cluster's actors, or a script. Only the gateway talks to it."""

    async def start(self, on_event: OnEvent, on_lost: OnLost, on_capacity: OnCapacity) -> None:
        """Bring the workers up; returns when at least one takes jobs or the first load has begun."""
        ...

    async def stop(self) -> None:
        """End every worker."""
        ...

    def run(self, worker: str, job: JobSpec) -> None:
        """Hand a claimed job to a worker that has a free slot.

        If the worker is gone meanwhile, the job is lost with it: `OnLost` is called.
        """
        ...

    def cancel(self, job_id: str, reason: str) -> None:
        """Ask for a running job to end at its next step; what is not running is passed over.

        A worker that does not comply within 10 seconds is ended, and its jobs are lost.
        """
        ...

    def acknowledge(self, job_id: str, epoch: int) -> None:
        """Say that a finished job is stored, so that its worker may forget the picture."""
        ...

    def workers(self) -> list[WorkerInfo]:
        """Return all workers."""
        ...


class JobBook(Protocol):
    """Whoever keeps jobs durably. Every method is one transaction; the gateway calls it and never a database.

    Every method may raise `Unavailable` when the database is away; the gateway then tries again. `succeed` raises
    `DiskFull` or `OSError` when the picture cannot be stored; the gateway then lets the job fail.
    """

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
        """End a waiting or running job without a picture and release its price; false if the epoch is stale."""
        ...

    async def cancelled(self, job_id: str, epoch: int, reason: str) -> bool:
        """End a job that was cancelled while it waited or ran and release its price; false if the epoch is stale."""
        ...

    async def requeue(self, job_id: str, epoch: int, reason: str) -> int | None:
        """Put a running job back after its worker was lost and return the next attempt, or nothing if it has ended."""
        ...
