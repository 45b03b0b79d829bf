"""Who has had free credits before: names the person behind an address or a sign-in. Knows no tables."""

from __future__ import annotations

import hashlib
import unicodedata

_DOTLESS = frozenset({"gmail.com", "googlemail.com"})


def reference(identity: str) -> str:
    """Name an identity in a way that its spelling variants share and that does not reveal it.

    Args:
        identity: An e-mail address, or issuer and subject of a sign-in.
    """
    return "free:" + hashlib.sha256(_canonical(identity).encode()).hexdigest()


def _canonical(identity: str) -> str:
    folded = unicodedata.normalize("NFKC", identity).strip().casefold()
    local, at, domain = folded.rpartition("@")
    if not at or "/" in folded:
        return folded
    local = local.partition("+")[0]
    if domain in _DOTLESS:
        local, domain = local.replace(".", ""), "gmail.com"
    return f"{local}@{domain}"
