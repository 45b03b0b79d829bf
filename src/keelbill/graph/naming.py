"""Names of the files that graphs make: what may stand in them, and what fills ``%…%``. Knows no folder and no file."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from keelbill.core.errors import InvalidInput

MAX_PREFIX: Final = 200

_FIELD: Final = re.compile(r"%([a-z_]+)%")
_DRIVE: Final = re.compile(r"[A-Za-z]:")


def prefix_problem(prefix: str) -> str:
    """Return why a prefix is refused, "" if it is not: it must stay inside the folder of outputs."""
    if len(prefix) > MAX_PREFIX:
        return f"filename_prefix has {len(prefix)} characters; at most {MAX_PREFIX} are allowed"
    if "\\" in prefix or any(not character.isprintable() for character in prefix):
        return "filename_prefix must not hold backslashes or control characters"
    if prefix.startswith("/") or _DRIVE.match(prefix) or ".." in prefix.split("/"):
        return "filename_prefix must stay inside the output folder"
    return ""


def file_prefix(prefix: str, *, width: int, height: int, now: datetime, place: int) -> str:
    """Fill the fields of a prefix.

    Args:
        prefix: With ``%width%``, ``%height%``, ``%year%``, ``%month%``, ``%day%``, ``%hour%``, ``%minute%``,
            ``%second%`` and ``%batch_num%``; anything else between per cent signs stays.
        width: Of the picture in pixels.
        height: Likewise.
        now: Time of day.
        place: Of the picture in its batch, from 0.

    Raises:
        InvalidInput: The result would leave the folder of outputs.
    """
    known = {
        "width": str(width),
        "height": str(height),
        "year": f"{now.year:04d}",
        "month": f"{now.month:02d}",
        "day": f"{now.day:02d}",
        "hour": f"{now.hour:02d}",
        "minute": f"{now.minute:02d}",
        "second": f"{now.second:02d}",
        "batch_num": str(place),
    }
    found = _FIELD.sub(lambda field: known.get(field[1], field[0]), prefix)
    problem = prefix_problem(found)
    if problem:
        raise InvalidInput("filename_prefix", found, f"the beginning of a name in the output folder: {problem}")
    return found
