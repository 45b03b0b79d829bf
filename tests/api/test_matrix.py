"""Who may do what: every route has its rule here; all others are refused over HTTP, and these are not.

A new route fails the first test until somebody decides who may use it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache

import pytest

from keelbill.api.app import create_app
from keelbill.api.stability.services import SERVICES
from keelbill.core.settings import Settings
from keelbill.studio.pages import ADDRESSES
from support.callers import CALLERS, ROLES, SCOPES, Callers, Door, callers, doors_of, is_let_in
from support.server import LiveServer

KEYS = tuple(f"key {scope}" for scope in SCOPES)
PEOPLE = (*ROLES, "elsewhere", "staff")
MAKERS = ("owner", "admin", "member", "elsewhere", "staff")
SCOPES_OF_PEOPLE = {
    "account:read": PEOPLE,
    "history:read": PEOPLE,
    "generate": MAKERS,
    "edit": MAKERS,
    "upscale": MAKERS,
    "graph": MAKERS,
    "keys:write": ("owner", "admin", "elsewhere", "staff"),
}
"""Whose session carries each scope; whoever is elsewhere owns an organisation of their own."""

OPEN = """
GET /healthz, GET /readyz, GET /startupz, GET /api/status, GET /metrics, GET /api/options, GET /openapi.json, GET /docs,
GET /docs/page.css, GET /assets/images/{path:path}, GET /favicon.ico, GET /studio/{digest}/{path:path}, GET /comfy,
GET /v1/images/files/{token},
POST /api/sign-up, POST /api/verify, POST /api/password/reset, POST /api/password/new, POST /api/set-up, POST /api/join,
POST /api/sign-in, GET /api/sign-in, GET /api/sign-in/{provider}, GET /api/sign-in/{provider}/callback,
POST /api/payments/stripe/webhook
"""
ANY_CREDENTIAL = """
GET /v1/workflows/runs/{run_id}, GET /v1/workflows/runs/{run_id}/pictures/{place},
GET /v1/workflows/runs/{run_id}/events,
GET /api/jobs/{job_id}, GET /api/jobs/{job_id}/image, GET /api/jobs/{job_id}/result,
GET /api/jobs/{job_id}/events, GET /api/credits/prices
"""
ANY_KEY = """
GET /v1/models, GET /v1/models/{model}, GET /v1/engines/list,
GET /v2beta/results/{id}, GET /v2beta/stable-image/upscale/creative/result/{id},
GET /proxy/stability/v2beta/results/{id}, GET /proxy/stability/v2beta/stable-image/upscale/creative/result/{id}
"""
SCOPED = {
    "account:read": """
GET /api/me, GET /api/keys, GET /api/keys/{key_id}, GET /api/orgs, GET /api/orgs/current/members, GET /api/usage,
GET /api/usage.csv, GET /api/usage/limits, GET /api/usage/latency, GET /api/webhooks,
GET /api/webhooks/{webhook_id}/deliveries, GET /api/credits, GET /api/credits/transfers, POST /api/credits/vouchers,
GET /api/credits/receipts, GET /api/credits/recharge, GET /api/secrets, GET /api/nodes/packs,
GET /v1/user/balance, GET /v1/user/account
""",
    "keys:write": """
POST /api/keys, PATCH /api/keys/{key_id}, DELETE /api/keys/{key_id}, POST /api/keys/{key_id}/rotate, POST /api/webhooks,
PATCH /api/webhooks/{webhook_id}, DELETE /api/webhooks/{webhook_id}, POST /api/webhooks/{webhook_id}/secret,
POST /api/webhooks/{webhook_id}/ping, POST /api/webhooks/{webhook_id}/deliveries/{delivery_id},
PUT /api/secrets/{name}, DELETE /api/secrets/{name}
""",
    "generate": """
POST /api/jobs, DELETE /api/jobs/{job_id}, POST /api/gallery/albums, PATCH /api/gallery/albums/{album_id},
DELETE /api/gallery/albums/{album_id}, POST /api/gallery/albums/{album_id}/pictures,
DELETE /api/gallery/albums/{album_id}/pictures/{picture_id}, PATCH /api/gallery/{picture_id},
DELETE /api/gallery/{picture_id}, POST /api/gallery/changes, POST /api/gallery/deletions, POST /api/enlargements,
POST /api/edits, POST /api/uploads, POST /api/nodes/missing, GET /api/uploads/{upload_id}/image,
POST /v1/workflows/run, POST /v1/images/generations,
POST /v1/generation/{engine_id}/text-to-image, POST /v1/generation/{engine_id}/image-to-image
""",
    "history:read": """
