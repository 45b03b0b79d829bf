"""Node classes by their names in workflows; built-in and third-party ones register alike. Knows no node."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Final, TypeVar

from keelbill.graph.node import Node

N = TypeVar("N", bound=type[Node])

BUILT_IN: Final = "keelbill.graph.nodes"
_NODES: Final[dict[str, type[Node]]] = {}


def register(node: N) -> N:
    """File a node class under its name; used as a decorator.

    Raises:
        ValueError: The name is missing or taken.
    """
    name = getattr(node, "name", "")
    if not name:
        raise ValueError(f"{node.__qualname__} has no name")
    if _NODES.get(name, node) is not node:
        raise ValueError(f"node {name!r} is registered twice")
    _NODES[name] = node
    return node


def nodes() -> Mapping[str, type[Node]]:
    """Return all registered classes in the order of registration."""
    return MappingProxyType(_NODES)


def load_builtin() -> Mapping[str, type[Node]]:
    """Import the modules of the built-in nodes and return all registered classes."""
    package = import_module(BUILT_IN)
    for module in sorted(found.name for found in iter_modules(package.__path__)):
        import_module(f"{BUILT_IN}.{module}")
    return nodes()
