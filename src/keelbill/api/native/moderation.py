"""Routes for an organisation's rules about prompts, its review queue and its trail. Knows HTTP, no rules."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection
from starlette.requests import Request

from keelbill.api.deps import RecentlySignedIn, SignedIn, Staff, actor_of, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, WITH_SESSION, Body, JsonRoute, View
from keelbill.core.errors import PermissionDenied
from keelbill.core.principal import Principal
from keelbill.moderation import repository
from keelbill.moderation.policy import LOCKED, Action, Policy
from keelbill.moderation.schemas import Decision, Note, Review, ReviewState
from keelbill.moderation.text import Category, label

router = APIRouter(prefix="/api/moderation", tags=["Moderation"], route_class=JsonRoute, responses=ERRORS)

_BEFORE = Query(default="", max_length=32, description="Id of the last line of the page before.")
_LIMIT = Query(default=100, ge=1, le=500)
_STATE = Query(default="open", description="Which prompts; 'all' for every one.")
_EVERYWHERE = Query(default=False, description="Of every organisation; for administrators of the server.")


class PolicyLine(View):
    """What is done about one category."""

    category: str = Field(examples=["sexual"])
    label: str = Field(examples=["sexual content"])
    action: Action
    is_locked: bool = Field(description="Whether it cannot be changed.")


class PolicyChange(Body):
    """New actions by category; categories that are not named keep theirs."""

    actions: dict[str, str] = Field(min_length=1, max_length=32, examples=[{"gore": "review"}])


class ReviewView(View):
    """A prompt that passed and that a person should look at."""

    id: str
    org_id: str
    user_id: str
    request_id: str
    category: str
    severity: str
    text: str = Field(description="The prompt; empty once its time is over.")
    state: str
    decided_by: str
    note: str
    decided_ms: int
    created_ms: int

    @classmethod
    def of(cls, review: Review) -> ReviewView:
        """Return what is shown of a review."""
        return cls(**{name: value for name, value in vars(review).items() if name != "text_hash"})


class Verdict(Body):
    """What a person thinks of a prompt."""

    decision: Decision
    note: str = Field(default="", max_length=1000, description="Why.")


class NoteView(View):
    """One line of the trail; it does not hold the prompt."""

    id: str
    org_id: str
    user_id: str
    key_id: str
    request_id: str
    action: str
    category: str
    severity: str
    span_length: int
    text_hash: str
    created_ms: int

    @classmethod
    def of(cls, note: Note) -> NoteView:
        """Return what is shown of a line."""
        return cls(**vars(note))


@router.get("/policy", openapi_extra=WITH_SESSION)
async def get_policy(request: Request, caller: SignedIn) -> list[PolicyLine]:
    """Show what is done about each category."""
    return _lines(await platform_of(request).moderation.policy(caller))


@router.put("/policy", openapi_extra=WITH_SESSION)
async def set_policy(request: Request, caller: RecentlySignedIn, body: PolicyChange) -> list[PolicyLine]:
    """Choose what is done; it holds from the next prompt on. For owners and admins."""
    caller.require_role("owner", "admin")
    platform = platform_of(request)
    before = await platform.moderation.policy(caller)
    written = {str(category): action for category, action in before.actions.items()}
    policy = Policy.of(written | body.actions)
    after = {str(category): action for category, action in policy.actions.items()}
    actor = actor_of(request, caller)

    def write(connection: Connection) -> None:
        platform.moderation.set_policy(connection, caller, policy)
        platform.accounts.audit.add(
            connection, actor, "moderation.policy", caller.org_id, org_id=caller.org_id, before=written, after=after
        )

    await platform.db.write(write)
    return _lines(policy)


@router.get("/reviews", openapi_extra=WITH_SESSION)
async def list_reviews(
    request: Request,
    caller: SignedIn,
    state: ReviewState | Literal["all"] = _STATE,
    everywhere: bool = _EVERYWHERE,
    before_id: str = _BEFORE,
    limit: int = _LIMIT,
) -> list[ReviewView]:
    """List prompts that passed and that a person should look at, newest first. For owners and admins."""
    org_id = _scope(caller, everywhere)
    wanted = "" if state == "all" else state
    found = await platform_of(request).db.read(lambda c: repository.reviews(c, org_id, wanted, before_id, limit))
    return [ReviewView.of(review) for review in found]


@router.post("/reviews/{review_id}", openapi_extra=WITH_SESSION)
async def decide_review(
    request: Request, caller: SignedIn, review_id: str, body: Verdict, everywhere: bool = _EVERYWHERE
) -> ReviewView:
    """Approve or reject a prompt; the first decision stands. For owners and admins."""
    org_id = _scope(caller, everywhere)
    platform = platform_of(request)
    review = await platform.db.write(
        lambda c: platform.moderation.decide(c, caller, review_id, body.decision, body.note, org_id=org_id)
    )
    return ReviewView.of(review)


@router.get("/trail", openapi_extra=WITH_CREDENTIAL)
async def list_trail(
    request: Request,
    caller: Staff,
    org_id: str = Query(default="", max_length=32, description="Of one organisation; else of all."),
    before_id: str = _BEFORE,
    limit: int = _LIMIT,
) -> list[NoteView]:
    """List what rules objected to, newest first. For administrators of the server."""
    found = await platform_of(request).db.read(lambda c: repository.notes(c, org_id, before_id, limit))
    return [NoteView.of(note) for note in found]


def _scope(caller: Principal, everywhere: bool) -> str:
    """Return the organisation whose queue the caller may work on, "" for every one.

    Raises:
        PermissionDenied: The caller is neither owner nor admin, or no administrator of the server.
    """
    if everywhere and caller.is_staff:
        return ""
    if everywhere:
        raise PermissionDenied("authorization: only the administrators of this server see every organisation")
    caller.require_role("owner", "admin")
    return caller.org_id


def _lines(policy: Policy) -> list[PolicyLine]:
    return [
        PolicyLine(
            category=category, label=label(category), action=policy.actions[category], is_locked=category in LOCKED
        )
        for category in Category
    ]
