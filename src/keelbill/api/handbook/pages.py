"""Serves the API's document, the page at ``/docs`` made of it and the page's style sheet. Knows no operation.

Writing the document takes more than a second of the processor, so it is written once, when somebody first asks, and in
a thread.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.deps import platform_of
from keelbill.api.handbook.page import page

DOCUMENT: Final = "/openapi.json"
STYLE: Final = "/docs/page.css"
_METHODS: Final = ["GET", "HEAD"]


@dataclass(frozen=True)
class Printed:
    """Something large that does not change while the server runs.

    Attributes:
        media_type: Of the content.
        plain: The content.
        packed: The same by gzip.
        tag: Names this content, quoted, for clients that keep a copy.
    """

    media_type: str
    plain: bytes
    packed: bytes
    tag: str

    @classmethod
    def of(cls, content: bytes, media_type: str) -> Printed:
        """Pack some content."""
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        return cls(media_type, content, gzip.compress(content, 6, mtime=0), tag)

    def answer(self, request: Request) -> Response:
        """Send it as the client can read it, or nothing if its copy is this one (RFC 9110, 13.1.2)."""
        headers = {"cache-control": "no-cache", "vary": "accept-encoding", "etag": f"W/{self.tag}"}
        known = request.headers.get("if-none-match", "")
        if known.strip() == "*" or self.tag in known:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            return Response(self.packed, media_type=self.media_type, headers=headers)
        return Response(self.plain, media_type=self.media_type, headers=headers)


class _Press:
    """Writes something when it is first asked for, in a thread; whoever asks meanwhile waits for the same."""

    def __init__(self, write: Callable[[Request], Printed]) -> None:
        self._write = write
        self._printed: Printed | None = None
        self._printing = asyncio.Lock()

    async def answer(self, request: Request) -> Response:
        async with self._printing:
            if self._printed is None:
                self._printed = await asyncio.to_thread(self._write, request)
        return self._printed.answer(request)


def router() -> APIRouter:
    """Return the routes of the document and the page; each application has its own."""
    routes = APIRouter(include_in_schema=False)
    documents, pages = _Press(_document), _Press(_page)

    @routes.api_route(DOCUMENT, methods=_METHODS)
    async def document(request: Request) -> Response:
        """Send the document."""
        return await documents.answer(request)

    @routes.api_route("/docs", methods=_METHODS)
    async def docs(request: Request) -> Response:
        """Send the page."""
        return await pages.answer(request)

    @routes.api_route(STYLE, methods=_METHODS)
    async def style() -> Response:
        """Send the style sheet."""
        return Response(_style(), media_type="text/css", headers={"cache-control": "no-cache"})

    return routes


def _document(request: Request) -> Printed:
    return Printed.of(msgspec.json.encode(request.app.openapi()), "application/json")


def _page(request: Request) -> Printed:
    server = platform_of(request).accounts.rules.base_url
    return Printed.of(page(request.app.openapi(), server=server, style=STYLE).encode(), "text/html")


@cache
def _style() -> bytes:
    return resources.files(__package__).joinpath("page.css").read_bytes()
