"""Finds out who calls an API route and counts the call. Knows no sessions, no services and no prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

from keelbill.api.visits import Visit, visit_of
from keelbill.core.errors import RateLimited, Unauthorized
from keelbill.core.principal import Principal

if TYPE_CHECKING:
    from keelbill.api.platform import Platform

_QUERY_NAMES = ("key", "api_key", "apikey", "api-key", "token", "access_token", "authorization", "x-api-key")
MAX_CREDENTIAL_CHARS = 512


def credential_of(request: Request) -> str:
    """Return the key that a request carries, without its scheme.

    Raises:
        Unauthorized: There is none, there are two, or it stands in the address, where logs and histories keep it.
    """
    given = request.headers.getlist("authorization")
    if not any(given):
        given = request.headers.getlist("x-api-key")
    if not given and any(name.lower() in _QUERY_NAMES for name in request.query_params):
        raise Unauthorized(
            hint="Send the key in the header 'authorization: Bearer …', never in the address; replace this key."
        )
    if len(given) != 1 or len(given[0]) > MAX_CREDENTIAL_CHARS:
        raise Unauthorized
    scheme, _, rest = given[0].strip().partition(" ")
    key = rest.strip() if scheme.lower() == "bearer" else given[0].strip()
    if not key.isascii() or key.split() != [key]:
        raise Unauthorized
    return key


async def authorise(request: Request, platform: Platform) -> Principal:
    """Return who calls, after counting the call in the account's rate limit.

    Raises:
        Unauthorized: The key is missing, malformed, unknown, revoked or expired.
        RateLimited: The account, or for wrong keys the address, made too many requests.
    """
    visit = visit_of(request)
    try:
        principal = await platform.authenticator.authenticate(credential_of(request), visit.address)
    except Unauthorized:
        refuse_stranger(visit, platform)
        raise
    admit(request, platform, principal)
    return principal


def limiter_name(principal: Principal) -> str:
    """Return under which name a caller's requests are counted: a key with a limit of its own counts by itself."""
    return f"key:{principal.key_id}" if principal.rate_limit else principal.org_id


def admit(request: Request, platform: Platform, principal: Principal) -> None:
    """Take note of who calls and count the call.

    Raises:
        RateLimited: The account made too many requests.
    """
    visit = visit_of(request)
    visit.principal = principal
    who = limiter_name(principal)
    try:
        visit.strike, visit.standing = platform.limiter.hit(who, limit=principal.rate_limit)
    except RateLimited as error:
        visit.rejected = "rate"
        visit.standing = platform.limiter.standing(who, limit=principal.rate_limit)
        platform.flood.refuse(request.scope, error.retry_after_s)
        raise


def refuse_stranger(visit: Visit, platform: Platform) -> None:
    """Refuse an address that sent too many requests without a valid credential.

    Raises:
        RateLimited: It did; what it sends now is no longer worth a look.
    """
    visit.rejected = "auth"
    if platform.strangers.is_full(visit.address):
        visit.rejected = "rate"
        visit.standing = standing = platform.strangers.standing(visit.address)
        raise RateLimited(
            f"rate limit: {standing.limit} requests per {standing.window_s} seconds are allowed without a valid key.",
            retry_after_s=max(standing.reset_s, 1),
        )
