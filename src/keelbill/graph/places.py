"""Nodes at their places in a graph: links, order, and the keys of their results. Knows nothing of running them."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from keelbill.core.errors import InvalidInput
from keelbill.graph.cache import key_of
from keelbill.graph.node import Node

WRAPPED: Final = "__value__"
"""Under which literal lists travel, so that they are not taken for links."""

OWN_ID: Final = frozenset({"UNIQUE_ID", "DYNPROMPT"})
"""Hidden values that differ between equal nodes."""

FARTHEST: Final = 3


class Link(NamedTuple):
    """An output of a node at a place."""

    node: str
    slot: int


@dataclass(frozen=True)
class Place:
    """A node in a graph.

    Attributes:
        id: Its own, opaque.
        kind: Its class.
        literals: Values that are given, by input.
        links: Where the other inputs come from.
        display: The node that people see; differs from `id` for nodes that another one unfolds into.
    """

    id: str
    kind: type[Node]
    literals: Mapping[str, Any]
    links: Mapping[str, Link]
    display: str

    @property
    def prompt_links(self) -> list[Link]:
        """Links that are needed whatever the node says."""
        lazy = {each.name for each in self.kind.inputs if each.is_lazy}
        return [link for name, link in self.links.items() if name not in lazy]


class Layout:
    """The places of a graph; more may be added while it runs.

    Args:
        nodes: Classes by name.
        digests: Of the pictures that the graph names, by name.
    """

    def __init__(self, nodes: Mapping[str, type[Node]], digests: Mapping[str, str]) -> None:
        self.places: dict[str, Place] = {}
        self._nodes = nodes
        self._digests = digests
        self._keys: dict[str, str] = {}

    def add(self, graph: Mapping[str, Any], *, inside: str = "", display: str = "") -> dict[str, str]:
        """Place the nodes of a graph in the API format.

        Args:
            graph: Node id to class and inputs; what a class does not know as an input is left out.
            inside: Put before the ids of nodes that another one unfolds into.
            display: The node that people see for them.

        Returns:
            Given ids to ids in this layout.

        Raises:
            InvalidInput: A class is not known, or an id is taken.
        """
        names = {given: f"{inside}{given}" for given in graph}
        for given, node in graph.items():
            kind = self._nodes.get(node["class_type"])
            if kind is None:
                raise InvalidInput("node class", node["class_type"], "one that this server knows")
            if names[given] in self.places:
                raise InvalidInput("node id", names[given], "used once")
            self.places[names[given]] = self._place(names[given], kind, node.get("inputs", {}), names, display)
        return names

    def order(self, targets: Iterable[str]) -> list[str]:
        """Return all that targets may need, each after what it needs itself.

        Raises:
            InvalidInput: A link leads nowhere or in a circle.
        """
        found: dict[str, None] = {}
        path: dict[str, None] = {}
        todo: list[tuple[str, bool]] = [(target, False) for target in reversed(list(targets))]
        while todo:
            name, is_left = todo.pop()
            if is_left:
                del path[name]
                found[name] = None
                continue
            if name in found:
                continue
            if name in path:
                raise InvalidInput("graph", " -> ".join([*path, name]), "without circles")
            path[name] = None
            todo.append((name, True))
            todo += [(link.node, False) for link in reversed(list(self._at(name).links.values()))]
        return list(found)

    def key(self, name: str) -> str:
        """Return the key of what a place gives: made of content alone, unless the node wants to be one of its kind."""
        if name not in self._keys:
            for each in self.order([name]):
                if each not in self._keys:
                    self._keys[each] = self._key(self.places[each])
        return self._keys[name]

    def distances(self, targets: Iterable[str]) -> dict[str, int]:
        """Return how many links lie between each place and the nearest output node, up to `FARTHEST`."""
        steps = dict.fromkeys(targets, 0)
        edge = list(steps)
        for step in range(1, FARTHEST):
            edge = [link.node for name in edge for link in self._at(name).links.values() if link.node not in steps]
            steps |= dict.fromkeys(edge, step)
        return steps

    def _at(self, name: str) -> Place:
        if name not in self.places:
            raise InvalidInput("link", name, "to a node of the graph")
        return self.places[name]

    def _place(
        self, name: str, kind: type[Node], inputs: Mapping[str, Any], names: Mapping[str, str], display: str
    ) -> Place:
        literals: dict[str, Any] = {}
        links: dict[str, Link] = {}
        for each in kind.inputs:
            if each.name not in inputs:
                continue
            value = inputs[each.name]
            link = as_link(value)
            if link is not None:
                links[each.name] = Link(names.get(link.node, link.node), link.slot)
            else:
                literals[each.name] = value[WRAPPED] if isinstance(value, Mapping) and WRAPPED in value else value
        return Place(name, kind, literals, links, display or name)

    def _key(self, place: Place) -> str:
        kind = place.kind
        token = kind.change_token(place.literals, self._digests)
        is_new = (isinstance(token, float) and math.isnan(token)) or not _is_plain(place.literals)
        is_single = not kind.is_idempotent or not OWN_ID.isdisjoint(kind.hidden.values())
        return key_of(
            {
                "class": f"{kind.__module__}.{kind.name}",
                "token": uuid.uuid4().hex if is_new else token,
                "literals": {} if is_new else dict(place.literals),
                "links": {name: [self._keys[link.node], link.slot] for name, link in place.links.items()},
                "id": place.id if is_single else "",
            }
        )


def as_link(value: object) -> Link | None:
    """Return the link that a value of the API format is, if it is one."""
    if isinstance(value, Link):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and len(value) == 2:
        node, slot = value
        if isinstance(node, str) and isinstance(slot, int) and not isinstance(slot, bool):
            return Link(node, slot)
    return None


def _is_plain(value: object) -> bool:
    """Say whether a value is made of text and numbers alone, so that its words tell all of it."""
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_plain(each) for name, each in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str)
