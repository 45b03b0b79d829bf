"""Takes secrets out of what a client sends, before anything of it is stored, logged or painted into pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from keelbill.api.comfy.bodies import parse
from keelbill.core.errors import AppError
from keelbill.graph.apiformat import require_shallow
from keelbill.graph.node import Node

KEY_INPUT: Final = "api_key_override"
SECRETS: Final = frozenset({KEY_INPUT, "auth_token_comfy_org", "api_key_comfy_org"})
_SHAPE: Final = re.compile(r"sk-[0-9A-Za-z_-]{20,200}", re.ASCII)


def typed_keys(prompt: Any) -> list[str]:
    """Return the keys that somebody typed into nodes: in the field for them first, then whatever looks like one.

    A key that a node of text hands to the field counts as typed into the field.
    """
    nodes = {name: each for name, each in prompt.items() if isinstance(each, dict)} if isinstance(prompt, dict) else {}
    inputs = {name: each["inputs"] for name, each in nodes.items() if isinstance(each.get("inputs"), dict)}
    given: list[Any] = []
    for each in inputs.values():
        field = each.get(KEY_INPUT)
        is_link = isinstance(field, list) and bool(field) and isinstance(field[0], str)
        given += inputs.get(field[0], {}).values() if is_link else [field]
    given += [value for each in inputs.values() for value in each.values() if is_key(value)]
    return list(dict.fromkeys(key.strip() for key in given if isinstance(key, str) and key.strip()))


def is_key(value: Any) -> bool:
    """Return whether a value looks like a key of an image service, ours or another."""
    return isinstance(value, str) and _SHAPE.fullmatch(value.strip()) is not None


def drawn_keys(value: Any, nodes: Mapping[str, type[Node]]) -> list[str]:
    """Return the keys in workflows as the editor saves them, also of nodes that are switched off and do not run.

    What looks like a key is one wherever it stands: a subgraph shows fields of its inside under names of its own.

    Args:
        value: JSON that holds workflows somewhere.
        nodes: Classes by name; the order of their inputs tells which value is the key.
    """
    return [key.strip() for key in _drawn(value, nodes) if key.strip()]


def _drawn(value: Any, nodes: Mapping[str, type[Node]]) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _drawn(item, nodes)
    if is_key(value):
        yield value
    if not isinstance(value, dict):
        return
    kind, values = value.get("type"), value.get("widgets_values")
    if isinstance(kind, str) and kind in nodes and isinstance(values, list):
        place = _place_from_end(nodes[kind])
        if place and len(values) >= place and isinstance(key := values[-place], str):
            yield key
    for item in value.values():
        yield from _drawn(item, nodes)


def _place_from_end(kind: type[Node]) -> int:
    """Return how far from the end of a class's values its key stands, 0 if it has none."""
    place = 0
    for each in reversed(kind.inputs):
        if each.is_widget:
            place += 1 + (each.has_upload or each.has_extra_value)
            if each.name == KEY_INPUT:
                return place
    return 0


def without_secrets(value: Any, keys: list[str]) -> Any:
    """Return a JSON value without the fields that hold secrets, and with typed keys blanked wherever they stand.

    Workflows of the editor hold the values of fields in lists without names, so a key is also found by itself.
    """
    hidden = frozenset(keys)
    if isinstance(value, dict):
        return {
            name: "" if name == KEY_INPUT else without_secrets(item, keys)
            for name, item in value.items()
            if name not in SECRETS or name == KEY_INPUT
        }
    if isinstance(value, list):
        return [without_secrets(item, keys) for item in value]
    return "" if isinstance(value, str) and value.strip() in hidden else value


def clean_file(content: bytes, nodes: Mapping[str, type[Node]]) -> bytes:
    """Return a file of the editor without keys; one that holds none, or is no JSON, stays as it is.

    Raises:
        GraphInvalid: It is nested too deeply to be looked through.
    """
    try:
        value = parse(content)
    except AppError:
        return content
    require_shallow(value)
    cleaned = without_secrets(value, drawn_keys(value, nodes))
    return content if cleaned == value else json.dumps(cleaned, ensure_ascii=False).encode()
