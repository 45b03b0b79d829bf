"""What one process remembers of API keys. Knows no tables; whoever changes a key drops it here in the same call."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from keelbill.core.clock import Clock
from keelbill.core.principal import Principal

MAX_KEYS = 10_000
NEGATIVE_S = 1.0

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Entry:
    """A key that works, unless it has expired or the caller is elsewhere."""

    principal: Principal
    expires_ms: int
    networks: tuple[Network, ...]


class CredentialCache:
    """Keys by digest, the least recently used forgotten first, and for one second digests that open nothing.

    A look-up in the database may overlap with a revocation. Therefore `put` takes the generation from before the
    look-up and keeps nothing if anything was dropped since.

    Args:
        clock: Whose monotonic time counts.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._digests: dict[str, str] = {}
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self.generation = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, digest: str) -> Entry | None:
        """Return what is known of a key."""
        entry = self._entries.get(digest)
        if entry is not None:
            self._entries.move_to_end(digest)
        return entry

    def put(self, digest: str, entry: Entry, generation: int) -> None:
        """Remember a key, unless anything was dropped since `generation`."""
        if generation != self.generation:
            return
        if len(self._entries) >= MAX_KEYS:
            _, oldest = self._entries.popitem(last=False)
            self._digests.pop(oldest.principal.key_id, None)
        self._entries[digest] = entry
        self._digests[entry.principal.key_id] = digest

    def is_unknown(self, digest: str) -> bool:
        """Whether a digest was found to open nothing less than a second ago."""
        until = self._unknown.get(digest)
        return until is not None and self._clock.monotonic_s() < until

    def put_unknown(self, digest: str) -> None:
        """Remember for a second that a digest opens nothing."""
        if len(self._unknown) >= MAX_KEYS:
            self._unknown.popitem(last=False)
        self._unknown.pop(digest, None)
        self._unknown[digest] = self._clock.monotonic_s() + NEGATIVE_S

    def drop(self, key_id: str) -> None:
        """Forget a key now."""
        self.generation += 1
        self._entries.pop(self._digests.pop(key_id, ""), None)

    def clear(self) -> None:
        """Forget all keys now."""
        self.generation += 1
        self._entries.clear()
        self._digests.clear()
        self._unknown.clear()
