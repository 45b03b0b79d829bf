"""How our own routes read JSON: within limits, strictly, unknown members refused. Knows no route."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from keelbill.api.forms import read_json
from keelbill.api.stability.documentation import SECURITY, errors

MAX_BODY_BYTES = 64 * 1024

_STATUSES = (400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 503)
ERRORS: Final[dict[int | str, dict[str, Any]]] = {status: errors([status])[str(status)] for status in _STATUSES}
WITH_CREDENTIAL: Final[dict[str, Any]] = {"security": [*SECURITY, {"session": []}]}
WITH_SESSION: Final[dict[str, Any]] = {"security": [{"session": []}]}
OPEN: Final[dict[str, Any]] = {"security": []}


class Body(BaseModel):
    """A JSON object of a request; members that it does not know are an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class View(BaseModel):
    """A JSON object of an answer."""

    model_config = ConfigDict(frozen=True)


class JsonRoute(APIRoute):
    """A route whose body is JSON of at most 64 KiB, without repeated names, NaN or half characters."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler that reads the body within its limits first."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def checked(request: Request) -> Response:
            content = json.dumps(await read_json(request, max_bytes=MAX_BODY_BYTES, max_depth=16)).encode()

            async def replay() -> Message:
                return {"type": "http.request", "body": content, "more_body": False}

            return await handle(Request(request.scope, replay))

        return checked
