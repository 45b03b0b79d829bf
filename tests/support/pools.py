"""Pools of workers for the tests, and a listener that notes what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from keelbill.serving.local import LocalPool
from keelbill.serving.member import Patience
from keelbill.serving.messages import Cancelled, Event, Failed, ImageTask, JobSpec, Setup, Succeeded


class Audience:
    """Notes what a pool says."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, Event]] = []
        self.lost: list[tuple[str, Mapping[str, int], str]] = []

    def on_event(self, job_id: str, epoch: int, event: Event) -> None:
        self.events.append((job_id, epoch, event))

    def on_lost(self, worker: str, epochs: Mapping[str, int], reason: str) -> None:
        self.lost.append((worker, epochs, reason))

    def on_capacity(self) -> None:
        """Pass over it."""

    def of(self, job_id: str) -> list[Event]:
        """Return what was said of a job."""
        return [event for job, _, event in self.events if job == job_id]

    def end(self, job_id: str) -> Succeeded | Failed | Cancelled | None:
        """Return how a job ended, or nothing yet."""
        ends = [event for event in self.of(job_id) if isinstance(event, Succeeded | Failed | Cancelled)]
        return ends[0] if ends else None


async def until(true: Callable[[], object], timeout_s: float = 120.0) -> None:
    """Wait until something is true.

    Raises:
        TimeoutError: It did not become true in time.
    """
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.002)


def small_job(job_id: str = "a", *, epoch: int = 1, prompt: str = "a red kite", **values: object) -> JobSpec:
    """Make a job of few steps and pixels."""
    defaults: dict[str, object] = {"width": 64, "height": 64, "seed": 7, "steps": 3}
    task = ImageTask(prompt=prompt, **{**defaults, **values})  # type: ignore[arg-type]
    return JobSpec(job_id=job_id, org_id="org", task=task, epoch=epoch)


def mini_pool(
    home: Path,
    workers: int = 1,
    *,
    patience: Patience | None = None,
    jobs: int = 4,
    environment: Mapping[str, str] | None = None,
) -> LocalPool:
    """Make a pool of real processes that paint with the embedded model on the processor."""
    setups = [
        Setup(
            name=f"worker-{i}",
            home=str(home),
            blobs=str(home / "blobs"),
            model="keelbill-mini",
            device="cpu",
            threads=1,
            jobs=jobs,
            beat_s=0.5,
        )
        for i in range(workers)
    ]
    return LocalPool(setups, patience=patience, environment=environment)
