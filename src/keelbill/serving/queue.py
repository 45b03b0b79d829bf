"""Decides whose job is next: deficit round robin over accounts. Pure: knows no clock, no worker and no event loop.

Each account that waits gets a credit of worker time per round, the quantum times its weight, and its jobs are taken
while the credit covers them. An account that queues hundreds of jobs therefore delays the others by a job or two, not
by hundreds, and nobody needs to guess how many accounts there are.

References:
    | Efficient Fair Queueing Using Deficit Round-Robin (Shreedhar & Varghese, 1995)
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from keelbill.core.errors import InvalidInput
from keelbill.serving.messages import JobSpec

QUANTUM_MS: Final = 3000.0
"""Worker time that an account of weight 1 may use per round."""

AFFINITY_S: Final = 10.0
"""How long a job may be passed over because another suits the models that a worker has in memory."""

LEAST_COST_MS: Final = 1.0
MOST_COST_MS: Final = 3_600_000.0
_SCAN: Final = 64
"""Jobs of one account that are looked through for one that suits a worker."""


@dataclass
class _Waiting:
    job: JobSpec
    order: tuple[int, int]
    passed_over_s: float | None = None

    @property
    def cost_ms(self) -> float:
        return min(max(self.job.cost_ms, LEAST_COST_MS), MOST_COST_MS)

    def __lt__(self, other: _Waiting) -> bool:
        return self.order < other.order


@dataclass
class _Account:
    weight: int = 1
    deficit_ms: float = 0.0
    is_served: bool = False
    """Whether this round's credit has been given."""
    jobs: list[_Waiting] = field(default_factory=list)


