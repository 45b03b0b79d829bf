"""Lays a graph out as a workflow that an editor opens. Knows no server and no run."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from keelbill.graph.node import Node
from keelbill.graph.places import WRAPPED, as_link

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
                elif each.has_extra_value:
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
