"""API keys: made, limited, rotated and revoked. Knows no headers; `authenticate` lets requests in.

What a key may hand on is limited: a key never makes one that can do more, spend more or live longer than itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.errors import InvalidRequest, PermissionDenied
from keelbill.core.ids import new_id
from keelbill.core.principal import Caps, Principal
from keelbill.db.base import Database
from keelbill.identity import key_repository, repository
from keelbill.identity.audit import SYSTEM, Actor, AuditLog
from keelbill.identity.cache import CredentialCache
from keelbill.identity.errors import UnknownThing
from keelbill.identity.key_options import checked_options, is_within
from keelbill.identity.keys import digest, make_key, stub
from keelbill.identity.schemas import KeyOptions, KeyRecord, allowed_scopes

DAY_S = 86_400
OVERLAP_S = DAY_S
MAX_OVERLAP_S = 30 * DAY_S
MAX_KEYS_PER_ORG = 500

RevokedHook = Callable[[Connection, str, str], None]
AfterRevoked = Callable[[str], Awaitable[None]]


def nothing_more(connection: Connection, org_id: str, key_id: str) -> None:
    """Do nothing when a key is revoked."""


async def nothing_after(key_id: str) -> None:
    """Do nothing after a key was revoked."""


class Keys:
    """The keys of organisations.

    Methods that take a connection run inside the caller's transaction; their callers drop the cache afterwards. The
    async ones do everything, including the rights of the caller.

    Args:
        database: Where keys are.
        clock: For their times.
        secret: The server's.
        cache: Of the authenticator in this process.
        audit: Where changes are noted.
        on_revoked: Called in the transaction that revokes, with organisation and key.
        after_revoked: Awaited after it, with the key; cancels what is queued, for example.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        secret: bytes,
        cache: CredentialCache,
        audit: AuditLog,
        *,
        on_revoked: RevokedHook = nothing_more,
        after_revoked: AfterRevoked = nothing_after,
    ) -> None:
        self._database = database
        self._clock = clock
        self._secret = secret
        self._cache = cache
        self._audit = audit
        self._on_revoked = on_revoked
        self._after_revoked = after_revoked

    # Inside the caller's transaction

    def make(
        self,
        connection: Connection,
        org_id: str,
        user_id: str,
        options: KeyOptions,
        *,
        rotated_from: str = "",
        actor: Actor = SYSTEM,
    ) -> tuple[KeyRecord, str]:
        """Make a key for a member and return it with its secret, which is shown this once.

        Raises:
            InvalidRequest: An option is out of range, or the organisation has 500 keys.
            UnknownThing: The person is not a member.
        """
        now = self._clock.now_ms()
        options = checked_options(options, now)
        if repository.role_in(connection, org_id, user_id) is None:
            raise UnknownThing("member", user_id)
        if len([key for key in key_repository.of_org(connection, org_id) if not key.revoked_ms]) >= MAX_KEYS_PER_ORG:
            raise InvalidRequest(f"keys: an organisation has at most {MAX_KEYS_PER_ORG} keys; revoke some first")
        secret = make_key()
        record = KeyRecord(
            id=new_id(),
            org_id=org_id,
            user_id=user_id,
            stub=stub(secret),
            options=options,
            created_ms=now,
            rotated_from=rotated_from,
        )
        key_repository.add(connection, record, digest(self._secret, "key", secret))
        self._audit.add(connection, actor, "key.create", record.id, org_id=org_id, after=_shown(record))
        return record, secret

    def rotate_in(
        self, connection: Connection, org_id: str, key_id: str, overlap_s: int = OVERLAP_S, *, actor: Actor = SYSTEM
    ) -> tuple[KeyRecord, str]:
        """Make a key with the same rights; the old one lives on for the overlap.

        Args:
            connection: A transaction.
            org_id: Whose key it must be.
            key_id: The old key.
            overlap_s: 0 to 2,592,000 seconds; 0 revokes the old key at once.
            actor: For the audit log.

        Raises:
            InvalidRequest: The overlap is out of range, or the key was revoked, has expired or was rotated before.
            UnknownThing: There is no such key.
        """
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise InvalidRequest(f"overlap_s: must be from 0 to {MAX_OVERLAP_S} seconds (30 days), not {overlap_s}")
        old = self._found(connection, org_id, key_id, lock=True)
        now = self._clock.now_ms()
        if not old.is_active(now):
            raise InvalidRequest(f"key: {old.stub} no longer works and cannot be rotated; create a new one")
        if old.replaced_by:
            raise InvalidRequest(f"key: {old.stub} was rotated before; rotate the key that replaced it")
        made = self.make(connection, org_id, old.user_id, old.options, rotated_from=old.id, actor=actor)
        end = now + overlap_s * 1000
        expires_ms = min(old.options.expires_ms or end, end)
        key_repository.change(connection, old.id, replaced_by=made[0].id, expires_ms=expires_ms)
        after = {"replaced_by": made[0].id, "expires_ms": expires_ms}
        self._audit.add(connection, actor, "key.rotate", old.id, org_id=org_id, after=after)
        if overlap_s == 0:
            self.revoke_in(connection, org_id, old.id, actor=actor)
        repository.bump_version(connection)
        return made

    def revoke_in(self, connection: Connection, org_id: str, key_id: str, *, actor: Actor = SYSTEM) -> bool:
        """End a key; false if it had ended before.

        Raises:
            UnknownThing: There is no such key.
        """
        record = self._found(connection, org_id, key_id)
        if not key_repository.revoke(connection, key_id, self._clock.now_ms()):
            return False
        repository.bump_version(connection)
        self._on_revoked(connection, org_id, key_id)
        self._audit.add(connection, actor, "key.revoke", key_id, org_id=org_id, before=_shown(record))
        return True

    def revoke_of_member(self, connection: Connection, org_id: str, user_id: str, *, actor: Actor = SYSTEM) -> int:
        """End every key that acts for a member in an organisation, and return how many."""
        found = key_repository.of_member(connection, org_id, user_id)
        return sum(self.revoke_in(connection, org_id, record.id, actor=actor) for record in found)

    # For a caller

    async def create(
        self, principal: Principal, options: KeyOptions, *, user_id: str = "", actor: Actor | None = None
    ) -> tuple[KeyRecord, str]:
        """Make a key in the caller's organisation.

        Args:
            principal: Who asks; needs the scope ``keys:write``.
            options: What is chosen.
            user_id: For which member; the caller if "".
            actor: For the audit log.

        Raises:
            PermissionDenied: The caller may not make keys, or not such a key.
            InvalidRequest: An option is out of range.
            UnknownThing: The person is not a member.
        """
        self._require_manager(principal)
        options = checked_options(options, self._clock.now_ms())

        def make(connection: Connection) -> tuple[KeyRecord, str]:
            self._require_no_more(connection, principal, options)
            owner = user_id or principal.user_id
            return self.make(connection, principal.org_id, owner, options, actor=actor or Actor.of(principal))

        return await self._database.write(make)

    async def list(self, principal: Principal) -> list[KeyRecord]:
        """Return keys, newest first: all of the organisation for those who manage keys, else the caller's own."""
        principal.require("account:read")
        found = await self._database.read(lambda c: key_repository.of_org(c, principal.org_id))
        return [key for key in found if _may_see(principal, key)]

    async def get(self, principal: Principal, key_id: str) -> KeyRecord:
        """Return one key.

        Raises:
            UnknownThing: There is none, or the caller may not see it.
        """
        principal.require("account:read")
        found = await self._database.read(lambda c: self._found(c, principal.org_id, key_id))
        if not _may_see(principal, found):
            raise UnknownThing("key", key_id)
        return found

    async def update(
        self,
        principal: Principal,
        key_id: str,
        change: Callable[[KeyOptions], KeyOptions],
        *,
        actor: Actor | None = None,
    ) -> KeyRecord:
        """Change what is chosen about a key: name, scopes, limits.

        Args:
            principal: Who asks; needs the scope ``keys:write``.
            key_id: Which.
            change: Gives the new options from the present ones.
            actor: For the audit log.

        Raises:
            PermissionDenied: The caller may not give such rights.
            InvalidRequest: An option is out of range, or the key was revoked.
            UnknownThing: There is no such key.
        """
        self._require_manager(principal)

        def apply(connection: Connection) -> KeyRecord:
            old = self._found(connection, principal.org_id, key_id, lock=True)
            if old.revoked_ms:
                raise InvalidRequest(f"key: {old.stub} was revoked and cannot be changed")
            options = change(old.options)
            is_same_end = options.expires_ms == old.options.expires_ms
            options = checked_options(options, 0 if is_same_end else self._clock.now_ms())
            if old.replaced_by and not is_same_end:
                raise InvalidRequest("expires_ms: the end of a rotated key is fixed; revoke it to end it sooner")
            self._require_no_more(connection, principal, old.options)
            self._require_no_more(connection, principal, options)
            key_repository.change(connection, key_id, **key_repository.option_values(options))
            repository.bump_version(connection)
            new = replace(old, options=options)
            who = actor or Actor.of(principal)
            self._audit.add(
                connection, who, "key.update", key_id, org_id=old.org_id, before=_shown(old), after=_shown(new)
            )
            return new

        try:
            return await self._database.write(apply)
        finally:
            self._cache.drop(key_id)

    async def rotate(
        self, principal: Principal, key_id: str, overlap_s: int = OVERLAP_S, *, actor: Actor | None = None
    ) -> tuple[KeyRecord, str]:
        """Replace a key by a new one with the same rights; see `rotate_in`.

        Raises:
            PermissionDenied: The caller may not make such a key.
            InvalidRequest: The overlap is out of range or the key cannot be rotated.
            UnknownThing: There is no such key.
        """
        self._require_manager(principal)

        def rotate(connection: Connection) -> tuple[KeyRecord, str]:
            old = self._found(connection, principal.org_id, key_id)
            self._require_no_more(connection, principal, old.options)
            return self.rotate_in(connection, principal.org_id, key_id, overlap_s, actor=actor or Actor.of(principal))

        try:
            made = await self._database.write(rotate)
        finally:
            self._cache.drop(key_id)
        if overlap_s == 0:
            await self._after_revoked(key_id)
        return made

    async def revoke(self, principal: Principal, key_id: str, *, actor: Actor | None = None) -> None:
        """End a key at once; what it has running finishes.

        Raises:
            PermissionDenied: The caller may not manage keys. Every key may revoke itself.
            UnknownThing: There is no such key.
        """
        if principal.key_id != key_id:
            self._require_manager(principal)
        who = actor or Actor.of(principal)
        try:
            ended = await self._database.write(lambda c: self.revoke_in(c, principal.org_id, key_id, actor=who))
        finally:
            self._cache.drop(key_id)
        if ended:
            await self._after_revoked(key_id)

    def forget_cached(self, key_ids: Iterable[str] = ()) -> None:
        """Drop keys from this process's cache, all of them if none is named; call it after a commit."""
        for key_id in key_ids:
            self._cache.drop(key_id)
        if not key_ids:
            self._cache.clear()

    def _found(self, connection: Connection, org_id: str, key_id: str, *, lock: bool = False) -> KeyRecord:
        record = key_repository.find(connection, org_id, key_id, lock=lock)
        if record is None:
            raise UnknownThing("key", key_id)
        return record

    def _require_manager(self, principal: Principal) -> None:
        principal.require("keys:write")
        principal.require_role("owner", "admin")

    def _require_no_more(self, connection: Connection, principal: Principal, options: KeyOptions) -> None:
        """Check that a caller does not hand on more than it has."""
        may = principal.scopes if principal.key_id else allowed_scopes(principal.role, is_staff=principal.is_staff)
        if extra := sorted(options.scopes - may):
            raise PermissionDenied(f"scopes: this credential cannot give {', '.join(extra)}, which it lacks")
        if not principal.key_id:
            return
        own = self._found(connection, principal.org_id, principal.key_id).options
        if own.caps != Caps() or principal.member_caps != Caps():
            raise PermissionDenied("caps: a key with a cap cannot manage keys")
        if own.expires_ms and not 0 < options.expires_ms <= own.expires_ms:
            raise PermissionDenied("expires_ms: a key cannot make or change one that lives longer than itself")
        if own.rate_limit and not (options.rate_limit and options.rate_limit <= own.rate_limit):
            raise PermissionDenied(f"rate_limit: must be at most {own.rate_limit}, as this key's own")
        if own.networks and not (options.networks and all(is_within(n, own.networks) for n in options.networks)):
            raise PermissionDenied("networks: must lie within the networks of this key")


def _may_see(principal: Principal, key: KeyRecord) -> bool:
    return principal.role in ("owner", "admin") or key.user_id == principal.user_id


def _shown(record: KeyRecord) -> dict[str, object]:
    options = record.options
    return {
        "stub": record.stub,
        "name": options.name,
        "user_id": record.user_id,
        "scopes": sorted(options.scopes),
        "caps": {name: value for name, value in vars(options.caps).items() if value is not None},
        "rate_limit": options.rate_limit,
        "networks": list(options.networks),
        "expires_ms": options.expires_ms,
    }
