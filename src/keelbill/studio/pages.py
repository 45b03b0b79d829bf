"""Routes of the studio: a page for every address of it, and its files. Knows neither accounts nor pictures.

A page differs from others only in the files that it asks for ahead; it is the same for everybody and shows nothing by
itself. What a visitor may see comes from the API.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from keelbill.studio.files import Files

ADDRESSES: Final = (
    "/",
    "/sign-in",
    "/sign-up",
    "/set-up",
    "/verify",
    "/reset",
    "/invitation",
    "/gallery",
    "/gallery/{picture_id}",
    "/canvas",
    "/account",
    "/keys",
    "/billing",
    "/usage",
    "/team",
    "/webhooks",
    "/admin",
    "/admin/{part}",
    "/nodes",
    "/help",
    "/help/{part}",
)
"""Addresses that people may open or reload; the page's own router knows what to show there."""

FOR_EVER: Final = "public, max-age=31536000, immutable"
_ICON: Final = "img/icon.svg"
_METHODS: Final = ["GET", "HEAD"]


def _sender(page: bytes) -> Callable[[], Awaitable[Response]]:
    """Return what answers with a page; the page names its files by hash, so it must be fresh itself."""

    async def send() -> Response:
        return Response(page, media_type="text/html", headers={"cache-control": "no-cache"})

    return send


def router(files: Files | None = None) -> APIRouter:
    """Return the studio's routes.

    Args:
        files: What they serve; the package's own files if none are given.
    """
    routes = APIRouter(include_in_schema=False)
    served = files or Files()

    for address in ADDRESSES:
        routes.add_api_route(address, _sender(served.page_at(address)), methods=_METHODS, response_class=Response)

    @routes.api_route("/favicon.ico", methods=_METHODS)
    async def icon(request: Request) -> Response:
        """Send browsers that ask for an icon by its old name to the icon."""
        return RedirectResponse(f"/studio/{served.digest}/{_ICON}", 307)

    @routes.api_route("/studio/{digest}/{path:path}", methods=_METHODS)
    async def file(request: Request, digest: str, path: str) -> Response:
        """Send one file. Files of another version are gone: mixed modules would be worse than none."""
        found = served.get(path) if digest == served.digest else None
        if found is None:
            return Response("There is no such file in this version of the studio.", 404, media_type="text/plain")
        headers = {"cache-control": FOR_EVER, "vary": "accept-encoding"}
        content = found.content
        if found.packed and "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            content = found.packed
        return Response(content, media_type=found.media_type, headers=headers)

    return routes
