"""Finds the route of a plain path at once. Knows no routes by itself and answers nothing.

The router tries one pattern after another, twice for routers inside routers; with eighty routes that was a third of the
time of a cheap request. Paths without parameters, which are the busy ones, are looked up instead.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send


class Directory(BaseRoute):
    """A route that stands first and passes on to those with a plain path; all others stay as they are.

    Args:
        routes: All routes, in the order in which they would be tried.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._routes: dict[str, list[Route]] = {}
        for route in routes:
            if isinstance(route, Route) and "{" not in route.path:
                self._routes.setdefault(route.path, []).append(route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return the match of the first route that answers this path and method."""
        if scope["type"] != "http":
            return Match.NONE, {}
        for route in self._routes.get(scope["path"], ()):
            match, child_scope = route.matches(scope)
            if match is Match.FULL:
                return match, {**child_scope, "keelbill.route": route}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the route that was found answer."""
        await scope["keelbill.route"].handle(scope, receive, send)
