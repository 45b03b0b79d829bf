"""Turns an editor's workflow into the graph that runs. Knows no server and no run.

A workflow has positions, widgets in their order, reroutes, muted nodes and subgraphs; the API format has only nodes,
values and links. Versions 0.4 and 1 of the workflow format are read.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeAlias

from keelbill.graph.apiformat import require_shallow
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
_Source: TypeAlias = Wire | _Literal | _Absent


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

    def given(self, slot: int) -> Mapping[str, Any] | None:
        """Return the instance's slot for an input of its subgraph: of the same name, else at the same place."""
        shown = _at(self.definition.get("inputs"), slot)
        name = shown.get("name") if shown is not None else None
        found = self._by_name.get(name) if isinstance(name, str) else None
        return found if found is not None else _at(self.instance.get("inputs"), slot)

    @cached_property
    def promoted(self) -> dict[int, int]:
        """Inputs of the subgraph that feed fields of its nodes, each with its place among the instance's values."""
        fed = set()
        for node in self.nodes.values():
            for slot in _records(node.get("inputs")):
                wire = self.at(slot.get("link"))
                if wire is not None and wire.node == str(INSIDE) and isinstance(slot.get("widget"), Mapping):
                    fed.add(wire.slot)
        shown = self.definition.get("inputs")
        for index in range(len(shown) if isinstance(shown, list) else 0):
            given = self.given(index)
            if given is not None and isinstance(given.get("widget"), Mapping):
                fed.add(index)
        known = [index for index in sorted(fed) if _at(shown, index) is not None]
        return {index: place for place, index in enumerate(known)}

    @cached_property
    def _by_name(self) -> dict[str, Mapping[str, Any]]:
        slots = list(_records(self.instance.get("inputs")))
        return {slot["name"]: slot for slot in reversed(slots) if isinstance(slot.get("name"), str)}


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
    require_shallow(workflow)
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
        self._sheets: dict[str, _Sheet] = {}
        self._followed: dict[tuple[str, Wire], _Source] = {}
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
        kind, path = node["type"], f"{sheet.path}{name}:"
        if kind in inside or path.count(":") > MAX_DEPTH:
            raise GraphInvalid("invalid_prompt", f"The subgraph {kind[:80]} contains itself.", info={"node_id": name})
        if path not in self._sheets:
            inner = _sheet(self._definitions[kind], path)
            inner.outer, inner.instance, inner.definition = sheet, node, self._definitions[kind]
            self._sheets[path] = inner
        return self._sheets[path]

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

    def _source(self, sheet: _Sheet, link: Any) -> _Source:
        """Follow a link to the output that makes its value, to a literal, or to nothing; no step is made twice."""
        where, wire = sheet, sheet.at(link)
        passed: dict[tuple[str, Wire], None] = {}
        found: _Source = ABSENT
        while wire is not None:
            step = (where.path, wire)
            if step in passed:
                raise GraphInvalid("invalid_prompt", "The workflow's links lead in a circle.")
            passed[step] = None
            if step in self._followed:
                found = self._followed[step]
                break
            told = self._follow(where, wire)
            if not isinstance(told, tuple) or isinstance(told, Wire):
                found = told
                break
            where, wire = told
        self._followed |= dict.fromkeys(passed, found)
        return found

    def _follow(self, where: _Sheet, wire: Wire) -> _Source | tuple[_Sheet, Wire | None]:
        """Make one step: return what a link's value is, or the link from which it comes on that or another level."""
        if wire.node == str(INSIDE):
            given = where.given(wire.slot)
            if where.outer is not None and given is not None and given.get("link") is not None:
                return where.outer, where.outer.at(given["link"])
            return self._promoted(where, wire.slot)
        node = where.nodes.get(wire.node)
        if node is None or node.get("mode") == MUTED:
            return ABSENT
        kind = node.get("type")
        if kind == "Reroute" or node.get("mode") == BYPASSED:
            return where, where.at(_passes(node, wire.slot, anything=kind == "Reroute"))
        if kind == "PrimitiveNode":
            values = node.get("widgets_values")
            return _Literal(values[0]) if isinstance(values, list) and values else ABSENT
        if isinstance(kind, str) and kind in self._definitions:
            inner = self._inner(where, wire.node, node, ())
            return inner, inner.into_output.get(wire.slot)
        return Wire(where.path + wire.node, wire.slot)

    def _promoted(self, sheet: _Sheet, slot: int) -> _Literal | _Absent:
        """Return the value that an instance of a subgraph gives to an input that nothing is connected to."""
        shown = _at(sheet.definition.get("inputs"), slot)
        name = shown.get("name") if shown is not None else None
        for values in (sheet.instance.get("widgets_values_named"), sheet.instance.get("widgets_values")):
            if isinstance(values, Mapping) and isinstance(name, str) and name in values:
                return _Literal(values[name])
        place = sheet.promoted.get(slot)
        value = values[place] if isinstance(values, list) and place is not None and place < len(values) else None
        return ABSENT if value is None else _Literal(value)


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
