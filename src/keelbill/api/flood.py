"""Turns away a credential that is over its limit before anything else looks at the request. Knows no accounts.

The sliding log refuses everything until its oldest request leaves the window, so that moment can be kept beside the
raw header. It is asked anew after at most a second, so that a key that was revoked meanwhile is told so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, MutableMapping
from hashlib import blake2b
from typing import Any

from keelbill.core.clock import Clock

MAX_CREDENTIALS = 4096
ASK_AGAIN_S = 1.0

_NAMES = (b"authorization", b"x-api-key")


class Flood:
    """Credentials that are over their limit right now.

    Args:
        clock: Whose monotonic time counts.
        max_credentials: How many are remembered; the oldest is forgotten first.
    """

    def __init__(self, clock: Clock, max_credentials: int = MAX_CREDENTIALS) -> None:
        self._clock = clock
        self._max = max_credentials
        self._until: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def refuse(self, scope: MutableMapping[str, Any], retry_after_s: float) -> None:
        """Remember that the credential of a request is refused for so many seconds."""
        credential = _credential(scope["headers"])
        if credential is None:
            return
        now = self._clock.monotonic_s()
        self._until.pop(credential, None)
        if len(self._until) >= self._max:
            self._until.popitem(last=False)
        # Rounded up for the client; here only what is certain counts, hence one second less.
        self._until[credential] = (now + min(max(retry_after_s - 1, 0), ASK_AGAIN_S), now + retry_after_s)

    def retry_after_s(self, scope: MutableMapping[str, Any]) -> float:
        """Return for how long the credential of a request is still refused; 0 if it must be looked at."""
        if not self._until:
            return 0.0
        credential = _credential(scope["headers"])
        found = self._until.get(credential) if credential is not None else None
        if found is None:
            return 0.0
        now = self._clock.monotonic_s()
        if now >= found[0]:
            return 0.0
        return found[1] - now


def _credential(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name in _NAMES:
            return blake2b(value, digest_size=16).digest()
    return None
