"""When a try is repeated and how long that waits. Knows no requests: an error says itself whether a retry is safe."""

from __future__ import annotations

from dataclasses import dataclass

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)
from tenacity.stop import stop_base

from keelbill.client.errors import KeelbillError


@dataclass(frozen=True)
class Retries:
    """How often, and how patiently, a call is tried.

    Args:
        attempts: Tries in all, from 1; 1 means no retry.
        first_wait_s: Longest wait before the second try; it doubles from try to try, and chance shortens it.
        longest_wait_s: Bound of that doubling. A wait that the server asks for is not bounded by it.
    """

    attempts: int = 4
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0

    def sync(self, left_s: float) -> Retrying:
        """Return the loop for blocking code; it ends before `left_s` seconds are over."""
        return Retrying(stop=self._stop(left_s), wait=self._wait_s, retry=retry_if_exception(is_worth_it), reraise=True)

    def asynchronous(self, left_s: float) -> AsyncRetrying:
        """Return the loop for asynchronous code; it ends before `left_s` seconds are over."""
        return AsyncRetrying(
            stop=self._stop(left_s), wait=self._wait_s, retry=retry_if_exception(is_worth_it), reraise=True
        )

    def pause_s(self, failures: int) -> float:
        """Return the seconds to wait before a broken event stream is opened again."""
        return min(self.longest_wait_s, self.first_wait_s * 2.0 ** (failures - 1))

    def _stop(self, left_s: float) -> stop_base:
        return stop_after_attempt(self.attempts) | stop_before_delay(left_s)

    def _wait_s(self, state: RetryCallState) -> float:
        """Wait as long as the server asks, and a little more so that clients do not come back all at once."""
        jitter = wait_random_exponential(multiplier=self.first_wait_s, max=self.longest_wait_s)(state)
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_s if isinstance(error, KeelbillError) else None
        return jitter if asked is None else asked + min(jitter, self.first_wait_s)


def is_worth_it(error: BaseException) -> bool:
    """Tell whether an error may go away by itself and repeating cannot charge twice."""
    return isinstance(error, KeelbillError) and error.can_retry
