"""Names to values."""

from __future__ import annotations

import pytest

from keelbill.core.errors import UnknownName
from keelbill.core.registry import Registry


def test_names_keep_their_order_and_values() -> None:
    registry: Registry[int] = Registry("number")
    registry.register("two")(2)
    registry.register("one")(1)
    assert registry.names() == ("two", "one")
    assert registry.get("one") == 1
    assert "two" in registry
    assert list(registry) == ["two", "one"]


def test_name_taken_twice() -> None:
    registry: Registry[int] = Registry("number")
    registry.register("one")(1)
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("one")


def test_unknown_name_lists_the_known() -> None:
    registry: Registry[int] = Registry("number")
    registry.register("one")(1)
    with pytest.raises(UnknownName, match="one of one"):
        registry.get("two")
