"""The price list, read from a file. Knows no wallets.

A list is fixed once charges were made by it; a new price is a new list that takes effect at a time.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from keelbill.core.clock import Clock, SystemClock
from keelbill.core.errors import InvalidInput, UnknownName
from keelbill.core.types import Micro, micro


@dataclass(frozen=True)
class _Edition:
    version: str
    effective_ms: int
    prices: dict[str, Micro]
    steps_included: dict[str, int]


class PriceList:
    """What each service costs now.

    Args:
        editions: Oldest first; at least one.
        clock: Decides which of them is in effect.
    """

    def __init__(self, editions: tuple[_Edition, ...], clock: Clock) -> None:
        self._editions = editions
        self._clock = clock

    @classmethod
    def load(cls, path: Path | None = None, clock: Clock | None = None) -> PriceList:
        """Read the packaged list, or the operator's own.

        Args:
            path: A TOML file in the form of the packaged one; passed over if it does not exist.
            clock: The time, else the machine's.

        Raises:
            InvalidInput: The file is not in that form.
        """
        if path is not None and path.is_file():
            name, content = str(path), path.read_text(encoding="utf-8")
        else:
            name, content = "prices.toml", resources.files(__package__).joinpath("prices.toml").read_text("utf-8")
        try:
            editions = tuple(sorted(map(_edition, tomllib.loads(content)["list"]), key=lambda e: e.effective_ms))
        except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(
                name, str(error), "a price list: [[list]] with version, effective_from, credits"
            ) from error
        if not editions:
            raise InvalidInput(name, "", "a price list with at least one [[list]]")
        return cls(editions, clock or SystemClock())

    @property
    def version(self) -> str:
        """The name of the list in effect."""
        return self._current().version

    def items(self) -> dict[str, Micro]:
        """Return every item with its price in micro-credits."""
        return dict(self._current().prices)

    def price(self, item: str, steps: int | None = None) -> Micro:
        """Return what one picture costs, in micro-credits.

        Args:
            item: Such as ``sd3.5-large`` or ``v1``.
            steps: Denoising steps; more than the list includes cost more, in proportion, rounded up.

        Raises:
            UnknownName: The list has no such item.
        """
        current = self._current()
        base = current.prices.get(item)
        if base is None:
            raise UnknownName("price item", item, current.prices)
        included = current.steps_included.get(item)
        if included is None or steps is None or steps <= included:
            return base
        return Micro(-(-base * steps // included))

    def _current(self) -> _Edition:
        now = self._clock.now_ms()
        due = [edition for edition in self._editions if edition.effective_ms <= now]
        return due[-1] if due else self._editions[0]


def _edition(table: dict[str, Any]) -> _Edition:
    start = table["effective_from"]
    if not isinstance(start, datetime):
        raise TypeError("effective_from is not a time")
    since = start if start.tzinfo else start.replace(tzinfo=UTC)
    prices = {str(item): micro(str(amount)) for item, amount in table["credits"].items()}
    if any(price < 0 for price in prices.values()):
        raise TypeError("a price is negative")
    steps = {str(item): int(number) for item, number in table.get("steps_included", {}).items()}
    return _Edition(str(table["version"]), int(since.timestamp() * 1000), prices, steps)
