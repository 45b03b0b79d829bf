"""Signs messages in the form of Standard Webhooks (standardwebhooks.com). Knows no addresses.

The signature is HMAC-SHA256 over ``{id}.{timestamp}.{body}`` with the secret's bytes, sent as ``v1,<base64>``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

from keelbill.core.errors import InvalidInput

PREFIX: Final = "whsec_"
TOLERANCE_S: Final = 300


def new_secret() -> str:
    """Return a fresh secret: ``whsec_`` and 24 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


def sign(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the value of the header ``webhook-signature``.

    Raises:
        InvalidInput: The secret is malformed.
    """
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    digest = hmac.new(_secret_bytes(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def headers(secrets_now: Sequence[str], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the three headers that go with a message, with one signature for each secret.

    Raises:
        InvalidInput: A secret is malformed.
    """
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(sign(secret, message_id, timestamp_s, body) for secret in secrets_now),
    }


def is_authentic(secret: str, message_headers: dict[str, str], body: bytes, now_s: int) -> bool:
    """Return whether a message carries our signature and is at most five minutes old or early.

    Args:
        secret: As shown when the webhook was registered.
        message_headers: With names in small letters.
        body: The raw bytes.
        now_s: Seconds since 1970.
    """
    stamp = message_headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdecimal()) or abs(now_s - int(stamp)) > TOLERANCE_S:
        return False
    expected = sign(secret, message_headers.get("webhook-id", ""), int(stamp), body)
    offered = message_headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(expected.encode(), candidate.encode()) for candidate in offered)


def _secret_bytes(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise InvalidInput("secret", "…", f"{PREFIX} followed by base64") from error
