"""Describes the routes for the OpenAPI document out of the same tables that check requests. Knows no handlers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keelbill.api.stability.fields import Parameter
from keelbill.api.stability.services import Service

Json = dict[str, Any]

ERROR: Json = {
    "type": "object",
    "required": ["id", "name", "errors"],
    "properties": {
        "id": {"type": "string", "minLength": 1, "description": "The request's id, as in the logs."},
        "name": {"type": "string", "pattern": "^[a-z_]+$", "description": "What kind of error this is."},
        "errors": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "description": "One sentence for each problem, with the field's name in front.",
        },
    },
}
V1_ERROR: Json = {
    "type": "object",
    "required": ["id", "name", "message"],
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "name": {"type": "string", "pattern": "^[a-z_]+$"},
        "message": {"type": "string"},
    },
}
OPENAI_ERROR: Json = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}

_MEANINGS: dict[int, str] = {
    400: "A parameter is missing or not allowed, or the body is of another kind.",
    401: "The key is missing or wrong.",
    402: "The balance or a cap is below the price.",
    403: "The prompt or picture is refused, or the key lacks the scope.",
    404: "There is no such thing, or it is somebody else's.",
    408: "The request came too slowly.",
    409: "An earlier request with the same Idempotency-Key still runs.",
    413: "The body is over 10 MiB.",
    415: "The body is compressed.",
    422: "The Idempotency-Key was used for another request.",
    429: "Too many requests; see Retry-After.",
    500: "Something failed here; nothing was charged.",
    501: "This installation lacks the network for it; nothing was charged.",
    503: "The server is full or going down; see Retry-After.",
}
READING = (400, 401, 403, 404, 429, 500, 503)
PAYING = (400, 401, 402, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503)

SECURITY: list[Json] = [{"bearer": []}, {"bareKey": []}, {"apiKeyHeader": []}]
SECURITY_SCHEMES: Json = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer sk-…"},
    "bareKey": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Authorization: sk-…"},
    "apiKeyHeader": {"type": "apiKey", "in": "header", "name": "X-API-KEY"},
}

IDEMPOTENCY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Your own name for this request; a retry with the same one is answered alike and charged once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
ACCEPT: Json = {
    "name": "Accept",
    "in": "header",
    "required": False,
    "description": "application/json for base64 inside JSON; image/* or nothing for the bytes.",
    "schema": {"type": "string", "enum": ["application/json", "image/*", "*/*"], "default": "image/*"},
}

_PICTURE_HEADERS: Json = {
    "finish-reason": {"schema": {"type": "string", "enum": ["SUCCESS", "CONTENT_FILTERED"]}},
    "seed": {"schema": {"type": "string"}},
    "x-keelbill-model": {"schema": {"type": "string"}},
    "x-credits-charged": {"schema": {"type": "string"}},
}
_BINARY: Json = {"schema": {"type": "string", "format": "binary"}}


def errors(statuses: Iterable[int], schema: Json = ERROR) -> Json:
    """Return the error responses of a route."""
    return {
        str(status): {
            "description": _MEANINGS[status],
            "content": {"application/json": {"schema": schema}},
            **({"headers": {"Retry-After": {"schema": {"type": "integer"}}}} if status in (429, 503) else {}),
        }
        for status in statuses
    }


def picture_response(*, polled: bool = False) -> Json:
    """Return the response that carries one picture, raw or in JSON."""
    names = ["image", "result", "finish_reason", "seed"] if polled else ["image", "finish_reason", "seed"]
    properties: Json = {
        "image": {"type": "string", "contentEncoding": "base64"},
        "result": {"type": "string", "contentEncoding": "base64"},
        "finish_reason": {"type": "string", "enum": ["SUCCESS", "CONTENT_FILTERED"]},
        "seed": {"type": "integer"},
    }
    body = {"type": "object", "required": names, "properties": {name: properties[name] for name in names}}
    return {
        "description": "The picture.",
        "headers": _PICTURE_HEADERS,
        "content": {
            "image/png": _BINARY,
            "image/jpeg": _BINARY,
            "image/webp": _BINARY,
            "application/json": {"schema": body},
        },
    }


def object_schema(parameters: Iterable[Parameter], *, nullable: bool = False) -> Json:
    """Return the schema of an object with these members.

    Args:
        parameters: The members.
        nullable: Whether null stands for an absent member, as in the JSON bodies.
    """
    known = list(parameters)
    properties: Json = {}
    for parameter in known:
        schema = parameter.schema()
        if nullable and not parameter.required:
            schema = {"anyOf": [schema, {"type": "null"}]}
        properties[parameter.name] = schema | ({"description": parameter.about} if parameter.about else {})
    schema = {"type": "object", "properties": properties}
    if required := [p.name for p in known if p.required]:
        schema["required"] = required
    return schema


def service_extra(service: Service, example: Json) -> Json:
    """Return what FastAPI cannot find out by itself about a service's route.

    Args:
        service: The service.
        example: Of its form, without files.
    """
    body = object_schema(service.parameters)
    for picture in service.pictures:
        body["properties"][picture.name] = {"type": "string", "format": "binary", "description": picture.about}
        if picture.required:
            body.setdefault("required", []).append(picture.name)
    if example:
        body["example"] = example
    accepted = {
        "description": "Accepted; poll for the result.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["id"],
                    "properties": {"id": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
                }
            }
        },
    }
    failures = errors((501,) if service.missing else ())
    return {
        "security": SECURITY,
        "parameters": [IDEMPOTENCY] if service.is_async else [ACCEPT, IDEMPOTENCY],
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": body}}},
        "responses": {"200": accepted if service.is_async else picture_response(), **errors(PAYING), **failures},
    }


def result_extra() -> Json:
    """Return what FastAPI cannot find out by itself about the routes that are polled."""
    running = {
        "type": "object",
        "required": ["id", "status"],
        "properties": {"id": {"type": "string"}, "status": {"type": "string", "enum": ["in-progress"]}},
        "additionalProperties": False,
    }
    name = {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "As the submission answered.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    }
    return {
        "security": SECURITY,
        "parameters": [name, ACCEPT],
        "responses": {
            "200": picture_response(polled=True),
            "202": {"description": "Not yet done.", "content": {"application/json": {"schema": running}}},
            **errors(READING),
        },
    }
