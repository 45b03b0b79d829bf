"""The versioned routes for runs, which the editor's lists use: one shape for waiting, running and ended ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal

from starlette.routing import BaseRoute

from keelbill.api.comfy.bodies import read_object
from keelbill.api.comfy.door import Call, both, facts, reply
from keelbill.api.comfy.prompts import ending, stop
from keelbill.api.comfy.stage import Stage
from keelbill.core.errors import InvalidRequest
from keelbill.workspace.errors import NoSuchRun
from keelbill.workspace.schemas import Run, RunState

if TYPE_CHECKING:
    from starlette.responses import Response

Status = Literal["pending", "in_progress", "completed", "failed", "cancelled"]

STATES: Final[dict[str, RunState]] = {
    "pending": "open",
    "in_progress": "open",
    "completed": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}
MAX_LISTED: Final = 1000
MAX_IDS: Final = 1000
_PREVIEWABLE: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif")


class RunsApi:
    """The routes.

    Args:
        stage: Who tells sockets.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            *both("/jobs", self.listed),
            *both("/jobs/cancel", self.cancel_some, "POST"),
            *both("/jobs/{prompt_id}", self.one),
            *both("/jobs/{prompt_id}/cancel", self.cancel, "POST"),
        ]

    async def listed(self, call: Call) -> Response:
        """List runs, newest first unless asked otherwise."""
        call.forgive()
        asked = call.query
        known = [each for each in asked.get("status", "").lower().split(",") if each in STATES]
        wanted = known if asked.get("status") else list(STATES)
        states = sorted({STATES[each] for each in wanted})
        found = await call.platform.runs.listed(call.account, asked.get("workflow_id", ""), states)
        views = [view(run) for run in found if status_of(run) in wanted]
        if asked.get("sort_by") == "execution_duration":
            views.sort(key=lambda each: each.get("execution_end_time", 0) - each.get("execution_start_time", 0))
            views.reverse()
        if asked.get("sort_order", "desc").lower() == "asc":
            views.reverse()
        offset = call.number("offset", 0, 2**31) or 0
        limit = call.number("limit", 1, MAX_LISTED)
        shown = views[offset : offset + (limit or MAX_LISTED)]
        pagination = {
            "offset": offset,
            "limit": limit if limit is not None else len(shown),
            "total": len(views),
            "has_more": offset + len(shown) < len(views),
        }
        return reply({"jobs": shown, "pagination": pagination})

    async def one(self, call: Call) -> Response:
        """Return one run with everything that it came with and put out."""
        call.forgive()
        run = await call.platform.runs.find(call.account, call.path("prompt_id"))
        whole = {"prompt": run.graph, "extra_data": json.loads(run.extra)}
        more = {"outputs": run.results, "execution_status": ending(run) if run.state != "open" else None}
        return reply(view(run) | facts(**more) | {"workflow": whole})

    async def cancel(self, call: Call) -> Response:
        """Stop a run; one that has ended stays as it is."""
        await read_object(call.request)
        run = await call.platform.runs.find(call.account, call.path("prompt_id"))
        was_open = run.state == "open" and await stop(call, run)
        await self._stage.status(call.account)
        return reply({"id": run.prompt_id, "cancelled": was_open})

    async def cancel_some(self, call: Call) -> Response:
        """Stop some runs; ids that are not known are passed over."""
        body = await read_object(call.request)
        wanted = body.get("job_ids")
        if not isinstance(wanted, list) or len(wanted) > MAX_IDS or not all(isinstance(each, str) for each in wanted):
            raise InvalidRequest(f"job_ids: must be a list of at most {MAX_IDS} ids")
        stopped = []
        for prompt_id in wanted:
            try:
                run = await call.platform.runs.find(call.account, prompt_id)
            except NoSuchRun:
                continue
            if run.state == "open" and await stop(call, run):
                stopped.append(prompt_id)
        await self._stage.status(call.account)
        return reply({"cancelled": stopped})


def status_of(run: Run) -> Status:
    """Return where a run is, as these routes call it."""
    if run.state == "open":
        return "in_progress" if run.is_running else "pending"
    return "completed" if run.state == "succeeded" else run.state


def view(run: Run) -> dict[str, Any]:
    """Return a run; what is not known is left out."""
    shown = _shown(run)
    last = run.last_message
    return facts(
        id=run.prompt_id,
        status=status_of(run),
        create_time=run.created_ms,
        priority=run.number,
        execution_start_time=run.started_ms or None,
        execution_end_time=run.finished_ms or None,
        outputs_count=len(shown) if run.state != "open" else None,
        preview_output=_preview(shown),
        execution_error=last[1] if last is not None and last[0] == "execution_error" else None,
        workflow_id=run.workflow_id or None,
    )


def _shown(run: Run) -> list[dict[str, Any]]:
    return [
        {**each, "nodeId": node, "mediaType": kind}
        for node, output in run.results.items()
        for kind, items in output.items()
        if isinstance(items, list)
        for each in items
        if isinstance(each, dict) and "filename" in each
    ]


def _preview(shown: list[dict[str, Any]]) -> dict[str, Any] | None:
    pictures = [each for each in shown if str(each["filename"]).lower().endswith(_PREVIEWABLE)]
    kept = [each for each in pictures if each.get("type") == "output"]
    return next(iter(kept or pictures), None)
