"""Starts runs of workflows for programs, and waits for their end. Knows the workspace and the jobs, no route."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request

from keelbill.api.comfy.models import folders_of
from keelbill.api.comfy.submission import Submission, submit_graph
from keelbill.api.native.workflow_asks import Ask
from keelbill.api.native.workflow_views import PREFIX, error_of, left_out
from keelbill.core.errors import (
    AppError,
    Cancelled,
    Conflict,
    GenerationFailed,
    InvalidRequest,
    NotInstalled,
    OutOfMemory,
)
from keelbill.core.principal import Principal
from keelbill.graph.overrides import overridden
from keelbill.graph.registry import load_builtin
from keelbill.graph.workflow import is_workflow, to_prompt
from keelbill.jobs.schemas import Job
from keelbill.workspace.errors import NoSuchRun
from keelbill.workspace.names import place_of
from keelbill.workspace.schemas import Account, Run

if TYPE_CHECKING:
    from keelbill.api.comfy.models import ModelNames
    from keelbill.api.platform import Platform

RUNS: Final = uuid.UUID("0d5c2d6e-8a0a-4b0c-9a50-5c1e0f4a6f7e")
"""Namespace of the ids of runs that have an idempotency key (RFC 9562, 5.5)."""

UPLOADS: Final = "runs"
"""Folder of the pictures that came along with runs."""


def account_of(caller: Principal) -> Account:
    """Return whose workspace a caller's runs are in."""
    return Account(caller.org_id, caller.user_id)


async def submission_of(
    platform: Platform, models: ModelNames, caller: Principal, ask: Ask, request_id: str
) -> Submission:
    """Turn what was asked into the graph that runs; pictures that came along are kept.

    Args:
        platform: The parts of the server.
        models: Names of model files.
        caller: Whose files it may name.
        ask: What was asked.
        request_id: Of the HTTP request.

    Raises:
        GraphInvalid: It is no graph, or has nodes that are not installed.
        InvalidRequest: A name among the changes fits no input.
        BadImage: A picture cannot be read.
    """
    nodes, is_saved = load_builtin(), is_workflow(ask.workflow)
    graph: dict[str, Any] = ask.workflow
    if is_saved:
        folders = await folders_of(platform, models, account_of(caller))
        graph = await asyncio.to_thread(to_prompt, ask.workflow, nodes, folders, seed=ask.seed)
    changes = dict(ask.inputs)
    for name in ask.files:
        changes[name] = ""
    overridden(graph, changes, nodes)  # names are looked at before anything is stored
    for name, content in ask.files.items():
        changes[name] = await _upload(platform, caller, name, content)
    if changes:
        graph = overridden(graph, changes, nodes)
    extra = {"extra_pnginfo": {"workflow": ask.workflow}} if is_saved and not changes else {}
    return Submission(graph, extra, front="native", route=f"{PREFIX}/run", request_id=request_id)


async def _upload(platform: Platform, caller: Principal, name: str, content: bytes) -> str:
    """Keep a picture that came along, and return its name for graphs."""
    account = account_of(caller)
    await platform.workspace.require_room(account)
    clean = await platform.decoder.decode(content, field=name)
    mark = sha256(clean.png).hexdigest()
    place = place_of("input", f"{UPLOADS}/{mark[:32]}.png")
    kept = await platform.workspace.keep(clean.png, "image/png", width=clean.width, height=clean.height, made_by=mark)
    return (await platform.workspace.upload(account, place, kept)).path


async def start(
    platform: Platform, models: ModelNames, caller: Principal, submission: Submission, key: str | None
) -> tuple[Run, int, list[str], bool]:
    """Start a run, or find the one that was started with the same idempotency key.

    Returns:
        The run, the micro-credits that were set aside for it, what is wrong with outputs that were left out, and
        whether it was started before.

    Raises:
        AppError: It cannot be started; see `submit_graph`.
        Conflict: The key was used for another graph.
    """
    account = account_of(caller)
    if key is None:
        made = await submit_graph(platform, models, caller, submission)
        return await platform.runs.find(account, made.prompt_id), made.price, left_out(made.node_errors), False
    prompt_id = str(uuid.uuid5(RUNS, f"{account.tenant}\0{key}"))
    try:
        run = await platform.runs.find(account, prompt_id)
    except NoSuchRun:
        made = await submit_graph(platform, models, caller, replace(submission, prompt_id=prompt_id))
        return await platform.runs.find(account, prompt_id), made.price, left_out(made.node_errors), False
    if _differs(run, submission):
        raise Conflict("idempotency-key: was used for another workflow before")
    return run, 0, [], True


def _differs(run: Run, submission: Submission) -> bool:
    """Say whether a run is of another graph; only nodes that ran are compared, by class and texts."""
    asked = submission.prompt
    return any(
        name not in asked or asked[name].get("class_type") != node["class_type"] or _texts(asked[name]) != _texts(node)
        for name, node in run.graph.items()
    )


def _texts(node: dict[str, Any]) -> dict[str, str]:
    """Return a node's values as texts, which reading and checking a graph does not change."""
    return {
        name: str(value)
        for name, value in node.get("inputs", {}).items()
        if isinstance(value, str) and name != "api_key_override"
    }


async def await_end(request: Request, platform: Platform, caller: Principal, run: Run, *, is_kept: bool) -> Run:
    """Wait until a run has ended well.

    Args:
        request: Whose body has been read; whose client may go away.
        platform: The parts of the server.
        caller: Whose run.
        run: As it was found.
        is_kept: Whether it goes on without the client.

    Raises:
        Cancelled: The client is gone, or somebody stopped the run.
        AppError: The run failed; the message names the node.
    """
    if run.state == "open":
        work = asyncio.ensure_future(_last(platform, caller, run.job_id))
        gone = asyncio.ensure_future(_gone(request.receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                if not is_kept:
                    await platform.jobs.cancel(caller, run.job_id)
                raise Cancelled("The client has gone.")
        finally:
            for each in (work, gone):
                each.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        run = await platform.runs.find(account_of(caller), run.prompt_id)
    if run.state == "succeeded":
        return run
    if run.state == "cancelled":
        raise Conflict("The run was stopped.", hint="Nothing was charged.")
    raise _failure(run, await platform.jobs.get(caller, run.job_id))


async def _last(platform: Platform, caller: Principal, job_id: str) -> None:
    async for _ in platform.jobs.events(caller, job_id):
        pass


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _failure(run: Run, job: Job) -> AppError:
    """Return the error of a failed run."""
    error = GenerationFailed(error_of(run) or job.error_message or "The run failed.", hint="Nothing was charged.")
    for kind in (NotInstalled, InvalidRequest, OutOfMemory):
        if kind.code == job.error_code:
            error.code, error.status = kind.code, kind.status
    return error
