"""Routes for organisations: members, roles, caps, invitations, the audit log. Knows HTTP, no rules.

All but the first two act on the organisation for which the caller's key or session acts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fastapi import APIRouter, Query
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.deps import CanReadAccount, RecentlySignedIn, SignedIn, actor_of, platform_of
from keelbill.api.native.accounts import signed_in
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, WITH_SESSION, JsonRoute
from keelbill.api.native.schemas import (
    AuditView,
    CurrentSession,
    InvitationView,
    MemberChange,
    MemberView,
    NewInvitation,
    OnlyToken,
    OrganizationView,
    OrgName,
)
from keelbill.core.errors import InvalidRequest
from keelbill.identity import repository

T = TypeVar("T")

router = APIRouter(prefix="/api/orgs", tags=["Organisations"], route_class=JsonRoute, responses=ERRORS)


@router.get("", openapi_extra=WITH_CREDENTIAL)
async def list_orgs(request: Request, caller: CanReadAccount) -> list[OrganizationView]:
    """List the caller's organisations, the personal one first."""
    profile = await platform_of(request).accounts.profile(caller)
    return [OrganizationView(**vars(org)) for org in profile.organizations]


@router.post("", status_code=201, openapi_extra=WITH_SESSION)
async def create_org(request: Request, caller: SignedIn, body: OrgName) -> OrganizationView:
    """Found a team with the caller as its owner; sign in to it with ``/api/orgs/switch/{org_id}``."""
    orgs, actor = platform_of(request).accounts.orgs, actor_of(request, caller)
    org_id = await _write(request, lambda c: orgs.create(c, caller.user_id, body.name, actor=actor))
    return OrganizationView(id=org_id, name=" ".join(body.name.split()), kind="team", role="owner", is_default=False)


@router.post("/switch/{org_id}", openapi_extra=WITH_SESSION)
async def switch_org(request: Request, response: Response, caller: SignedIn, org_id: str) -> CurrentSession:
    """Let this session act for another organisation; it gets a new cookie."""
    session = await platform_of(request).accounts.switch_org(caller, org_id)
    return await signed_in(request, response, session)


@router.patch("/current", status_code=204, response_class=Response, openapi_extra=WITH_SESSION)
async def rename_org(request: Request, caller: SignedIn, body: OrgName) -> None:
    """Give the organisation another name."""
    orgs, actor = platform_of(request).accounts.orgs, actor_of(request, caller)
    await _write(request, lambda c: orgs.rename(c, caller, body.name, actor=actor))


@router.delete("/current", status_code=204, response_class=Response, openapi_extra=WITH_SESSION)
async def delete_org(request: Request, caller: RecentlySignedIn) -> None:
    """Close the organisation: its keys and sessions end."""
    orgs, actor = platform_of(request).accounts.orgs, actor_of(request, caller)
    await _write(request, lambda c: orgs.delete(c, caller, actor=actor))
    platform_of(request).keys.forget_cached()
    await platform_of(request).departures.settle()


@router.get("/current/members", openapi_extra=WITH_CREDENTIAL)
async def list_members(request: Request, caller: CanReadAccount) -> list[MemberView]:
    """List members; those who manage nobody see themselves only."""
    found = await platform_of(request).db.read(lambda c: repository.members(c, caller.org_id))
    may_see_all = caller.role in ("owner", "admin")
    return [MemberView.of(member) for member in found if may_see_all or member.user_id == caller.user_id]


@router.patch("/current/members/{user_id}", status_code=204, response_class=Response, openapi_extra=WITH_SESSION)
async def change_member(request: Request, caller: RecentlySignedIn, user_id: str, body: MemberChange) -> None:
    """Change a member's role or caps; the member's sessions in this organisation end with a change of role."""
    orgs, actor = platform_of(request).accounts.orgs, actor_of(request, caller)
    role, caps = body.role, body.caps
    if role is None and caps is None:
        raise InvalidRequest("role: required, unless caps are given")

    def change(connection: Connection) -> None:
        if caps is not None:
            orgs.change_caps(connection, caller, user_id, caps.caps(), actor=actor)
        if role is not None:
            orgs.change_role(connection, caller, user_id, role, actor=actor)

    await _write(request, change)
    platform_of(request).keys.forget_cached()


@router.delete("/current/members/{user_id}", status_code=204, response_class=Response, openapi_extra=WITH_SESSION)
async def remove_member(request: Request, caller: SignedIn, user_id: str) -> None:
    """Put a member out, or leave; the member's keys here end at once, and what waits for them is cancelled."""
    orgs, actor = platform_of(request).accounts.orgs, actor_of(request, caller)
    await _write(request, lambda c: orgs.remove(c, caller, user_id, actor=actor))
    platform_of(request).keys.forget_cached()
    await platform_of(request).departures.settle()


@router.get("/current/invitations", openapi_extra=WITH_SESSION)
async def list_invitations(request: Request, caller: SignedIn) -> list[InvitationView]:
    """List open invitations."""
    caller.require_role("owner", "admin")
    platform = platform_of(request)
    now_ms = platform.clock.now_ms()
    found = await platform.db.read(lambda c: repository.invitations(c, caller.org_id, now_ms))
    return [InvitationView.of(record) for record in found]


@router.post("/current/invitations", status_code=201, openapi_extra=WITH_SESSION)
async def invite(request: Request, caller: SignedIn, body: NewInvitation) -> InvitationView:
    """Invite an address by mail."""
    accounts = platform_of(request).accounts
    record = await accounts.invite(caller, body.email, body.role, actor=actor_of(request, caller))
    return InvitationView.of(record)


@router.delete(
    "/current/invitations/{invitation_id}", status_code=204, response_class=Response, openapi_extra=WITH_SESSION
)
async def withdraw(request: Request, caller: SignedIn, invitation_id: str) -> None:
    """Take an invitation back."""
    orgs, actor = platform_of(request).accounts.orgs, actor_of(request, caller)
    await _write(request, lambda c: orgs.withdraw(c, caller, invitation_id, actor=actor))


@router.post("/accept", openapi_extra=WITH_SESSION)
async def accept(request: Request, response: Response, caller: SignedIn, body: OnlyToken) -> CurrentSession:
    """Accept an invitation to the caller's address; the session acts for that organisation from then on."""
    orgs, actor = platform_of(request).accounts.orgs, actor_of(request, caller)
    org_id = await _write(request, lambda c: orgs.accept(c, caller, body.token, actor=actor))
    return await signed_in(request, response, await platform_of(request).accounts.switch_org(caller, org_id))


@router.get("/current/audit", openapi_extra=WITH_SESSION)
async def audit(
    request: Request,
    caller: SignedIn,
    before_id: str = Query(default="", max_length=32),
    limit: int = Query(default=100, ge=1, le=500),
) -> list[AuditView]:
    """List what was changed in the organisation, newest first."""
    caller.require_role("owner", "admin")
    platform = platform_of(request)
    found = await platform.db.read(
        lambda c: platform.accounts.audit.entries(c, caller.org_id, before_id=before_id, limit=limit)
    )
    return [AuditView(**{name: value for name, value in vars(e).items() if name != "org_id"}) for e in found]


async def _write(request: Request, operation: Callable[[Connection], T]) -> T:
    return await platform_of(request).db.write(operation)
