"""Describes the OpenAI-style routes for the OpenAPI document. Knows no handlers."""

from __future__ import annotations

from keelbill.api.openai.parameters import SHARED
from keelbill.api.stability.documentation import (
    IDEMPOTENCY,
    OPENAI_ERROR,
    PAYING,
    READING,
    SECURITY,
    Json,
    errors,
    object_schema,
)
from keelbill.storage.published import PUBLIC_MODELS

_BINARY: Json = {"type": "string", "format": "binary"}
_MODEL: Json = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {
        "id": {"type": "string"},
        "object": {"type": "string", "const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
    },
}
_ANSWER: Json = {
    "type": "object",
    "required": ["created", "data"],
    "properties": {
        "created": {"type": "integer"},
        "data": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "b64_json": {"type": "string", "contentEncoding": "base64"},
                    "url": {"type": "string", "format": "uri"},
                },
            },
        },
        "output_format": {"type": "string"},
        "size": {"type": "string"},
    },
}


def _json(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _making(content: Json) -> Json:
    return {
        "security": SECURITY,
        "parameters": [IDEMPOTENCY],
        "requestBody": {"required": True, "content": content},
        "responses": {"200": _json("The pictures.", _ANSWER), **errors(PAYING, OPENAI_ERROR)},
    }


def generations() -> Json:
    """Return what FastAPI cannot find out by itself about making pictures."""
    schema = object_schema(SHARED, nullable=True) | {
        "example": {"prompt": "A lighthouse on a cliff at dusk", "size": "1024x1024"}
    }
    return _making({"application/json": {"schema": schema}})


def edits() -> Json:
    """Return what FastAPI cannot find out by itself about changing pictures."""
    schema = object_schema(SHARED)
    schema["properties"]["image"] = _BINARY | {"description": "PNG, JPEG or WebP; also as image[]."}
    schema["properties"]["mask"] = _BINARY | {"description": "What is transparent in it is painted anew."}
    schema["required"].append("image")
    return _making({"multipart/form-data": {"schema": schema}})


def file() -> Json:
    """Return what FastAPI cannot find out by itself about links to pictures."""
    token = {"name": "token", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    kinds = ("image/png", "image/jpeg", "image/webp")
    picture = {"description": "The picture.", "content": {kind: {"schema": _BINARY} for kind in kinds}}
    failures = errors((400, 404, 429, 500, 503), OPENAI_ERROR)
    return {"security": [], "parameters": [token], "responses": {"200": picture, **failures}}


def models() -> Json:
    """Return what FastAPI cannot find out by itself about the list of models."""
    schema = {
        "type": "object",
        "required": ["object", "data"],
        "properties": {"object": {"type": "string", "const": "list"}, "data": {"type": "array", "items": _MODEL}},
    }
    return {"security": SECURITY, "responses": {"200": _json("The models.", schema), **errors(READING, OPENAI_ERROR)}}


def model() -> Json:
    """Return what FastAPI cannot find out by itself about one model."""
    name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "enum": list(PUBLIC_MODELS)}}
    return {
        "security": SECURITY,
        "parameters": [name],
        "responses": {"200": _json("The model.", _MODEL), **errors(READING, OPENAI_ERROR)},
    }
