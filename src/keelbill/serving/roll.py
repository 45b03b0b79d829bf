"""The jobs that a server knows: those that wait or run, and for a minute those that ended. Decides nothing."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from keelbill.core.errors import NotFound
from keelbill.serving.audience import Audience
from keelbill.serving.messages import Cancelled, Failed, JobSpec, Succeeded, Terminal
from keelbill.serving.placing import Needs

FORGET_S: Final = 60.0
KEPT_BYTES: Final = 64 * 2**20
KEPT_JOBS: Final = 2000


@dataclass(frozen=True)
class ActiveJob:
    """A job that waits or runs, as the operator sees it.

    Attributes:
        spec: The job.
        is_running: Whether a worker has it.
        worker: Which, "" for none yet.
        age_ms: Since it came.
    """

    spec: JobSpec
    is_running: bool
    worker: str
    age_ms: float


@dataclass
class Job:
    """A job with all that its server remembers of it; seconds are monotonic.

    Attributes:
        spec: What is wanted, with its latest epoch and try.
        audience: Who watches.
        is_sync: Whether somebody waits for the answer.
        submitted_s: When it came.
        state: How far it is.
        worker: Who has it or had it last.
        losses: Tries that came to nothing, those of an earlier life of the server among them.
        blame: Workers that were lost with it since the server started.
        needs: Of its next worker.
        steps: Of which its denoising consists, as its worker says.
        wish: How it ends as soon as it can be ended, because somebody no longer wants it.
        began_s: When its worker got it.
        ended_s: When it ended.
    """

    spec: JobSpec
    audience: Audience
    is_sync: bool
    submitted_s: float
    state: Literal["queued", "claiming", "running", "ending", "ended"] = "queued"
    worker: str = ""
    losses: int = 0
    blame: int = 0
    needs: Needs = field(default_factory=Needs)
    steps: int = 0
    wish: Cancelled | Failed | None = None
    began_s: float | None = None
    ended_s: float = 0.0

    @property
    def id(self) -> str:
        """Its id."""
        return self.spec.job_id

    @property
    def epoch(self) -> int:
        """Of its latest claim."""
        return self.spec.epoch

    @property
    def deadline_at_s(self) -> float:
        """When nobody wants it any more."""
        return self.submitted_s + self.spec.deadline_s


class Roll:
    """All jobs by id."""

    def __init__(self) -> None:
        self.active: dict[str, Job] = {}
        """Those that wait or run."""
        self.idle = asyncio.Event()
        """Set while there are none."""
        self.idle.set()
        self._known: dict[str, Job] = {}
        self._ended: OrderedDict[str, Job] = OrderedDict()
        self._ended_bytes = 0

    def enter(self, job: Job) -> None:
        """Add a job; one of the same id that ended before is forgotten."""
        self._ended.pop(job.id, None)
        self._known[job.id] = self.active[job.id] = job
        self.idle.clear()

    def known(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            NotFound: It never came, or ended more than a minute ago.
        """
        if job_id not in self._known:
            raise NotFound(f"There is no job {job_id!r} in the queue or on a worker.")
        return self._known[job_id]

    def of(self, *states: str) -> list[Job]:
        """Return the active jobs in one of some states, oldest first."""
        return [job for job in self.active.values() if job.state in states]

    def costs(self) -> Iterator[tuple[float, float]]:
        """Yield each running job's estimated milliseconds and when it began."""
        for job in self.active.values():
            if job.state == "running" and job.began_s is not None:
                yield job.spec.cost_ms, job.began_s

    def end(self, job: Job, end: Terminal, now_s: float) -> None:
        """Note that a job has ended; it is kept for whoever asks late."""
        job.state, job.ended_s = "ended", now_s
        self.active.pop(job.id, None)
        self._ended[job.id] = job
        if isinstance(end, Succeeded):
            self._ended_bytes += len(end.image)
        self._rest()

    def trim(self) -> None:
        """Forget the oldest ends, if there are too many or their pictures are too large."""
        while self._ended_bytes > KEPT_BYTES or len(self._ended) > KEPT_JOBS:
            self._forget_oldest()

    def forget_late(self, now_s: float) -> None:
        """Forget what ended more than a minute ago."""
        while self._ended and next(iter(self._ended.values())).ended_s + FORGET_S <= now_s:
            self._forget_oldest()

    def forget(self, job: Job) -> None:
        """Forget a job that has not ended."""
        del self.active[job.id], self._known[job.id]
        self._rest()

    def forget_all(self) -> None:
        """Forget every job, as a server does that starts anew."""
        self.active.clear()
        self._known.clear()
        self._rest()

    def _rest(self) -> None:
        if not self.active:
            self.idle.set()

    def _forget_oldest(self) -> None:
        job_id, job = self._ended.popitem(last=False)
        if isinstance(job.audience.terminal, Succeeded):
            self._ended_bytes -= len(job.audience.terminal.image)
        if self._known.get(job_id) is job:
            del self._known[job_id]
