"""Which server, and with which key. Reads the environment when asked; opens no connection and prints no key."""

from __future__ import annotations

import os
import re
import string
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from keelbill.client.errors import AuthenticationError, BadRequestError

KEY_VARIABLES: Final = ("KEELBILL_API_KEY", "STABILITY_API_KEY")
HOST_VARIABLES: Final = ("KEELBILL_BASE_URL", "STABILITY_API_HOST", "STABILITY_HOST")
DEFAULT_BASE_URL: Final = "http://127.0.0.1:8000"

_SHAPE: Final = re.compile(r"sk-[0-9A-Za-z]{48}")
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHECK_DIGITS: Final = 6
_STRAY: Final = string.whitespace + "\"'`\u2018\u2019\u201c\u201d\u00a0\u200b\ufeff"
_HOSTED: Final = "stability.ai"
_LOCAL: Final = re.compile(r"localhost|127(\.\d+){3}|\[::1\]|::1|.+\.localhost")


class KeyTidiedWarning(UserWarning):
    """A key had spaces, line ends or quotes round it, which were left out."""


@dataclass(frozen=True)
class Target:
    """A server and the key for it.

    Attributes:
        base_url: Scheme, host, port and perhaps a path; no slash at the end.
        key: In full; never shown.
        key_source: Where the key comes from, for people: ``argument`` or the name of a variable.
        url_source: Where the address comes from: ``argument``, the name of a variable, or ``default``.
    """

    base_url: str
    key: str = field(repr=False)
    key_source: str = "argument"
    url_source: str = "argument"

    @property
    def is_hosted(self) -> bool:
        """Whether this is the hosted service, which knows no idempotency keys and has keys of its own."""
        host = urlsplit(self.base_url).hostname or ""
        return host == _HOSTED or host.endswith(f".{_HOSTED}")

    @property
    def is_local(self) -> bool:
        """Whether the server is this machine."""
        return _LOCAL.fullmatch(urlsplit(self.base_url).hostname or "") is not None


def find_target(
    key: str | None = None,
    base_url: str | None = None,
    *,
    check_key: bool = True,
    environ: Mapping[str, str] | None = None,
) -> Target:
    """Find server and key: arguments first, then the variables in their order, then this machine.

    Args:
        key: The key; nothing means `KEY_VARIABLES`.
        base_url: Address of the server; nothing means `HOST_VARIABLES`, else ``http://127.0.0.1:8000``.
        check_key: Whether a key with a wrong checksum is refused before it is sent.
        environ: In place of the environment.

    Raises:
        AuthenticationError: There is no key, or it has a typo.
        BadRequestError: The address is not one.
    """
    values = os.environ if environ is None else environ
    raw_url, url_source = _first(base_url, values, HOST_VARIABLES)
    raw_key, key_source = _first(key, values, KEY_VARIABLES)
    address = tidy_url(raw_url) if raw_url.strip() else DEFAULT_BASE_URL
    if not raw_key:
        raise AuthenticationError(
            "There is no API key.",
            hint=f"Set {KEY_VARIABLES[0]}, or give the key: Client(key=...), or --key. The server's keys page has it.",
        )
    target = Target(address, tidy_key(raw_key, key_source), key_source, url_source if raw_url.strip() else "default")
    if check_key and not target.is_hosted and has_typo(target.key):
        raise AuthenticationError(
            f"The key {stub(target.key)} has a typo: its last six characters do not match the others.",
            hint="Copy it again. If it is a key of another maker, give check_key=False.",
        )
    return target


def tidy_key(text: str, source: str = "argument") -> str:
    """Return a key without what copying leaves round it: spaces, line ends, quotes, ``Bearer``.

    Raises:
        AuthenticationError: Nothing is left, or what is left cannot be sent in a header.
    """
    key = re.sub(r"\A(?i:bearer)\s+", "", text.strip(_STRAY)).strip(_STRAY)
    if not key:
        raise AuthenticationError(f"The API key ({source}) is empty.", hint="Copy it from the server's keys page.")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise AuthenticationError(
            f"The API key ({source}) has spaces, line ends or special characters inside.", hint="Copy it again, alone."
        )
    if key != text:
        message = f"The API key ({source}) had spaces, quotes or other characters round it; they were left out."
        warnings.warn(message, KeyTidiedWarning, stacklevel=4)
    return key


def tidy_url(text: str) -> str:
    """Return an address with a scheme and without what does not belong to it.

    Raises:
        BadRequestError: It is no http or https address, or carries a user or a query.
    """
    address = text.strip(_STRAY)
    if has_keelbill_shape(address):
        raise BadRequestError("base_url: this looks like a key; the address of the server goes here.")
    if "://" not in address:
        bare = urlsplit(f"//{address}").hostname or ""
        address = f"{'http' if _LOCAL.fullmatch(bare) else 'https'}://{address}"
    address = re.sub(r"(?<![:/])/+\Z", "", address)
    address = re.sub(r"/v(1|2beta)(/stable-image)?\Z", "", address)
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise BadRequestError(f"base_url: {text!r} is no address ({error}).") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadRequestError(f"base_url: {text!r} must be like http://localhost:8000 or https://pictures.example.org.")
    if parts.hostname.startswith("grpc."):
        raise BadRequestError(f"base_url: {text!r} is the address of an older interface.", hint="Leave out `grpc.`.")
    if parts.username or parts.password or parts.query or parts.fragment or port == 0:
        raise BadRequestError("base_url: must not carry a user, a password, a query or a fragment; the key goes apart.")
    return address


def stub(key: str) -> str:
    """Return what may be shown of a key, such as ``sk-abcd…wxyz``."""
    return f"{key[:7]}…{key[-4:]}" if len(key) >= 20 else "…"


def has_keelbill_shape(key: str) -> bool:
    """Tell whether a key looks like one of Keelbill's: ``sk-`` and 48 letters and digits."""
    return _SHAPE.fullmatch(key) is not None


def has_typo(key: str) -> bool:
    """Tell whether a key has Keelbill's shape and a checksum that does not match.

    The last six characters are the CRC-32 of all before them, in base 62 with the digits 0-9, A-Z, a-z.
    """
    return has_keelbill_shape(key) and key[-_CHECK_DIGITS:] != checksum(key[:-_CHECK_DIGITS])


def checksum(text: str) -> str:
    """Return the CRC-32 of an ASCII text as six base-62 digits."""
    rest, digits = zlib.crc32(text.encode("ascii")), ""
    for _ in range(_CHECK_DIGITS):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def _first(given: str | None, values: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    if given is not None:
        return given, "argument"
    return next(((values[name], name) for name in names if values.get(name, "").strip()), ("", ""))
