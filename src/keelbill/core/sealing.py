"""Seals words that a database keeps with keys made of the server's own secret. Knows neither database nor file.

A sealed value is a compact JWE with direct A256GCM (RFC 7516): it cannot be read or changed without the secret.
"""

from __future__ import annotations

import hmac
from typing import Final

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

_HEADER: Final = {"alg": "dir", "enc": "A256GCM"}


class Seal:
    """Seals values for one place each, so that a value that is copied to another place opens nothing there.

    Args:
        secret: The server's.
        purpose: What the values are; seals for different purposes do not open each other's.
    """

    def __init__(self, secret: bytes, purpose: str) -> None:
        self._secret = secret
        self._purpose = purpose

    def close(self, value: str, *place: str) -> str:
        """Return a value sealed: ASCII, about 90 characters longer than a third more.

        Args:
            value: What nobody else may read.
            place: The words that name where it lies, such as the row's id; without NUL.
        """
        return jwe.encrypt_compact(_HEADER, value.encode(), self._key(place))

    def open(self, sealed: str, *place: str) -> str | None:
        """Return what was sealed for a place, None if it was not, or with another secret."""
        try:
            opened = jwe.decrypt_compact(sealed, self._key(place), algorithms=list(_HEADER.values()))
        except (JoseError, ValueError):
            return None
        return (opened.plaintext or b"").decode()

    def _key(self, place: tuple[str, ...]) -> OctKey:
        words = "\0".join((self._purpose, *place))
        return OctKey.import_key(hmac.digest(self._secret, words.encode(), "sha256"))
