"""Counts requests exactly, per account and per address, in memory. Knows neither keys, HTTP nor other servers' counts.

A sliding log of timestamps is exact: never more than `limit` in any window. A token bucket would let up to twice as
many through. Times are monotonic, so a jump of the wall clock neither blocks nor frees anybody. Where several servers
work over one database, each grants its share of the limit, so that together they stay within it.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from keelbill.core.clock import Clock
from keelbill.core.errors import RateLimited

MAX_ACCOUNTS = 100_000
"""Accounts and addresses whose log is kept; the one that asked least recently is forgotten first."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How an account stands.

    Attributes:
        limit: Requests per window.
        remaining: Requests that would be answered now.
        reset_s: Whole seconds until more would be, rounded up.
        window_s: Length of the window in seconds.
    """

    limit: int
    remaining: int
    reset_s: int
    window_s: int


@dataclass(frozen=True, slots=True)
class Strike:
    """One counted request, which can be given back."""

    who: str
    at_s: float


class RateLimiter:
    """A sliding log of monotonic times for each account or address.

    Args:
        clock: Whose monotonic time counts.
        limit: Requests per window, unless a call says otherwise.
        window_s: Length of the window in seconds.
        max_accounts: How many logs are kept.
        servers: Returns among how many servers every limit is split.
    """

    def __init__(
        self,
        clock: Clock,
        limit: int,
        window_s: float,
        *,
        max_accounts: int = MAX_ACCOUNTS,
        servers: Callable[[], int] = lambda: 1,
    ) -> None:
        self.limit = limit
        self.window_s = window_s
        self._clock = clock
        self._max_accounts = max_accounts
        self._servers = servers
        self._logs: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._logs)

    def hit(self, who: str, *, limit: int | None = None, weight: int = 1) -> tuple[Strike, Standing]:
        """Count one request.

        Args:
            who: Account or address.
            limit: Of this account, if it has its own.
            weight: As how many requests it counts.

        Raises:
            RateLimited: The window is full; the request is not counted.
        """
        allowed = self._share(limit)
        now = self._clock.monotonic_s()
        log = self._log(who, now)
        if len(log) + weight > allowed:
            raise RateLimited(
                f"rate limit: {allowed} requests per {self.window_s:g} seconds are allowed.",
                retry_after_s=self._wait(log, allowed - weight, now),
            )
        log.extend([now] * weight)
        return Strike(who, now), self._standing(log, allowed, now)

    def standing(self, who: str, *, limit: int | None = None) -> Standing:
        """Return how an account stands without counting anything."""
        now = self._clock.monotonic_s()
        log = self._logs.get(who, deque())
        return self._standing(self._without_old(log, now), self._share(limit), now)

    def count(self, who: str, *, weight: int = 1) -> None:
        """Count a request that was answered anyhow, as far as the window has room."""
        now = self._clock.monotonic_s()
        log = self._log(who, now)
        log.extend([now] * min(weight, max(self._share() - len(log), 0)))

    def is_full(self, who: str) -> bool:
        """Whether a further request would be refused."""
        log = self._logs.get(who)
        return log is not None and len(self._without_old(log, self._clock.monotonic_s())) >= self._share()

    def give_back(self, strike: Strike) -> None:
        """Take a request out of the log, as if it had not been made; twice does no harm."""
        log = self._logs.get(strike.who)
        if log is not None and strike.at_s in log:
            log.remove(strike.at_s)

    def _share(self, limit: int | None = None) -> int:
        """Return this server's part of a limit, rounded up: at least 1."""
        return math.ceil((limit or self.limit) / self._servers())

    def _log(self, who: str, now: float) -> deque[float]:
        log = self._logs.get(who)
        if log is None:
            if len(self._logs) >= self._max_accounts:
                self._logs.popitem(last=False)
            log = self._logs[who] = deque()
        else:
            self._logs.move_to_end(who)
        return self._without_old(log, now)

    def _without_old(self, log: deque[float], now: float) -> deque[float]:
        start = now - self.window_s
        while log and log[0] <= start:
            log.popleft()
        return log

    def _wait(self, log: deque[float], room: int, now: float) -> int:
        """Return the whole seconds until at most `room` requests are left in the window."""
        if room < 0 or not log:
            return max(1, math.ceil(self.window_s))
        return max(1, math.ceil(log[len(log) - room - 1] + self.window_s - now))

    def _standing(self, log: deque[float], allowed: int, now: float) -> Standing:
        reset = math.ceil(log[0] + self.window_s - now) if log else 0
        return Standing(allowed, max(allowed - len(log), 0), max(reset, 0), math.ceil(self.window_s))
