"""Takes secrets out of what a client sends, before anything of it is stored, logged or painted into pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from keelbill.graph.node import Node

KEY_INPUT: Final = "api_key_override"
SECRETS: Final = frozenset({KEY_INPUT, "auth_token_comfy_org", "api_key_comfy_org"})


def typed_keys(prompt: Any) -> list[str]:
    """Return the keys that somebody typed into nodes, in the order of the graph."""
    nodes = prompt.values() if isinstance(prompt, dict) else ()
    inputs = [node.get("inputs") for node in nodes if isinstance(node, dict)]
    given = [each.get(KEY_INPUT) for each in inputs if isinstance(each, dict)]
    return [key.strip() for key in given if isinstance(key, str) and key.strip()]


def drawn_keys(value: Any, nodes: Mapping[str, type[Node]]) -> list[str]:
    """Return the keys in workflows as the editor saves them, also of nodes that are switched off and do not run.

    Args:
        value: JSON that holds workflows somewhere.
        nodes: Classes by name; the order of their inputs tells which value is the key.
    """
    return [key.strip() for key in _drawn(value, nodes) if key.strip()]


def _drawn(value: Any, nodes: Mapping[str, type[Node]]) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _drawn(item, nodes)
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
