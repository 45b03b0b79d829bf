"""Routes for buying credits by card, automatic purchases and Stripe's messages. Knows HTTP, no rules of money."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection
from starlette.requests import Request

from keelbill.api.deps import CanReadAccount, RecentlySignedIn, SignedIn, actor_of, platform_of
from keelbill.api.forms import read_bytes
from keelbill.api.native.bodies import ERRORS, OPEN, WITH_CREDENTIAL, WITH_SESSION, Body, JsonRoute, View
from keelbill.api.native.job_bodies import credits_text
from keelbill.api.platform import Platform
from keelbill.api.stability.documentation import errors
from keelbill.api.visits import visit_of
from keelbill.core.errors import InvalidRequest, NotInstalled
from keelbill.core.principal import Role
from keelbill.core.types import micro
from keelbill.ledger import recharges
from keelbill.ledger.cashier import Cashier
from keelbill.ledger.payments import PAYMENT_MARK
from keelbill.ledger.receipts import receipts
from keelbill.ledger.schemas import Receipt, RechargeRule

MAX_MESSAGE_BYTES: Final = 512 * 1024
SIGNATURE: Final = "stripe-signature"
BUYERS: Final[tuple[Role, ...]] = ("owner", "admin", "billing")
WITHOUT_CARDS: Final[dict[int | str, dict[str, Any]]] = {
    501: {**errors([501])["501"], "description": "This server sells no credits by card."}
}

router = APIRouter(prefix="/api", tags=["Payments"], route_class=JsonRoute, responses=ERRORS)

_CREDITS = r"^[0-9]{1,9}(\.[0-9]{1,6})?$"


class Purchase(Body):
    """How many credits to buy."""

    credits: int = Field(ge=1000, le=1_000_000, multiple_of=1000, description="In steps of 1000.", examples=[1000])


class PaymentPage(View):
    """Where to pay."""

    url: str = Field(description="Send the browser there; it comes back to the billing page.")


class PaymentStatus(View):
    """How a purchase stands."""

    status: str = Field(examples=["paid"])


class ReceiptView(View):
    """A purchase of credits."""

    id: str
    org_id: str
    provider: str = Field(examples=["stripe"])
    credits: str = Field(examples=["1000"])
    money: str = Field(description="What it cost.", examples=["10.00"])
    currency: str = Field(examples=["usd"])
    status: str = Field(description="created, paid, failed, expired, refunded or disputed.", examples=["paid"])
    taken_back: str = Field(description="Credits that left again because money went back.", examples=["0"])
    is_automatic: bool
    created_ms: int

    @classmethod
    def of(cls, receipt: Receipt) -> ReceiptView:
        """Return a purchase as JSON."""
        return cls(
            id=receipt.id,
            org_id=receipt.org_id,
            provider=receipt.provider,
            credits=credits_text(receipt.credits),
            money=f"{receipt.money_minor // 100}.{receipt.money_minor % 100:02}",
            currency=receipt.currency,
            status=receipt.status,
            taken_back=credits_text(receipt.taken_back),
            is_automatic=receipt.is_automatic,
            created_ms=receipt.created_ms,
        )


class ReceiptPage(View):
    """Some purchases, newest first."""

    receipts: list[ReceiptView]
    next_before: str = Field(description="Continues the list as `before`; empty at its end.")

    @classmethod
    def of(cls, found: list[Receipt], limit: int) -> ReceiptPage:
        """Return purchases with the place where the next page begins."""
        shown = [ReceiptView.of(receipt) for receipt in found]
        return cls(receipts=shown, next_before=found[-1].id if len(found) == limit else "")


class RechargeBody(Body):
    """When and how much to buy automatically."""

    enabled: bool
    threshold: str = Field(pattern=_CREDITS, description="Buy when fewer credits are available.", examples=["100"])
    amount: str = Field(pattern=_CREDITS, description="How many at a time, in steps of 1000.", examples=["1000"])
    monthly_cap: str = Field(pattern=_CREDITS, description="At most this many in a month (UTC).", examples=["5000"])


class RechargeView(View):
    """When and how much is bought automatically."""

    enabled: bool
    threshold: str
    amount: str
    monthly_cap: str
    has_card: bool = Field(description="Whether a card is on file; it is after the first purchase.")
    failures: int = Field(description="Purchases in a row that failed; the third switches it off.")

    @classmethod
    def of(cls, rule: RechargeRule) -> RechargeView:
        """Return a rule as JSON."""
        return cls(
            enabled=rule.is_enabled,
            threshold=credits_text(rule.threshold),
            amount=credits_text(rule.amount),
            monthly_cap=credits_text(rule.monthly_cap),
            has_card=rule.has_card,
            failures=rule.failures,
        )


class Taken(View):
    """A message was stored."""

    received: bool = True


def cashier_of(request: Request) -> Cashier:
    """Return who handles purchases.

    Raises:
        NotInstalled: This server sells no credits by card.
    """
    return _cashier(platform_of(request))


def _cashier(platform: Platform) -> Cashier:
    if platform.cashier is not None:
        return platform.cashier
    if platform.settings.billing == "unlimited":
        raise NotInstalled("cards: credits are not sold here, because they never run out on this server.")
    raise NotInstalled(
        "cards: this server sells no credits by card.",
        hint="Its operator can set stripe_secret_key and stripe_webhook_secret.",
    )


@router.post("/credits/checkout", openapi_extra=WITH_SESSION, responses=WITHOUT_CARDS)
async def check_out(request: Request, caller: SignedIn, body: Purchase) -> PaymentPage:
    """Begin to buy credits by card. For owners, admins and billing."""
    caller.require_role(*BUYERS)
    payments = cashier_of(request).payments
    page = f"{platform_of(request).accounts.rules.base_url}/billing"
    url = await payments.buy(
        caller.org_id,
        micro(body.credits),
        success_url=f"{page}?payment={PAYMENT_MARK}",
        cancel_url=f"{page}?payment=cancelled",
    )
    return PaymentPage(url=url)


@router.post("/credits/receipts/{payment_id}/confirm", openapi_extra=WITH_SESSION, responses=WITHOUT_CARDS)
async def confirm_purchase(request: Request, caller: SignedIn, payment_id: str) -> PaymentStatus:
    """Ask how a purchase stands, for the page that the buyer comes back to. Paid credits come once."""
    caller.require_role(*BUYERS)
    return PaymentStatus(status=await cashier_of(request).payments.confirm(caller.org_id, payment_id))


@router.get("/credits/receipts", openapi_extra=WITH_CREDENTIAL)
async def list_receipts(
    request: Request,
    caller: CanReadAccount,
    before: Annotated[str, Query(pattern="^([0-9a-f]{32})?$")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> ReceiptPage:
    """List the account's purchases, newest first. For owners, admins and billing."""
    caller.require_role(*BUYERS)
    org_id = caller.org_id
    found = await platform_of(request).db.read(lambda c: receipts(c, org_id, before_id=before, limit=limit))
    return ReceiptPage.of(found, limit)


