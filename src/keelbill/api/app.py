"""Builds the web application around a platform: routes, envelope, error handlers. Knows no service's rules."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from keelbill import __version__
from keelbill.api import health
from keelbill.api.direct import call_directly
from keelbill.api.directory import Directory
from keelbill.api.envelope import Envelope, no_route, refusal
from keelbill.api.visits import visit_of
from keelbill.core.errors import AppError, InvalidRequest

if TYPE_CHECKING:
    from keelbill.api.platform import Platform

SWITCH_S = 0.0005
"""How long a thread of the interpreter may keep others waiting. A job crosses to helper threads and back several
times (commits, files), and each time may wait this long for a busy event loop; Python's own is 5 ms."""

COLLECTIONS = (20_000, 20, 50)
"""How many new objects and younger collections the garbage collector waits for. What was made at the start stays for
good and is not looked through again; a request leaves next to no cycles behind."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def spare_collections() -> None:
    """Keep the garbage collector from looking through what the start of a server made; for a process of its own."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)


def create_app(platform: Platform) -> FastAPI:
    """Return the application; its lifespan starts the platform, unless it runs already, and stops it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sys.setswitchinterval(SWITCH_S)
        if not platform.is_started:
            await platform.start()
        await app.state.graphs.front_end.check()
        try:
            yield
        finally:
            await platform.stop()

    app = FastAPI(
        title="Keelbill",
        version=__version__,
        summary="Stable Diffusion 3 as a platform that anyone can run",
        lifespan=lifespan,
        openapi_url=None,  # the handbook's
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours are in the envelope
    )
    app.state.platform = platform
    app.add_middleware(Envelope, platform=platform)
    app.add_exception_handler(AppError, _app_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    include_routes(app, platform)
    _describe(app, platform)
    return app


def include_routes(app: FastAPI, platform: Platform) -> None:
    """Add the routes of every front door."""
    from keelbill.api.comfy.routes import graph_door
    from keelbill.api.handbook import pages as handbook
    from keelbill.api.native import (
        accounts,
        admin_accounts,
        admin_models,
        admin_queue,
        edits,
        enlargements,
        gallery,
        jobs,
        keys,
        moderation,
        nodes,
        options,
        orgs,
        payments,
        secrets,
        selections,
        sessions,
        standing,
        treasury,
        uploads,
        usage,
        webhooks,
        workflows,
    )
    from keelbill.api.native import credits as money
    from keelbill.api.openai import routes as openai
    from keelbill.api.stability import routes, v1
    from keelbill.studio import pages

    paid = [routes.router(platform), v1.router(platform), openai.router(platform)]
    for door in paid:
        call_directly(door.routes)
    doors = [pages.router(), *paid, health.router(platform), handbook.router()]  # a page asks for eighty files at once
    own = (
        accounts,
        keys,
        orgs,
        sessions,
        jobs,
        gallery,
        selections,
        standing,
        usage,
        webhooks,
        money,
        payments,
        treasury,
        admin_accounts,
        admin_models,
        admin_queue,
        moderation,
        options,
        enlargements,
        edits,
        uploads,
        workflows,
        nodes,
        secrets,
    )
    for door in [*doors, *(part.router for part in own)]:
        app.router.routes.extend(door.routes)  # side by side, so that each pattern is tried once
    graphs = app.state.graphs = graph_door(platform)
    app.router.routes.extend(graphs.routes)
    app.router.routes.insert(0, Directory(app.routes))


def _describe(app: FastAPI, platform: Platform) -> None:
    """Add to the document what FastAPI cannot know: how to send credentials, and a request to paste for each route."""
    from keelbill.api.deps import cookie_name
    from keelbill.api.handbook.samples import add_samples
    from keelbill.api.stability.documentation import SECURITY_SCHEMES

    describe, writing = app.openapi, threading.Lock()
    described: list[dict[str, Any]] = []

    def openapi() -> dict[str, Any]:
        """Return the document; whoever asks while it is written waits, so it is asked for in threads."""
        with writing:
            if not described:
                document = describe()
                cookie = cookie_name(platform)
                session = {"session": {"type": "apiKey", "in": "cookie", "name": cookie}}
                document.setdefault("components", {})["securitySchemes"] = SECURITY_SCHEMES | session
                add_samples(document, cookie=cookie)
                described.append(document)
            return described[0]

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to add to the document


def _answer(request: Request, error: AppError) -> Response:
    rendered = refusal(request.scope, visit_of(request), error)
    response = Response(rendered.body, rendered.status)
    response.raw_headers = rendered.headers
    return response


async def _app_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, AppError):
        raise TypeError("this handler renders errors of our own tree") from error
    return _answer(request, error)


async def _validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError("this handler renders errors of the request's form") from error
    return _answer(request, InvalidRequest(*map(_problem, error.errors())))


def _problem(found: dict[str, Any]) -> str:
    place = [str(part) for part in found["loc"] if part not in ("body", "query", "path", "header")]
    missing = found["type"] == "missing"
    return f"{'.'.join(place) or 'body'}: {'required' if missing else found['msg'].lower()}"


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError("this handler renders errors of the router") from error
    allow = ", ".join(_methods_at(request)) if error.status_code == 405 else ""
    return _answer(request, no_route(request.scope, error.status_code, allow))


def _methods_at(request: Request) -> list[str]:
    """Return every method that some route offers at the path; the router names only those of one route.

    A path that is written as it stands wins over patterns that fit it too, as it does in the router.
    """
    path = request.url.path
    offered = {
        method for route in request.app.routes if getattr(route, "path", None) == path for method in route.methods
    }
    if not offered:
        for method in METHODS:
            scope = {**request.scope, "method": method}
            if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
                offered.add(method)
    if "GET" in offered:
        offered.add("HEAD")
    return [method for method in METHODS if method in offered]
