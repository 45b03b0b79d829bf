"""Routes for graphs to run: submitted, queued, remembered, stopped. Knows HTTP; `submission` knows the rules."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import BaseRoute

from keelbill.api.comfy.bodies import MAX_JSON_BYTES, is_small, read_object
from keelbill.api.comfy.door import Call, both, nothing, reply
from keelbill.api.comfy.models import ModelNames
from keelbill.api.comfy.stage import Stage
from keelbill.api.comfy.submission import Submission, submit_graph
from keelbill.api.visits import visit_of
from keelbill.core.errors import InvalidRequest, NotFound
from keelbill.graph.errors import GraphInvalid
from keelbill.workspace.errors import NoSuchRun
from keelbill.workspace.schemas import Run

if TYPE_CHECKING:
    from starlette.responses import Response

MAX_HISTORY: Final = 10_000
MAX_IDS: Final = 1000
_OK: Final = "success"


class Prompts:
    """The routes.

    Args:
        models: Names of model files.
        stage: Who tells sockets.
    """

    def __init__(self, models: ModelNames, stage: Stage) -> None:
        self._models = models
        self._stage = stage

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            *both("/prompt", self.remaining),
            *both("/prompt", self.submit, "POST"),
            *both("/queue", self.queue),
            *both("/queue", self.change_queue, "POST"),
            *both("/history", self.history),
            *both("/history", self.change_history, "POST"),
            *both("/history/{prompt_id}", self.history_of),
            *both("/interrupt", self.interrupt, "POST"),
        ]

    async def remaining(self, call: Call) -> Response:
        """Return how many runs have not ended."""
        call.forgive()
        return reply({"exec_info": {"queue_remaining": await call.platform.runs.count_open(call.account)}})

    async def submit(self, call: Call) -> Response:
        """Take a graph in."""
        limit = min(MAX_JSON_BYTES, call.platform.settings.max_body_bytes)
        body = await read_object(call.request, limit, empty=False)
        submitted = await submit_graph(call.platform, self._models, call.principal, self._submission(call, body))
        visit = visit_of(call.request)
        visit.job_id, visit.credits_micro = submitted.job_id, submitted.price
        await self._stage.status(call.account)
        return reply(
            {
                "prompt_id": submitted.prompt_id,
                "number": submitted.number,
                "node_errors": submitted.node_errors,
            }
        )

    def _submission(self, call: Call, body: dict[str, Any]) -> Submission:
        if "prompt" not in body:
            raise GraphInvalid("no_prompt", "There is no graph in the request.")
        client_id = _text(body, "client_id")
        socket = self._stage.sockets.client(call.account, client_id)
        extra = body.get("extra_data")
        extra = {} if extra is None else extra
        targets = body.get("partial_execution_targets")
        if not isinstance(extra, dict):
            raise InvalidRequest("extra_data: must be an object")
        if targets is not None and not (isinstance(targets, list) and all(isinstance(each, str) for each in targets)):
            raise InvalidRequest("partial_execution_targets: must be a list of node ids")
        return Submission(
            prompt=body["prompt"],
            extra=extra,
            client_id=client_id,
            prompt_id=_text(body, "prompt_id"),
            number=_number(body),
            in_front=body.get("front") is True,
            targets=tuple(targets) if targets is not None else None,
            sees_previews=socket is not None and socket.takes_previews,
            request_id=visit_of(call.request).request_id,
            is_small=is_small(call.request),
        )

    async def queue(self, call: Call) -> Response:
        """List the runs that have not ended."""
        call.forgive()
        found = await call.platform.runs.open_runs(call.account)
        running = [item(run) for run in found if run.is_running]
        return reply({"queue_running": running, "queue_pending": [item(run) for run in found if not run.is_running]})

    async def change_queue(self, call: Call) -> Response:
        """Take runs that wait out of the queue."""
        body = await read_object(call.request)
        wanted = None if body.get("clear") is True else _ids(body)
        for run in await call.platform.runs.open_runs(call.account):
            if not run.is_running and (wanted is None or run.prompt_id in wanted):
                await stop(call, run)
        await self._stage.status(call.account)
        return nothing()

    async def history(self, call: Call) -> Response:
        """List runs that have ended, oldest first."""
        call.forgive()
        limit, offset = call.number("max_items", -1, MAX_HISTORY), call.number("offset", -1, 2**31)
        found = await call.platform.runs.history(
            call.account, limit if limit is None or limit >= 0 else None, None if offset == -1 else offset
        )
        return reply({run.prompt_id: entry(run) for run in found})

    async def history_of(self, call: Call) -> Response:
        """Return a run that has ended, or an empty object."""
        call.forgive()
        try:
            run = await call.platform.runs.find(call.account, call.path("prompt_id"))
        except NoSuchRun:
            return reply({})
        return reply({} if run.state == "open" else {run.prompt_id: entry(run)})

    async def change_history(self, call: Call) -> Response:
        """Remove runs that have ended from the history."""
        body = await read_object(call.request)
        wanted = None if body.get("clear") is True else _ids(body)
        if wanted is None or wanted:
            await call.platform.runs.forget(call.account, wanted)
        return nothing()

    async def interrupt(self, call: Call) -> Response:
        """Stop what runs: one run, or all of the account."""
        body = await read_object(call.request)
        wanted = _text(body, "prompt_id")
        for run in await call.platform.runs.open_runs(call.account):
            if run.is_running and (not wanted or run.prompt_id == wanted):
                await stop(call, run)
        return nothing()


async def stop(call: Call, run: Run) -> bool:
    """End a run that has not ended; return whether it was open."""
    try:
        return await call.platform.jobs.cancel(call.principal, run.job_id)
    except NotFound:
        return False


def item(run: Run) -> list[Any]:
    """Return a run as an entry of the queue."""
    return [run.number, run.prompt_id, run.graph, json.loads(run.extra), list(run.targets)]


def entry(run: Run) -> dict[str, Any]:
    """Return a run as an entry of the history."""
    return {
        "prompt": item(run),
        "outputs": run.results,
        "status": ending(run),
        "meta": {
            node: {"node_id": node, "display_node": node, "parent_node": None, "real_node_id": node}
            for node in run.results
        },
    }


def ending(run: Run) -> dict[str, Any]:
    """Return how a run ended."""
    is_good = run.state == "succeeded"
    messages = [[name, data] for name, data in run.messages]
    return {"status_str": _OK if is_good else "error", "completed": is_good, "messages": messages}


def _ids(body: dict[str, Any]) -> list[str]:
    given = body.get("delete") or []
    if not isinstance(given, list) or len(given) > MAX_IDS or not all(isinstance(each, str) for each in given):
        raise InvalidRequest(f"delete: must be a list of at most {MAX_IDS} ids")
    return given


def _text(body: dict[str, Any], name: str) -> str:
    given = body.get(name)
    if given is not None and not isinstance(given, str):
        raise InvalidRequest(f"{name}: must be text")
    return given or ""


def _number(body: dict[str, Any]) -> float | None:
    given = body.get("number")
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given) or abs(given) > 2**53:
        raise InvalidRequest("number: must be a number")
    return float(given)
