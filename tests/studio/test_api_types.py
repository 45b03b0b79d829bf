"""The types that editors check the pages' scripts against, held against the running server's document."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support.server import LiveServer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("api_types", ROOT / "studio" / "api_types.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_is_what_the_document_says(server: LiveServer, tool: ModuleType) -> None:
    document = server.client.get("/openapi.json").json()
    assert (ROOT / "studio" / "api.d.ts").read_text(encoding="utf-8") == tool.declarations(document), "run `make docs`"


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"$ref": "#/components/schemas/Page-Input"}, "Page_Input"),
        ({"enum": ["a", "b"]}, '"a" | "b"'),
        ({"const": 3}, "3"),
        ({"anyOf": [{"type": "integer"}, {"type": "number"}, {"type": "null"}]}, "number | null"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"type": "array", "items": {"$ref": "#/x/Job"}}, "Array<Job>"),
        ({"type": "object", "additionalProperties": {"type": "boolean"}}, "Record<string, boolean>"),
        ({"type": "object"}, "Record<string, unknown>"),
        ({"properties": {"a-b": {"type": "string"}, "c": {}}, "required": ["c"]}, '{ "a-b"?: string; c: unknown; }'),
        ({}, "unknown"),
    ],
)
def test_schemas_as_types(tool: ModuleType, schema: dict[str, Any], expected: str) -> None:
    assert tool.type_of(schema) == expected
