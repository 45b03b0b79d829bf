"""Links that work once: to prove an address, to set a password, to claim a new server. Knows no mail and no pages."""

from __future__ import annotations

import secrets
from typing import Final, Literal

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.identity import session_repository as rows
from keelbill.identity.errors import LinkExpired
from keelbill.identity.keys import digest

Purpose = Literal["verify", "reset", "setup", "external"]
HOUR_MS = 3_600_000
LIFE_MS: Final[dict[Purpose, int]] = {
    "verify": 24 * HOUR_MS,
    "reset": HOUR_MS,
    "setup": HOUR_MS,
    "external": HOUR_MS // 6,
}
TOKEN_BYTES = 32


class OneTimeTokens:
    """Makes tokens of 32 random bytes and uses them up; only keyed digests are stored.

    Args:
        clock: For their ends.
        secret: The server's.
    """

    def __init__(self, clock: Clock, secret: bytes) -> None:
        self._clock = clock
        self._secret = secret

    def make(self, connection: Connection, purpose: Purpose, user_id: str, payload: str = "") -> str:
        """Make a token; earlier ones of the same person for the same purpose no longer work.

        Args:
            connection: A transaction.
            purpose: What it is good for.
            user_id: Whose; "" makes one that nobody can use, so that unknown addresses cost the same work.
            payload: Kept with it.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        if user_id:
            rows.drop_tokens(connection, user_id, purpose)
        expires_ms = self._clock.now_ms() + LIFE_MS[purpose]
        rows.add_token(connection, self._digest(purpose, token), purpose, user_id, payload, expires_ms)
        return token

    def take(self, connection: Connection, purpose: Purpose, token: str) -> tuple[str, str]:
        """Use a token up and return whose it is and its payload.

        Raises:
            LinkExpired: It was used, is too old, or never was.
        """
        found = rows.take_token(connection, self._digest(purpose, token), purpose, self._clock.now_ms())
        if found is None:
            raise LinkExpired
        return found

    def check(self, connection: Connection, purpose: Purpose, token: str) -> None:
        """Look at a token without using it up, before work that costs something.

        Raises:
            LinkExpired: It was used, is too old, or never was.
        """
        if not rows.has_token(connection, self._digest(purpose, token), purpose, self._clock.now_ms()):
            raise LinkExpired

    def drop(self, connection: Connection, user_id: str, *purposes: Purpose) -> None:
        """Void a person's unused tokens."""
        rows.drop_tokens(connection, user_id, *purposes)

    def _digest(self, purpose: Purpose, token: str) -> str:
        return digest(self._secret, purpose, token)
