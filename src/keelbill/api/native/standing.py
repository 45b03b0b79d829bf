"""Routes for how an account stands right now: its limits, and how long its pictures took. Knows HTTP, no rules."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request

from keelbill.api.caller import limiter_name
from keelbill.api.deps import CanReadAccount, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, JsonRoute, View
from keelbill.jobs import latency

DAY_MS = 86_400_000

router = APIRouter(prefix="/api/usage", tags=["Usage"], route_class=JsonRoute, responses=ERRORS)


class LimitsView(View):
    """What the account may still do in this moment."""

    rate_limit: int = Field(description="Requests per window.")
    rate_remaining: int = Field(description="Requests that would be answered now.")
    rate_reset_s: int = Field(description="Seconds until more would be.")
    rate_window_s: float
    jobs: int = Field(description="Jobs of the account that wait or run.")
    max_jobs: int


class LatencyView(View):
    """How long the pictures of one day took, in milliseconds."""

    day: str
    jobs: int
    wait_p50_ms: int
    wait_p95_ms: int
    total_p50_ms: int
    total_p95_ms: int
    total_p99_ms: int


@router.get("/limits", openapi_extra=WITH_CREDENTIAL)
async def get_limits(request: Request, caller: CanReadAccount) -> LimitsView:
    """Say how close the account is to its limits; asking counts as a request, too."""
    platform = platform_of(request)
    standing = platform.limiter.standing(limiter_name(caller), limit=caller.rate_limit)
    return LimitsView(
        rate_limit=standing.limit,
        rate_remaining=standing.remaining,
        rate_reset_s=standing.reset_s,
        rate_window_s=standing.window_s,
        jobs=sum(job.spec.org_id == caller.org_id for job in platform.gateway.jobs()),
        max_jobs=platform.settings.max_account_jobs,
    )


@router.get("/latency", openapi_extra=WITH_CREDENTIAL)
async def get_latency(
    request: Request, caller: CanReadAccount, days: Annotated[int, Query(ge=1, le=400)] = 30
) -> list[LatencyView]:
    """Say how long pictures waited and took, by day; of the newest 5,000."""
    platform = platform_of(request)
    since_ms = platform.clock.now_ms() - days * DAY_MS
    found = await platform.db.read(lambda c: latency.by_day(c, caller.org_id, since_ms))
    return [LatencyView(**vars(day)) for day in found]
