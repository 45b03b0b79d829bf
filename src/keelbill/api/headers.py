"""Headers that every answer carries, and which hosts and origins may ask. Knows no routes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from keelbill.api.ratelimit import Standing
from keelbill.core.settings import Settings

Headers = list[tuple[bytes, bytes]]

_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; script-src 'self'; "
    "style-src 'self'; font-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Headers = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
HSTS = (b"strict-transport-security", b"max-age=31536000")

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_EXPOSED = (
    b"x-request-id, finish-reason, seed, retry-after, ratelimit, ratelimit-policy, x-credits-charged, "
    b"x-gateway-overhead-ms, idempotent-replayed"
)
_ALLOWED_METHODS = b"GET, POST, PUT, PATCH, DELETE"
_ALLOWED_HEADERS = (
    b"authorization, content-type, accept, idempotency-key, x-api-key, x-request-id, organization, last-event-id, "
    b"stability-client-id, stability-client-user-id, stability-client-version"
)


class Hosts:
    """The names under which this server may be addressed.

    A page of somebody else's that points its own name at our address (DNS rebinding) must not reach the API with the
    visitor's browser. Such a page has a name; requests to a plain address are always meant for us.

    Args:
        settings: For the listening address, the public address and further names.
    """

    def __init__(self, settings: Settings) -> None:
        public = urlsplit(settings.public_url).hostname or ""
        names = {"localhost", settings.host, public, *_listed(settings.allowed_hosts)}
        self._names = {name.lower().rstrip(".") for name in names if name}

    def allows(self, host: str) -> bool:
        """Whether a ``Host`` header names this server."""
        matched = _HOST.fullmatch(host)
        if not matched:
            return False
        name = matched[1].lower().rstrip(".")
        return name in self._names or name.endswith(".localhost") or _is_address(name.strip("[]"))


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class Origins:
    """Web origins whose pages may call the API from a browser: none, unless the operator lists them.

    Args:
        settings: For the list.
    """

    def __init__(self, settings: Settings) -> None:
        self._allowed = {origin.rstrip("/") for origin in _listed(settings.allowed_origins) if origin != "*"}

    @property
    def is_open(self) -> bool:
        """Whether any origin is allowed."""
        return bool(self._allowed)

    def allows(self, origin: str) -> bool:
        """Whether a page of this origin may read our answers."""
        return origin in self._allowed

    def headers(self, origin: str) -> Headers:
        """Return what lets the page read the answer. Cookies are never allowed along."""
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", _EXPOSED),
        ]

    def preflight(self, origin: str) -> Headers:
        """Return the answer to a browser that asks beforehand."""
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-allow-methods", _ALLOWED_METHODS),
            (b"access-control-allow-headers", _ALLOWED_HEADERS),
            (b"access-control-max-age", b"600"),
        ]


def _listed(text: str) -> Iterable[str]:
    return (part.strip() for part in text.split(",") if part.strip())


def rate_headers(standing: Standing) -> Headers:
    """Return how an account stands, as the IETF draft on RateLimit header fields writes it."""
    return [
        (b"ratelimit-policy", f'"requests";q={standing.limit};w={standing.window_s}'.encode()),
        (b"ratelimit", f'"requests";r={standing.remaining};t={standing.reset_s}'.encode()),
    ]
