"""Turns an editor's workflow into the graph that runs. Knows no server and no run.

A workflow has positions, widgets in their order, reroutes, muted nodes and subgraphs; the API format has only nodes,
values and links. Versions 0.4 and 1 of the workflow format are read.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from keelbill.graph.definition import Folders, choices
from keelbill.graph.errors import GraphInvalid
from keelbill.graph.node import ANY, Input, Node
from keelbill.graph.places import WRAPPED
from keelbill.graph.texts import resolved

MUTED: Final = 2
BYPASSED: Final = 4
UI_ONLY: Final = frozenset({"Note", "MarkdownNote", "Reroute", "PrimitiveNode"})
INSIDE: Final = -10
OUTSIDE: Final = -20
"""In a subgraph's links: its own input side and its own output side."""

MAX_NODES: Final = 5000
MAX_DEPTH: Final = 16


class Wire(NamedTuple):
    """Where a link comes from."""

    node: str
    slot: int


@dataclass(frozen=True)
class _Absent:
    """Nothing is connected."""


@dataclass(frozen=True)
class _Literal:
    value: Any


ABSENT: Final = _Absent()


@dataclass
class _Sheet:
    """One level of a workflow: its nodes and links, and where its own inputs come from."""

    path: str
    nodes: dict[str, Mapping[str, Any]]
    links: dict[Any, Wire]
    into_output: dict[int, Wire]
    outer: _Sheet | None = None
    instance: Mapping[str, Any] = field(default_factory=dict)
    definition: Mapping[str, Any] = field(default_factory=dict)

    def at(self, link: Any) -> Wire | None:
        """Return where a link comes from; nothing for what is no link."""
        return self.links.get(link) if isinstance(link, int | str) else None


def is_workflow(value: Any) -> bool:
    """Return whether something read from JSON looks like an editor's workflow, as against the API format."""
    return isinstance(value, Mapping) and isinstance(value.get("nodes"), list)


