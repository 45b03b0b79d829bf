"""Links to pictures that work without a key for an hour and cannot be guessed. Knows no jobs and no files."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

from keelbill.core.errors import NotFound

LINK_LIFE_S = 3600

_ID_BYTES = 16
_TIME_BYTES = 6
_TAG_BYTES = 32


@dataclass(frozen=True)
class Linked:
    """What a link leads to.

    Attributes:
        job_id: The job that made the picture.
        org_id: Whose it is.
        key_id: The key that asked for it, "" for a session.
    """

    job_id: str
    org_id: str
    key_id: str = ""


class Links:
    """Makes and reads links.

    Args:
        secret: At least 32 bytes that only this installation knows.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.sha256(b"keelbill picture links" + secret).digest()

    def token(self, linked: Linked, now_ms: int) -> str:
        """Return the part of the address that leads to a picture from now on for an hour."""
        ids = (linked.job_id, linked.org_id, linked.key_id or "0" * 2 * _ID_BYTES)
        body = b"".join(bytes.fromhex(value) for value in ids)
        body += (now_ms // 1000 + LINK_LIFE_S).to_bytes(_TIME_BYTES, "big")
        return base64.urlsafe_b64encode(body + self._tag(body)).decode().rstrip("=")

    def read(self, token: str, now_ms: int) -> Linked:
        """Return what a link leads to.

        Raises:
            NotFound: It was never made here, or its hour is over.
        """
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise _gone() from error
        body, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        if len(body) != 3 * _ID_BYTES + _TIME_BYTES or not hmac.compare_digest(tag, self._tag(body)):
            raise _gone()
        if now_ms // 1000 >= int.from_bytes(body[-_TIME_BYTES:], "big"):
            raise _gone()
        job_id, org_id, key_id = (body[n * _ID_BYTES : (n + 1) * _ID_BYTES].hex() for n in range(3))
        return Linked(job_id, org_id, key_id if int(key_id, 16) else "")

    def _tag(self, body: bytes) -> bytes:
        return hmac.new(self._key, body, hashlib.sha256).digest()


def _gone() -> NotFound:
    return NotFound("There is no picture under this address, or its hour is over.")
