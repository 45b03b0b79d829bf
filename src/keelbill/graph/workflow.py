"""Turns an editor's workflow into the graph that runs, and a graph into a workflow. Knows no server and no run.

A workflow has positions, widgets in their order, reroutes, muted nodes and subgraphs; the API format has only nodes,
values and links. Versions 0.4 and 1 of the workflow format are read; 0.4 is written.
"""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from keelbill.graph.definition import Folders, choices
from keelbill.graph.errors import GraphInvalid
from keelbill.graph.node import ANY, Input, Node
from keelbill.graph.places import WRAPPED, as_link

MUTED: Final = 2
BYPASSED: Final = 4
UI_ONLY: Final = frozenset({"Note", "MarkdownNote", "Reroute", "PrimitiveNode"})
INSIDE: Final = -10
OUTSIDE: Final = -20
"""In a subgraph's links: its own input side and its own output side."""

MAX_NODES: Final = 5000
MAX_DEPTH: Final = 16
SEEDS: Final = frozenset({"seed", "noise_seed"})
_BLOCK_COMMENT: Final = re.compile(r"/\*.*?\*/", re.DOTALL)
_LINE_COMMENT: Final = re.compile(r"(?<!:)//[^\n]*")  # an address is no comment
_GROUP: Final = re.compile(r"(?<!\\)\{([^{}]*)\}")
_PERCENT: Final = re.compile(r"%([^%\n]{1,200})%")


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
        node["inputs"] = _resolved(node["inputs"], nodes[node["class_type"]], prompt, random.Random(f"{seed}/{name}"))
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
        place += 1 + has_extra_value(each)
    return found


def has_extra_value(each: Input) -> bool:
    """Return whether a field is followed by a value of the editor's own: seed control, or the upload button."""
    return each.has_upload or (each.type == "INT" and (each.has_control or each.name in SEEDS))


def _wrapped(value: Any) -> Any:
    return {WRAPPED: value} if isinstance(value, list) else value


# ------------------------------------------------------------ what the editor does with text


def _resolved(
    inputs: Mapping[str, Any], kind: type[Node], prompt: Mapping[str, Any], chooser: random.Random
) -> dict[str, Any]:
    """Do with text fields what the editor does before it submits."""
    found = dict(inputs)
    for each in kind.inputs:
        value = found.get(each.name)
        if each.type != "STRING" or not isinstance(value, str):
            continue
        if each.is_dynamic:
            found[each.name] = chosen(value, chooser)
        elif each.name == "filename_prefix":
            found[each.name] = _PERCENT.sub(lambda match: _replaced(match, prompt), value)
    return found


def chosen(text: str, chooser: random.Random) -> str:
    """Take comments out of a text and choose one of each group such as ``{red|blue|{dark|light} green}``.

    Args:
        text: At most 100,000 characters.
        chooser: Decides.
    """
    text = _LINE_COMMENT.sub("", _BLOCK_COMMENT.sub("", text))
    for _ in range(1000):
        match = _GROUP.search(text)
        if match is None:
            break
        text = text[: match.start()] + chooser.choice(match[1].split("|")) + text[match.end() :]
    return text.replace("\\{", "{").replace("\\}", "}")


def _replaced(match: re.Match[str], prompt: Mapping[str, Any]) -> str:
    name, _, rest = match[1].partition(":")
    if name == "date" and rest:
        return _date(rest)
    title, dot, widget = match[1].rpartition(".")
    if dot:
        for node in prompt.values():
            if node["_meta"]["title"] == title or node["class_type"] == title:
                value = node["inputs"].get(widget)
                if isinstance(value, str | int | float):
                    return re.sub(r'[/\\?%*:|"<>\x00-\x1f]', "_", str(value))
    return match[0]


def _date(pattern: str) -> str:
    now = datetime.now(UTC).astimezone()
    parts = {"yyyy": f"{now:%Y}", "yy": f"{now:%y}", "MM": f"{now:%m}", "M": str(now.month), "dd": f"{now:%d}"}
    parts |= {"d": str(now.day), "hh": f"{now:%H}", "h": str(now.hour), "mm": f"{now:%M}", "m": str(now.minute)}
    parts |= {"ss": f"{now:%S}", "s": str(now.second)}
    return re.sub("|".join(parts), lambda match: parts[match[0]], pattern)


