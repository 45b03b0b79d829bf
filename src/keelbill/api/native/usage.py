"""Routes for what was used: totals as JSON or CSV. Knows HTTP, no rules."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BeforeValidator
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.deps import CanReadAccount, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, JsonRoute, View
from keelbill.api.native.job_bodies import credits_text
from keelbill.usage.schemas import Grouping, Line
from keelbill.usage.service import as_csv

_CSV: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Comma-separated values with a header line.", "content": {"text/csv": {}}}
}
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_FIRST = Query(alias="from", description="First day, in UTC; 30 days before the last if left out.")
_LAST = Query(alias="to", description="Last day, included; today if left out.")


def _as_written(value: object) -> object:
    """Let only full dates through; pydantic would read a number as seconds since 1970."""
    if isinstance(value, str) and not _DAY.fullmatch(value):
        raise ValueError("a day is written as 2026-01-31")
    return value


Day = Annotated[date, BeforeValidator(_as_written)]

router = APIRouter(prefix="/api/usage", tags=["Usage"], route_class=JsonRoute, responses=ERRORS)


class UsageLine(View):
    """Totals of one day, key, member, service, model or outcome."""

    group: str
    requests: int
    pictures: int
    failed: int
    filtered: int
    credits: str
    compute_seconds: float

    @classmethod
    def of(cls, line: Line) -> UsageLine:
        """Return a line as JSON."""
        return cls(
            group=line.group,
            requests=line.requests,
            pictures=line.pictures,
            failed=line.failed,
            filtered=line.filtered,
            credits=credits_text(line.charged),
            compute_seconds=line.compute_ms / 1000,
        )


class UsageReport(View):
    """Totals of the account."""

    by: Grouping
    lines: list[UsageLine]


@router.get("", openapi_extra=WITH_CREDENTIAL)
async def usage_report(
    request: Request,
    caller: CanReadAccount,
    by: Grouping = "day",
    first: Annotated[Day | None, _FIRST] = None,
    last: Annotated[Day | None, _LAST] = None,
) -> UsageReport:
    """Return the account's totals of up to 400 days."""
    lines = await platform_of(request).usage.report(caller.org_id, by, first, last)
    return UsageReport(by=by, lines=[UsageLine.of(line) for line in lines])


@router.get(".csv", responses=_CSV, openapi_extra=WITH_CREDENTIAL)
async def usage_csv(
    request: Request,
    caller: CanReadAccount,
    by: Grouping = "day",
    first: Annotated[Day | None, _FIRST] = None,
    last: Annotated[Day | None, _LAST] = None,
) -> Response:
    """Return the same totals as comma-separated values, for a spreadsheet."""
    lines = await platform_of(request).usage.report(caller.org_id, by, first, last)
    headers = {"content-disposition": f'attachment; filename="usage-by-{by}.csv"', "cache-control": "no-store"}
    return Response(as_csv(by, lines), headers=headers, media_type="text/csv")
