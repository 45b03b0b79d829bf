"""The editor's socket: lets a client in, sends what waits for it, hears what it can do. Knows no runs."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from keelbill.api.comfy import frames
from keelbill.api.comfy.credentials import caller_of
from keelbill.api.comfy.outbox import Overfull
from keelbill.api.comfy.sockets import Socket
from keelbill.api.comfy.stage import Stage
from keelbill.api.envelope import refusal
from keelbill.api.visits import visit_of
from keelbill.core.errors import AppError
from keelbill.workspace.schemas import Account

if TYPE_CHECKING:
    from keelbill.api.platform import Platform

SEND_S: Final = 30.0
"""A client that takes in nothing for so long is given up."""

AGAIN_S: Final = 30.0
"""How often it is asked whether the credential still holds."""

MAX_TEXT: Final = 64 * 1024

REPLACED: Final = 4000
GONE: Final = 1008


class Listener:
    """The endpoint of the socket.

    Args:
        platform: The parts of the server.
        stage: Who tells.
        features: What the server says that it can do.
    """

    def __init__(self, platform: Platform, stage: Stage, features: dict[str, Any]) -> None:
        self._platform = platform
        self._stage = stage
        self._features = features

    def routes(self) -> list[WebSocketRoute]:
        """Return the socket's addresses."""
        return [WebSocketRoute(path, self.serve) for path in ("/ws", "/api/ws")]

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one client until it or we end it."""
        try:
            account = await self._account(websocket)
            socket = await self._stage.enter(account, websocket.query_params.get("clientId", ""))
        except AppError as error:
            await _refuse(websocket, error)
            return
        code = 1000
        try:
            await websocket.accept()
            code = await self._serve(websocket, socket)
        finally:
            self._stage.sockets.close(socket)
        with suppress(RuntimeError, WebSocketDisconnect):  # it may have gone by itself
            await websocket.close(code)

    async def _account(self, websocket: WebSocket) -> Account:
        principal = await caller_of(websocket, self._platform, writes=True)
        return Account(principal.org_id, principal.user_id)

    async def _serve(self, websocket: WebSocket, socket: Socket) -> int:
        """Send and hear at the same time; return the code with which it ends."""
        work = {
            asyncio.create_task(_send(websocket, socket), name="socket sends"),
            asyncio.create_task(self._hear(websocket, socket), name="socket hears"),
            asyncio.create_task(self._watch(websocket, socket), name="socket watches"),
        }
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
        return max(task.result() for task in done)

    async def _hear(self, websocket: WebSocket, socket: Socket) -> int:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return 1000
            said = message.get("text")
            if said and len(said) <= MAX_TEXT and (flags := _flags(said)) is not None:
                socket.flags = flags
                socket.outbox.put(frames.text("feature_flags", self._features))

    async def _watch(self, websocket: WebSocket, socket: Socket) -> int:
        """Return when the socket may not stay open."""
        while True:
            try:
                async with asyncio.timeout(AGAIN_S):
                    await socket.replaced.wait()
                return REPLACED
            except TimeoutError:
                pass
            try:
                await self._account(websocket)
            except AppError:
                return GONE


async def _send(websocket: WebSocket, socket: Socket) -> int:
    try:
        while True:
            frame = await socket.outbox.take()
            async with asyncio.timeout(SEND_S):
                if isinstance(frame, str):
                    await websocket.send_text(frame)
                else:
                    await websocket.send_bytes(frame)
    except (Overfull, TimeoutError):
        return GONE
    except (WebSocketDisconnect, RuntimeError):  # the server below says so when the client has gone
        return 1000


def _flags(said: str) -> dict[str, Any] | None:
    try:
        value = json.loads(said)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("type") != "feature_flags" or not isinstance(value.get("data"), dict):
        return None
    return dict(value["data"])


async def _refuse(websocket: WebSocket, error: AppError) -> None:
    """Answer the handshake with an error."""
    from starlette.responses import Response

    rendered = refusal(websocket.scope, visit_of(websocket), error)
    response = Response(rendered.body, rendered.status)
    response.raw_headers = rendered.headers
    await websocket.send_denial_response(response)
