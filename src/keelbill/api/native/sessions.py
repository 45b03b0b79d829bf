"""Routes for signing in and out, by password or through another provider, and for the list of sessions."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from keelbill.api.deps import (
    RecentlySignedIn,
    SignedIn,
    cookie_name,
    drop_cookie,
    is_secure,
    platform_of,
    require_no_foreign_page,
    set_cookie,
)
from keelbill.api.native.accounts import browser, signed_in
from keelbill.api.native.bodies import ERRORS, OPEN, WITH_SESSION, JsonRoute
from keelbill.api.native.schemas import CurrentSession, Me, SessionView, SignIn
from keelbill.api.platform import Platform
from keelbill.identity.errors import SignInFailed

STATE_COOKIE = "sign-in"
STATE_S = 600

router = APIRouter(prefix="/api", tags=["Sessions"], route_class=JsonRoute, responses=ERRORS)


@router.post("/sign-in", openapi_extra=OPEN, dependencies=[Depends(require_no_foreign_page)])
async def sign_in(request: Request, response: Response, body: SignIn) -> CurrentSession:
    """Open a session with address and password; the cookie is new, whatever the browser sent."""
    session = await platform_of(request).accounts.sign_in(body.email, body.password, **browser(request))
    return await signed_in(request, response, session)


@router.get("/session", openapi_extra=WITH_SESSION)
async def session(request: Request, response: Response, caller: SignedIn) -> CurrentSession:
    """Return the caller's session with the token that writes must carry."""
    platform = platform_of(request)
    response.headers["cache-control"] = "no-store"
    cookie = request.cookies[cookie_name(platform)]
    return CurrentSession(
        csrf_token=platform.accounts.sessions.csrf_token(cookie),
        is_recent=platform.accounts.sessions.is_recent(caller),
        user=Me.of(await platform.accounts.profile(caller)),
    )


@router.post("/sign-out", status_code=204, response_class=Response, openapi_extra=WITH_SESSION)
async def sign_out(request: Request, response: Response, caller: SignedIn) -> None:
    """End this session."""
    platform = platform_of(request)
    await platform.db.write(lambda c: platform.accounts.sessions.end(c, caller.user_id, caller.session_id))
    drop_cookie(response, platform)


@router.post("/sign-out/everywhere", status_code=204, response_class=Response, openapi_extra=WITH_SESSION)
async def sign_out_everywhere(request: Request, response: Response, caller: SignedIn) -> None:
    """End every session of the caller, this one too."""
    platform = platform_of(request)
    await platform.db.write(lambda c: platform.accounts.sessions.end_all(c, caller.user_id))
    drop_cookie(response, platform)


@router.get("/sessions", openapi_extra=WITH_SESSION)
async def sessions(request: Request, caller: SignedIn) -> list[SessionView]:
    """List the caller's sessions, newest first."""
    platform = platform_of(request)
    found = await platform.db.read(lambda c: platform.accounts.sessions.list(c, caller.user_id))
    return [SessionView.of(record, caller.session_id) for record in found]


@router.delete("/sessions/{session_id}", status_code=204, response_class=Response, openapi_extra=WITH_SESSION)
async def end_session(request: Request, caller: SignedIn, session_id: str) -> None:
    """End one session of the caller."""
    platform = platform_of(request)
    await platform.db.write(lambda c: platform.accounts.sessions.end(c, caller.user_id, session_id))


@router.get("/sign-in", openapi_extra=OPEN)
async def providers(request: Request) -> dict[str, str]:
    """List other providers: the word for the address and the name for the button; empty where none is set up."""
    return platform_of(request).identity.sign_in.buttons()


@router.get("/sign-in/{provider}", status_code=303, response_class=RedirectResponse, openapi_extra=OPEN)
async def depart(request: Request, provider: str, return_to: str = Query(default="/", max_length=500)) -> Response:
    """Send the browser to another provider."""
    platform = platform_of(request)
    departure = await platform.identity.sign_in.depart(provider, return_to=return_to)
    response = RedirectResponse(departure.url, 303)
    _keep_state(response, platform, departure.state)
    return response


@router.get("/sign-in/{provider}/callback", status_code=303, response_class=RedirectResponse, openapi_extra=OPEN)
async def arrive(
    request: Request,
    provider: str,
    state: str = Query(default="", max_length=200),
    code: str = Query(default="", max_length=4000),
) -> Response:
    """Take the browser back from another provider and sign it in."""
    platform = platform_of(request)
    kept = request.cookies.get(STATE_COOKIE, "")
    if not (state and code and kept):
        raise SignInFailed("The provider did not sign you in, or this browser did not begin to; begin again.")
    arrival = await platform.identity.sign_in.arrive(
        provider, state=state, kept_state=kept, code=code, **browser(request)
    )
    response = RedirectResponse(arrival.return_to, 303)
    response.delete_cookie(STATE_COOKIE, path="/api/sign-in", secure=is_secure(platform), httponly=True)
    set_cookie(response, platform, arrival.session)
    return response


@router.post("/sign-in/{provider}/connect", openapi_extra=WITH_SESSION)
async def connect(request: Request, response: Response, caller: RecentlySignedIn, provider: str) -> dict[str, str]:
    """Begin to connect the account with another provider; send the browser to ``url``."""
    platform = platform_of(request)
    departure = await platform.identity.sign_in.depart(provider, return_to="/account", link=caller)
    _keep_state(response, platform, departure.state)
    return {"url": departure.url}


def _keep_state(response: Response, platform: Platform, state: str) -> None:
    """Let the browser remember which flow it began; Lax, since it comes back from another site."""
    response.set_cookie(
        STATE_COOKIE,
        state,
        max_age=STATE_S,
        path="/api/sign-in",
        secure=is_secure(platform),
        httponly=True,
        samesite="lax",
    )
    response.headers["cache-control"] = "no-store"
