"""What a pool knows of one worker: its last sign of life, its jobs, and whether it has been silent for too long.

Knows neither processes nor machines, nor how messages travel; every pool of real workers keeps its book here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from keelbill.serving.messages import Beat, Cancelled, Failed, JobSpec, Said, Setup, Succeeded, WorkerInfo

DEAD_AFTER_S: Final = 5.0
STEP_GRACE_S: Final = 10.0
STEP_FACTOR: Final = 4.0
QUIET_S: Final = 60.0
LOAD_PATIENCE_S: Final = 900.0
CANCEL_PATIENCE_S: Final = 10.0
BOOT_PATIENCE_S: Final = 120.0


@dataclass(frozen=True)
class Patience:
    """How long a worker may be silent.

    Args:
        beat_s: Between signs of life; else it is dead.
        step_s: Beyond four expected steps without a step; else it is stuck.
        quiet_s: With jobs of which none is being painted, such as reading or finishing pictures; else it is stuck.
        load_s: Of loading a model; else it is stuck.
        cancel_s: From being asked to give a job up; else it is ended.
        boot_s: From its start to its first sign of life.
    """

    beat_s: float = DEAD_AFTER_S
    step_s: float = STEP_GRACE_S
    quiet_s: float = QUIET_S
    load_s: float = LOAD_PATIENCE_S
    cancel_s: float = CANCEL_PATIENCE_S
    boot_s: float = BOOT_PATIENCE_S


@dataclass
class Member:
    """One worker of a pool; times are monotonic seconds.

    Args:
        setup: Who it is.
    """

    setup: Setup
    beat: Beat | None = None
    jobs: dict[str, JobSpec] = field(default_factory=dict)
    cancelled_at_s: dict[str, float] = field(default_factory=dict)
    started_at_s: float = 0.0
    heard_at_s: float = 0.0
    moved_at_s: float = 0.0
    capacity_bytes: int = 0
    """Of its memory; remembered while it starts anew."""
    reason: str = "killed"

    @property
    def name(self) -> str:
        """Its name, unique in its pool."""
        return self.setup.name

    def begins(self, now_s: float) -> None:
        """Note that it starts, afresh."""
        self.beat, self.reason = None, "killed"
        self.started_at_s = self.heard_at_s = self.moved_at_s = now_s

    def takes(self, job: JobSpec, now_s: float) -> None:
        """Note that a job was handed to it."""
        if not self.jobs:
            self.moved_at_s = now_s
        self.jobs[job.job_id] = job

    def beats(self, beat: Beat, now_s: float) -> bool:
        """Note a sign of life; return whether it can take more than before."""
        before, self.beat, self.heard_at_s = self.beat, beat, now_s
        self.capacity_bytes = beat.capacity_bytes
        if before is None or beat.steps != before.steps or beat.activity != before.activity:
            self.moved_at_s = now_s
        return before is None or beat.slots > before.slots

    def says(self, said: Said, now_s: float) -> None:
        """Note what it says of a job."""
        self.heard_at_s = self.moved_at_s = now_s
        job = self.jobs.get(said.job_id)
        if job is not None and job.epoch == said.epoch and isinstance(said.event, Succeeded | Failed | Cancelled):
            del self.jobs[said.job_id]
            self.cancelled_at_s.pop(said.job_id, None)
            if self.beat is not None:  # its next sign of life will say so too
                self.beat = msgspec.structs.replace(self.beat, slots=self.beat.slots + 1)

    def lose(self) -> dict[str, int]:
        """Forget its jobs, because it is gone; return them with their epochs."""
        epochs = {job_id: job.epoch for job_id, job in self.jobs.items()}
        self.jobs.clear()
        self.cancelled_at_s.clear()
        self.beat = None
        return epochs

    def info(self, *, is_ready: bool) -> WorkerInfo:
        """Return what others may know of it."""
        beat = self.beat or Beat(device=self.setup.device)
        return WorkerInfo(
            name=self.name,
            device=beat.device,
            models=beat.models,
            running=tuple(self.jobs),
            slots=max(0, min(beat.slots, self.setup.jobs - len(self.jobs))),
            ready=is_ready,
            memory_bytes=beat.memory_bytes,
            accelerator_bytes=beat.accelerator_bytes,
            capacity_bytes=self.capacity_bytes,
        )

    def complaint(self, now_s: float, patience: Patience) -> str:
        """Say why it has to go; empty if it does not."""
        silent_s, still_s = now_s - self.heard_at_s, now_s - self.moved_at_s
        if self.beat is None:
            return "no heartbeat" if silent_s > patience.boot_s else ""
        if silent_s > patience.beat_s:
            return "no heartbeat"
        if self.beat.activity == "loading":
            return "stuck" if still_s > patience.load_s else ""
        step_s = STEP_FACTOR * self.beat.step_s + patience.step_s
        if self.jobs and still_s > (step_s if self.beat.activity == "painting" else max(step_s, patience.quiet_s)):
            return "stuck"
        if any(now_s - at_s > patience.cancel_s for at_s in self.cancelled_at_s.values()):
            return "cancel overdue"
        return ""