GET /api/jobs, GET /api/gallery, GET /api/gallery/facets, GET /api/gallery/tags, GET /api/gallery/albums,
GET /api/gallery/{picture_id}, GET /api/gallery/{picture_id}/recipe, GET /api/gallery/{picture_id}/image,
GET /api/gallery/{picture_id}/thumbnail, POST /api/gallery/archives
""",
    "edit": """
POST /v1/images/edits, POST /v1/generation/{engine_id}/image-to-image/masking
""",
    "upscale": """
POST /v1/generation/{engine_id}/image-to-image/upscale
""",
}
SIGNED_IN = """
POST /api/verify/again, POST /api/password/change, POST /api/password/prove, PATCH /api/me, POST /api/orgs,
POST /api/orgs/switch/{org_id}, PATCH /api/orgs/current, DELETE /api/orgs/current/members/{user_id},
GET /api/orgs/current/invitations, POST /api/orgs/current/invitations,
DELETE /api/orgs/current/invitations/{invitation_id}, POST /api/orgs/accept, GET /api/orgs/current/audit,
GET /api/session, POST /api/sign-out, POST /api/sign-out/everywhere, GET /api/sessions,
DELETE /api/sessions/{session_id}, POST /api/credits/checkout, POST /api/credits/receipts/{payment_id}/confirm,
GET /api/moderation/policy, GET /api/moderation/reviews, POST /api/moderation/reviews/{review_id},
POST /api/sign-in/{provider}/connect, DELETE /api/orgs/current, PATCH /api/orgs/current/members/{user_id},
PUT /api/credits/recharge, PUT /api/moderation/policy
"""
STAFF = """
GET /api/treasury/payments, POST /api/treasury/payments/{payment_id}/refund, POST /api/treasury/adjustments,
GET /api/admin/accounts, POST /api/admin/accounts, PATCH /api/admin/accounts/{user_id}, GET /api/admin/vouchers,
POST /api/admin/vouchers, GET /api/admin/audit, GET /api/admin/models, POST /api/admin/models/{name}/pull,
DELETE /api/admin/models/{name}/pull, DELETE /api/admin/models/{name}, GET /api/admin/queue,
PUT /api/admin/queue/pause, POST /api/admin/queue/{job_id}/move, DELETE /api/admin/queue/{job_id},
GET /api/admin/workers, GET /api/admin/health, GET /api/moderation/trail
"""
REFUSED_ROLES = {
    "GET /api/orgs/current/audit": ("billing", "member", "viewer"),
    "GET /api/orgs/current/invitations": ("billing", "member", "viewer"),
    "POST /api/orgs/current/invitations": ("billing", "member", "viewer"),
    "PATCH /api/orgs/current": ("billing", "member", "viewer"),
    "DELETE /api/orgs/current": ("admin", "billing", "member", "viewer"),
    "PUT /api/moderation/policy": ("billing", "member", "viewer"),
    "GET /api/moderation/reviews": ("billing", "member", "viewer"),
    "DELETE /api/orgs/current/invitations/{invitation_id}": ("billing", "member", "viewer"),
    "PATCH /api/orgs/current/members/{user_id}": ("billing", "member", "viewer"),
    "DELETE /api/orgs/current/members/{user_id}": ("billing", "member", "viewer"),
    "POST /api/moderation/reviews/{review_id}": ("billing", "member", "viewer"),
    "GET /api/credits/receipts": ("member", "viewer"),
    "GET /api/credits/recharge": ("member", "viewer"),
    "PUT /api/credits/recharge": ("member", "viewer"),
    "POST /api/credits/checkout": ("member", "viewer"),
    "POST /api/credits/receipts/{payment_id}/confirm": ("member", "viewer"),
    "POST /api/credits/vouchers": ("member", "viewer"),
}
"""Members whom their role keeps out, though a session or a scope would do."""

JUDGES = {
    "POST /api/sign-up": "whether strangers may, is a setting",
    "POST /api/sign-in": "it judges the password",
    "POST /api/password/reset": "it answers a few times a minute, whoever asks",
    "GET /api/sign-in/{provider}/callback": "it judges what the provider says",
}
"""Doors of strangers that refuse for what is brought, not for who brings it."""

ENDINGS = (
    "POST /api/password/change",
    "POST /api/orgs/switch/{org_id}",
    "POST /api/orgs/accept",
    "POST /api/orgs",
    "POST /api/sign-out",
    "POST /api/sign-out/everywhere",
    "DELETE /api/orgs/current",
)
"""Doors that end or change the caller's session; knocked at last, each with a new one."""

