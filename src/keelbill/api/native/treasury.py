"""Routes for the server's administrators: every purchase, refunds, credits by hand. Knows HTTP, no rules of money."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection
from starlette.requests import Request

from keelbill.api.deps import Staff, actor_of, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, Body, JsonRoute, View
from keelbill.api.native.job_bodies import credits_text
from keelbill.api.native.payments import WITHOUT_CARDS, ReceiptPage, cashier_of
from keelbill.core.types import Micro, micro
from keelbill.ledger.receipts import receipts

router = APIRouter(prefix="/api/treasury", tags=["Treasury"], route_class=JsonRoute, responses=ERRORS)


class Refunded(View):
    """What was given back."""

    taken_back: str = Field(description="Credits that left the account; 0 if none were left.", examples=["993"])


class Adjustment(Body):
    """Credits to add or to take by hand."""

    org_id: str = Field(pattern="^[0-9a-f]{32}$", description="Whose.")
    credits: str = Field(pattern=r"^-?[0-9]{1,9}(\.[0-9]{1,6})?$", description="Negative to take.", examples=["100"])
    note: str = Field(min_length=1, max_length=500, description="Why; it stays in the history.", examples=["Gift"])


class Adjusted(View):
    """What is there now."""

    available: str = Field(examples=["125"])


@router.get("/payments", openapi_extra=WITH_CREDENTIAL)
async def list_payments(
    request: Request,
    caller: Staff,
    org_id: Annotated[str, Query(pattern="^([0-9a-f]{32})?$", description="Of one organisation; else of all.")] = "",
    before: Annotated[str, Query(pattern="^([0-9a-f]{32})?$")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> ReceiptPage:
    """List purchases, newest first. For administrators of the server."""
    found = await platform_of(request).db.read(lambda c: receipts(c, org_id, before_id=before, limit=limit))
    return ReceiptPage.of(found, limit)


@router.post("/payments/{payment_id}/refund", openapi_extra=WITH_CREDENTIAL, responses=WITHOUT_CARDS)
async def refund_payment(request: Request, caller: Staff, payment_id: str) -> Refunded:
    """Give the money for what is left of a purchase back. For administrators of the server."""
    payments, audit, actor = (
        cashier_of(request).payments,
        platform_of(request).accounts.audit,
        actor_of(request, caller),
    )

    def note(connection: Connection, org_id: str, held: Micro) -> None:
        audit.add(connection, actor, "payment.refund", payment_id, org_id=org_id, after={"micro_credits": held})

    return Refunded(taken_back=credits_text(await payments.refund(payment_id, note=note)))


@router.post("/adjustments", status_code=201, openapi_extra=WITH_CREDENTIAL)
async def adjust_credits(request: Request, caller: Staff, body: Adjustment) -> Adjusted:
    """Add credits to an account by hand, or take them. For administrators of the server."""
    platform, actor, amount = platform_of(request), actor_of(request, caller), micro(body.credits)

    def write(connection: Connection) -> Micro:
        ledger = platform.ledger
        before = ledger.balance(connection, body.org_id)
        ledger.adjust(connection, body.org_id, amount, f"{actor.kind}:{actor.id}", body.note)
        after = ledger.balance(connection, body.org_id)
        platform.accounts.audit.add(
            connection,
            actor,
            "credits.adjust",
            body.org_id,
            org_id=body.org_id,
            before={"posted": before.posted},
            after={"posted": after.posted, "note": body.note},
        )
        return after.available

    return Adjusted(available=credits_text(await platform.db.write(write)))
