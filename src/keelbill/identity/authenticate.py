"""Says who a key or a cookie belongs to. Knows neither headers nor routes.

A known key costs a keyed hash and a look into this process's cache. The cache is believed for half a second after the
version number of all credentials was last compared; then the number is read again, so a key that another process
revoked stops to work here within a second. If the database cannot be asked, nobody is let in.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter

from keelbill.core.clock import Clock
from keelbill.core.errors import AppError
from keelbill.core.principal import Principal
from keelbill.db.base import Database
from keelbill.identity import key_repository, repository, session_repository
from keelbill.identity.cache import CredentialCache, Entry
from keelbill.identity.errors import CredentialRefused, RefusalReason
from keelbill.identity.keys import digest, is_well_formed
from keelbill.identity.schemas import Holder, allowed_scopes
from keelbill.identity.sessions import Sessions

log = logging.getLogger(__name__)

TRUST_S = 0.5
"""How long the cache is believed without asking for the version; revocation elsewhere takes at most this long."""

TOUCH_MS = 60_000
FLUSH_S = 5.0


class Authenticator:
    """Turns credentials into principals.

    Args:
        database: Where keys and sessions are.
        clock: For expiry and the cache.
        secret: The server's.
        cache: Shared with whoever changes keys in this process.
        sessions: Finds sessions.

    Attributes:
        refused: How many credentials were refused, by reason; for metrics.
    """

    def __init__(
        self, database: Database, clock: Clock, secret: bytes, cache: CredentialCache, sessions: Sessions
    ) -> None:
        self._database = database
        self._clock = clock
        self._secret = secret
        self._cache = cache
        self._sessions = sessions
        self._version = -1
        self._checked_s = float("-inf")
        self._checking = asyncio.Lock()
        self._noted: dict[str, int] = {}
        self._key_uses: dict[str, tuple[int, str]] = {}
        self._session_uses: dict[str, int] = {}
        self._flusher: asyncio.Task[None] | None = None
        self.refused: Counter[RefusalReason] = Counter()

    async def authenticate(self, credential: str, ip: str) -> Principal:
        """Return who holds an API key.

        Args:
            credential: The key alone, without ``Bearer``.
            ip: Address of the client; "" if unknown, which no key with networks accepts.

        Raises:
            CredentialRefused: The key is malformed, unknown, revoked, expired or used from elsewhere, or its member
                is disabled.
        """
        try:
            return await self._authenticate(credential, ip)
        except CredentialRefused as refusal:
            self.refused[refusal.reason] += 1
            raise

    async def authenticate_session(self, cookie: str, ip: str) -> tuple[Principal, str]:
        """Return who a session's cookie belongs to, and the token that its writes must carry.

        Args:
            cookie: The value.
            ip: Address of the client.

        Raises:
            CredentialRefused: The session is unknown or has ended, or its user may not come in any more.
        """
        if not 32 <= len(cookie) <= 128:
            self.refused["malformed"] += 1
            raise CredentialRefused("malformed")
        try:
            principal, record = await self._database.read(lambda c: self._sessions.find(c, cookie))
        except CredentialRefused as refusal:
            self.refused[refusal.reason] += 1
            raise
        now = self._clock.now_ms()
        if now - max(record.last_seen_ms, self._noted.get(record.id, 0)) >= TOUCH_MS:
            self._note(record.id, now)
            self._session_uses[record.id] = now
        return principal, self._sessions.csrf_token(cookie)

    async def start(self) -> None:
        """Begin to write times of last use every few seconds."""
        if self._flusher is None:
            self._flusher = asyncio.get_running_loop().create_task(self._flush_again_and_again(), name="last-used")

    async def close(self) -> None:
        """Write what is left and stop."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
            self._flusher = None
        await self.flush()

    async def flush(self) -> None:
        """Write times of last use that have not been written."""
        keys, self._key_uses = self._key_uses, {}
        sessions, self._session_uses = self._session_uses, {}
        if keys:
            await self._database.write(
                lambda c: key_repository.touch(c, [(key, at, ip) for key, (at, ip) in sorted(keys.items())])
            )
        if sessions:
            await self._database.write(lambda c: session_repository.touch_sessions(c, sorted(sessions.items())))

    async def _authenticate(self, credential: str, ip: str) -> Principal:
        if not is_well_formed(credential):
            raise CredentialRefused("malformed")
        hashed = digest(self._secret, "key", credential)
        if self._clock.monotonic_s() - self._checked_s >= TRUST_S:
            await self._compare_version()
        entry = self._cache.get(hashed)
        if entry is None:
            entry = await self._look_up(hashed)
        now = self._clock.now_ms()
        if entry.expires_ms and now >= entry.expires_ms:
            raise CredentialRefused("expired")
        if entry.networks and not _is_inside(ip, entry):
            raise CredentialRefused("network")
        key_id = entry.principal.key_id
        if now - self._noted.get(key_id, 0) >= TOUCH_MS:
            self._note(key_id, now)
            self._key_uses[key_id] = (now, ip)
        return entry.principal

    async def _look_up(self, hashed: str) -> Entry:
        if self._cache.is_unknown(hashed):
            raise CredentialRefused("unknown")
        generation = self._cache.generation
        holder = await self._database.read(lambda c: key_repository.holder(c, hashed))
        if holder is None or holder.key.revoked_ms:
            self._cache.put_unknown(hashed)
            raise CredentialRefused("unknown" if holder is None else "revoked")
        if holder.is_disabled:
            raise CredentialRefused("disabled")
        entry = _entry(holder)
        self._cache.put(hashed, entry, generation)
        return entry

    async def _compare_version(self) -> None:
        async with self._checking:
            asked_s = self._clock.monotonic_s()
            if asked_s - self._checked_s < TRUST_S:
                return
            version = await self._database.read(repository.read_version)
            if version != self._version:
                self._cache.clear()
                self._version = version
            self._checked_s = asked_s

    def _note(self, name: str, now: int) -> None:
        if len(self._noted) >= 100_000:
            self._noted.clear()
        self._noted[name] = now

    async def _flush_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
            except AppError as error:
                log.warning("Times of last use were not written: %s", error.message)


def _entry(holder: Holder) -> Entry:
    key = holder.key
    scopes = key.options.scopes & allowed_scopes(holder.role, is_staff=holder.is_staff)
    principal = Principal(
        org_id=key.org_id,
        user_id=key.user_id,
        role=holder.role,
        scopes=scopes,
        key_id=key.id,
        key_stub=key.stub,
        caps=key.options.caps,
        member_caps=holder.member_caps,
        rate_limit=key.options.rate_limit,
        weight=holder.weight,
        is_staff=holder.is_staff and "admin" in scopes,
    )
    networks = tuple(ipaddress.ip_network(network) for network in key.options.networks)
    return Entry(principal, key.options.expires_ms, networks)


def _is_inside(ip: str, entry: Entry) -> bool:
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in entry.networks)
