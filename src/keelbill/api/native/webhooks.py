"""Routes for webhooks: registered, tried out, looked into, sent again. Knows HTTP, no rules."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.deps import CanManageKeys, CanReadAccount, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, Body, JsonRoute, View
from keelbill.webhooks.schemas import EVENTS, Delivery, Event, Keyed, Webhook
from keelbill.webhooks.service import MAX_OVERLAP_S, OVERLAP_S

router = APIRouter(prefix="/api/webhooks", tags=["Webhooks"], route_class=JsonRoute, responses=ERRORS)


class NewWebhook(Body):
    """An address to be called."""

    url: str = Field(min_length=1, max_length=2048, examples=["https://example.com/hook"])
    events: list[Event] = Field(default=[*EVENTS], min_length=1, max_length=len(EVENTS))


class WebhookChange(Body):
    """What to change; what is left out stays. Turning it on forgets its failures."""

    url: str | None = Field(default=None, min_length=1, max_length=2048, examples=["https://example.com/hook"])
    events: list[Event] | None = Field(default=None, min_length=1, max_length=len(EVENTS))
    enabled: bool | None = None


class WebhookView(View):
    """A registered address."""

    id: str
    url: str
    events: list[str]
    enabled: bool
    failures: int = Field(description="Messages in a row that were given up; after five it is turned off.")
    created_ms: int

    @classmethod
    def of(cls, webhook: Webhook) -> WebhookView:
        """Return a webhook as JSON, without its secret."""
        shown = {name: getattr(webhook, name) for name in cls.model_fields}
        return cls(**{**shown, "events": list(webhook.events)})


class WebhookWithSecret(View):
    """A registered address with its secret, which is shown this once."""

    webhook: WebhookView
    secret: str = Field(examples=["whsec_…"])


class DeliveryView(View):
    """A message and how its delivery went."""

    id: str
    event: str
    state: str
    attempts: int
    next_ms: int
    last_status: int
    last_error: str
    created_ms: int
    finished_ms: int
    payload: dict[str, Any]

    @classmethod
    def of(cls, delivery: Delivery) -> DeliveryView:
        """Return a message as JSON."""
        shown = {name: getattr(delivery, name) for name in cls.model_fields}
        return cls(**{**shown, "payload": json.loads(delivery.payload)})


@router.get("", openapi_extra=WITH_CREDENTIAL)
async def list_webhooks(request: Request, caller: CanReadAccount) -> list[WebhookView]:
    """List the account's webhooks."""
    return [WebhookView.of(found) for found in await platform_of(request).webhooks.of_org(caller.org_id)]


@router.post("", status_code=201, openapi_extra=WITH_CREDENTIAL)
async def register_webhook(
    request: Request, response: Response, caller: CanManageKeys, body: NewWebhook
) -> WebhookWithSecret:
    """Register an address. Its secret is in this answer and nowhere else."""
    made = await platform_of(request).webhooks.register(caller.org_id, body.url, body.events)
    return _with_secret(response, made)


@router.patch("/{webhook_id}", openapi_extra=WITH_CREDENTIAL)
async def change_webhook(request: Request, caller: CanManageKeys, webhook_id: str, body: WebhookChange) -> WebhookView:
    """Change an address, its events, or whether it is called."""
    webhooks = platform_of(request).webhooks
    changed = await webhooks.change(caller.org_id, webhook_id, url=body.url, events=body.events, enabled=body.enabled)
    return WebhookView.of(changed)


@router.delete("/{webhook_id}", status_code=204, response_class=Response, openapi_extra=WITH_CREDENTIAL)
async def remove_webhook(request: Request, caller: CanManageKeys, webhook_id: str) -> None:
    """Forget an address and what was sent to it."""
    await platform_of(request).webhooks.remove(caller.org_id, webhook_id)


@router.post("/{webhook_id}/secret", openapi_extra=WITH_CREDENTIAL)
async def roll_webhook_secret(
    request: Request,
    response: Response,
    caller: CanManageKeys,
    webhook_id: str,
    overlap_s: Annotated[
        int, Query(ge=0, le=MAX_OVERLAP_S, description="How long messages carry a signature of the old secret too.")
    ] = OVERLAP_S,
) -> WebhookWithSecret:
    """Replace the secret; for the overlap, messages are signed with the old one too."""
    rolled = await platform_of(request).webhooks.roll_secret(caller.org_id, webhook_id, overlap_s)
    return _with_secret(response, rolled)


@router.post("/{webhook_id}/ping", status_code=202, openapi_extra=WITH_CREDENTIAL)
async def ping_webhook(request: Request, caller: CanManageKeys, webhook_id: str) -> DeliveryView:
    """Send a message of the type `ping`, to try a receiver out."""
    platform = platform_of(request)
    message = await platform.webhooks.ping(caller.org_id, webhook_id)
    platform.courier.wake()
    return DeliveryView.of(message)


@router.get("/{webhook_id}/deliveries", openapi_extra=WITH_CREDENTIAL)
async def list_deliveries(
    request: Request,
    caller: CanReadAccount,
    webhook_id: str,
    before: Annotated[str, Query(pattern="^([0-9a-f]{32})?$")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> list[DeliveryView]:
    """List messages to an address, newest first."""
    found = await platform_of(request).webhooks.deliveries(caller.org_id, webhook_id, before, limit)
    return [DeliveryView.of(delivery) for delivery in found]


@router.post("/{webhook_id}/deliveries/{delivery_id}", status_code=202, openapi_extra=WITH_CREDENTIAL)
async def redeliver(request: Request, caller: CanManageKeys, webhook_id: str, delivery_id: str) -> DeliveryView:
    """Send a message once more, with the same id."""
    platform = platform_of(request)
    message = await platform.webhooks.redeliver(caller.org_id, webhook_id, delivery_id)
    platform.courier.wake()
    return DeliveryView.of(message)


def _with_secret(response: Response, made: Keyed) -> WebhookWithSecret:
    response.headers["cache-control"] = "no-store"
    return WebhookWithSecret(webhook=WebhookView.of(made.webhook), secret=made.secret)
