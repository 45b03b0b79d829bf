"""What can go wrong with credentials and accounts. Knows no status beyond those of the error tree."""

from __future__ import annotations

from typing import Literal

from keelbill.core.errors import Conflict, InvalidRequest, NotFound, PermissionDenied, Unauthorized

RefusalReason = Literal["malformed", "unknown", "revoked", "expired", "network", "disabled", "missing"]


class CredentialRefused(Unauthorized):
    """A key or a session that does not open anything. The text never says why; `reason` does, for metrics.

    Args:
        reason: A word from a closed list.
    """

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__()
        self.reason: RefusalReason = reason


class WrongPassword(Unauthorized):
    """Address and password do not belong together, or there is no such address: the text is the same."""

    def __init__(self) -> None:
        super().__init__("email: this address and password do not belong together")


class LinkExpired(InvalidRequest):
    """A link from a mail that was used, has expired or never was."""

    def __init__(self) -> None:
        super().__init__("token: this link was used before, has expired or is not complete; ask for a new one")


class WeakPassword(InvalidRequest):
    """A new password that is too short, too long or too common."""


class SignInTooOld(PermissionDenied):
    """The action needs a fresh proof of the password."""

    code = "sign_in_again"

    def __init__(self) -> None:
        super().__init__("authorization: enter your password again to do this; the last time was over 15 minutes ago.")


class RegistrationClosed(PermissionDenied):
    """Strangers may not sign up here."""

    code = "registration_closed"

    def __init__(self) -> None:
        super().__init__("This server does not take new accounts; ask its owner for an invitation.")


class LastOwner(Conflict):
    """An organisation would be left without an owner."""

    def __init__(self) -> None:
        super().__init__("role: an organisation needs at least one owner; make somebody else an owner first")


class UnknownThing(NotFound):
    """There is no such row, or it is somebody else's.

    Args:
        kind: ``key``, ``member`` and so on.
        name: What was asked for.
    """

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind}: there is no {kind} {name[:64]!r}")


class SignInFailed(Unauthorized):
    """Another provider's answer cannot be believed or does not fit the request.

    Args:
        message: One sentence without any secret.
    """
