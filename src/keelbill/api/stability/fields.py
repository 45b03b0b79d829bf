"""Kinds of parameters: each reads a value from a form or from JSON and describes itself for the OpenAPI document.

Knows no service and no HTTP; a table of these is the single source of both the checks and the documentation.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from keelbill.api.text import clean_text
from keelbill.core.errors import InvalidRequest

MAX_SEED = 4_294_967_294
"""Largest seed of the v2beta services."""

_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")

Schema = dict[str, Any]


class Problem(Exception):
    """A value that cannot be used; the message says what is allowed, without the field's name."""


@dataclass(frozen=True)
class Parameter(ABC):
    """One named value of a request.

    Attributes:
        name: Of the form field or JSON member.
        about: One sentence for the documentation.
        required: Whether the request is refused without it.
    """

    name: str
    about: str = ""
    required: bool = False

    @abstractmethod
    def from_text(self, text: str) -> object:
        """Read the value of a form field that is not empty.

        Raises:
            Problem: The text is not a value of this kind, or not an allowed one.
            InvalidRequest: Likewise; its sentences carry the field's name.
        """

    @abstractmethod
    def from_json(self, value: object) -> object:
        """Read the value of a JSON member that is not null.

        Raises:
            Problem: The value is not of this kind, or not an allowed one.
        """

    @abstractmethod
    def schema(self) -> Schema:
        """Return the JSON schema of the value."""


@dataclass(frozen=True)
class Text(Parameter):
    """A string of `least` to `most` characters, in normal form C, without control or hidden characters."""

    least: int = 0
    most: int = 10_000

    def from_text(self, text: str) -> str:
        """See `Parameter.from_text`."""
        return clean_text(self.name, text, min_chars=self.least, max_chars=self.most)

    def from_json(self, value: object) -> str:
        """See `Parameter.from_json`."""
        if not isinstance(value, str):
            raise Problem("must be a string")
        return self.from_text(value)

    def schema(self) -> Schema:
        """See `Parameter.schema`."""
        return {"type": "string", "minLength": self.least, "maxLength": self.most}


@dataclass(frozen=True)
class Choice(Parameter):
    """One word out of a list."""

    allowed: Sequence[str] = ()
    default: str = ""

    def from_text(self, text: str) -> str:
        """See `Parameter.from_text`."""
        text = text.strip()
        if text not in self.allowed:
            raise Problem(f"must be one of {', '.join(self.allowed)}")
        return text

    def from_json(self, value: object) -> str:
        """See `Parameter.from_json`."""
        if not isinstance(value, str):
            raise Problem(f"must be one of {', '.join(self.allowed)}")
        return self.from_text(value)

    def schema(self) -> Schema:
        """See `Parameter.schema`."""
        default = {"default": self.default} if self.default else {}
        return {"type": "string", "enum": list(self.allowed)} | default


