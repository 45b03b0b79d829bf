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
