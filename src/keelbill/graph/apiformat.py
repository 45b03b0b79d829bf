"""Bounds of graphs and workflows as they come, before anybody walks through them. Knows no node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from keelbill.graph.errors import GraphInvalid

MAX_DEPTH: Final = 64
"""Lists and objects in each other; workflows of editors have about ten."""

MAX_VALUES: Final = 2_000_000


def require_shallow(value: Any) -> None:
    """Check that a value of JSON can be walked through without end or overflow.

    Args:
        value: Of any shape.

    Raises:
        GraphInvalid: It is nested deeper than `MAX_DEPTH`, or has more than `MAX_VALUES` values.
    """
    level: list[Any] = [value] if _holds(value) else []
    left = MAX_VALUES
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for each in level:
            held = each.values() if isinstance(each, Mapping) else each
            left -= len(held)
            inner += (part for part in held if _holds(part))
        level = inner
        if not level or left < 0:
            break
    if level and left >= 0:
        raise GraphInvalid("invalid_prompt", f"The graph is nested deeper than {MAX_DEPTH} levels.")
    if left < 0:
        raise GraphInvalid("invalid_prompt", f"The graph holds more than {MAX_VALUES:,} values.")


def _holds(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)
