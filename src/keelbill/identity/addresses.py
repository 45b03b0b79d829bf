"""Mail addresses: how they are compared at sign-in and for the free grant. Sends nothing."""

from __future__ import annotations

import hashlib
import unicodedata

from email_validator import EmailNotValidError, validate_email

from keelbill.core.errors import InvalidRequest

_DOTLESS = frozenset({"gmail.com", "googlemail.com"})


def checked_address(text: str) -> str:
    """Return a mail address as it is shown and written to.

    Raises:
        InvalidRequest: It is none by RFC 5321 and 6531; no name server is asked.
    """
    try:
        checked = validate_email(text.strip(), check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise InvalidRequest("email: must be a mail address such as ada@example.org") from error
    return checked.normalized


def sign_in_form(address: str) -> str:
    """Return the form under which an account is found: whoever types capitals means the same mailbox."""
    return unicodedata.normalize("NFKC", address).casefold()


def grant_form(address: str) -> str:
    """Return the form under which free credits are given once: no ``+tag``, and no dots where they are ignored."""
    local, _, domain = sign_in_form(address).rpartition("@")
    local = local.partition("+")[0] or local
    if domain in _DOTLESS:
        local, domain = local.replace(".", "") or local, "gmail.com"
    return f"{local}@{domain}"


def address_identity(address: str) -> str:
    """Return the identity of a proved address for the free grant: 64 hex digits."""
    return _identity("address", grant_form(address))


def account_identity(user_id: str) -> str:
    """Return the identity of an account whose address need not be proved."""
    return _identity("account", user_id)


def _identity(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind}:{value}".encode()).hexdigest()
