"""Organisations: their members, roles and invitations. Knows no passwords; money is somebody else's.

A viewer sees, a member generates, billing tops up, an admin manages keys, caps and members, an owner may delete.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.errors import Conflict, InvalidRequest, PermissionDenied
from keelbill.core.ids import new_id
from keelbill.core.principal import Caps, Principal, Role
from keelbill.identity import repository
from keelbill.identity.addresses import checked_address, sign_in_form
from keelbill.identity.audit import SYSTEM, Actor, AuditLog
from keelbill.identity.errors import LastOwner, LinkExpired, UnknownThing
from keelbill.identity.keyring import Keys
from keelbill.identity.keys import digest
from keelbill.identity.schemas import ROLES, Invitation, OrgKind
from keelbill.identity.sessions import Sessions

INVITATION_MS = 7 * 24 * 3_600_000
MAX_NAME = 200
MAX_MEMBERS = 1000

_RANK: Final[dict[Role, int]] = {"viewer": 0, "billing": 1, "member": 1, "admin": 2, "owner": 3}

OrgHook = Callable[[Connection, str], None]


class Organisations:
    """Changes organisations. Every method runs inside the caller's transaction.

    Args:
        clock: For times.
        secret: The server's.
        audit: Where changes are noted.
        keys: Ends the keys of members who leave.
        sessions: Ends sessions whose rights change.
        on_created: Called with each new organisation, in its transaction; opens its wallet, for example.
    """

    def __init__(
        self, clock: Clock, secret: bytes, audit: AuditLog, keys: Keys, sessions: Sessions, on_created: OrgHook
    ) -> None:
        self._clock = clock
        self._secret = secret
        self._audit = audit
        self._keys = keys
        self._sessions = sessions
        self._on_created = on_created

    def create(
        self, connection: Connection, user_id: str, name: str, kind: OrgKind = "team", *, actor: Actor = SYSTEM
    ) -> str:
        """Found an organisation with one owner and return its id.

        Raises:
            InvalidRequest: The name is empty or longer than 200 characters.
        """
        org_id = new_id()
        now = self._clock.now_ms()
        repository.add_org(connection, org_id, checked_name(name), kind, now)
        repository.add_member(connection, org_id, user_id, "owner", now)
        self._on_created(connection, org_id)
        self._audit.add(connection, actor, "org.create", org_id, org_id=org_id, after={"kind": kind})
        return org_id

    def rename(self, connection: Connection, principal: Principal, name: str, *, actor: Actor) -> None:
        """Give the caller's organisation another name.

        Raises:
            PermissionDenied: The caller is neither owner nor admin.
            InvalidRequest: The name is empty or longer than 200 characters.
        """
        principal.require_role("owner", "admin")
        repository.change_org(connection, principal.org_id, name=checked_name(name))
        self._audit.add(connection, actor, "org.rename", principal.org_id, org_id=principal.org_id)

    def delete(self, connection: Connection, principal: Principal, *, actor: Actor) -> None:
        """Close the caller's organisation: nobody gets in any more, and its keys end. Its records stay.

        Raises:
            PermissionDenied: The caller is no owner.
            Conflict: It is somebody's personal organisation.
        """
        principal.require_role("owner")
        org_id = principal.org_id
        if any(o.id == org_id and o.kind == "personal" for o in repository.orgs_of(connection, principal.user_id)):
            raise Conflict("organization: a personal organisation cannot be deleted")
        for member in repository.members(connection, org_id):
            self._keys.revoke_of_member(connection, org_id, member.user_id, actor=actor)
            self._sessions.end_all(connection, member.user_id, org_id=org_id)
        repository.change_org(connection, org_id, deleted_ms=self._clock.now_ms())
        repository.bump_version(connection)
        self._audit.add(connection, actor, "org.delete", org_id, org_id=org_id)

    def change_role(
        self, connection: Connection, principal: Principal, user_id: str, role: Role, *, actor: Actor
    ) -> None:
        """Give a member of the caller's organisation another role; the member's sessions in it end.

        Raises:
            PermissionDenied: The caller may not give or take this role.
            UnknownThing: The person is no member.
            LastOwner: Nobody would own the organisation.
        """
        present = self._role(connection, principal.org_id, user_id)
        _require_rank(principal, present, checked_role(role))
        if present == role:
            return
        if present == "owner" and not repository.other_owners(connection, principal.org_id, user_id):
            raise LastOwner
        repository.change_member(connection, principal.org_id, user_id, role=role)
        repository.bump_version(connection)
        if user_id != principal.user_id:
            self._sessions.end_all(connection, user_id, org_id=principal.org_id)
        self._audit.add(
            connection,
            actor,
            "member.role",
            user_id,
            org_id=principal.org_id,
            before={"role": present},
            after={"role": role},
        )

    def change_caps(
        self, connection: Connection, principal: Principal, user_id: str, caps: Caps, *, actor: Actor
    ) -> None:
        """Limit what a member of the caller's organisation may spend.

        Raises:
            PermissionDenied: The caller is neither owner nor admin, or ranks below the member.
            InvalidRequest: A cap is below zero.
            UnknownThing: The person is no member.
        """
        present = self._role(connection, principal.org_id, user_id)
        _require_rank(principal, present, present)
        if any(value is not None and value < 0 for value in vars(caps).values()):
            raise InvalidRequest("caps: must be zero or more")
        repository.change_member(connection, principal.org_id, user_id, **repository.cap_values(caps))
        repository.bump_version(connection)
        after = {"caps": {name: value for name, value in vars(caps).items() if value is not None}}
        self._audit.add(connection, actor, "member.caps", user_id, org_id=principal.org_id, after=after)

    def remove(self, connection: Connection, principal: Principal, user_id: str, *, actor: Actor) -> None:
        """Put a member out of the caller's organisation, or leave it; the member's keys there end.

        Raises:
            PermissionDenied: The caller may not put this member out.
            UnknownThing: The person is no member.
            LastOwner: Nobody would own the organisation.
            Conflict: It is the member's personal organisation.
        """
        org_id = principal.org_id
        present = self._role(connection, org_id, user_id)
        if user_id != principal.user_id:
            _require_rank(principal, present, present)
        if present == "owner" and not repository.other_owners(connection, org_id, user_id):
            raise LastOwner
        if repository.personal_org(connection, user_id) == org_id:
            raise Conflict("user_id: a person cannot leave the own personal organisation")
        self._keys.revoke_of_member(connection, org_id, user_id, actor=actor)
        self._sessions.end_all(connection, user_id, org_id=org_id)
        repository.remove_member(connection, org_id, user_id)
        repository.bump_version(connection)
        self._audit.add(connection, actor, "member.remove", user_id, org_id=org_id, before={"role": present})

    def invite(
        self, connection: Connection, principal: Principal, email: str, role: Role, *, actor: Actor
    ) -> tuple[Invitation, str]:
        """Invite an address to the caller's organisation and return the token of the link.

        Raises:
            PermissionDenied: The caller is neither owner nor admin, or ranks below the role.
            InvalidRequest: The address is none, or the organisation is full.
            Conflict: It is a personal organisation.
        """
        _require_rank(principal, "viewer", checked_role(role))
        org_id = principal.org_id
        if any(o.id == org_id and o.kind == "personal" for o in repository.orgs_of(connection, principal.user_id)):
            raise Conflict("organization: a personal organisation has one member; create a team first")
        now = self._clock.now_ms()
        is_open = len(repository.invitations(connection, org_id, now))
        if len(repository.members(connection, org_id)) + is_open >= MAX_MEMBERS:
            raise InvalidRequest(f"email: an organisation has at most {MAX_MEMBERS} members and invitations")
        token = secrets.token_urlsafe(32)
        record = Invitation(
            id=new_id(),
            org_id=org_id,
            email=sign_in_form(checked_address(email)),
            role=role,
            invited_by=principal.user_id,
            created_ms=now,
            expires_ms=now + INVITATION_MS,
        )
        repository.add_invitation(connection, record, digest(self._secret, "invitation", token))
        after: dict[str, object] = {"email": record.email, "role": role}
        self._audit.add(connection, actor, "member.invite", record.id, org_id=org_id, after=after)
        return record, token

    def withdraw(self, connection: Connection, principal: Principal, invitation_id: str, *, actor: Actor) -> None:
        """Take an invitation back.

        Raises:
            PermissionDenied: The caller is neither owner nor admin.
            UnknownThing: There is none.
        """
        principal.require_role("owner", "admin")
        if not repository.remove_invitation(connection, principal.org_id, invitation_id):
            raise UnknownThing("invitation", invitation_id)
        self._audit.add(connection, actor, "member.withdraw", invitation_id, org_id=principal.org_id)

    def accept(self, connection: Connection, principal: Principal, token: str, *, actor: Actor) -> str:
        """Join the organisation that a link names and return its id.

        The link went to one address; only the account with this address can use it.

        Raises:
            LinkExpired: The invitation was used, withdrawn, has expired, or is for another address.
        """
        record = self.take_invitation(connection, token)
        person = repository.find_person(connection, principal.user_id)
        if person is None or sign_in_form(person.email) != record.email:
            raise LinkExpired
        self.join(connection, record, person.id, actor=actor)
        if not person.verified_ms:
            repository.change_person(connection, person.id, verified_ms=self._clock.now_ms())
        return record.org_id

    def check_invitation(self, connection: Connection, token: str) -> None:
        """Look at an invitation without using it up.

        Raises:
            LinkExpired: It was used, withdrawn or has expired.
        """
        hashed = digest(self._secret, "invitation", token)
        if not repository.has_invitation(connection, hashed, self._clock.now_ms()):
            raise LinkExpired

    def take_invitation(self, connection: Connection, token: str) -> Invitation:
        """Use an invitation up.

        Raises:
            LinkExpired: It was used, withdrawn or has expired.
        """
        hashed = digest(self._secret, "invitation", token)
        record = repository.take_invitation(connection, hashed, self._clock.now_ms())
        if record is None:
            raise LinkExpired
        return record

    def join(self, connection: Connection, record: Invitation, user_id: str, *, actor: Actor) -> None:
        """Take somebody in by an invitation that was used up; a member stays what it is."""
        if repository.add_member(connection, record.org_id, user_id, record.role, self._clock.now_ms()):
            after: dict[str, object] = {"role": record.role}
            self._audit.add(connection, actor, "member.join", user_id, org_id=record.org_id, after=after)

    def _role(self, connection: Connection, org_id: str, user_id: str) -> Role:
        role = repository.role_in(connection, org_id, user_id)
        if role is None:
            raise UnknownThing("member", user_id)
        return role


def checked_name(name: str) -> str:
    """Return an organisation's or person's name with single spaces.

    Raises:
        InvalidRequest: It is empty, longer than 200 characters or not printable.
    """
    text = " ".join(name.split())
    if not 1 <= len(text) <= MAX_NAME or not text.isprintable():
        raise InvalidRequest(f"name: must have 1 to {MAX_NAME} printable characters")
    return text


def checked_role(role: str) -> Role:
    """Return a role if there is one of that name.

    Raises:
        InvalidRequest: There is none; names all.
    """
    for known in ROLES:
        if known == role:
            return known
    raise InvalidRequest(f"role: must be one of {', '.join(ROLES)}, not {role!r}")


def _require_rank(principal: Principal, present: Role, wanted: Role) -> None:
    """Admins manage everybody but owners; owners manage all."""
    principal.require_role("owner", "admin")
    if principal.key_id:
        raise PermissionDenied("authorization: members are managed by people who are signed in, not by keys")
    if max(_RANK[present], _RANK[wanted]) > _RANK[principal.role]:
        raise PermissionDenied("role: only an owner manages owners")
