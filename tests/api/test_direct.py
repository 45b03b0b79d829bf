"""Which handlers are called directly, and that the others still get their parameters."""

from __future__ import annotations

from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, Response
from fastapi.routing import APIRoute
from starlette.requests import Request

from keelbill.api.direct import call_directly


def _word() -> str:
    return "from a dependency"


async def _plain(request: Request) -> Response:
    return Response(request.method + " " + request.path_params["name"])


async def _counts(request: Request, number: int) -> Response:
    return Response(f"{request.method} {number + 1}")


async def _depends(request: Request, word: Annotated[str, Depends(_word)]) -> Response:
    return Response(f"{request.method} {word}")


def _app() -> FastAPI:
    app = FastAPI()
    app.add_api_route("/plain/{name}", _plain, methods=["GET"], response_model=None)
    app.add_api_route("/counts", _counts, methods=["GET"], response_model=None)
    app.add_api_route("/depends", _depends, methods=["GET"], response_model=None)
    app.add_api_route("/guarded", _plain, methods=["GET"], response_model=None, dependencies=[Depends(_word)])
    return app


def test_only_those_that_take_the_request_alone_change() -> None:
    app = _app()
    before = {route.path: route.app for route in app.routes if isinstance(route, APIRoute)}
    call_directly(app.routes)
    changed = {r.path for r in app.routes if isinstance(r, APIRoute) and r.app is not before[r.path]}
    assert changed == {"/plain/{name}"}


async def test_all_answer_as_before() -> None:
    app = _app()
    call_directly(app.routes)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
        assert (await client.get("/plain/a")).text == "GET a"
        assert (await client.get("/counts", params={"number": 1})).text == "GET 2"
        assert (await client.get("/counts")).status_code == 422
        assert (await client.get("/depends")).text == "GET from a dependency"
        assert (await client.post("/plain/a")).status_code == 405


def test_the_documentation_stays() -> None:
    app = _app()
    call_directly(app.routes)
    assert set(app.openapi()["paths"]) == {"/plain/{name}", "/counts", "/depends", "/guarded"}