@dataclass(frozen=True)
class Number(Parameter):
    """A decimal number from `least` to `most`, both allowed."""

    least: float = 0
    most: float = 1
    default: float | None = None

    def from_text(self, text: str) -> float | int:
        """See `Parameter.from_text`."""
        text = text.strip()
        if not _NUMBER.fullmatch(text):
            raise Problem(self._allowed())
        return self._check(Decimal(text))

    def from_json(self, value: object) -> float | int:
        """See `Parameter.from_json`."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e20:
            raise Problem(self._allowed())
        return self._check(Decimal(value))

    def _check(self, value: Decimal) -> float | int:
        if not Decimal(self.least) <= value <= Decimal(self.most):
            # A bound such as 0.1 has no exact binary form; what a user types as the bound is allowed.
            near = float(value)
            if near not in (self.least, self.most):
                raise Problem(self._allowed())
        return float(value)

    def _allowed(self) -> str:
        return f"must be a number from {self.least:g} to {self.most:g}"

    def schema(self) -> Schema:
        """See `Parameter.schema`."""
        default = {} if self.default is None else {"default": self.default}
        return {"type": "number", "minimum": self.least, "maximum": self.most} | default


@dataclass(frozen=True)
class Integer(Number):
    """A whole number from `least` to `most`, both allowed; ``7.0`` is 7."""

    least: int = 0
    most: int = MAX_SEED
    default: int | None = None
    multiple: int = 1

    def _check(self, value: Decimal) -> int:
        whole = int(value)
        if whole != value or not self.least <= whole <= self.most or whole % self.multiple:
            raise Problem(self._allowed())
        return whole

    def _allowed(self) -> str:
        kind = "a whole number" if self.multiple == 1 else f"a multiple of {self.multiple}"
        return f"must be {kind} from {self.least} to {self.most}"

    def schema(self) -> Schema:
        """See `Parameter.schema`."""
        step = {} if self.multiple == 1 else {"multipleOf": self.multiple}
        return super().schema() | {"type": "integer"} | step


@dataclass(frozen=True)
class Flag(Parameter):
    """``true`` or ``false``, in any case."""

    default: bool = False

    def from_text(self, text: str) -> bool:
        """See `Parameter.from_text`."""
        word = text.strip().lower()
        if word not in ("true", "false"):
            raise Problem("must be true or false")
        return word == "true"

    def from_json(self, value: object) -> bool:
        """See `Parameter.from_json`."""
        if not isinstance(value, bool):
            raise Problem("must be true or false")
        return value

    def schema(self) -> Schema:
        """See `Parameter.schema`."""
        return {"type": "boolean", "default": self.default}


class Values:
    """The values that a request gave, by name; what it did not give has the parameter's default, or nothing.

    Args:
        parameters: What the service knows.
        given: What was read.
    """

    def __init__(self, parameters: Sequence[Parameter], given: Mapping[str, object]) -> None:
        self._given = given
        self._defaults = {p.name: getattr(p, "default", None) for p in parameters}

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def text(self, name: str) -> str:
        """Return a string, "" if there is none."""
        value = self._value(name)
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> float | None:
        """Return a number, or nothing if there is none."""
        value = self._value(name)
        return float(value) if isinstance(value, int | float) else None

    def integer(self, name: str) -> int:
        """Return a whole number, 0 if there is none."""
        value = self._value(name)
        return value if isinstance(value, int) else 0

    def flag(self, name: str) -> bool:
        """Return whether something is switched on."""
        return self._value(name) is True

    def _value(self, name: str) -> object:
        return self._given.get(name, self._defaults.get(name))


def read_form(
    parameters: Sequence[Parameter], fields: Mapping[str, str], files: Collection[str] = ()
) -> tuple[Values, list[str]]:
    """Read the text fields of a form; fields that no parameter names are passed over.

    Args:
        parameters: What the service knows.
        fields: Texts by name.
        files: Names of what came as a file that is not empty; text must not.

    Returns:
        The values, and a sentence ``"field: what is allowed"`` for each one that cannot be used.
    """
    given: dict[str, object] = {}
    problems: list[str] = []
    for parameter in parameters:
        text = fields.get(parameter.name, "")
        if not text:
            if parameter.name in files:
                problems.append(f"{parameter.name}: must be sent as text, not as a file")
            elif parameter.required:
                problems.append(f"{parameter.name}: required")
            continue
        try:
            given[parameter.name] = parameter.from_text(text)
        except Problem as problem:
            problems.append(f"{parameter.name}: {problem}")
        except InvalidRequest as error:
            problems += error.problems
    return Values(parameters, given), problems


def read_json(parameters: Sequence[Parameter], members: Mapping[str, object]) -> tuple[Values, list[str]]:
    """Read the members of a JSON object; null counts as absent, unknown members are passed over.

    Returns:
        The values, and a sentence ``"field: what is allowed"`` for each one that cannot be used.
    """
    given: dict[str, object] = {}
    problems: list[str] = []
    for parameter in parameters:
        value = members.get(parameter.name)
        if value is None:
            if parameter.required:
                problems.append(f"{parameter.name}: required")
            continue
        try:
            given[parameter.name] = parameter.from_json(value)
        except Problem as problem:
            problems.append(f"{parameter.name}: {problem}")
        except InvalidRequest as error:
            problems += error.problems
    return Values(parameters, given), problems
