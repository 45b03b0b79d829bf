"""Who is asking: the account, the credential and what it allows. Knows neither passwords nor tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from keelbill.core.errors import PermissionDenied

Role = Literal["owner", "admin", "billing", "member", "viewer"]
Scope = Literal["generate", "edit", "upscale", "graph", "history:read", "account:read", "keys:write", "admin"]

DEFAULT_SCOPES: frozenset[Scope] = frozenset({"generate", "edit", "upscale", "graph", "history:read", "account:read"})
ALL_SCOPES: frozenset[Scope] = DEFAULT_SCOPES | {"keys:write", "admin"}


@dataclass(frozen=True)
class Caps:
    """Limits of one key or member in micro-credits; nothing means no limit."""

    per_request: int | None = None
    per_day: int | None = None
    per_month: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class Principal:
    """An authenticated caller.

    Attributes:
        org_id: The organisation that pays and owns what is made.
        user_id: The member who acts.
        role: Of the member in the organisation.
        scopes: What the credential allows.
        key_id: The API key, "" for a session.
        key_stub: What logs may show of the key, such as ``sk-abcd…wxyz``.
        session_id: The session, "" for a key.
        caps: Of the key.
        member_caps: Of the member in the organisation.
        rate_limit: Requests per window if the key has its own, else nothing.
        weight: Of the organisation's plan in the fair queue, 1 to 8.
        is_staff: Whether the user administers this installation.
        authenticated_ms: When a session last proved its password, in milliseconds since 1970; 0 for keys.
    """

    org_id: str
    user_id: str
    role: Role = "owner"
    scopes: frozenset[Scope] = DEFAULT_SCOPES
    key_id: str = ""
    key_stub: str = ""
    session_id: str = ""
    caps: Caps = field(default_factory=Caps)
    member_caps: Caps = field(default_factory=Caps)
    rate_limit: int | None = None
    weight: int = 1
    is_staff: bool = False
    authenticated_ms: int = 0

    def require(self, scope: Scope) -> None:
        """Check that the credential carries a scope.

        Raises:
            PermissionDenied: It does not; the message names the scope.
        """
        if scope not in self.scopes:
            raise PermissionDenied(f"authorization: this credential lacks the scope {scope!r}.")

    def require_role(self, *roles: Role) -> None:
        """Check the member's role.

        Raises:
            PermissionDenied: It is none of `roles`; the message names those that would do.
        """
        if self.role not in roles:
            raise PermissionDenied(f"authorization: the role {self.role!r} may not do this; {' or '.join(roles)} may.")
