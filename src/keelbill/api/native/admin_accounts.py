"""Routes for the server's administrators: accounts and codes that are worth credits. Knows HTTP, no rules."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.deps import Staff, actor_of, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, Body, JsonRoute, View
from keelbill.api.native.job_bodies import credits_text
from keelbill.api.native.schemas import AuditView, Email, Name, Password
from keelbill.api.platform import Platform
from keelbill.core.errors import Conflict, InvalidRequest
from keelbill.core.types import micro
from keelbill.identity import people
from keelbill.identity.addresses import checked_address
from keelbill.identity.passwords import check_new
from keelbill.ledger.models import Category
from keelbill.ledger.vouchers import Vouchers

router = APIRouter(prefix="/api/admin", tags=["Administration"], route_class=JsonRoute, responses=ERRORS)


class AccountView(View):
    """A person with the credits of the personal organisation."""

    id: str
    email: str
    name: str
    org_id: str
    teams: int
    is_staff: bool
    is_verified: bool
    disabled_ms: int
    created_ms: int
    credits: str = Field(description="Available.", examples=["25"])


class AccountPage(View):
    """Some people, newest first."""

    accounts: list[AccountView]
    next_before: str = Field(description="Continues the list as `before`; empty at its end.")


class NewAccount(Body):
    """Somebody who may use this server. The address counts as proved; the password is told on another way."""

    email: str = Email
    password: str = Password
    name: str = Name
    is_staff: bool = Field(default=False, description="Whether the person administers the server.")


class AccountChange(Body):
    """What to change; what is left out stays. The person's sessions end."""

    is_staff: bool | None = None
    is_disabled: bool | None = None


class NewVoucher(Body):
    """A code that is worth credits."""

    credits: str = Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,6})?$", examples=["1000"])
    uses: int = Field(default=1, ge=1, le=100_000, description="How many organisations may use it, once each.")
    days: int | None = Field(default=90, ge=1, le=3650, description="How long it can be redeemed; null is for ever.")
    is_gift: bool = Field(default=True, description="Whether the credits count as given, not as bought.")
    note: str = Field(default="", max_length=200)


class VoucherCode(View):
    """A new code. It is shown this once."""

    code: str = Field(examples=["ABCDE-FGHIJ-KLMNO-PQRST-U"])


class VoucherView(View):
    """A code as far as it is known: only its digest is kept."""

    credits: str
    category: str
    uses: int
    used: int
    expires_ms: int | None
    note: str
    created_ms: int


@router.get("/accounts", openapi_extra=WITH_CREDENTIAL)
async def list_accounts(
    request: Request,
    caller: Staff,
    text: Annotated[str, Query(max_length=320, description="In address or name, or an id.")] = "",
    before: Annotated[str, Query(pattern="^([0-9a-f]{32})?$")] = "",
    limit: Annotated[int, Query(ge=1, le=people.MAX_PAGE)] = 50,
) -> AccountPage:
    """List or search accounts, newest first. For administrators of the server."""
    platform = platform_of(request)

    def look(connection: Connection) -> list[AccountView]:
        found = people.search(connection, text, before_id=before, limit=limit)
        return [_view(platform, connection, account) for account in found]

    accounts = await platform.db.read(look)
    return AccountPage(accounts=accounts, next_before=accounts[-1].id if len(accounts) == limit else "")


@router.post("/accounts", status_code=201, openapi_extra=WITH_CREDENTIAL)
async def add_account(request: Request, caller: Staff, body: NewAccount) -> AccountView:
    """Add an account. For administrators of the server."""
    platform, actor = platform_of(request), actor_of(request, caller)
    accounts, email = platform.accounts, checked_address(body.email)
    check_new(body.password, address=email)
    hashed = await accounts.passwords.hash(body.password)

    def add(connection: Connection) -> AccountView:
        made = accounts.add_person(
            connection,
            email=email,
            name=" ".join(body.name.split()),
            password_hash=hashed,
            is_verified=True,
            is_staff=body.is_staff,
            actor=actor,
        )
        if made is None:
            raise Conflict("email: this address has an account already.")
        return _view(platform, connection, people.search(connection, made[0])[0])

    return await platform.db.write(add)


@router.patch("/accounts/{user_id}", status_code=204, response_class=Response, openapi_extra=WITH_CREDENTIAL)
async def change_account(request: Request, caller: Staff, user_id: str, body: AccountChange) -> None:
    """Take access away or give it back, or make somebody an administrator. For administrators of the server."""
    if user_id == caller.user_id:
        raise InvalidRequest("user_id: nobody may do this to the own account; ask another administrator")
    platform, actor = platform_of(request), actor_of(request, caller)
    accounts = platform.accounts

    def change(connection: Connection) -> None:
        if body.is_disabled is not None:
            accounts.disable(connection, user_id, is_disabled=body.is_disabled, actor=actor)
        if body.is_staff is not None:
            accounts.promote(connection, user_id, is_staff=body.is_staff, actor=actor)

    await platform.db.write(change)
    platform.keys.forget_cached()
    await platform.departures.settle()


@router.get("/vouchers", openapi_extra=WITH_CREDENTIAL)
async def list_vouchers(request: Request, caller: Staff) -> list[VoucherView]:
    """List codes, newest first; what they say is not kept. For administrators of the server."""
    platform = platform_of(request)
    rows = await platform.db.read(Vouchers(platform.ledger, platform.clock).all)
    return [
        VoucherView(
            credits=credits_text(row.micro_credits),
            category=row.category,
            uses=row.max_uses,
            used=row.used,
            expires_ms=row.expires_ms,
            note=row.note,
            created_ms=row.created_ms,
        )
        for row in rows
    ]


@router.post("/vouchers", status_code=201, openapi_extra=WITH_CREDENTIAL)
async def make_voucher(request: Request, response: Response, caller: Staff, body: NewVoucher) -> VoucherCode:
    """Make a code that is worth credits. It is in this answer and nowhere else."""
    platform, actor = platform_of(request), actor_of(request, caller)
    vouchers, amount = Vouchers(platform.ledger, platform.clock), micro(body.credits)
    if amount < 1:
        raise InvalidRequest("credits: more than 0")

    def make(connection: Connection) -> str:
        code = vouchers.create(
            connection,
            amount,
            uses=body.uses,
            days=body.days,
            category=Category.PROMO if body.is_gift else Category.PAID,
            created_by=f"{actor.kind}:{actor.id}",
            note=body.note,
        )
        terms = {"micro_credits": amount, "uses": body.uses, "days": body.days, "note": body.note}
        platform.accounts.audit.add(connection, actor, "voucher.create", "", after=terms)
        return code

    response.headers["cache-control"] = "no-store"
    return VoucherCode(code=await platform.db.write(make))


@router.get("/audit", openapi_extra=WITH_CREDENTIAL)
async def server_audit(
    request: Request,
    caller: Staff,
    before: Annotated[str, Query(pattern="^([0-9a-f]{32})?$")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[AuditView]:
    """List what was changed on this server, newest first. For administrators of the server."""
    platform = platform_of(request)
    found = await platform.db.read(lambda c: platform.accounts.audit.entries(c, "", before_id=before, limit=limit))
    return [AuditView(**{name: value for name, value in vars(e).items() if name != "org_id"}) for e in found]


def _view(platform: Platform, connection: Connection, account: people.Account) -> AccountView:
    available = platform.ledger.balance(connection, account.org_id).available if account.org_id else 0
    return AccountView(**vars(account), credits=credits_text(available))
