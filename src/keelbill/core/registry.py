"""Name to value, for samplers, schedules and whatever else can be extended. Knows nothing of what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from keelbill.core.errors import UnknownName

T = TypeVar("T")


class Registry(Generic[T]):
    """Names that map to values; built-in and third-party ones register alike.

    Args:
        kind: What is registered, as it should appear in an error ("sampler").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under `name`.

        Raises:
            ValueError: `name` is taken.
        """
        if name in self._items:
            raise ValueError(f"{self.kind} {name!r} is registered twice")

        def keep(item: T) -> T:
            self._items[name] = item
            return item

        return keep

    def get(self, name: str) -> T:
        """Return what is filed under `name`.

        Raises:
            UnknownName: Nothing is; the message lists the known names.
        """
        if name not in self._items:
            raise UnknownName(self.kind, name, self._items)
        return self._items[name]

    def names(self) -> tuple[str, ...]:
        """Return all names in the order of registration."""
        return tuple(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)
