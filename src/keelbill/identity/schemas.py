"""Keys, sessions and organisations as other parts see them. Knows neither tables nor HTTP; none of it is secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from keelbill.core.principal import DEFAULT_SCOPES, Caps, Role, Scope

ROLES: Final[tuple[Role, ...]] = get_args(Role)
OrgKind = Literal["personal", "team"]

ROLE_SCOPES: Final[dict[Role, frozenset[Scope]]] = {
    "owner": DEFAULT_SCOPES | {"keys:write"},
    "admin": DEFAULT_SCOPES | {"keys:write"},
    "member": DEFAULT_SCOPES,
    "billing": frozenset({"history:read", "account:read"}),
    "viewer": frozenset({"history:read", "account:read"}),
}
"""What a member may do at most, whatever the credential says. Staff may have ``admin`` as well."""


def allowed_scopes(role: Role, *, is_staff: bool) -> frozenset[Scope]:
    """Return the scopes that a member can have."""
    return ROLE_SCOPES[role] | ({"admin"} if is_staff else frozenset())


@dataclass(frozen=True)
class Person:
    """A user.

    Attributes:
        id: 32 hex digits.
        email: As its owner wrote it; "" for the local owner before the set-up.
        name: For greeting.
        picture_url: Of another provider, or "".
        has_password: Whether a password was set.
        verified_ms: When the address was proved, 0 if not.
        is_staff: Whether the user administers the installation.
        disabled_ms: When access was taken away, 0 if not.
        created_ms: Milliseconds since 1970.
    """

    id: str
    email: str
    name: str
    picture_url: str
    has_password: bool
    verified_ms: int
    is_staff: bool
    disabled_ms: int
    created_ms: int


@dataclass(frozen=True)
class Organization:
    """An organisation with the role of whoever asked.

    Attributes:
        id: 32 hex digits.
        name: Shown in lists.
        kind: ``personal`` or ``team``.
        role: Of the member who asked.
        is_default: Whether the credential that was used acts for it.
    """

    id: str
    name: str
    kind: OrgKind
    role: Role
    is_default: bool = False


@dataclass(frozen=True)
class Profile:
    """A user and the organisations of that user.

    Attributes:
        id: 32 hex digits.
        email: "" if there is none.
        name: For greeting.
        picture_url: "" if there is none.
        is_verified: Whether the address was proved.
        has_password: Whether a password was set.
        is_staff: Whether the user administers the installation.
        organizations: The personal one first.
    """

    id: str
    email: str
    name: str
    picture_url: str
    is_verified: bool
    has_password: bool
    is_staff: bool
    organizations: tuple[Organization, ...]


@dataclass(frozen=True)
class Member:
    """A user in an organisation."""

    user_id: str
    email: str
    name: str
    role: Role
    caps: Caps
    created_ms: int


@dataclass(frozen=True)
class Invitation:
    """An open invitation to an organisation."""

    id: str
    org_id: str
    email: str
    role: Role
    invited_by: str
    created_ms: int
    expires_ms: int


@dataclass(frozen=True)
class KeyOptions:
    """What is chosen about a key.

    Attributes:
        name: Up to 100 characters.
        scopes: What it may do; ``admin`` only on purpose.
        caps: Limits in micro-credits.
        rate_limit: Requests per window instead of the organisation's, or nothing.
        networks: CIDR blocks from which it works; empty means everywhere.
        expires_ms: When it stops to work, milliseconds since 1970; 0 is never.
    """

    name: str = ""
    scopes: frozenset[Scope] = DEFAULT_SCOPES
    caps: Caps = field(default_factory=Caps)
    rate_limit: int | None = None
    networks: tuple[str, ...] = ()
    expires_ms: int = 0


@dataclass(frozen=True)
class KeyRecord:
    """An API key without its secret.

    Attributes:
        id: 32 hex digits.
        org_id: Which organisation pays.
        user_id: For which member it acts.
        stub: What may be shown of it.
        options: Name, scopes, limits.
        created_ms: Milliseconds since 1970.
        last_used_ms: Exact to a minute; 0 is never.
        last_used_ip: From where.
        revoked_ms: 0 while it works.
        rotated_from: The key that it replaces, or "".
        replaced_by: The key that replaces it, or "".
    """

    id: str
    org_id: str
    user_id: str
    stub: str
    options: KeyOptions
    created_ms: int
    last_used_ms: int = 0
    last_used_ip: str = ""
    revoked_ms: int = 0
    rotated_from: str = ""
    replaced_by: str = ""

    def is_active(self, now_ms: int) -> bool:
        """Whether the key opens anything at a time."""
        return not self.revoked_ms and (not self.options.expires_ms or now_ms < self.options.expires_ms)


@dataclass(frozen=True)
class Holder:
    """A key together with the member for whom it acts, as needed to let a request in."""

    key: KeyRecord
    role: Role
    member_caps: Caps
    weight: int
    is_staff: bool
    is_disabled: bool


@dataclass(frozen=True)
class SessionRecord:
    """A browser that is signed in.

    Attributes:
        id: Names it in lists; opens nothing.
        user_id: Whose.
        org_id: Acts for this organisation.
        created_ms: Milliseconds since 1970.
        last_seen_ms: Exact to a minute.
        authenticated_ms: When the password was last proved.
        expires_ms: The end, whatever happens.
        ip: From where it was opened.
        user_agent: As the browser named itself, at most 200 characters.
    """

    id: str
    user_id: str
    org_id: str
    created_ms: int
    last_seen_ms: int
    authenticated_ms: int
    expires_ms: int
    ip: str
    user_agent: str


@dataclass(frozen=True)
class AuditEntry:
    """One line of the audit log."""

    id: str
    at_ms: int
    org_id: str
    actor_kind: str
    actor_id: str
    action: str
    target: str
    before: str
    after: str
    ip: str
    request_id: str


@dataclass(frozen=True)
class Bootstrap:
    """What the first start made.

    Attributes:
        key_secret: The first API key, "" if the database was not empty.
        setup_token: Opens the set-up page for an hour; "" once the owner has a password.
        org_id: The owner's organisation.
        user_id: The owner.
    """

    key_secret: str = field(repr=False)
    setup_token: str = field(repr=False)
    org_id: str
    user_id: str
