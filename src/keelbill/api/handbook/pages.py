"""Serves the page at ``/docs`` and its style sheet. Knows no operation: the application's own document has them."""

from __future__ import annotations

import asyncio
import gzip
from functools import cache
from importlib import resources
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.deps import platform_of
from keelbill.api.handbook.page import page

STYLE: Final = "/docs/page.css"
_METHODS: Final = ["GET", "HEAD"]


def router() -> APIRouter:
    """Return the routes of the page; each application has its own."""
    routes = APIRouter(include_in_schema=False)
    made: list[tuple[bytes, bytes]] = []

    def write(request: Request) -> tuple[bytes, bytes]:
        server = platform_of(request).accounts.rules.base_url
        content = page(request.app.openapi(), server=server, style=STYLE).encode()
        return content, gzip.compress(content, 6, mtime=0)

    @routes.api_route("/docs", methods=_METHODS)
    async def docs(request: Request) -> Response:
        """Send the page; it is written once."""
        if not made:
            made.append(await asyncio.to_thread(write, request))
        plain, packed = made[0]
        headers = {"cache-control": "no-cache", "vary": "accept-encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(packed, media_type="text/html", headers=headers | {"content-encoding": "gzip"})
        return Response(plain, media_type="text/html", headers=headers)

    @routes.api_route(STYLE, methods=_METHODS)
    async def style() -> Response:
        """Send the style sheet."""
        return Response(_style(), media_type="text/css", headers={"cache-control": "no-cache"})

    return routes


@cache
def _style() -> bytes:
    return resources.files(__package__).joinpath("page.css").read_bytes()