class FairQueue:
    """Waiting jobs in fair order.

    Args:
        quantum_ms: Worker time per round and weight.
        affinity_s: Longest time that a job is passed over for one that suits a worker's models.
    """

    def __init__(self, *, quantum_ms: float = QUANTUM_MS, affinity_s: float = AFFINITY_S) -> None:
        if quantum_ms <= 0:
            raise InvalidInput("quantum_ms", quantum_ms, "above 0")
        self.quantum_ms = quantum_ms
        self.affinity_s = affinity_s
        self._ring: OrderedDict[str, _Account] = OrderedDict()
        self._front: deque[_Waiting] = deque()
        self._waiting: dict[str, _Waiting] = {}
        self._per_org: Counter[str] = Counter()
        self._per_org_ms: dict[str, float] = {}
        self._total_ms = 0.0
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._waiting

    @property
    def total_ms(self) -> float:
        """Estimated worker time of all that waits."""
        return self._total_ms if self._waiting else 0.0

    def waiting(self, org_id: str) -> int:
        """Return how many jobs of an account wait."""
        return self._per_org[org_id]

    def jobs(self) -> Iterator[JobSpec]:
        """Return all waiting jobs, oldest first."""
        return (waiting.job for waiting in self._waiting.values())

    # ------------------------------------------------------------ in

    def push(self, job: JobSpec) -> None:
        """Let a job wait behind its account's jobs of the same or a higher priority.

        Raises:
            InvalidInput: A job of this id waits already, or the weight is not from 1 to 8.
        """
        waiting = self._note(job)
        account = self._ring.setdefault(job.org_id, _Account())
        account.weight = job.weight
        heapq.heappush(account.jobs, waiting)

    def push_front(self, job: JobSpec) -> None:
        """Let a job wait before all others: its turn had come already, and its worker was lost.

        Raises:
            InvalidInput: As :meth:`push`.
        """
        self._front.append(self._note(job))

    def _note(self, job: JobSpec) -> _Waiting:
        if job.job_id in self._waiting:
            raise InvalidInput("job_id", job.job_id, "an id that does not wait already")
        if not 1 <= job.weight <= 8:
            raise InvalidInput("weight", job.weight, "from 1 to 8")
        self._arrivals += 1
        waiting = _Waiting(job, (-job.priority, self._arrivals))
        self._waiting[job.job_id] = waiting
        self._per_org[job.org_id] += 1
        self._per_org_ms[job.org_id] = self._per_org_ms.get(job.org_id, 0.0) + waiting.cost_ms
        self._total_ms += waiting.cost_ms
        return waiting

    # ------------------------------------------------------------ out

    def pop(self, now_s: float, *, warm: Collection[str] = ()) -> JobSpec | None:
        """Take the job whose turn it is.

        Args:
            now_s: Monotonic time.
            warm: Models that the asking worker has in memory. A job of one of them may pass others, each of which is
                passed over for at most `affinity_s`; empty means that any model is as good.

        Returns:
            The job, or nothing if none waits.
        """
        if self._front:
            return self._take(self._front.popleft())
        if not self._waiting:
            return None
        org_id, account = self._turn()
        chosen = account.jobs[0]
        if warm and chosen.job.task.model not in warm:
            org_id, account, chosen = self._suiting(now_s, warm) or (org_id, account, chosen)
        account.deficit_ms -= chosen.cost_ms
        if chosen is account.jobs[0]:
            heapq.heappop(account.jobs)
        else:
            account.jobs.remove(chosen)
            heapq.heapify(account.jobs)
        self._tidy(org_id, account)
        return self._take(chosen)

    def remove(self, job_id: str) -> JobSpec | None:
        """Take a job out, whatever its turn; nothing if it does not wait."""
        waiting = self._waiting.get(job_id)
        if waiting is None:
            return None
        if waiting in self._front:
            self._front.remove(waiting)
        else:
            account = self._ring[waiting.job.org_id]
            account.jobs.remove(waiting)
            heapq.heapify(account.jobs)
            self._tidy(waiting.job.org_id, account)
        return self._take(waiting)

    def move(self, job_id: str, to: Literal["front", "back"]) -> bool:
        """Let a waiting job be the next of all, or the last of its account and priority; false if it does not wait."""
        job = self.remove(job_id)
        if job is None:
            return False
        if to == "front":
            self._front.appendleft(self._note(job))
        else:
            self.push(job)
        return True

    def _take(self, waiting: _Waiting) -> JobSpec:
        job = waiting.job
        del self._waiting[job.job_id]
        self._total_ms -= waiting.cost_ms
        self._per_org[job.org_id] -= 1
        self._per_org_ms[job.org_id] -= waiting.cost_ms
        if not self._per_org[job.org_id]:
            del self._per_org[job.org_id], self._per_org_ms[job.org_id]
        return job

    def _turn(self) -> tuple[str, _Account]:
        """Go round until an account's credit covers its first job."""
        while True:
            org_id, account = next(iter(self._ring.items()))
            if not account.is_served:
                account.is_served = True
                account.deficit_ms += self.quantum_ms * account.weight
            if account.jobs[0].cost_ms <= account.deficit_ms:
                return org_id, account
            account.is_served = False
            self._ring.move_to_end(org_id)

    def _tidy(self, org_id: str, account: _Account) -> None:
        if not account.jobs:
            del self._ring[org_id]

    def _suiting(self, now_s: float, warm: Collection[str]) -> tuple[str, _Account, _Waiting] | None:
        """Find the first job of a warm model, unless somebody before it has been passed over for too long."""
        passed: list[_Waiting] = []
        for org_id, account in self._ring.items():
            for waiting in heapq.nsmallest(_SCAN, account.jobs):
                if waiting.job.task.model in warm:
                    for other in passed:
                        other.passed_over_s = now_s if other.passed_over_s is None else other.passed_over_s
                    return org_id, account, waiting
                if waiting.passed_over_s is not None and now_s - waiting.passed_over_s >= self.affinity_s:
                    return org_id, account, waiting
                passed.append(waiting)
        return None

    # ------------------------------------------------------------ looking ahead

    def ahead_ms(self, org_id: str, *, weight: int = 1) -> float:
        """Estimate the worker milliseconds before a new job of an account.

        Its own jobs all come first; of each other account, what its weight buys in the same rounds.
        """
        mine_ms = self._per_org_ms.get(org_id, 0.0)
        rounds = (mine_ms / (self.quantum_ms * weight)) + 1
        others_ms = sum(
            min(self._per_org_ms.get(other, 0.0), rounds * self.quantum_ms * account.weight)
            for other, account in self._ring.items()
            if other != org_id
        )
        return mine_ms + others_ms + sum(waiting.cost_ms for waiting in self._front if waiting.job.org_id != org_id)

    def order(self) -> list[JobSpec]:
        """Return all waiting jobs in the order in which they would be taken if nothing else came."""
        ring = deque((org, a.weight, a.deficit_ms, a.is_served, deque(sorted(a.jobs))) for org, a in self._ring.items())
        ahead = [waiting.job for waiting in self._front]
        while ring:
            org, weight, deficit_ms, is_served, jobs = ring.popleft()
            if not is_served:
                deficit_ms += self.quantum_ms * weight
            while jobs and jobs[0].cost_ms <= deficit_ms:
                deficit_ms -= jobs[0].cost_ms
                ahead.append(jobs.popleft().job)
            if jobs:
                ring.append((org, weight, deficit_ms, False, jobs))
        return ahead

    def places(self) -> dict[str, tuple[int, float]]:
        """Return each waiting job's position, from 1, and the worker milliseconds before it."""
        places: dict[str, tuple[int, float]] = {}
        before_ms = 0.0
        for position, job in enumerate(self.order(), start=1):
            places[job.job_id] = (position, before_ms)
            before_ms += self._waiting[job.job_id].cost_ms
        return places
