"""Strict text and numbers, as every front door accepts them. Knows no field's meaning.

Prompts reach moderation and the model only in the form that this module returns, so both see the same characters.
"""

from __future__ import annotations

import re
from decimal import Decimal

from keelbill.core.errors import InvalidRequest
from keelbill.moderation.folding import visible

_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?", re.ASCII)


def clean_text(field: str, value: str, *, min_chars: int = 0, max_chars: int = 10_000) -> str:
    """Return text in normal form C without bidirectional controls, zero-width characters and tags.

    Args:
        field: Name for the message.
        value: As the client sent it.
        min_chars: Fewest characters, counted in code points.
        max_chars: Most characters, likewise.

    Raises:
        InvalidRequest: A control character other than tab and line ends, half of a surrogate pair, or a wrong length.
    """
    if found := _FORBIDDEN.search(value):
        raise InvalidRequest(f"{field}: must not contain the control character U+{ord(found[0]):04X}")
    cleaned = visible(value)
    if len(cleaned) < min_chars:
        raise InvalidRequest(f"{field}: required" if not cleaned else f"{field}: must have {min_chars} characters")
    if len(cleaned) > max_chars:
        raise InvalidRequest(f"{field}: must have at most {max_chars} characters, not {len(cleaned)}")
    return cleaned


def parse_number(field: str, text: str, low: float, high: float) -> float:
    """Read a decimal number such as ``7``, ``7.0`` or `` 7 ``: digits only, no exponent, no NaN.

    Raises:
        InvalidRequest: It is no such number, or outside `low` ... `high`.
    """
    return float(_decimal(field, text, f"a number from {low:g} to {high:g}", low, high))


def parse_int(field: str, text: str, low: int, high: int) -> int:
    """Read a whole number; ``7.0`` is one.

    Raises:
        InvalidRequest: It is no whole number, or outside `low` ... `high`.
    """
    allowed = f"a whole number from {low} to {high}"
    value = _decimal(field, text, allowed, low, high)
    if value != value.to_integral_value():
        raise InvalidRequest(f"{field}: must be {allowed}")
    return int(value)


def _decimal(field: str, text: str, allowed: str, low: float, high: float) -> Decimal:
    text = text.strip(" \t\r\n")
    if not _NUMBER.fullmatch(text):
        raise InvalidRequest(f"{field}: must be {allowed}")
    value = Decimal(text)
    if not Decimal(str(low)) <= value <= Decimal(str(high)):
        raise InvalidRequest(f"{field}: must be {allowed}")
    return value
