"""Says whether a graph can be run, and if not, what is wrong at which input. Knows no account, no price and no run."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keelbill.graph.apiformat import require_shallow
from keelbill.graph.definition import Folders, choices, input_spec
from keelbill.graph.errors import GraphInvalid, shown
from keelbill.graph.node import ANY, Input, Node
from keelbill.graph.places import WRAPPED

MAX_NODES: Final = 512
LINKS_PER_NODE: Final = 8
"""On average over a graph; what a large one has is bounded by it, 4,096 links in all."""

MAX_ID: Final = 256
MAX_TEXT: Final = 100_000
MAX_LISTED: Final = 20
"""Choices beyond which an error does not repeat them all."""

log = logging.getLogger(__name__)

Graph = dict[str, dict[str, Any]]
Errors = list[dict[str, Any]]


@dataclass(frozen=True)
class Validated:
    """A graph that can be run.

    Attributes:
        graph: The nodes that the outputs need; values have their types.
        outputs: Output nodes that can be run, in the order of the graph.
        node_errors: What is wrong with nodes that only other outputs need.
    """

    graph: Graph
    outputs: tuple[str, ...]
    node_errors: dict[str, Any]


def validate(
    prompt: Any,
    nodes: Mapping[str, type[Node]],
    folders: Folders,
    *,
    targets: Sequence[str] | None = None,
    max_nodes: int = MAX_NODES,
) -> Validated:
    """Check a graph in the API format.

    Args:
        prompt: As a client sent it, of any shape.
        nodes: Classes by name.
        folders: The files that fields may name.
        targets: Output nodes that are wanted; nothing means all.
        max_nodes: Most nodes of a graph.

    Raises:
        GraphInvalid: No output can be run; it says why.
    """
    graph = _shaped(prompt, nodes, max_nodes)
    wanted = None if targets is None else set(targets)
    outputs = [
        name
        for name, node in graph.items()
        if nodes[node["class_type"]].is_output and (wanted is None or name in wanted)
    ]
    if not outputs:
        raise GraphInvalid("prompt_no_outputs", "The graph has no output node.")
    checker = _Checker(graph, nodes, folders)
    good: list[str] = []
    needed: dict[str, None] = {}
    failed: dict[str, dict[str, Any]] = {}
    for output in outputs:
        reached, in_circle = checker.reach(output)
        wrong = {name: errors for name in reached if (errors := checker.errors(name))}
        for name in in_circle:
            wrong.setdefault(name, []).append(_error("dependency_cycle", "The node needs its own result."))
        if not wrong:
            good.append(output)
            needed |= dict.fromkeys(reached)
            continue
        for name, errors in wrong.items():
            facts = failed.setdefault(
                name, {"errors": errors, "dependent_outputs": [], "class_type": graph[name]["class_type"]}
            )
            facts["dependent_outputs"].append(output)
    if not good:
        raise GraphInvalid(
            "prompt_outputs_failed_validation", "The graph's outputs cannot be made.", node_errors=failed
        )
    kept = {name: {**graph[name], "inputs": checker.values(name)} for name in graph if name in needed}
    return Validated(kept, tuple(good), failed)


def _shaped(prompt: Any, nodes: Mapping[str, type[Node]], max_nodes: int) -> Graph:
    if not isinstance(prompt, Mapping) or not prompt:
        raise GraphInvalid("no_prompt", "There is no graph in the request.")
    if len(prompt) > max_nodes:
        raise GraphInvalid("invalid_prompt", f"The graph has {len(prompt)} nodes; at most {max_nodes} are allowed.")
    require_shallow(prompt)
    graph: Graph = {}
    for name, node in prompt.items():
        if not isinstance(name, str) or not 0 < len(name) <= MAX_ID:
            raise GraphInvalid("invalid_prompt", f"A node's id must have 1 to {MAX_ID} characters.")
        kind = node.get("class_type") if isinstance(node, Mapping) else None
        if not isinstance(kind, str) or not kind:
            info = {"node_id": name, "class_type": None}
            raise GraphInvalid("invalid_prompt", f"Node {name} has no class_type.", info=info)
        if kind not in nodes:
            info = {"node_id": name, "class_type": kind[:MAX_ID]}
            title = _title(node)
            named = f"Node {name} ({title})" if title else f"Node {name}"
            raise GraphInvalid(
                "invalid_prompt", f"{named} is of the class {shown(kind)}, which is not installed here.", info=info
            )
        inputs = node.get("inputs", {})
        if not isinstance(inputs, Mapping):
            raise GraphInvalid("invalid_prompt", f"The inputs of node {name} are no object.", info={"node_id": name})
        graph[name] = {"class_type": kind, "inputs": dict(inputs)}
        if isinstance(node.get("_meta"), Mapping):
            graph[name]["_meta"] = {"title": _title(node)}
    links = sum(isinstance(value, list) for node in graph.values() for value in node["inputs"].values())
    if links > (most := LINKS_PER_NODE * max_nodes):
        raise GraphInvalid("invalid_prompt", f"The graph has {links} links; at most {most} are allowed.")
    return graph


def _title(node: Any) -> str:
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, Mapping) else ""
    return title[:MAX_ID] if isinstance(title, str) else ""


class _Checker:
    """Checks each node once, whatever needs it."""

    def __init__(self, graph: Graph, nodes: Mapping[str, type[Node]], folders: Folders) -> None:
        self._graph = graph
        self._nodes = nodes
        self._folders = folders
        self._checked: dict[str, tuple[dict[str, Any], Errors]] = {}

    def errors(self, name: str) -> Errors:
        return list(self._look(name)[1])

    def values(self, name: str) -> dict[str, Any]:
        return self._look(name)[0]

    def reach(self, output: str) -> tuple[list[str], list[str]]:
        """Return all nodes that an output needs, and those at which a circle closes; without recursion."""
        reached: dict[str, None] = {}
        path: dict[str, None] = {}
        circles: dict[str, None] = {}
        todo: list[tuple[str, bool]] = [(output, False)]
        while todo:
            name, is_left = todo.pop()
            if is_left:
                del path[name]
            elif name in path:
                circles[name] = None
            elif name not in reached:
                reached[name] = path[name] = None
                todo.append((name, True))
                todo += [(source, False) for source in self._sources(name)]
        return list(reached), list(circles)

    def _sources(self, name: str) -> list[str]:
        return [
            value[0]
            for value in self._look(name)[0].values()
            if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in self._graph
        ]

    def _look(self, name: str) -> tuple[dict[str, Any], Errors]:
        if name not in self._checked:
            self._checked[name] = self._check(name)
        return self._checked[name]

    def _check(self, name: str) -> tuple[dict[str, Any], Errors]:
        node = self._graph[name]
        kind, given = self._nodes[node["class_type"]], node["inputs"]
        values: dict[str, Any] = {}
        errors: Errors = []
        for each in kind.inputs:
            if each.name not in given:
                if not each.is_optional:
                    errors.append(_error("required_input_missing", "A required input is missing.", each.name))
                continue
            value = given[each.name]
            if isinstance(value, list):
                values[each.name] = value
                errors += self._link(each, value)
                continue
            if isinstance(value, Mapping) and set(value) == {WRAPPED}:
                value = value[WRAPPED]
            checked, found = self._literal(each, value)
            values[each.name] = {WRAPPED: checked} if isinstance(checked, list) else checked  # or it would be a link
            errors += found
        return values, errors or _own_check(kind, values)

    def _link(self, each: Input, value: list[Any]) -> Errors:
        is_pair = len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int
        info: dict[str, Any] = {"input_name": each.name, "received_value": shown(value)}
        if not is_pair:
            return [_error("bad_linked_input", "A link must be a node's id and an output's number.", each.name, info)]
        source, slot = value
        if source not in self._graph:
            details = f"{each.name}: there is no node {shown(source)}"
            return [_error("bad_linked_input", "A link leads to no node.", details, info)]
        outputs = self._nodes[self._graph[source]["class_type"]].outputs
        if not 0 <= slot < len(outputs):
            details = f"{each.name}: node {source} has {len(outputs)} outputs, not one with the number {slot}"
            return [_error("bad_linked_input", "A link leads to no output.", details, info)]
        received = outputs[slot].type
        if types_match(received, each.type):
            return []
        info = {
            "input_name": each.name,
            "input_config": input_spec(each, self._folders),
            "received_type": received,
            "linked_node": value,
        }
        details = f"{each.name}: received {received}, expected {each.type}"
        return [_error("return_type_mismatch", "The linked output has another type.", details, info)]

    def _literal(self, each: Input, value: Any) -> tuple[Any, Errors]:
        info: dict[str, Any] = {"input_name": each.name, "received_value": shown(value)}
        if each.type == "COMBO":
            return value, self._choice(each, value, info)
        if each.type not in _CONVERT:
            if each.type == ANY:
                return value, []
            return value, [_error("bad_linked_input", "The input takes a link only.", each.name, info)]
        info["input_config"] = input_spec(each, self._folders)
        try:
            value = _CONVERT[each.type](value)
        except (ValueError, TypeError, OverflowError):
            details = f"{each.name}: {shown(value)} is no {each.type}"
            return value, [_error("invalid_input_type", "The value has another type.", details, info)]
        if each.low is not None and value < each.low:
            details = f"{each.name}: {value} is below {each.low}"
            return value, [_error("value_smaller_than_min", "The value is too small.", details, info)]
        if each.high is not None and value > each.high:
            details = f"{each.name}: {value} is above {each.high}"
            return value, [_error("value_bigger_than_max", "The value is too large.", details, info)]
        return value, []

    def _choice(self, each: Input, value: Any, info: dict[str, Any]) -> Errors:
        offered = choices(each, self._folders)
        if isinstance(value, str) and len(value) <= MAX_TEXT:
            if value in offered or (each.folder and self._folders.has(each.folder, value)):
                return []
            if each.folder in {"input", "output"}:
                details = f"{each.name}: there is no picture {shown(value)}"
                return [_error("custom_validation_failed", "The picture does not exist.", details, info)]
        listed = ", ".join(offered[:MAX_LISTED]) + (" …" if len(offered) > MAX_LISTED else "")
        if len(offered) <= MAX_LISTED:
            info["input_config"] = input_spec(each, self._folders)
        known = f"not one of {listed}" if listed else "not installed, and no other of its kind is"
        details = f"{each.name}: {shown(value)} is {known}"
        return [_error("value_not_in_list", "The value is not in the list.", details, info)]


def _own_check(kind: type[Node], values: Mapping[str, Any]) -> Errors:
    """Ask a class what it thinks of its literal inputs; the code of packs may fail at that."""
    literals = {
        name: value[WRAPPED] if isinstance(value, Mapping) and WRAPPED in value else value
        for name, value in values.items()
        if not isinstance(value, list)
    }
    try:
        said = kind.check(literals)
    except Exception:
        log.exception("the check of node class %s failed", kind.name)
        details = "The server's log says why."
        return [_error("exception_during_validation", "The node's own check failed.", info={}, details=details)]
    if not said:
        return []
    return [_error("custom_validation_failed", "The node does not take these inputs.", info={}, details=said)]


def types_match(given: str, wanted: str) -> bool:
    """Return whether an output of a type fits an input: equal, either takes anything, or they share a type."""
    if given == wanted or ANY in (given, wanted):
        return True
    return not {each.strip() for each in given.split(",")}.isdisjoint(each.strip() for each in wanted.split(","))


def _error(kind: str, message: str, details: str = "", info: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": kind,
        "message": message,
        "details": details,
        "extra_info": dict(info) if info is not None else ({"input_name": details} if details else {}),
    }


def _whole(value: Any) -> int:
    if isinstance(value, str) and len(value) > 40:
        raise ValueError("too long for a number")
    return int(value)


def _real(value: Any) -> float:
    if isinstance(value, str) and len(value) > 40:
        raise ValueError("too long for a number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _text(value: Any) -> str:
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
        raise TypeError("no text")
    text = str(value)
    if len(text) > MAX_TEXT:
        raise ValueError("too long")
    return text


def _truth(value: Any) -> bool:
    if isinstance(value, str):
        words = {"true": True, "false": False, "1": True, "0": False}
        if value.lower() not in words:
            raise ValueError("neither true nor false")
        return words[value.lower()]
    return bool(value)


_CONVERT: Final = {"INT": _whole, "FLOAT": _real, "STRING": _text, "BOOLEAN": _truth}
