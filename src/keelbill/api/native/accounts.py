"""Routes for signing up, proving an address, passwords, the first start and the own account. Knows HTTP, no rules."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.deps import (
    CanReadAccount,
    SignedIn,
    platform_of,
    require_no_foreign_page,
    set_cookie,
)
from keelbill.api.native.bodies import ERRORS, OPEN, WITH_CREDENTIAL, WITH_SESSION, JsonRoute
from keelbill.api.native.schemas import (
    Accepted,
    ChangePassword,
    CurrentSession,
    Join,
    Me,
    MeChange,
    NewPassword,
    OnlyEmail,
    OnlyPassword,
    OnlyToken,
    SetUp,
    SignUp,
)
from keelbill.api.visits import visit_of
from keelbill.identity.sessions import OpenedSession

MAIL_IS_ON_ITS_WAY = Accepted(message="If this address can be used, a mail is on its way.")

router = APIRouter(prefix="/api", tags=["Accounts"], route_class=JsonRoute, responses=ERRORS)
_OWN_PAGES = [Depends(require_no_foreign_page)]


async def signed_in(request: Request, response: Response, session: OpenedSession) -> CurrentSession:
    """Answer with a new session: its cookie in the header, its token in the body."""
    platform = platform_of(request)
    principal, csrf_token = await platform.authenticator.authenticate_session(session.cookie, visit_of(request).address)
    set_cookie(response, platform, session)
    return CurrentSession(
        csrf_token=csrf_token,
        is_recent=platform.accounts.sessions.is_recent(principal),
        user=Me.of(await platform.accounts.profile(principal)),
    )


def browser(request: Request) -> dict[str, str]:
    """Return from where a session is opened."""
    return {"ip": visit_of(request).address, "user_agent": request.headers.get("user-agent", "")}


@router.post("/sign-up", status_code=202, openapi_extra=OPEN, dependencies=_OWN_PAGES)
async def sign_up(request: Request, body: SignUp) -> Accepted:
    """Ask for an account; the answer is the same for addresses that have one."""
    accounts = platform_of(request).accounts
    await accounts.sign_up(body.email, body.password, name=body.name, ip=visit_of(request).address)
    return MAIL_IS_ON_ITS_WAY


@router.post("/verify", status_code=204, response_class=Response, openapi_extra=OPEN, dependencies=_OWN_PAGES)
async def verify(request: Request, body: OnlyToken) -> None:
    """Prove an address with the token from the mail."""
    await platform_of(request).accounts.verify(body.token)


@router.post("/verify/again", status_code=202, openapi_extra=WITH_SESSION)
async def verify_again(request: Request, caller: SignedIn) -> Accepted:
    """Send the mail that proves the address again."""
    await platform_of(request).accounts.send_verification(caller)
    return MAIL_IS_ON_ITS_WAY


@router.post("/password/reset", status_code=202, openapi_extra=OPEN, dependencies=_OWN_PAGES)
async def request_reset(request: Request, body: OnlyEmail) -> Accepted:
    """Ask for a link that sets a new password; the answer is the same for unknown addresses."""
    await platform_of(request).accounts.request_reset(body.email, ip=visit_of(request).address)
    return MAIL_IS_ON_ITS_WAY


@router.post("/password/new", status_code=204, response_class=Response, openapi_extra=OPEN, dependencies=_OWN_PAGES)
async def reset_password(request: Request, body: NewPassword) -> None:
    """Set a new password with the token from the mail; every session ends."""
    await platform_of(request).accounts.reset_password(body.token, body.password)


@router.post("/password/change", openapi_extra=WITH_SESSION)
async def change_password(
    request: Request, response: Response, caller: SignedIn, body: ChangePassword
) -> CurrentSession:
    """Change the password; the other sessions end, and this one gets a new cookie."""
    address = visit_of(request).address
    session = await platform_of(request).accounts.change_password(caller, body.password, body.new_password, ip=address)
    return await signed_in(request, response, session)


@router.post("/password/prove", openapi_extra=WITH_SESSION)
async def prove(request: Request, response: Response, caller: SignedIn, body: OnlyPassword) -> CurrentSession:
    """Enter the password again, for what only a recent session may do."""
    accounts = platform_of(request).accounts
    session = await accounts.prove_again(caller, body.password, ip=visit_of(request).address)
    return await signed_in(request, response, session)


@router.post("/set-up", openapi_extra=OPEN, dependencies=_OWN_PAGES)
async def set_up(request: Request, response: Response, body: SetUp) -> CurrentSession:
    """Claim a new server with the link that it printed, and sign in as its owner."""
    session = await platform_of(request).accounts.set_up(
        body.token, body.email, body.password, name=body.name, **browser(request)
    )
    return await signed_in(request, response, session)


@router.post("/join", openapi_extra=OPEN, dependencies=_OWN_PAGES)
async def join(request: Request, response: Response, body: Join) -> CurrentSession:
    """Follow an invitation without having an account, and sign in."""
    session = await platform_of(request).accounts.join(body.token, body.password, name=body.name, **browser(request))
    return await signed_in(request, response, session)


@router.get("/me", openapi_extra=WITH_CREDENTIAL)
async def me(request: Request, caller: CanReadAccount) -> Me:
    """Return the caller's account and organisations."""
    return Me.of(await platform_of(request).accounts.profile(caller))


@router.patch("/me", openapi_extra=WITH_SESSION)
async def change_me(request: Request, caller: SignedIn, body: MeChange) -> Me:
    """Change the caller's name."""
    platform = platform_of(request)
    await platform.db.write(lambda c: platform.accounts.rename(c, caller, body.name))
    return Me.of(await platform.accounts.profile(caller))
