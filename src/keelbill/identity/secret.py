"""The server's own secret, which keys every stored digest. Knows one file and nothing of what is hashed with it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from keelbill.core.errors import AppError

SECRET_BYTES = 32
FILE_NAME = "secret.key"


class BadSecret(AppError):
    """The secret's file is damaged."""

    code = "bad_secret"
    status = 500


def load_secret(home: Path) -> bytes:
    """Read the secret of an installation; make it at first use.

    Whoever loses the file loses every API key, session and link, because their digests no longer match. Several
    processes that start at once agree on one secret: the file appears whole or not at all, and only once.

    Args:
        home: The data folder; made if it is missing.

    Returns:
        32 bytes.

    Raises:
        BadSecret: The file is there and does not hold 64 hex digits.
    """
    path = home / FILE_NAME
    if not path.exists():
        _make(path)
    try:
        secret = bytes.fromhex(path.read_text("ascii").strip())
    except ValueError as error:
        raise BadSecret(
            f"{FILE_NAME} is damaged.", hint="Restore it from a backup; a new one voids every key."
        ) from error
    if len(secret) != SECRET_BYTES:
        raise BadSecret(f"{FILE_NAME} holds {len(secret)} bytes, not {SECRET_BYTES}.", hint="Restore it from a backup.")
    return secret


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{FILE_NAME}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike a rename, a link does not replace what another process just made
        except FileExistsError:
            pass
        except OSError:
            _make_without_links(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _make_without_links(draft: Path, path: Path) -> None:
    """For file systems that have no hard links; two first starts in the same millisecond may clash here."""
    if not path.exists():
        draft.replace(path)
