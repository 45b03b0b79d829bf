"""Changes single inputs of a graph, named as people name them: ``6.text`` or ``Positive prompt.text``. Knows no run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from keelbill.core.errors import InvalidRequest
from keelbill.graph.errors import shown
from keelbill.graph.node import Node

MOST_CHANGES: Final = 200
MOST_NAMED: Final = 20

Graph = dict[str, dict[str, Any]]


def overridden(graph: Mapping[str, Any], changes: Mapping[str, Any], nodes: Mapping[str, type[Node]]) -> Graph:
    """Return a graph with other values at some inputs; the given graph stays as it is.

    Args:
        graph: In the API format.
        changes: Values by ``NODE.INPUT``; a node is named by its id, else its title, else its class. A link in the
            place is replaced by the value.
        nodes: Classes by name.

    Raises:
        InvalidRequest: A name fits no node, several nodes, or no input; it says which there are.
    """
    if len(changes) > MOST_CHANGES:
        raise InvalidRequest(f"inputs: must have at most {MOST_CHANGES} entries")
    changed: Graph = {
        name: {**node, "inputs": dict(node["inputs"])} if isinstance(node.get("inputs"), Mapping) else dict(node)
        for name, node in graph.items()
        if isinstance(node, Mapping)
    }
    problems: list[str] = []
    for path, value in changes.items():
        try:
            node, name = find_input(changed, path, nodes)
        except InvalidRequest as error:
            problems += error.problems
            continue
        changed[node].setdefault("inputs", {})[name] = value
    if problems:
        raise InvalidRequest(*problems)
    return changed


def find_input(graph: Mapping[str, Any], path: str, nodes: Mapping[str, type[Node]]) -> tuple[str, str]:
    """Return the node's id and the input's name that ``NODE.INPUT`` means.

    Raises:
        InvalidRequest: It means none, or several.
    """
    wanted, dot, name = path.rpartition(".")
    if not dot or not wanted or not name:
        raise InvalidRequest(f"inputs: {shown(path)} must be like 6.text, a node and one of its inputs")
    node = _find_node(graph, wanted)
    kind = nodes.get(_class_of(graph[node]))
    known = [each.name for each in kind.inputs] if kind else list(graph[node].get("inputs", {}))
    if name not in known:
        raise InvalidRequest(
            f"inputs: node {wanted} ({_class_of(graph[node])}) has no input {shown(name)}; "
            f"it has {', '.join(known) or 'none'}"
        )
    return node, name


def _find_node(graph: Mapping[str, Any], wanted: str) -> str:
    if wanted in graph:
        return wanted
    by_title = [name for name, node in graph.items() if _title(node).casefold() == wanted.casefold()]
    found = by_title or [name for name, node in graph.items() if _class_of(node) == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidRequest(f"inputs: {shown(wanted)} is the name of several nodes: {', '.join(found[:MOST_NAMED])}")
    listed = [f"{name} ({_title(node) or _class_of(node)})" for name, node in graph.items()]
    more = " …" if len(listed) > MOST_NAMED else ""
    raise InvalidRequest(f"inputs: there is no node {shown(wanted)}; there are {', '.join(listed[:MOST_NAMED])}{more}")


def _title(node: Mapping[str, Any]) -> str:
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, Mapping) else ""
    return title if isinstance(title, str) else ""


def _class_of(node: Mapping[str, Any]) -> str:
    return str(node.get("class_type", ""))
