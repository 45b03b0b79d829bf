"""Decides by the accept header whether an answer is JSON or the picture's bytes (RFC 9110, section 12.5.1).

Knows no services.
"""

from __future__ import annotations

from keelbill.api.stability.fields import Problem

_JSON = frozenset({"application/json", "application/*"})


def wants_json(accept: str | None) -> bool:
    """Tell whether the answer is JSON; else it is the picture itself.

    A list that names JSON anywhere gets JSON. A missing header, ``*/*`` (some Java clients say ``*``)
    and any image type get the bytes.

    Raises:
        Problem: The header admits neither.
    """
    types = [part.partition(";")[0].strip().lower() for part in (accept or "").split(",")]
    types = [name for name in types if name]
    if any(name in _JSON for name in types):
        return True
    if not types or any(name in ("*/*", "*") or name.startswith("image/") for name in types):
        return False
    raise Problem("must admit application/json or image/*")
