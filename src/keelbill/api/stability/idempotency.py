"""Reads the client's own name for a request, so that a retry is not a second request. Knows no jobs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping

from keelbill.api.stability.fields import Problem
from keelbill.jobs.schemas import Idempotency

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def idempotency(header: str | None, fingerprint: Callable[[], str]) -> Idempotency | None:
    """Return the idempotency of a request, or nothing if it carries no ``Idempotency-Key``.

    Args:
        header: The header's value, if it is there.
        fingerprint: Makes one with `fingerprint_of`; asked only if there is a key, because it reads all files.

    Raises:
        Problem: The key is not 1 to 255 visible ASCII characters.
    """
    if header is None:
        return None
    if not _KEY.fullmatch(header):
        raise Problem("must have 1 to 255 visible ASCII characters")
    return Idempotency(header, fingerprint())


def fingerprint_of(method: str, path: str, values: Mapping[str, str], files: Mapping[str, bytes]) -> str:
    """Return a SHA-256 over what a request asks for; the order of its fields does not matter.

    Args:
        method: Such as ``POST``.
        path: Without the query.
        values: Text fields, or the canonical text of a body under one name.
        files: Contents by field.
    """
    digest = hashlib.sha256()
    parts = [("", method.encode()), ("", path.encode())]
    parts += sorted((f"field {name}", value.encode("utf-8", "surrogatepass")) for name, value in values.items())
    parts += sorted((f"file {name}", hashlib.sha256(data).digest()) for name, data in files.items())
    for name, value in parts:
        for piece in (name.encode("utf-8", "surrogatepass"), value):
            digest.update(len(piece).to_bytes(8, "big"))
            digest.update(piece)
    return digest.hexdigest()
