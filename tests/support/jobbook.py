"""A book of jobs in memory that keeps the rules of the real one: epochs, leases, one end. And a clock to move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from keelbill.core.errors import Unavailable
from keelbill.serving.messages import Failed, Succeeded


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def now_ms(self) -> int:
        return int(self.now().timestamp() * 1000)

    def monotonic_s(self) -> float:
        return self.seconds

    def move(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class Row:
    """One job: ``queued``, ``running``, ``succeeded``, ``failed`` or ``cancelled``."""

    state: str = "queued"
    epoch: int = 0
    attempt: int = 1
    worker: str = ""
    result: Succeeded | None = None
    failure: Failed | None = None
    reason: str = ""
    charges: int = 0
    voids: int = 0


@dataclass
class MemoryBook:
    """Jobs by id; a job that is asked for and not there is made."""

    rows: dict[str, Row] = field(default_factory=dict)
    renewals: list[set[str]] = field(default_factory=list)
    away: bool = False
    disk: OSError | Unavailable | None = None

    def row(self, job_id: str) -> Row:
        if self.away:
            raise Unavailable("The database is away.")
        return self.rows.setdefault(job_id, Row())

    async def claim(self, job_id: str, worker: str, lease_s: float) -> int | None:
        row = self.row(job_id)
        if row.state != "queued":
            return None
        row.state, row.worker, row.epoch = "running", worker, row.epoch + 1
        return row.epoch

    async def renew(self, epochs: Mapping[str, int], lease_s: float) -> set[str]:
        kept = {j for j, e in epochs.items() if self.row(j).state == "running" and self.row(j).epoch == e}
        self.renewals.append(kept)
        return kept

    def _ours(self, job_id: str, epoch: int) -> Row | None:
        row = self.row(job_id)
        return row if row.state in {"queued", "running"} and row.epoch == epoch else None

    async def succeed(self, job_id: str, epoch: int, result: Succeeded) -> bool:
        row = self._ours(job_id, epoch)
        if row is None:
            return False
        if self.disk is not None:
            raise self.disk
        row.state, row.result, row.charges = "succeeded", result, row.charges + 1
        return True

    async def fail(self, job_id: str, epoch: int, failure: Failed) -> bool:
        row = self._ours(job_id, epoch)
        if row is None:
            return False
        row.state, row.failure, row.voids = "failed", failure, row.voids + 1
        return True

    async def cancelled(self, job_id: str, epoch: int, reason: str) -> bool:
        row = self._ours(job_id, epoch)
        if row is None:
            return False
        row.state, row.reason, row.voids = "cancelled", reason, row.voids + 1
        return True

    async def requeue(self, job_id: str, epoch: int, reason: str) -> int | None:
        row = self._ours(job_id, epoch)
        if row is None or row.state != "running":
            return None
        row.state, row.attempt = "queued", row.attempt + 1
        return row.attempt
