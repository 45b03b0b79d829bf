"""Writes a request for each operation of the OpenAPI document that works when it is pasted into a shell.

Knows the document and nothing of handlers. Server and key are taken from variables, as everywhere in the documentation;
what only the reader knows, such as an id, is a variable with the parameter's name in capitals.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

Json = Mapping[str, Any]

SERVER: Final = "$KEELBILL_BASE_URL"
KEY: Final = "$KEELBILL_API_KEY"
_METHODS: Final = ("get", "put", "post", "delete", "patch")
_WORDS: Final = {
    "prompt": "a red apple on a wooden table",
    "text": "a red apple on a wooden table",
    "search_prompt": "apple",
    "select_prompt": "apple",
    "foreground_prompt": "an apple",
    "background_prompt": "a wooden table",
}
_MORE: Final[dict[str, dict[str, str]]] = {
    "/edit/erase": {"mask": "@mask.png"},
    "/edit/inpaint": {"mask": "@mask.png"},
    "/edit/outpaint": {"right": "64"},
    "/edit/replace-background-and-relight": {"background_prompt": _WORDS["background_prompt"]},
    "/image-to-image/masking": {"mask_image": "@mask.png"},
    "/image-to-image/upscale": {"width": "512"},
}
"""Fields that nobody must send and without which the request makes no sense."""


def add_samples(document: dict[str, Any], *, cookie: str) -> None:
    """Give each operation of a document its ``x-codeSamples``.

    Args:
        document: An OpenAPI document; changed in place.
        cookie: Name of the session's cookie.
    """
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                source = sample(document, path, method, cookie=cookie)
                item[method]["x-codeSamples"] = [{"lang": "Shell", "label": "curl", "source": source}]


def sample(document: Json, path: str, method: str, *, cookie: str) -> str:
    """Return a curl command for one operation."""
    operation: Json = document["paths"][path][method]
    lines = [f'curl "{SERVER}{_address(document, path, operation)}"']
    body = list(_body(document, path, operation))
    if method not in ("get", "post") or (method == "post" and not body):
        lines.append(f"--request {method.upper()}")
    lines += _credential(operation, cookie, writes=method != "get")
    pictures = operation["responses"].get("200", {}).get("content", {})
    if any(kind.startswith("image/") for kind in pictures):
        lines += ['--header "accept: image/*"', "--output picture-out.png"]
    return " \\\n  ".join([*lines, *body])


def _address(document: Json, path: str, operation: Json) -> str:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            known = resolved(document, parameter["schema"]).get("enum")
            value = str(known[0]) if known else f"${parameter['name'].upper()}"
            path = path.replace(f"{{{parameter['name']}}}", value)
    return path


def _credential(operation: Json, cookie: str, *, writes: bool) -> Iterator[str]:
    names = [name for way in operation.get("security", ()) for name in way]
    if "bearer" in names:
        yield f'--header "authorization: Bearer {KEY}"'
    elif "session" in names:
        yield f'--cookie "{cookie}=$KEELBILL_SESSION"'
        if writes:
            yield f'--header "origin: {SERVER}"'
            yield '--header "x-csrf-token: $KEELBILL_CSRF_TOKEN"'


def _body(document: Json, path: str, operation: Json) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {})
    if "multipart/form-data" in content:
        schema = resolved(document, content["multipart/form-data"]["schema"])
        for name in schema.get("required", ()):
            yield _form(name, _field(name, schema["properties"][name]))
        for ending, more in _MORE.items():
            if path.endswith(ending):
                yield from (_form(name, value) for name, value in more.items())
    elif "application/json" in content:
        value = example(document, content["application/json"]["schema"])
        yield '--header "content-type: application/json"'
        yield f"--data {_quoted(json.dumps(value, ensure_ascii=False))}"


def _form(name: str, value: str) -> str:
    return f"--form {_quoted(f'{name}={value}')}"


def _field(name: str, schema: Json) -> str:
    if schema.get("format") == "binary":
        return "@picture.png"
    word = _WORDS.get(re.sub(r".*\[(\w+)\]", r"\1", name))
    return word if word is not None else str(example({}, schema))


def example(document: Json, schema: Json, name: str = "") -> Any:
    """Return a value that fits a schema: the one that it shows, else its default, else the simplest."""
    schema = resolved(document, schema)
    for given in ("examples", "enum"):
        if schema.get(given):
            return schema[given][0]
    for given in ("example", "const", "default"):
        if given in schema:
            return schema[given]
    if name in _WORDS:
        return _WORDS[name]
    if choices := schema.get("anyOf"):
        return example(document, choices[0], name)
    kind = schema.get("type")
    if kind == "object":
        return _object(document, schema)
    if kind == "array":
        return [example(document, schema["items"], name)] if schema.get("minItems") else []
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    return False if kind == "boolean" else "0" * 32 if "0-9a-f" in schema.get("pattern", "") else "example"


def _object(document: Json, schema: Json) -> dict[str, Any]:
    fields: Json = schema.get("properties", {})
    wanted = schema.get("required") or [name for name, field in fields.items() if field.get("examples")]
    return {name: example(document, fields[name], name) for name in wanted or list(fields)[:1]}


def resolved(document: Json, schema: Json) -> Json:
    """Follow a schema that stands elsewhere in the document."""
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
