"""Shows the graph editor at the root of a port of its own. Knows addresses only."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from keelbill.api.comfy.door import PREFIX

MARK: Final = "keelbill.own_port"


class OwnPort:
    """An application that answers below the editor's prefix whatever comes in at one port.

    Args:
        app: The whole server.
        port: The editor's.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        server = scope.get("server")
        if scope["type"] in {"http", "websocket"} and server is not None and server[1] == self._port:
            raw = scope.get("raw_path") or scope["path"].encode()
            scope = {**scope, "path": PREFIX + scope["path"], "raw_path": PREFIX.encode() + raw, MARK: True}
        await self._app(scope, receive, send)
