"""Routes for an account's keys to other services: named, replaced, forgotten, never shown. Knows HTTP, no seals."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request

from keelbill.api.deps import CanManageKeys, CanReadAccount, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, Body, JsonRoute, View
from keelbill.core.principal import Principal
from keelbill.workspace.schemas import Account

router = APIRouter(prefix="/api/secrets", tags=["Secrets"], route_class=JsonRoute, responses=ERRORS)


class SecretValue(Body):
    """A key for another service."""

    value: str = Field(min_length=1, max_length=512, examples=["sk-…"])


class SecretView(View):
    """That there is a key; what it is, nobody is told."""

    name: str = Field(examples=["image_service"])
    created_ms: int


@router.get("", openapi_extra=WITH_CREDENTIAL)
async def list_secrets(request: Request, caller: CanReadAccount) -> list[SecretView]:
    """List which keys for other services you have stored. Their values are never shown."""
    found = await platform_of(request).secrets.names(_account(caller))
    return [SecretView(name=name, created_ms=created_ms) for name, created_ms in found.items()]


@router.put("/{name}", status_code=204, openapi_extra=WITH_CREDENTIAL)
async def keep_secret(request: Request, caller: CanManageKeys, name: str, body: SecretValue) -> None:
    """Store a key in the place of the former one. `image_service` is the one that nodes of graphs call with."""
    await platform_of(request).secrets.keep(_account(caller), name, body.value)


@router.delete("/{name}", status_code=204, openapi_extra=WITH_CREDENTIAL)
async def forget_secret(request: Request, caller: CanManageKeys, name: str) -> None:
    """Forget a key."""
    await platform_of(request).secrets.forget(_account(caller), name)


def _account(caller: Principal) -> Account:
    return Account(caller.org_id, caller.user_id)
