"""Routes for API keys: made, listed, changed, rotated, revoked. Knows HTTP, no rules."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.deps import Caller, CanManageKeys, CanReadAccount, actor_of, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, JsonRoute
from keelbill.api.native.schemas import KeyBody, KeyView, MadeKey, NewKey, Rotation
from keelbill.identity.schemas import KeyOptions, KeyRecord

router = APIRouter(prefix="/api/keys", tags=["Keys"], route_class=JsonRoute, responses=ERRORS)


@router.get("", openapi_extra=WITH_CREDENTIAL)
async def list_keys(request: Request, caller: CanReadAccount) -> list[KeyView]:
    """List keys, newest first: for owners and admins all of the organisation, for others their own."""
    return [_view(request, record) for record in await platform_of(request).keys.list(caller)]


@router.post("", status_code=201, openapi_extra=WITH_CREDENTIAL)
async def create_key(request: Request, response: Response, caller: CanManageKeys, body: NewKey) -> MadeKey:
    """Make a key. Its secret is in this answer and nowhere else."""
    made = await platform_of(request).keys.create(
        caller, body.options(KeyOptions()), user_id=body.user_id, actor=actor_of(request, caller)
    )
    return _made(request, response, made)


@router.get("/{key_id}", openapi_extra=WITH_CREDENTIAL)
async def get_key(request: Request, caller: CanReadAccount, key_id: str) -> KeyView:
    """Return one key without its secret."""
    return _view(request, await platform_of(request).keys.get(caller, key_id))


@router.patch("/{key_id}", openapi_extra=WITH_CREDENTIAL)
async def change_key(request: Request, caller: CanManageKeys, key_id: str, body: KeyBody) -> KeyView:
    """Change what is chosen about a key; what is left out stays."""
    keys = platform_of(request).keys
    return _view(request, await keys.update(caller, key_id, body.options, actor=actor_of(request, caller)))


@router.post("/{key_id}/rotate", status_code=201, openapi_extra=WITH_CREDENTIAL)
async def rotate_key(
    request: Request, response: Response, caller: CanManageKeys, key_id: str, body: Rotation
) -> MadeKey:
    """Replace a key; the old one lives on for the overlap."""
    keys = platform_of(request).keys
    return _made(request, response, await keys.rotate(caller, key_id, body.overlap_s, actor=actor_of(request, caller)))


@router.delete("/{key_id}", status_code=204, response_class=Response, openapi_extra=WITH_CREDENTIAL)
async def revoke_key(request: Request, caller: Caller, key_id: str) -> None:
    """End a key at once; what it has running finishes, what waits is cancelled. A key may end itself."""
    await platform_of(request).keys.revoke(caller, key_id, actor=actor_of(request, caller))


def _view(request: Request, record: KeyRecord) -> KeyView:
    return KeyView.of(record, platform_of(request).clock.now_ms())


def _made(request: Request, response: Response, made: tuple[KeyRecord, str]) -> MadeKey:
    response.headers["cache-control"] = "no-store"
    return MadeKey(key=_view(request, made[0]), secret=made[1])
