"""Who calls a route or opens a socket of the graph editor: by cookie, bearer key or basic key. Knows no route.

The editor sends no token of ours with its writes, so a cookie that writes must come from a page of this server, as
the browser itself says (OWASP: verifying origin with standard headers). Whatever a client calls itself is not asked.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection, Request

from keelbill.api.caller import MAX_CREDENTIAL_CHARS, refuse_stranger
from keelbill.api.deps import cookie_name, require_own_page
from keelbill.api.visits import visit_of
from keelbill.core.errors import PermissionDenied, Unauthorized
from keelbill.core.principal import Principal

if TYPE_CHECKING:
    from keelbill.api.platform import Platform


async def caller_of(connection: HTTPConnection, platform: Platform, *, writes: bool) -> Principal:
    """Return who calls.

    Args:
        connection: A request, or the handshake of a socket.
        platform: For accounts and limits.
        writes: Whether the call changes anything.

    Raises:
        Unauthorized: There is no valid credential.
        PermissionDenied: A page elsewhere sends the browser's credential along, or the scope ``graph`` is missing.
    """
    visit = visit_of(connection)
    key = key_of(connection)
    try:
        if key:
            principal = await platform.authenticator.authenticate(key, visit.address)
        else:
            cookie = connection.cookies.get(cookie_name(platform), "")
            if not cookie:
                raise Unauthorized(hint="Sign in, or send an API key as a bearer token or as the password.")
            principal, _ = await platform.authenticator.authenticate_session(cookie, visit.address)
    except Unauthorized:
        refuse_stranger(visit, platform)
        raise
    if writes:
        _require_own_page(connection, is_cookie=not key)
    principal.require("graph")
    return principal


def key_of(connection: HTTPConnection) -> str:
    """Return the API key that a request carries, as a bearer token or as the password of basic authentication.

    Raises:
        Unauthorized: There are two credentials, or one that cannot be a key.
    """
    given = connection.headers.getlist("authorization") or connection.headers.getlist("x-api-key")
    if not given:
        return ""
    if len(given) != 1 or len(given[0]) > MAX_CREDENTIAL_CHARS:
        raise Unauthorized
    scheme, _, rest = given[0].strip().partition(" ")
    key = rest.strip() if scheme.lower() in {"bearer", "basic"} else given[0].strip()
    if scheme.lower() == "basic":
        key = _password(key)
    if not key.isascii() or key.split() != [key]:
        raise Unauthorized
    return key


def is_from_a_page(connection: HTTPConnection) -> bool:
    """Whether a browser may have sent a request by itself; programs name a key and neither origin nor site."""
    headers = connection.headers
    return not key_of(connection) or "origin" in headers or "sec-fetch-site" in headers


def _password(encoded: str) -> str:
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Unauthorized from error
    return password or user


def _require_own_page(connection: HTTPConnection, *, is_cookie: bool) -> None:
    """Check that no page elsewhere makes the browser write with what it keeps: cookies, and basic passwords."""
    is_basic = connection.headers.get("authorization", "").lower().startswith("basic ")
    if not is_cookie and not (is_basic and "origin" in connection.headers):
        return
    if connection.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise PermissionDenied("sec-fetch-site: this may only be sent from a page of this server")
    require_own_page(_as_request(connection))


def _as_request(connection: HTTPConnection) -> Request:
    scope = dict(connection.scope)
    scope["type"] = "http"
    scope["scheme"] = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
    return Request(scope)
