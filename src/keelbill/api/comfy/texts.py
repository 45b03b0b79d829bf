"""Finds the words in a graph that say what is to be seen. Knows node classes by their declarations only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from keelbill.graph.node import Node

NEGATIVE: Final = "negative"
POSITIVE: Final = "positive"
PICTURE_FOLDERS: Final = frozenset({"input", "output"})
_NO_PROMPTS: Final = frozenset({"filename_prefix", "api_key_override"})


def prompts_of(graph: Mapping[str, Any], outputs: Iterable[str], nodes: Mapping[str, type[Node]]) -> list[str]:
    """Return all texts that reach an output, but those that only say what is not wanted.

    Whoever enters a node by its output ``negative`` follows its input ``negative``, and otherwise every input but
    that one. A text that is led through the wrong input is therefore still found.
    """
    found: dict[str, None] = {}
    seen: set[tuple[str, bool]] = set()
    todo: list[tuple[str, bool]] = [(output, False) for output in outputs]
    while todo:
        step = todo.pop()
        name, is_negative = step
        if step in seen or name not in graph:
            continue
        seen.add(step)
        node = graph[name]
        kind = nodes[node["class_type"]]
        texts = {each.name for each in kind.inputs if each.type == "STRING"} - _NO_PROMPTS
        for key, value in node["inputs"].items():
            if key.startswith(POSITIVE if is_negative else NEGATIVE):
                continue
            if isinstance(value, list):
                todo.append((str(value[0]), _is_negative(graph, value, nodes)))
            elif key in texts and isinstance(value, str) and value.strip():
                found[value] = None
    return list(found)


def pictures_of(graph: Any, nodes: Mapping[str, type[Node]]) -> dict[str, str]:
    """Return the pictures that a graph names, each with the area that it is in unless its name says otherwise.

    Args:
        graph: In the API format; of what has another shape nothing is found.
        nodes: Classes by name.
    """
    found: dict[str, str] = {}
    for node in graph.values() if isinstance(graph, Mapping) else ():
        kind = nodes.get(str(node.get("class_type"))) if isinstance(node, Mapping) else None
        given = node.get("inputs") if kind else None
        if kind is None or not isinstance(given, Mapping):
            continue
        for each in kind.inputs:
            value = given.get(each.name)
            if each.folder in PICTURE_FOLDERS and isinstance(value, str):
                found[value] = each.folder
    return found


def takes_pictures(graph: Any, nodes: Mapping[str, type[Node]]) -> bool:
    """Return whether a graph has a node with a field for an account's pictures, filled in or not."""
    given = graph.values() if isinstance(graph, Mapping) else ()
    classes = {str(node.get("class_type")) for node in given if isinstance(node, Mapping)}
    return any(each.folder in PICTURE_FOLDERS for name in classes & nodes.keys() for each in nodes[name].inputs)


def _is_negative(graph: Mapping[str, Any], link: list[Any], nodes: Mapping[str, type[Node]]) -> bool:
    source, slot = graph.get(str(link[0])), link[1]
    outputs = nodes[source["class_type"]].outputs if source else ()
    return bool(slot < len(outputs) and outputs[slot].name == NEGATIVE)
