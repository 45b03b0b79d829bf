"""What all routes of the graph editor share: two addresses each, who calls, headers, errors. Knows no single route."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import Receive, Scope, Send

from keelbill.api.caller import admit
from keelbill.api.comfy.bodies import refuse_forms
from keelbill.api.comfy.credentials import caller_of, is_from_a_page
from keelbill.api.envelope import no_route
from keelbill.api.visits import visit_of
from keelbill.core.errors import InvalidRequest
from keelbill.core.principal import Principal
from keelbill.workspace.schemas import Account

if TYPE_CHECKING:
    from keelbill.api.platform import Platform

PREFIX: Final = "/comfy"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""Without it the stock editor calls on third parties."""

HEADERS: Final = {"content-security-policy": POLICY, "x-frame-options": "SAMEORIGIN"}

Reads = Literal["json", "text", "upload"]


@dataclass(frozen=True)
class Call:
    """One call of a route.

    Attributes:
        request: As it came.
        platform: The parts of the server.
        principal: Who calls.
    """

    request: Request
    platform: Platform
    principal: Principal

    @property
    def account(self) -> Account:
        """Whose workspace it is about."""
        return Account(self.principal.org_id, self.principal.user_id)

    @property
    def query(self) -> dict[str, str]:
        """The query; of a name that comes twice, the last."""
        return dict(self.request.query_params)

    def path(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])

    def number(self, name: str, low: int, high: int) -> int | None:
        """Return a whole number of the query, nothing if it is absent or empty.

        Raises:
            InvalidRequest: It is none, or out of range.
        """
        given = self.query.get(name, "")
        if not given:
            return None
        if not given.removeprefix("-").isdecimal() or not given.isascii() or len(given) > 12:
            raise InvalidRequest(f"{name}: must be a whole number")
        if not low <= int(given) <= high:
            raise InvalidRequest(f"{name}: must be from {low} to {high}")
        return int(given)

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a yes or no of the query."""
        given = self.query.get(name, "").lower()
        return default if not given else given in {"true", "1", "yes", "on"}

    def forgive(self) -> None:
        """Do not count this call in the account's rate limit: the editor makes many of its kind by itself."""
        visit = visit_of(self.request)
        if visit.strike is not None:
            self.platform.limiter.give_back(visit.strike)
            visit.strike = None


@dataclass(frozen=True)
class Named:
    """Names a route for metrics and logs."""

    path: str


Handler = Callable[[Call], Awaitable[Response]]


def reply(value: object, status: int = 200) -> Response:
    """Answer with JSON."""
    content = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(content, status, media_type="application/json")


def nothing(status: int = 200) -> Response:
    """Answer with an empty body."""
    return Response(b"", status)


def both(path: str, handler: Handler, methods: str = "GET", reads: Reads = "json") -> list[Route]:
    """Return the routes of a handler at ``/X`` and ``/api/X``."""
    return [one(path, handler, methods, reads), one(f"/api{path}", handler, methods, reads)]


def one(path: str, handler: Handler, methods: str = "GET", reads: Reads = "json") -> Route:
    """Return the route of a handler.

    Args:
        path: Below the mount point.
        handler: Answers whoever may call.
        methods: Separated by blanks.
        reads: What bodies may call themselves: ``text`` lets in what browsers call a string, ``upload`` forms.
    """

    async def answer(request: Request) -> Response:
        request.scope["route"] = named
        platform: Platform = request.app.state.platform
        writes = request.method not in _SAFE
        principal = await caller_of(request, platform, writes=writes)
        admit(request, platform, principal)
        if writes and reads != "upload" and is_from_a_page(request):
            refuse_forms(request, text=reads == "text")
        return with_headers(await handler(Call(request, platform, principal)))

    named = Named(PREFIX + path)
    return Route(path, answer, methods=methods.split())


def with_headers(response: Response) -> Response:
    """Add the editor's own policy to an answer."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def raw_parts(request: Request, after: str) -> list[str]:
    """Return what follows a word in the path, split at its slashes before each piece is decoded once.

    A server shows paths decoded, and then ``a%2Fb/move/c`` cannot be told from ``a/b/move/c``.

    Args:
        request: With the path as it was sent.
        after: Such as ``userdata``.

    Raises:
        InvalidRequest: A piece is no UTF-8.
    """
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    pieces = raw.decode("latin-1").partition("?")[0].split("/")
    try:
        return [unquote(piece, errors="strict") for piece in pieces[pieces.index(after) + 1 :]]
    except UnicodeDecodeError as error:
        raise InvalidRequest("path: must be UTF-8") from error


class Door(Router):
    """The routes of the editor; what they do not know is said as everywhere on this server."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await super().__call__(scope, receive, send)
        except HTTPException as error:
            allow = (error.headers or {}).get("allow") or (error.headers or {}).get("Allow") or ""
            raise no_route(scope, error.status_code, allow) from error


def mounted(routes: Iterable[BaseRoute]) -> Mount:
    """Return the mount of all routes of the editor."""
    return Mount(PREFIX, app=Door([*routes], redirect_slashes=False))


def facts(**values: Any) -> dict[str, Any]:
    """Return values without those that are absent."""
    return {name: value for name, value in values.items() if value is not None}
