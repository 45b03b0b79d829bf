"""Slows down whoever fails again and again, without locking anybody out. Knows no passwords."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.errors import RateLimited
from keelbill.identity import session_repository as rows
from keelbill.identity.keys import digest

WINDOW_MS = 15 * 60_000
LONGEST_DELAY_MS = 60_000


@dataclass(frozen=True)
class Limit:
    """How often something may fail before delays begin.

    Attributes:
        kind: Keeps counts of different things apart.
        free: Failures within the window without any delay.
        first_delay_ms: After the next one; it doubles with each further failure, up to a minute.
    """

    kind: str
    free: int
    first_delay_ms: int = 1000


PER_ACCOUNT = Limit("account", 5)
PER_ADDRESS = Limit("address", 20)
SIGN_UPS_PER_RANGE = Limit("sign-up", 10, first_delay_ms=60_000)
MAILS_PER_ACCOUNT = Limit("mail", 3, first_delay_ms=60_000)


class Throttle:
    """Counts attempts in the database, so that all server processes know them.

    An attempt is counted before its outcome is known and forgotten if it succeeds; parallel attempts therefore count
    in full. Attempts that come too early are refused and not counted: nobody can push another's delay further out.

    Args:
        clock: For windows and delays.
        secret: The server's, since addresses are stored as digests only.
    """

    def __init__(self, clock: Clock, secret: bytes) -> None:
        self._clock = clock
        self._secret = secret

    def count(self, connection: Connection, limit: Limit, who: str) -> None:
        """Count an attempt of somebody.

        Raises:
            RateLimited: It comes too early after failures; says in how many seconds to try again.
        """
        now = self._clock.now_ms()
        key = self._key(limit, who)
        failures, last, allowed_from = rows.attempt(connection, key, now)
        if now - last > WINDOW_MS:
            failures = 0
        elif now < allowed_from:
            wait_s = -(-(allowed_from - now) // 1000)
            raise RateLimited(f"Too many attempts; try again in {wait_s} seconds.", retry_after_s=wait_s)
        failures += 1
        over = failures - limit.free
        delay = min(limit.first_delay_ms << min(over, 16), LONGEST_DELAY_MS) if over >= 0 else 0
        rows.set_attempt(connection, key, failures, now, now + delay)

    def forget(self, connection: Connection, limit: Limit, who: str) -> None:
        """Forget failures, because an attempt succeeded."""
        rows.clear_attempt(connection, self._key(limit, who))

    def undo(self, connection: Connection, limit: Limit, who: str) -> None:
        """Take back one attempt of somebody, because it succeeded; earlier failures still count."""
        key = self._key(limit, who)
        failures, last, _ = rows.attempt(connection, key, self._clock.now_ms())
        rows.set_attempt(connection, key, max(failures - 1, 0), last, 0)

    def _key(self, limit: Limit, who: str) -> str:
        return digest(self._secret, limit.kind, who)
