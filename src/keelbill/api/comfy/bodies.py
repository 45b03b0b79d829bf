"""Reads bodies of the editor's requests within limits: raw bytes, and JSON as its clients write it. Knows no route."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any, Final

from starlette.requests import Request

from keelbill.core.errors import InvalidRequest, PayloadTooLarge, UnsupportedMedia

MAX_JSON_BYTES: Final = 10 * 2**20
MAX_SMALL_BYTES: Final = 2**20
MAX_NUMBER_DIGITS: Final = 400
INLINE_BYTES: Final = 64 * 1024
"""Longer JSON is parsed in a thread, so that nobody waits for it."""

_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")


def kind_of(request: Request) -> str:
    """Return the content type without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def refuse_forms(request: Request, *, text: bool = False) -> None:
    """Refuse bodies of kinds that any page may send without asking.

    Args:
        request: With a body.
        text: Whether plain text is let in, as browsers call a body that says nothing of itself.

    Raises:
        UnsupportedMedia: It is one.
    """
    kind = kind_of(request)
    if kind in _FORMS and not (text and kind == "text/plain"):
        raise UnsupportedMedia(f"content-type: {kind!r} is not read here; send application/json")


def is_small(request: Request) -> bool:
    """Return whether a body says that it is short enough to be looked through at once."""
    announced = request.headers.get("content-length", "")
    return announced.isdigit() and int(announced) <= INLINE_BYTES


async def read_bytes(request: Request, max_bytes: int) -> bytes:
    """Read a body.

    Raises:
        PayloadTooLarge: It is longer than `max_bytes`, whatever it announced.
        UnsupportedMedia: It is compressed.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMedia(f"content-encoding: must be identity, not {encoding[:40]!r}")
    too_large = PayloadTooLarge(f"body: must have at most {max_bytes:,} bytes")
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > max_bytes:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise too_large
    return bytes(body)


async def read_object(request: Request, max_bytes: int = MAX_SMALL_BYTES, *, empty: bool = True) -> dict[str, Any]:
    """Read a JSON object; no body at all is an empty one, if that is allowed.

    Raises:
        InvalidRequest: It is no JSON object.
        PayloadTooLarge: It is too long.
    """
    value = await read_value(request, max_bytes, empty={} if empty else None)
    if not isinstance(value, dict):
        raise InvalidRequest("body: must be a JSON object")
    return value


async def read_value(request: Request, max_bytes: int = MAX_SMALL_BYTES, *, empty: object = None) -> object:
    """Read a JSON value, whatever the body calls itself.

    Raises:
        InvalidRequest: It is no JSON.
        PayloadTooLarge: It is too long.
    """
    body = await read_bytes(request, max_bytes)
    if not body.strip():
        return empty
    return await asyncio.to_thread(parse, body) if len(body) > INLINE_BYTES else parse(body)


def parse(body: bytes) -> object:
    """Parse JSON: UTF-8, finite numbers, whole characters.

    Raises:
        InvalidRequest: It is not.
    """
    try:
        value: object = json.loads(body.decode(), parse_constant=_refuse, parse_int=_integer, parse_float=_real)
        if b"\\u" in body:
            json.dumps(value, ensure_ascii=False).encode()  # halves of surrogate pairs cannot be written
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"body: must be JSON ({str(error)[:100]})") from error
    return value


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not a number of JSON")


def _integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER_DIGITS:
        raise ValueError(f"numbers have at most {MAX_NUMBER_DIGITS} digits")
    return int(digits)


def _real(digits: str) -> float:
    """Read a number with a point or a power; 1e999 would become one that no answer can hold."""
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:40]} is too large for a number")
    return number