def to_prompt(
    workflow: Mapping[str, Any], nodes: Mapping[str, type[Node]], folders: Folders | None = None, *, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Convert a workflow into the API format.

    Args:
        workflow: Of version 0.4 or 1.
        nodes: Classes by name.
        folders: The files that fields offer, for fields without a value.
        seed: Decides among choice groups such as ``{red|blue}``, so that a run can be repeated.

    Raises:
        GraphInvalid: It is no workflow, has too many nodes, contains itself, or has nodes of unknown classes.
    """
    if not is_workflow(workflow):
        raise GraphInvalid("invalid_prompt", "This is neither a workflow nor a graph.")
    converter = _Converter(workflow, nodes, folders)
    prompt = converter.convert()
    for name, node in prompt.items():
        node["inputs"] = resolved(node["inputs"], nodes[node["class_type"]], prompt, random.Random(f"{seed}/{name}"))
    return prompt


class _Converter:
    def __init__(self, workflow: Mapping[str, Any], nodes: Mapping[str, type[Node]], folders: Folders | None) -> None:
        self._nodes = nodes
        self._folders = folders
        self._definitions: dict[str, Mapping[str, Any]] = {}
        self._collect(workflow, 0)
        self._root = _sheet(workflow, "")
        self._prompt: dict[str, dict[str, Any]] = {}
        self._unknown: list[dict[str, Any]] = []
        self._count = 0

    def convert(self) -> dict[str, dict[str, Any]]:
        self._expand(self._root, ())
        if self._unknown:
            named = ", ".join(
                f"{each['class_type']} (node {each['node_id']}" + (f", {each['title']}" if each["title"] else "") + ")"
                for each in self._unknown[:10]
            )
            raise GraphInvalid(
                "invalid_prompt",
                f"These node classes are not installed here: {named}.",
                info={"missing": self._unknown},
            )
        for node in self._prompt.values():
            node["inputs"] = {
                name: value
                for name, value in node["inputs"].items()
                if not isinstance(value, Wire) or value.node in self._prompt
            }
            node["inputs"] = {n: list(v) if isinstance(v, Wire) else v for n, v in node["inputs"].items()}
        return self._prompt

    def _collect(self, level: Mapping[str, Any], depth: int) -> None:
        definitions = level.get("definitions")
        found = definitions.get("subgraphs") if isinstance(definitions, Mapping) else None
        if depth > MAX_DEPTH or not isinstance(found, list):
            return
        for each in found:
            if isinstance(each, Mapping) and isinstance(each.get("id"), str):
                self._definitions[each["id"]] = each
                self._collect(each, depth + 1)

    # ------------------------------------------------------------ nodes

    def _expand(self, sheet: _Sheet, inside: tuple[str, ...]) -> None:
        for name, node in sheet.nodes.items():
            self._count += 1
            if self._count > MAX_NODES:
                raise GraphInvalid("invalid_prompt", f"The workflow has more than {MAX_NODES} nodes.")
            kind = node.get("type")
            if not isinstance(kind, str) or kind in UI_ONLY or node.get("mode") in (MUTED, BYPASSED):
                continue
            if kind in self._definitions:
                self._expand(self._inner(sheet, name, node, inside), (*inside, kind))
            elif kind in self._nodes:
                self._prompt[sheet.path + name] = {
                    "class_type": kind,
                    "inputs": self._inputs(sheet, node, self._nodes[kind]),
                    "_meta": {"title": str(node.get("title") or self._nodes[kind].display_name or kind)[:200]},
                }
            else:
                properties = node.get("properties")
                pack = properties.get("cnr_id", "") if isinstance(properties, Mapping) else ""
                self._unknown.append(
                    {
                        "class_type": kind[:200],
                        "node_id": sheet.path + name,
                        "title": str(node.get("title") or "")[:200],
                        "pack": pack if isinstance(pack, str) else "",
                    }
                )

    def _inner(self, sheet: _Sheet, name: str, node: Mapping[str, Any], inside: tuple[str, ...]) -> _Sheet:
        kind = node["type"]
        if kind in inside or len(inside) >= MAX_DEPTH:
            raise GraphInvalid("invalid_prompt", f"The subgraph {kind[:80]} contains itself.", info={"node_id": name})
        inner = _sheet(self._definitions[kind], f"{sheet.path}{name}:")
        inner.outer, inner.instance, inner.definition = sheet, node, self._definitions[kind]
        return inner

    def _inputs(self, sheet: _Sheet, node: Mapping[str, Any], kind: type[Node]) -> dict[str, Any]:
        values = _widget_values(node, kind)
        inputs: dict[str, Any] = {}
        slots = {each["name"]: each for each in _records(node.get("inputs")) if isinstance(each.get("name"), str)}
        for each in kind.inputs:
            source = self._source(sheet, slots.get(each.name, {}).get("link"))
            if isinstance(source, Wire):
                inputs[each.name] = source
            elif isinstance(source, _Literal):
                inputs[each.name] = _wrapped(source.value)
            elif each.name in values:
                inputs[each.name] = _wrapped(values[each.name])
            elif each.is_widget and not each.is_optional:
                default = self._default(each)
                if default is not None:
                    inputs[each.name] = default
        return inputs

    def _default(self, each: Input) -> Any:
        if each.default is not None or each.type != "COMBO" or self._folders is None:
            return each.default
        offered = choices(each, self._folders)
        return offered[0] if offered else None

    # ------------------------------------------------------------ links

    def _source(self, sheet: _Sheet, link: Any) -> Wire | _Literal | _Absent:
        """Follow a link to the output that makes its value, to a literal, or to nothing."""
        where, wire = sheet, sheet.at(link)
        for _ in range(MAX_NODES):
            if wire is None:
                return ABSENT
            if wire.node == str(INSIDE):
                outer = where.outer
                if outer is None:
                    return ABSENT
                slot = _at(where.definition.get("inputs"), wire.slot)
                given = _input_of(where.instance, slot, wire.slot)
                if given is not None and given.get("link") is not None:
                    where, wire = outer, outer.at(given["link"])
                    continue
                return self._promoted(where, wire.slot)
            node = where.nodes.get(wire.node)
            if node is None:
                return ABSENT
            kind, mode = node.get("type"), node.get("mode")
            if mode == MUTED:
                return ABSENT
            if kind == "Reroute" or mode == BYPASSED:
                through = _passes(node, wire.slot, anything=kind == "Reroute")
                wire = where.at(through)
                continue
            if kind == "PrimitiveNode":
                values = node.get("widgets_values")
                return _Literal(values[0]) if isinstance(values, list) and values else ABSENT
            if isinstance(kind, str) and kind in self._definitions:
                where = self._inner(where, wire.node, node, ())
                if where.path.count(":") > MAX_DEPTH:
                    raise GraphInvalid("invalid_prompt", f"The subgraph {kind[:80]} contains itself.")
                wire = where.into_output.get(wire.slot)
                continue
            return Wire(where.path + wire.node, wire.slot)
        raise GraphInvalid("invalid_prompt", "The workflow's links lead in a circle.")

    def _promoted(self, sheet: _Sheet, slot: int) -> _Literal | _Absent:
        """Return the value that an instance of a subgraph gives to an input that nothing is connected to."""
        named = sheet.instance.get("widgets_values_named")
        values = sheet.instance.get("widgets_values")
        shown = _at(sheet.definition.get("inputs"), slot)
        if isinstance(named, Mapping) and shown is not None and shown.get("name") in named:
            return _Literal(named[shown["name"]])
        if isinstance(values, Mapping) and shown is not None and shown.get("name") in values:
            return _Literal(values[shown["name"]])
        if not isinstance(values, list):
            return ABSENT
        place = 0
        for index, each in enumerate(_records(sheet.definition.get("inputs"))):
            if not self._feeds_widget(sheet, index, each):
                continue
            if index == slot:
                return _Literal(values[place]) if place < len(values) and values[place] is not None else ABSENT
            place += 1
        return ABSENT

    def _feeds_widget(self, sheet: _Sheet, index: int, shown: Mapping[str, Any]) -> bool:
        given = _input_of(sheet.instance, shown, index)
        if given is not None and isinstance(given.get("widget"), Mapping):
            return True
        for node in sheet.nodes.values():
            for slot in _records(node.get("inputs")):
                wire = sheet.at(slot.get("link"))
                if wire == Wire(str(INSIDE), index) and isinstance(slot.get("widget"), Mapping):
                    return True
        return False


# ------------------------------------------------------------ reading the format


def _sheet(level: Mapping[str, Any], path: str) -> _Sheet:
    nodes: dict[str, Mapping[str, Any]] = {}
    for node in _records(level.get("nodes")):
        if isinstance(node.get("id"), int | str):
            nodes[str(node["id"])] = node
    links: dict[Any, Wire] = {}
    into_output: dict[int, Wire] = {}
    given = level.get("links")
    for link in given if isinstance(given, list) else ():
        match link:
            case [int() | str() as key, origin, int() as slot, target, target_slot, *_]:
                pass
            case {"id": key, "origin_id": origin, "origin_slot": int() as slot, "target_id": target, **rest}:
                target_slot = rest.get("target_slot")
            case _:
                continue
        if not isinstance(key, int | str):
            continue
        links[key] = Wire(str(origin), slot)
        if str(target) == str(OUTSIDE) and isinstance(target_slot, int):
            into_output[target_slot] = links[key]
    return _Sheet(path, nodes, links, into_output)


def _records(value: Any) -> Iterator[Mapping[str, Any]]:
    return (each for each in value if isinstance(each, Mapping)) if isinstance(value, list) else iter(())


def _at(value: Any, place: int) -> Mapping[str, Any] | None:
    if isinstance(value, list) and 0 <= place < len(value) and isinstance(value[place], Mapping):
        found: Mapping[str, Any] = value[place]
        return found
    return None


def _input_of(instance: Mapping[str, Any], shown: Mapping[str, Any] | None, place: int) -> Mapping[str, Any] | None:
    """Return an instance's slot for an input of its subgraph: of the same name, else at the same place."""
    if shown is not None:
        for slot in _records(instance.get("inputs")):
            if slot.get("name") == shown.get("name"):
                return slot
    return _at(instance.get("inputs"), place)


def _passes(node: Mapping[str, Any], slot: int, *, anything: bool) -> Any:
    """Return the link that goes through a bypassed node or a reroute to one of its outputs, or nothing."""
    inputs = list(_records(node.get("inputs")))
    if anything:
        return inputs[0].get("link") if inputs else None
    output = _at(node.get("outputs"), slot)
    kind = output.get("type") if output is not None else None
    for each in (*inputs[slot : slot + 1], *inputs):
        if each.get("type") == kind or ANY in (each.get("type"), kind):
            return each.get("link")
    return None


def _widget_values(node: Mapping[str, Any], kind: type[Node]) -> dict[str, Any]:
    """Return the values of a node's fields by name."""
    known = {each.name for each in kind.inputs if each.is_widget}
    for source in (node.get("widgets_values_named"), node.get("widgets_values")):
        if isinstance(source, Mapping):
            return {name: value for name, value in source.items() if name in known}
    values = node.get("widgets_values")
    if not isinstance(values, list):
        return {}
    found: dict[str, Any] = {}
    place = 0
    for each in kind.inputs:
        if not each.is_widget:
            continue
        if place >= len(values):
            break
        found[each.name] = values[place]
        place += 1 + each.has_extra_value
    return found


def _wrapped(value: Any) -> Any:
    return {WRAPPED: value} if isinstance(value, list) else value
