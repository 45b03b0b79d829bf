"""Writes the types of the API, as TypeScript declares them, from the server's own OpenAPI document. Knows no page.

    python studio/api_types.py [FILE]

`studio/api.d.ts` is for editors: `jsconfig.json` lets them check the pages' scripts against it, call by call. Nothing
of it is served. A test says when it is stale.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
FILE: Final = ROOT / "studio/api.d.ts"
METHODS: Final = ("get", "post", "put", "patch", "delete")
PLAIN: Final = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def name_of(reference: str) -> str:
    """Return the declared name of a referenced schema."""
    return re.sub(r"\W", "_", reference.rpartition("/")[2])


def type_of(schema: Mapping[str, Any]) -> str:
    """Return a schema as a type."""
    if "$ref" in schema:
        return name_of(schema["$ref"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if parts := schema.get("anyOf") or schema.get("oneOf"):
        return " | ".join(dict.fromkeys(map(type_of, parts)))
    if parts := schema.get("allOf"):
        return " & ".join(dict.fromkeys(map(type_of, parts)))
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(PLAIN.get(each, "unknown") for each in kind)
    if kind == "array":
        return f"Array<{type_of(schema.get('items', {}))}>"
    if properties := schema.get("properties"):
        return f"{{ {' '.join(members(schema, properties))} }}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"Record<string, {type_of(values) if isinstance(values, dict) else 'unknown'}>"
    return PLAIN.get(str(kind), "unknown")


def members(schema: Mapping[str, Any], properties: Mapping[str, Any]) -> list[str]:
    """Return the members of an object; what is not required may be missing."""
    required = set(schema.get("required", ()))

    def member(name: str, each: Mapping[str, Any]) -> str:
        shown = json.dumps(name) if re.search(r"\W", name) else name
        return f"{shown}{'' if name in required else '?'}: {type_of(each)};"

    return [member(*each) for each in properties.items()]


def answer_of(operation: Mapping[str, Any]) -> str:
    """Return the type of an operation's answer: of its JSON, else a file, else nothing."""
    for status in ("200", "201", "202"):
        content = operation.get("responses", {}).get(status, {}).get("content", {})
        if "application/json" in content:
            return type_of(content["application/json"].get("schema", {}))
        if content:
            return "Blob"
    return "null"


def declarations(document: Mapping[str, Any]) -> str:
    """Return the whole file."""
    lines = ["// Written by `make docs` from the OpenAPI document; edit the server instead.", "declare namespace Api {"]
    for name, schema in sorted(document["components"]["schemas"].items()):
        if properties := schema.get("properties"):
            lines += [
                f"  interface {name_of(name)} {{",
                *(f"    {each}" for each in members(schema, properties)),
                "  }",
            ]
        else:
            lines.append(f"  type {name_of(name)} = {type_of(schema)};")
    lines.append("  /** What each operation answers. */")
    lines.append("  interface Answers {")
    for path, methods in sorted(document["paths"].items()):
        lines += [
            f"    {json.dumps(f'{method.upper()} {path}')}: {answer_of(methods[method])};"
            for method in METHODS
            if method in methods
        ]
    return "\n".join([*lines, "  }", "}", ""])


def document() -> dict[str, Any]:
    """Return the OpenAPI document of a server with the usual settings."""
    from keelbill.api.app import create_app
    from keelbill.api.platform import build_platform
    from keelbill.core.settings import Settings
    from keelbill.serving.scripted import ScriptedPool

    with tempfile.TemporaryDirectory() as home:
        platform = build_platform(Settings(home=Path(home)), pool=ScriptedPool(), migrates=True)
        try:
            return create_app(platform).openapi()
        finally:
            platform.db.close_now()


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else FILE).write_text(declarations(document()), encoding="utf-8")
