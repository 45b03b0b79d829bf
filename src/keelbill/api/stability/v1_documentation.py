"""Describes the v1 routes for the OpenAPI document out of the tables that check requests. Knows no handlers."""

from __future__ import annotations

from collections.abc import Sequence

from keelbill.api.stability.documentation import (
    IDEMPOTENCY,
    PAYING,
    READING,
    SECURITY,
    V1_ERROR,
    Json,
    errors,
    object_schema,
)
from keelbill.api.stability.fields import Parameter
from keelbill.api.stability.services import PictureField
from keelbill.api.stability.v1_parameters import PROMPT_PARAMETERS, TEXT_TO_IMAGE, V1_ENGINES

_ENGINE: Json = {
    "name": "engine_id",
    "in": "path",
    "required": True,
    "description": "An engine of /v1/engines/list; this server's model stands for each.",
    "schema": {"type": "string", "enum": list(V1_ENGINES)},
}
_ACCEPT: Json = {
    "name": "Accept",
    "in": "header",
    "required": False,
    "description": "image/png for one bare picture; else JSON.",
    "schema": {"type": "string", "examples": ["application/json", "image/png"]},
}
_ARTIFACT: Json = {
    "type": "object",
    "required": ["base64", "seed", "finishReason"],
    "properties": {
        "base64": {"type": "string", "contentEncoding": "base64"},
        "seed": {"type": "integer"},
        "finishReason": {"type": "string", "enum": ["SUCCESS", "ERROR", "CONTENT_FILTERED"]},
    },
}
# v1 answers a short balance with 429, so that 402 does not occur.
_PAYING = tuple(status for status in PAYING if status != 402)


def _pictures(body: Json) -> Json:
    artifacts = {
        "type": "object",
        "required": ["artifacts"],
        "properties": {"artifacts": {"type": "array", "items": _ARTIFACT, "minItems": 1}},
    }
    return {
        "security": SECURITY,
        "parameters": [_ENGINE, _ACCEPT, IDEMPOTENCY],
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {
                "description": "The pictures.",
                "content": {
                    "application/json": {"schema": artifacts},
                    "image/png": {"schema": {"type": "string", "format": "binary"}},
                },
            },
            **errors(_PAYING, V1_ERROR),
        },
    }


def text_to_image() -> Json:
    """Return what FastAPI cannot find out by itself about text-to-image."""
    schema = object_schema(TEXT_TO_IMAGE, nullable=True)
    schema["properties"]["text_prompts"] = {
        "type": "array",
        "minItems": 1,
        "items": object_schema(PROMPT_PARAMETERS, nullable=True),
        "description": "At least one with a weight above 0.",
    }
    schema["properties"]["extras"] = {"description": "Ignored."}
    schema["required"] = ["text_prompts"]
    schema["example"] = {
        "text_prompts": [{"text": "A lighthouse on a cliff at dusk"}, {"text": "people", "weight": -1}],
        "width": 512,
        "height": 512,
    }
    return _pictures({"application/json": {"schema": schema}})


def multipart(parameters: Sequence[Parameter], pictures: Sequence[PictureField], *, prompts: bool = True) -> Json:
    """Return what FastAPI cannot find out by itself about a v1 route that takes a form."""
    schema = object_schema(parameters)
    for picture in pictures:
        schema["properties"][picture.name] = {"type": "string", "format": "binary", "description": picture.about}
        if picture.required:
            schema.setdefault("required", []).append(picture.name)
    if prompts:
        for parameter in PROMPT_PARAMETERS:
            schema["properties"][f"text_prompts[0][{parameter.name}]"] = parameter.schema()
        schema.setdefault("required", []).append("text_prompts[0][text]")
    return _pictures({"multipart/form-data": {"schema": schema}})


def _reading(schema: Json, description: str) -> Json:
    return {
        "security": SECURITY,
        "responses": {
            "200": {"description": description, "content": {"application/json": {"schema": schema}}},
            **errors(READING, V1_ERROR),
        },
    }


def engines() -> Json:
    """Return what FastAPI cannot find out by itself about the list of engines."""
    names = ("id", "name", "description", "type")
    item = {"type": "object", "required": list(names), "properties": {name: {"type": "string"} for name in names}}
    return _reading({"type": "array", "items": item}, "The engines.")


def balance() -> Json:
    """Return what FastAPI cannot find out by itself about the balance."""
    schema = {"type": "object", "required": ["credits"], "properties": {"credits": {"type": "number"}}}
    return _reading(schema, "What can be spent.")


def account() -> Json:
    """Return what FastAPI cannot find out by itself about the account."""
    organisation = {
        "type": "object",
        "required": ["id", "name", "role", "is_default"],
        "properties": {
            "id": {"type": "string"},
            "name": {"type": "string"},
            "role": {"type": "string", "enum": ["ADMIN", "MEMBER"]},
            "is_default": {"type": "boolean"},
        },
    }
    schema = {
        "type": "object",
        "required": ["id", "email", "organizations"],
        "properties": {
            "id": {"type": "string"},
            "email": {"type": "string"},
            "organizations": {"type": "array", "items": organisation},
            "profile_picture": {"type": "string"},
        },
    }
    return _reading(schema, "Who the key belongs to.")
