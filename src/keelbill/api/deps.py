"""Who may call a route, said in its signature: ``caller: CanManageKeys``. Knows headers and cookies, no tables.

A caller shows a key or a session's cookie. Keys are sent on purpose; cookies are sent by the browser whoever asks, so
what a cookie writes must carry the session's token and come from a page of this server. A request with a key never
looks at cookies.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.caller import admit, authorise, refuse_stranger
from keelbill.api.visits import visit_of
from keelbill.core.errors import PermissionDenied, Unauthorized
from keelbill.core.principal import Principal, Scope
from keelbill.identity.audit import Actor
from keelbill.identity.errors import SignInTooOld
from keelbill.identity.sessions import ABSOLUTE_MS, OpenedSession

if TYPE_CHECKING:
    from keelbill.api.platform import Platform

SECURE_COOKIE = "__Host-session"
PLAIN_COOKIE = "session"
CSRF_HEADER = "x-csrf-token"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def platform_of(request: Request) -> Platform:
    """Return the parts of the server that answers."""
    platform: Platform = request.app.state.platform
    return platform


def actor_of(request: Request, principal: Principal) -> Actor:
    """Return who acts, for the audit log."""
    visit = visit_of(request)
    return Actor.of(principal, visit.address, visit.request_id)


async def current_principal(request: Request) -> Principal:
    """Return who calls, by key or by session.

    Raises:
        Unauthorized: There is neither, or it is not valid.
        PermissionDenied: A cookie writes without the session's token, or from a page elsewhere.
        RateLimited: The account made too many requests.
    """
    platform = platform_of(request)
    cookie = request.cookies.get(cookie_name(platform), "")
    if "authorization" in request.headers or "x-api-key" in request.headers or not cookie:
        return await authorise(request, platform)
    visit = visit_of(request)
    try:
        principal, token = await platform.authenticator.authenticate_session(cookie, visit.address)
    except Unauthorized:
        refuse_stranger(visit, platform)
        raise
    if request.method not in _SAFE_METHODS:
        require_own_page(request)
        if not hmac.compare_digest(request.headers.get(CSRF_HEADER, "").encode(), token.encode()):
            raise PermissionDenied(f"{CSRF_HEADER}: must be the token of this session; see GET /api/session")
    admit(request, platform, principal)
    return principal


Caller = Annotated[Principal, Depends(current_principal)]


def require_scope(scope: Scope) -> Callable[[Principal], Awaitable[Principal]]:
    """Return a dependency that lets in whoever has a scope."""

    async def check(caller: Caller) -> Principal:
        caller.require(scope)
        return caller

    return check


async def require_session(caller: Caller) -> Principal:
    """Let in people who are signed in; keys may not do this.

    Raises:
        PermissionDenied: The caller shows a key.
    """
    if not caller.session_id:
        raise PermissionDenied("authorization: this needs a person who is signed in, not a key")
    return caller


SignedIn = Annotated[Principal, Depends(require_session)]


async def require_recent(request: Request, caller: SignedIn) -> Principal:
    """Let in people who proved who they are within the last 15 minutes.

    Raises:
        SignInTooOld: It is longer ago.
    """
    if not platform_of(request).accounts.sessions.is_recent(caller):
        raise SignInTooOld
    return caller


async def require_staff(request: Request, caller: Caller) -> Principal:
    """Let in who administers the installation: with a recent session, or with a key that has the scope ``admin``.

    Raises:
        PermissionDenied: The caller does not.
        SignInTooOld: The session is older than 15 minutes.
    """
    if not caller.is_staff:
        raise PermissionDenied("authorization: only the administrators of this server may do this")
    return await require_recent(request, caller) if caller.session_id else caller


CanReadAccount = Annotated[Principal, Depends(require_scope("account:read"))]
CanManageKeys = Annotated[Principal, Depends(require_scope("keys:write"))]
CanReadHistory = Annotated[Principal, Depends(require_scope("history:read"))]
CanGenerate = Annotated[Principal, Depends(require_scope("generate"))]
RecentlySignedIn = Annotated[Principal, Depends(require_recent)]
Staff = Annotated[Principal, Depends(require_staff)]


def require_own_page(request: Request) -> None:
    """Check that a write comes from a page of this server (OWASP: verifying origin with standard headers).

    Raises:
        PermissionDenied: ``Origin``, or without it ``Referer``, is missing, ``null`` or another.
    """
    given = request.headers.get("origin") or _origin(request.headers.get("referer", ""))
    own = {_origin(str(request.base_url)), _origin(platform_of(request).accounts.rules.base_url)}
    if not given or given not in own:
        raise PermissionDenied("origin: this may only be sent from a page of this server")


async def require_no_foreign_page(request: Request) -> None:
    """Refuse pages elsewhere that sign their visitors in or up here; programs without an ``Origin`` may.

    Raises:
        PermissionDenied: The request comes from a page elsewhere.
    """
    if "origin" in request.headers:
        require_own_page(request)


def cookie_name(platform: Platform) -> str:
    """Return the session cookie's name: without TLS, a browser would not keep the safer one."""
    return SECURE_COOKIE if is_secure(platform) else PLAIN_COOKIE


def is_secure(platform: Platform) -> bool:
    """Whether users reach the server over TLS, as the setting ``public_url`` says."""
    return platform.accounts.rules.base_url.lower().startswith("https:")


def set_cookie(response: Response, platform: Platform, session: OpenedSession) -> None:
    """Give the browser a session; scripts cannot read it and other sites cannot send it along with a write."""
    response.set_cookie(
        cookie_name(platform),
        session.cookie,
        max_age=ABSOLUTE_MS // 1000,
        path="/",
        secure=is_secure(platform),
        httponly=True,
        samesite="lax",
    )
    response.headers["cache-control"] = "no-store"


def drop_cookie(response: Response, platform: Platform) -> None:
    """Take the session away from the browser."""
    response.delete_cookie(cookie_name(platform), path="/", secure=is_secure(platform), httponly=True, samesite="lax")


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""
