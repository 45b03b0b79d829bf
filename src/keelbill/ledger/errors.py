"""What can go wrong with credits. Knows no tables."""

from __future__ import annotations

from keelbill.core.errors import AppError, Conflict, NotFound, PaymentRequired
from keelbill.core.types import credits_of


class OutOfCredits(PaymentRequired):
    """The balance does not cover the price."""

    def __init__(self, needed: int, available: int) -> None:
        super().__init__(
            f"credits: this costs {credits_of(needed)} credits and {credits_of(max(available, 0))} are available.",
            hint="Add credits, or choose a model that costs less.",
        )


class CapReached(PaymentRequired):
    """A cap of a key or member does not cover the price.

    Args:
        cap: Which one, such as ``daily cap of this key``.
        limit: In micro-credits.
        reset: When it starts anew, such as ``2026-03-01T00:00:00Z``; "" if it never does.
    """

    def __init__(self, cap: str, limit: int, reset: str) -> None:
        when = f"it resets at {reset}" if reset else "it does not reset"
        super().__init__(f"credits: the {cap} of {credits_of(limit)} credits is reached; {when}.")


class NoWallet(NotFound):
    """The organisation has no wallet."""

    def __init__(self, org_id: str) -> None:
        super().__init__(f"organisation {org_id!r} has no wallet")


class AlreadyReserved(Conflict):
    """A job has had its price reserved before; a job has one hold however often it is tried."""


class HoldNotOpen(AppError):
    """A price cannot be captured because it is not reserved any more."""

    code = "hold_not_open"
    status = 500


class VoucherRefused(AppError):
    """A code that is wrong, used up, expired or used before."""

    code = "voucher_refused"
    status = 400


class TopUpsFrozen(AppError):
    """The organisation may not buy credits, because a payment was disputed."""

    code = "top_ups_frozen"
    status = 403


class BadSignature(AppError):
    """A message that claims to come from a payment provider and does not."""

    code = "bad_signature"
    status = 400


class ProviderFailed(AppError):
    """The payment provider refused or did not answer."""

    code = "payment_provider_failed"
    status = 502


class ProviderUnreachable(ProviderFailed):
    """The payment provider did not answer, so that nobody knows whether it acted; ask again with the same key."""