WITHOUT_DESCRIPTION = {
    "GET /openapi.json": "it is the description",
    "GET /docs": "it shows the description",
    "GET /docs/page.css": "a file of that page",
    "GET /assets/images/{path:path}": "pictures that the graph editor asks for at this address",
    "GET /favicon.ico": "a file of the studio",
    "GET /studio/{digest}/{path:path}": "files of the studio",
    "GET /comfy": "the page of the graph editor",
    **{f"GET {address}": "a page of the studio" for address in ADDRESSES},
}


def listed(text: str) -> list[str]:
    return [line.strip() for line in text.replace("\n", " ").split(",") if line.strip()]


@cache
def rules() -> dict[str, tuple[str, ...]]:
    """Return whom each route must refuse."""
    found: dict[str, tuple[str, ...]] = {f"GET {address}": () for address in ADDRESSES}
    found |= dict.fromkeys(listed(OPEN), ())
    found |= dict.fromkeys(listed(ANY_CREDENTIAL), ("nobody",))
    found |= dict.fromkeys(listed(SIGNED_IN), ("nobody", *KEYS))
    found |= dict.fromkeys(listed(STAFF), ("nobody", *KEYS, *ROLES, "elsewhere"))
    scoped = {door: scope for scope, doors in SCOPED.items() for door in listed(doors)}
    for service in SERVICES:
        for prefix in ("", "/proxy/stability"):
            scoped[f"POST {prefix}/v2beta/stable-image/{service.path}"] = service.scope
    for door, scope in scoped.items():
        people = () if takes_keys_only(door) else SCOPES_OF_PEOPLE[scope]
        found[door] = tuple(caller for caller in CALLERS if caller not in (f"key {scope}", *people))
    found |= dict.fromkeys(listed(ANY_KEY), ("nobody", *PEOPLE))
    for door, roles in REFUSED_ROLES.items():
        found[door] = (*found[door], *roles)
    return found


def takes_keys_only(door: str) -> bool:
    """Whether other people's clients call it, which send a key and have no session."""
    path = door.partition(" ")[2]
    return path.startswith(("/v1/", "/v2beta/", "/proxy/")) and not path.startswith("/v1/workflows/")


def routes_of(server: LiveServer) -> set[str]:
    """Return the operations of an application around the server's parts."""
    return {str(door) for door in doors_of(create_app(server.platform))}


@pytest.fixture(scope="module")
def everybody(server: LiveServer) -> Iterator[Callers]:
    with callers(server) as found:
        yield found


def test_every_route_has_a_rule(server: LiveServer) -> None:
    routes = routes_of(server)
    assert sorted(routes - rules().keys()) == [], "decide who may use these, and write it down here"
    assert sorted(rules().keys() - routes) == [], "these routes are gone"


def test_every_route_is_described_or_says_why_not(server: LiveServer) -> None:
    paths = server.client.get("/openapi.json").json()["paths"]
    described = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}
    routes = routes_of(server)
    assert sorted(routes - described) == sorted(routes & WITHOUT_DESCRIPTION.keys())
    assert described <= routes


@pytest.mark.parametrize("caller", CALLERS)
def test_whoever_is_left_out_is_refused(everybody: Callers, caller: str) -> None:
    wrong = []
    for door, refused in rules().items():
        if caller in refused:
            answer = everybody.knock(caller, Door(*door.split(" ")))
            is_unknown = caller == "nobody" or (caller in PEOPLE and takes_keys_only(door))
            if answer.status_code != (401 if is_unknown else 403):
                wrong.append(f"{door}: {answer.status_code} {answer.text[:200]}")
    assert wrong == []


@pytest.fixture(scope="module")
def guests(server: LiveServer) -> Iterator[Callers]:
    """Others, whose sessions and organisation the granted doors may change."""
    with callers(server) as found:
        yield found


@pytest.mark.parametrize("caller", [*(caller for caller in CALLERS if caller != "owner"), "owner"])
def test_whoever_is_not_left_out_is_let_in(guests: Callers, caller: str) -> None:
    doors = [door for door, refused in rules().items() if caller not in refused and door not in JUDGES]
    assert doors
    wrong = []
    for door in sorted(doors, key=lambda door: ENDINGS.index(door) if door in ENDINGS else -1):
        if door in ENDINGS:
            guests.come_back(caller)
        answer = guests.knock(caller, Door(*door.split(" ")))
        if not is_let_in(answer):
            wrong.append(f"{door}: {answer.status_code} {answer.text[:200]}")
    assert wrong == []


def test_refusals_cost_nothing_and_change_nothing(everybody: Callers) -> None:
    balance = everybody.browsers["owner"].get("/api/credits").json()
    assert balance["reserved"] == "0"
    assert everybody.browsers["owner"].get("/api/jobs").json()["jobs"] == []


def test_settings_hold_no_default_password() -> None:
    assert not [name for name in inspect.signature(Settings).parameters if "password" in name]