# ------------------------------------------------------------ back


COLUMN: Final = 340
ROW: Final = 40
WIDTH: Final = 280
LINE: Final = 26


def to_workflow(prompt: Mapping[str, Any], nodes: Mapping[str, type[Node]]) -> dict[str, Any]:
    """Lay a graph in the API format out as a workflow that an editor opens.

    Args:
        prompt: A valid graph; nodes of unknown classes are left out.
        nodes: Classes by name.
    """
    names = [name for name, node in prompt.items() if node.get("class_type") in nodes]
    numbers = {name: number for number, name in enumerate(names, 1)}
    columns = _columns(prompt, names)
    heights: dict[int, int] = {}
    links: list[list[Any]] = []
    shown: list[dict[str, Any]] = []
    leaving: dict[tuple[str, int], list[int]] = {}
    for name in names:
        kind, given = nodes[prompt[name]["class_type"]], prompt[name].get("inputs", {})
        slots: list[dict[str, Any]] = []
        values: list[Any] = []
        for each in kind.inputs:
            link = as_link(given.get(each.name))
            if link is not None and link.node not in numbers:
                link = None
            if not each.is_widget or link is not None:
                number = None
                if link is not None:
                    number = len(links) + 1
                    links.append([number, numbers[link.node], link.slot, numbers[name], len(slots), each.type])
                    leaving.setdefault((link.node, link.slot), []).append(number)
                slot: dict[str, Any] = {"name": each.name, "type": each.type, "link": number}
                if each.is_widget:
                    slot["widget"] = {"name": each.name}
                if each.is_optional:
                    slot["shape"] = 7
                slots.append(slot)
            if each.is_widget:
                value = given.get(each.name, each.default) if link is None else each.default
                values.append(value[WRAPPED] if isinstance(value, Mapping) and WRAPPED in value else value)
                if each.has_upload:
                    values.append("image")
                elif has_extra_value(each):
                    values.append("fixed")
        long_texts = sum(each.is_multiline for each in kind.inputs)
        height = LINE * (2 + max(len(slots), len(kind.outputs)) + len(values)) + 80 * long_texts
        column = columns[name]
        top = heights.get(column, 0)
        heights[column] = top + height + ROW
        title = prompt[name].get("_meta", {}).get("title")
        shown.append(
            {
                "id": numbers[name],
                "type": kind.name,
                "pos": [column * COLUMN, top],
                "size": [WIDTH, height],
                "flags": {},
                "order": numbers[name] - 1,
                "mode": 0,
                "inputs": slots,
                "outputs": [],
                "properties": {"Node name for S&R": kind.name},
                "widgets_values": values,
                **({"title": title} if title and title != (kind.display_name or kind.name) else {}),
            }
        )
    for name, node in zip(names, shown, strict=True):
        for place, output in enumerate(nodes[prompt[name]["class_type"]].outputs):
            node["outputs"].append(
                {
                    "name": output.name or output.type,
                    "type": output.type,
                    "links": leaving.get((name, place), []),
                    "slot_index": place,
                }
            )
    return {
        "id": str(uuid.uuid4()),
        "revision": 0,
        "last_node_id": len(names),
        "last_link_id": len(links),
        "nodes": shown,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def _columns(prompt: Mapping[str, Any], names: Iterable[str]) -> dict[str, int]:
    """Return each node's column: one more than the farthest of those that it needs; circles are cut."""
    known = dict.fromkeys(names, 0)
    for _ in range(len(known)):
        is_settled = True
        for name in known:
            sources = (as_link(value) for value in prompt[name].get("inputs", {}).values())
            column = max(
                (known[link.node] + 1 for link in sources if link is not None and link.node in known), default=0
            )
            if column > known[name] and column <= len(known):
                known[name], is_settled = column, False
        if is_settled:
            break
    return known
