"""Routes for credits: balance, movements, prices, vouchers. Knows HTTP, no rules of money."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request

from keelbill.api.deps import Caller, CanReadAccount, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, Body, JsonRoute, View
from keelbill.api.native.job_bodies import credits_text
from keelbill.ledger.schemas import Transfer
from keelbill.ledger.vouchers import Vouchers

router = APIRouter(prefix="/api/credits", tags=["Credits"], route_class=JsonRoute, responses=ERRORS)


class LotView(View):
    """Credits that came together."""

    category: str = Field(description="free, promo or paid; spent in this order.")
    remaining: str
    expires_ms: int | None


class BalanceView(View):
    """The account's credits as decimal numbers in strings, so that no digit is lost."""

    available: str = Field(description="What a new request may spend.", examples=["18.5"])
    reserved: str = Field(description="Set aside for jobs that wait or run.", examples=["6.5"])
    total: str = Field(examples=["25"])
    is_unlimited: bool = Field(description="Whether credits are recorded only and never run out.")
    lots: list[LotView]


class TransferView(View):
    """A movement of credits; negative amounts left the account."""

    id: str
    kind: str
    amount: str
    note: str
    item: str
    job_id: str
    key_id: str
    price_version: str
    created_ms: int

    @classmethod
    def of(cls, transfer: Transfer) -> TransferView:
        """Return a movement as JSON."""
        shown = {name: getattr(transfer, name) for name in cls.model_fields}
        return cls(**{**shown, "amount": credits_text(transfer.amount)})


class TransferPage(View):
    """Some movements, newest first."""

    transfers: list[TransferView]
    next_before: str = Field(description="Continues the list as `before`; empty at its end.")


class PriceView(View):
    """The price list in effect."""

    version: str
    credits: dict[str, str] = Field(examples=[{"sd3.5-large": "6.5"}])


class Redemption(Body):
    """A code that is worth credits."""

    code: str = Field(min_length=1, max_length=64, examples=["ABCDE-FGHIJ-KLMNO-PQRST-U"])


class Redeemed(View):
    """What a code was worth."""

    added: str = Field(examples=["1000"])
    available: str


@router.get("", openapi_extra=WITH_CREDENTIAL)
async def get_balance(request: Request, caller: CanReadAccount) -> BalanceView:
    """Return the account's credits: available, reserved and in total."""
    platform, org_id = platform_of(request), caller.org_id
    ledger = platform.ledger
    balance, lots = await platform.db.read(lambda c: (ledger.balance(c, org_id), ledger.lots(c, org_id)))
    return BalanceView(
        available=credits_text(balance.available),
        reserved=credits_text(balance.held),
        total=credits_text(balance.posted),
        is_unlimited=platform.settings.billing == "unlimited",
        lots=[
            LotView(category=lot.category, remaining=credits_text(lot.remaining), expires_ms=lot.expires_ms)
            for lot in lots
        ],
    )


@router.get("/transfers", openapi_extra=WITH_CREDENTIAL)
async def list_transfers(
    request: Request,
    caller: CanReadAccount,
    before: Annotated[str, Query(pattern="^([0-9a-f]{32})?$")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> TransferPage:
    """List the account's movements, newest first: grants, purchases, charges, refunds."""
    platform, org_id = platform_of(request), caller.org_id
    found = await platform.db.read(lambda c: platform.ledger.transfers(c, org_id, before or None, limit))
    return TransferPage(
        transfers=[TransferView.of(transfer) for transfer in found],
        next_before=found[-1].id if len(found) == limit else "",
    )


@router.get("/prices", openapi_extra=WITH_CREDENTIAL)
async def list_prices(request: Request, caller: Caller) -> PriceView:
    """Return what each service costs."""
    prices = platform_of(request).ledger.prices
    return PriceView(version=prices.version, credits={item: credits_text(p) for item, p in prices.items().items()})


@router.post("/vouchers", openapi_extra=WITH_CREDENTIAL)
async def redeem_voucher(request: Request, caller: CanReadAccount, body: Redemption) -> Redeemed:
    """Redeem a code, once per account. Five wrong codes an hour are allowed."""
    caller.require_role("owner", "admin", "billing")
    platform, org_id = platform_of(request), caller.org_id
    vouchers = Vouchers(platform.ledger, platform.clock)
    added = await vouchers.redeem_patiently(platform.db, org_id, body.code, caller.user_id)
    balance = await platform.db.read(lambda c: platform.ledger.balance(c, org_id))
    return Redeemed(added=credits_text(added), available=credits_text(balance.available))
