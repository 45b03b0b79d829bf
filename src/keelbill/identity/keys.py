"""The shape of an API key: random, prefixed, check-summed. Knows no tables; what is stored is a keyed digest.

A key is ``sk-``, 42 random base62 characters (250 bits) and 6 base62 characters of the CRC-32 of those 45 characters,
most significant first. Anybody can tell a mistyped key from a real one without asking the server.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib

KEY_PATTERN = re.compile(r"sk-[0-9A-Za-z]{48}", re.ASCII)
"""For scanners of source code and logs; check the sum as well, see `is_well_formed`."""

PREFIX = "sk-"
RANDOM_CHARACTERS = 42
CHECK_CHARACTERS = 6
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


def make_key() -> str:
    """Return a new key of 51 characters from the system's secure source."""
    body = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return body + checksum(body)


def checksum(body: str) -> str:
    """Return the 6 base62 characters of the CRC-32 of `body`, padded with ``0`` on the left."""
    rest = zlib.crc32(body.encode("ascii"))
    digits = ""
    for _ in range(CHECK_CHARACTERS):
        rest, digit = divmod(rest, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def is_well_formed(credential: str) -> bool:
    """Whether a text can be a key at all; costs about a microsecond and no look-up."""
    if KEY_PATTERN.fullmatch(credential) is None:
        return False
    return checksum(credential[:-CHECK_CHARACTERS]) == credential[-CHECK_CHARACTERS:]


def stub(key: str) -> str:
    """Return what people and logs may see of a key: ``sk-abcd…wxyz``."""
    return f"{key[:7]}…{key[-4:]}"


def digest(secret: bytes, purpose: str, value: str) -> str:
    """Return the HMAC-SHA-256 of a secret value as 64 hex digits; the only form in which it is stored.

    Args:
        secret: The server's secret.
        purpose: ``key``, ``session`` and so on, so that a digest of one kind never passes for another.
        value: The secret value.
    """
    return hmac.new(secret, f"{purpose}:{value}".encode(), hashlib.sha256).hexdigest()
