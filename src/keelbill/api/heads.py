"""Answers HEAD as GET would be answered, without a body (RFC 9110, section 9.3.2). Knows no route.

The application sees a GET, so every route that answers one answers the other, with the same head. What would follow
the head is dropped, and a handler that goes on talking, as streams of events do, is told that its client has gone.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


async def answer_head(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Let an application answer a request as GET, and send only the head.

    Args:
        app: That answers.
        scope: Of the request; its method is GET already.
        receive: As the server gave it.
        send: Likewise.
    """
    head = _Head(receive, send)
    await app(scope, head.receive, head.send)


class _Head:
    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._is_sent = asyncio.Event()

    async def send(self, message: Message) -> None:
        if self._is_sent.is_set() or message["type"] != "http.response.start":
            return
        self._is_sent.set()
        await self._send(message)
        await self._send({"type": "http.response.body", "body": b""})

    async def receive(self) -> Message:
        asked = asyncio.ensure_future(self._receive())
        sent = asyncio.ensure_future(self._is_sent.wait())
        try:
            await asyncio.wait({asked, sent}, return_when=asyncio.FIRST_COMPLETED)
            return asked.result() if asked.done() and not sent.done() else {"type": "http.disconnect"}
        finally:
            asked.cancel()
            sent.cancel()