@router.get("/credits/recharge", openapi_extra=WITH_CREDENTIAL)
async def get_recharge(request: Request, caller: CanReadAccount) -> RechargeView:
    """Return when and how much is bought automatically. For owners, admins and billing."""
    caller.require_role(*BUYERS)
    org_id = caller.org_id
    return RechargeView.of(await platform_of(request).db.read(lambda c: recharges.rule_of(c, org_id)))


@router.put("/credits/recharge", openapi_extra=WITH_SESSION, responses=WITHOUT_CARDS)
async def set_recharge(request: Request, caller: RecentlySignedIn, body: RechargeBody) -> RechargeView:
    """Choose when and how much is bought automatically from the card of the last purchase."""
    caller.require_role(*BUYERS)
    recharger, platform, actor = cashier_of(request).recharger, platform_of(request), actor_of(request, caller)

    def write(connection: Connection) -> RechargeRule:
        before = recharges.rule_of(connection, caller.org_id)
        if body.enabled and not before.has_card:
            raise InvalidRequest("enabled: no card is on file; buy credits by card once first")
        recharger.configure(
            connection,
            caller.org_id,
            threshold=micro(body.threshold),
            amount=micro(body.amount),
            monthly_cap=micro(body.monthly_cap),
            enabled=body.enabled,
        )
        after = recharges.rule_of(connection, caller.org_id)
        platform.accounts.audit.add(
            connection,
            actor,
            "credits.recharge",
            caller.org_id,
            org_id=caller.org_id,
            before=vars(before),
            after=vars(after),
        )
        return after

    return RechargeView.of(await platform.db.write(write))


@router.post("/payments/stripe/webhook", openapi_extra=OPEN, responses=WITHOUT_CARDS)
async def receive_from_stripe(request: Request) -> Taken:
    """Take a message from Stripe: its signature is checked and it is stored before the answer, and worked off after.

    A message that comes again changes nothing.
    """
    try:
        cashier = cashier_of(request)
    except NotInstalled as error:
        if SIGNATURE not in request.headers:  # no message of Stripe's, so nothing that it should send again
            raise InvalidRequest(f"{SIGNATURE}: required") from error
        raise
    body = await read_bytes(request, max_bytes=MAX_MESSAGE_BYTES)
    await cashier.payments.receive(body, request.headers)
    visit_of(request).is_vouched = True
    cashier.wake()
    return Taken()
