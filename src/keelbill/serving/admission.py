"""Says whether one more job may wait, before anybody pays for it. Knows estimates, and neither jobs nor workers."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from keelbill.core.errors import RateLimited, Unavailable

MOST_RETRY_AFTER_S: Final = 300
PENDING_S: Final = 5.0
"""How long an admitted job counts although it has not been submitted; its hold is taken meanwhile."""


@dataclass(frozen=True)
class Limits:
    """How much may wait.

    Args:
        account_jobs: Synchronous jobs of one account that wait or run.
        queued_jobs: Jobs that wait in all.
    """

    account_jobs: int = 16
    queued_jobs: int = 2000


@dataclass(frozen=True)
class Load:
    """What the queue looks like to one account.

    Args:
        queued: Jobs that wait in all.
        wait_s: Until a new job of the account would begin.
        drain_s: Until all that waits now has begun.
        account_s: Until one of the account's jobs should be done.
    """

    queued: int
    wait_s: float
    drain_s: float
    account_s: float


def retry_after_s(seconds: float) -> int:
    """Turn an estimate into a Retry-After header's whole seconds, 1 to 300 (RFC 9110, section 10.2.3)."""
    return max(1, min(MOST_RETRY_AFTER_S, math.ceil(seconds)))


class Admission:
    """Counts the jobs of each account and refuses what would exceed a limit.

    Args:
        limits: How much may wait.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._jobs: Counter[str] = Counter()
        self._pending: dict[str, deque[float]] = {}
        self._pending_in_all = 0

    def jobs(self, org_id: str) -> int:
        """Return an account's synchronous jobs that wait or run."""
        return self._jobs[org_id]

    def admit(self, org_id: str, load: Load, *, deadline_s: float, sync: bool, count: int, now_s: float) -> None:
        """Let `count` jobs in, or say why not. What is admitted counts as waiting for a few seconds, so that a burst
        of requests that are checked together cannot pass together.

        Raises:
            RateLimited: The account has too many jobs.
            Unavailable: The queue is full, or would not reach the job before its deadline.
        """
        self._forget_late(now_s)
        pending = self._pending.get(org_id, ())
        here = self._jobs[org_id] + len(pending)
        if sync and here + count > self.limits.account_jobs:
            raise RateLimited(
                f"{here} requests of this account wait or run; at most {self.limits.account_jobs} may.",
                retry_after_s=retry_after_s(load.account_s),
                hint="Wait for one of them, or ask for fewer pictures at a time.",
            )
        queued = load.queued + self._pending_in_all
        if queued + count > self.limits.queued_jobs:
            raise Unavailable(
                f"{queued} jobs wait; the queue holds {self.limits.queued_jobs}.",
                retry_after_s=retry_after_s(load.drain_s),
            )
        if sync and load.wait_s > deadline_s:
            raise Unavailable(
                f"The wait would be about {load.wait_s:.0f} s; the request's deadline is {deadline_s:g} s.",
                retry_after_s=retry_after_s(load.drain_s),
            )
        self._pending.setdefault(org_id, deque()).extend([now_s + PENDING_S] * count)
        self._pending_in_all += count

    def submitted(self, org_id: str, *, sync: bool) -> None:
        """Note that a job has come; one admission of the account is used up."""
        self.withdraw(org_id)
        if sync:
            self._jobs[org_id] += 1

    def withdraw(self, org_id: str, count: int = 1) -> None:
        """Note that admitted jobs will not come after all, for example for want of credits."""
        pending = self._pending.get(org_id)
        for _ in range(min(count, len(pending or ()))):
            self._drop_oldest(org_id)

    def ended(self, org_id: str, *, sync: bool) -> None:
        """Note that a job has ended."""
        if sync:
            self._jobs[org_id] -= 1
            if self._jobs[org_id] <= 0:
                del self._jobs[org_id]

    def _drop_oldest(self, org_id: str) -> None:
        self._pending[org_id].popleft()
        self._pending_in_all -= 1
        if not self._pending[org_id]:
            del self._pending[org_id]

    def _forget_late(self, now_s: float) -> None:
        late = [org for org, expiries in self._pending.items() if expiries[0] <= now_s]
        for org_id in late:
            while self._pending.get(org_id) and self._pending[org_id][0] <= now_s:
                self._drop_oldest(org_id)
