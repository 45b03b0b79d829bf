"""Seals the secrets that sign messages, and opens them for the courier. Knows no tables."""

from __future__ import annotations

from keelbill.core.sealing import Seal
from keelbill.webhooks.errors import SecretLost
from keelbill.webhooks.schemas import Sealed


class Seals:
    """The secrets of all addresses; each opens for the address it was made for only.

    Args:
        secret: The server's own.
    """

    def __init__(self, secret: bytes) -> None:
        self._seal = Seal(secret, "webhook secret")

    def close(self, webhook_id: str, secret: str) -> str:
        """Return a secret sealed for an address."""
        return self._seal.close(secret, webhook_id)

    def open(self, webhook_id: str, sealed: Sealed, now_ms: int) -> tuple[str, ...]:
        """Return the secrets that sign at a time, the newest first.

        Args:
            webhook_id: The address.
            sealed: What is kept of it.
            now_ms: Milliseconds since 1970.

        Raises:
            SecretLost: The newest cannot be opened.
        """
        now = self._seal.open(sealed.now, webhook_id)
        if now is None:
            raise SecretLost("the secret of the webhook cannot be opened any more; make a new one")
        is_overlap = bool(sealed.former) and now_ms < sealed.former_until_ms
        former = self._seal.open(sealed.former, webhook_id) if is_overlap else None
        return (now,) if former is None else (now, former)
