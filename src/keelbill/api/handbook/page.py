"""Writes the OpenAPI document as one page of HTML. Knows the document, no route and no browser.

The page needs no script and nothing from elsewhere: operations fold with ``<details>``, and the browser's own search
finds what is folded. Everything that comes from the document is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from keelbill.api.handbook.samples import SERVER, resolved

Json = Mapping[str, Any]

TWINS: Final = "/proxy/"
"""The same operations under another name; the page says so once instead of showing all of them twice."""

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_CREDENTIALS: Final = {
    (): "No credential is needed.",
    ("session",): "Needs a person who is signed in.",
    ("bearer", "session"): "Needs an API key, or a person who is signed in.",
    ("bearer",): "Needs an API key.",
}
_LIMITS: Final = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "from {}",
    "maximum": "up to {}",
    "multipleOf": "in steps of {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matches {}",
    "default": "default {}",
}


def page(document: Json, *, server: str, style: str) -> str:
    """Return the whole page.

    Args:
        document: An OpenAPI document whose operations have ``x-codeSamples``.
        server: Address of this server, for the examples.
        style: Address of the style sheet.
    """
    groups = _groups(document)
    info = document["info"]
    return "".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{escape(info['title'])} API</title>\n",
            f'<link rel="icon" href="/favicon.ico">\n<link rel="stylesheet" href="{escape(style)}">\n</head>\n<body>\n',
            f"<header><h1>{escape(info['title'])} API</h1><p>Version {escape(info['version'])}. ",
            'The same as data: <a href="/openapi.json">/openapi.json</a>. Examples take the key from the variable ',
            "<code>KEELBILL_API_KEY</code>; what only you know, such as an id, is a variable too. Everything below ",
            "<code>/v2beta</code> is also served below <code>/proxy/stability/v2beta</code>.</p></header>\n",
            '<nav aria-label="Groups"><ul>',
            *(f'<li><a href="#{_anchor(tag)}">{escape(tag)}</a></li>' for tag in groups),
            "</ul></nav>\n<main>\n",
            *(_group(document, tag, found, server) for tag, found in groups.items()),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _groups(document: Json) -> dict[str, list[tuple[str, str, Json]]]:
    found: dict[str, list[tuple[str, str, Json]]] = {}
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item and not path.startswith(TWINS):
                tag = str(item[method].get("tags", ["Other"])[0])
                found.setdefault(tag, []).append((method, path, item[method]))
    return found


def _group(document: Json, tag: str, operations: list[tuple[str, str, Json]], server: str) -> str:
    shown = (_operation(document, *each, server) for each in operations)
    return f'<section id="{_anchor(tag)}">\n<h2>{escape(tag)}</h2>\n{"".join(shown)}</section>\n'


def _operation(document: Json, method: str, path: str, operation: Json, server: str) -> str:
    names = tuple(sorted({name for way in operation.get("security", ()) for name in way} & {"bearer", "session"}))
    parts = [
        f'<details id="{escape(operation["operationId"])}"><summary><b class="{method}">{method.upper()}</b> ',
        f"<code>{escape(path)}</code> <span>{escape(operation.get('summary', ''))}</span></summary>\n",
        _prose(operation.get("description", "")),
        f"<p>{_CREDENTIALS[names]}</p>\n",
        _table("Parameters", _parameters(document, operation)),
    ]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(_table(f"Body: {kind}", _fields(document, content.get("schema", {}))))
    parts.append(_answers(document, operation["responses"]))
    for sample in operation.get("x-codeSamples", ()):
        source = sample["source"].replace(SERVER, server)
        parts.append(f"<h3>Example</h3>\n<pre><code>{escape(source)}</code></pre>\n")
    return "".join([*parts, "</details>\n"])


def _parameters(document: Json, operation: Json) -> Iterator[tuple[str, str, str]]:
    for parameter in operation.get("parameters", ()):
        schema = resolved(document, parameter.get("schema", {}))
        name = parameter["name"] + (" (required)" if parameter.get("required") else "")
        said = parameter.get("description") or schema.get("description", "")
        yield name, f"{_kind(document, schema)} in {parameter['in']}", said


def _fields(document: Json, schema: Json) -> Iterator[tuple[str, str, str]]:
    schema = resolved(document, schema)
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        said = field.get("description") or resolved(document, field).get("description", "")
        yield name + (" (required)" if name in required else ""), _kind(document, field), said


def _answers(document: Json, responses: Json) -> str:
    rows = []
    for status, response in responses.items():
        kinds = ", ".join(response.get("content", {}))
        rows.append((str(status), kinds, response.get("description", "")))
    found = _table("Answers", rows)
    good: Json = next((response for status, response in responses.items() if str(status).startswith("2")), {})
    schema = resolved(document, good.get("content", {}).get("application/json", {}).get("schema", {}))
    return found + _table("Body of the answer", _fields(document, resolved(document, schema.get("items", schema))))


def _kind(document: Json, schema: Json) -> str:
    schema = resolved(document, schema)
    if choices := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(_kind(document, choice) for choice in choices))
    if "enum" in schema or "const" in schema:
        words = ", ".join(str(value) for value in schema.get("enum", [schema.get("const")]))
        return words + (f"; default {schema['default']}" if schema.get("default") not in (None, "") else "")
    kind = "file" if schema.get("format") == "binary" else str(schema.get("type", "anything"))
    if kind == "array":
        kind = f"list of {_kind(document, schema.get('items', {}))}"
    limits = [text.format(schema[name]) for name, text in _LIMITS.items() if schema.get(name) not in (None, "", [], {})]
    return ", ".join([kind, *limits])


def _table(title: str, rows: Any) -> str:
    lines = [
        f"<tr><th scope='row'><code>{escape(name)}</code></th><td>{escape(kind)}</td><td>{_inline(said)}</td></tr>\n"
        for name, kind, said in rows
    ]
    return f"<h3>{escape(title)}</h3>\n<table>\n{''.join(lines)}</table>\n" if lines else ""


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>\n" for part in re.split(r"\n\s*\n", text.strip()) if part)


def _inline(text: str) -> str:
    return re.sub(r"(`+)(.+?)\1", r"<code>\2</code>", escape(text))


def _anchor(tag: str) -> str:
    return "group-" + re.sub(r"[^a-z0-9]+", "-", tag.lower()).strip("-")
