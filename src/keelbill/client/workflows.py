"""Workflows of nodes, run by a Keelbill server: what they cost, and the pictures they make. Knows no connection.

Every public function here is a method of both `Client` and `AsyncClient`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, Literal

from keelbill.client.errors import BadRequestError, DeadlineExceededError, ServerError
from keelbill.client.events import Cancelled
from keelbill.client.forms import visible_key
from keelbill.client.pictures import SUFFIXES, ImageSource, Picture, part_of
from keelbill.client.wire import JSON, Exchange, Part, Reply, Request

WorkflowSource = str | os.PathLike[str] | bytes | Mapping[str, Any] | Picture
"""A path to JSON or to a picture, the content of such a file, a graph or workflow itself, or a `Picture`."""

Value = str | int | float | bool
RunStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]

PATH: Final = "/v1/workflows"
POLL_S: Final = (0.2, 0.3, 0.5, 1.0, 2.0)
"""Waits between questions for a run; the last one repeats."""

WAIT_S: Final = 1800.0
_KINDS: Final = {b"\x89PNG": "image/png", b"RIFF": "image/webp"}


@dataclass(frozen=True)
class WorkflowOutput:
    """A file that a run put out.

    Attributes:
        node: Id of the node that made it.
        filename: As the server keeps it.
        is_kept: Whether the server keeps it; others go after a day.
        picture: The file itself.
    """

    node: str
    filename: str
    is_kept: bool
    picture: Picture


@dataclass(frozen=True)
class WorkflowRun:
    """A run that has succeeded.

    Attributes:
        id: Under which the server knows it.
        job_id: Of the job that did it.
        outputs: Files, those that are kept first.
        shown: What else output nodes show, such as texts, by node.
        price: Credits that were set aside.
        charged: Credits that were taken; none if every result was known already.
    """

    id: str
    job_id: str
    outputs: tuple[WorkflowOutput, ...]
    shown: Mapping[str, Any]
    price: Decimal
    charged: Decimal

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The pictures, those that are kept first."""
        return tuple(output.picture for output in self.outputs)


@dataclass(frozen=True)
class PricedNode:
    """What one node costs."""

    node: str
    class_type: str
    service: str
    price: Decimal
    why: str


@dataclass(frozen=True)
class WorkflowPrice:
    """What a run would cost.

    Attributes:
        price: In credits.
        nodes: Those that cost something.
        pictures: That would be painted.
        left_out: What is wrong with outputs that cannot be made although others can.
    """

    price: Decimal
    nodes: tuple[PricedNode, ...]
    pictures: int
    left_out: tuple[str, ...] = field(default=())


def run_workflow(
    workflow: WorkflowSource,
    *,
    inputs: Mapping[str, Value] | None = None,
    files: Mapping[str, ImageSource] | None = None,
    seed: int | None = None,
    wait_s: float = WAIT_S,
    on_status: Callable[[RunStatus], None] | None = None,
    idempotency_key: str | None = None,
) -> Exchange[WorkflowRun]:
    """Run a workflow of nodes on a Keelbill server, and wait for its pictures.

    Args:
        workflow: A graph in the API format or a workflow as the editor saves it: a path, its content, or the object;
            or a PNG or WebP picture that carries one.
        inputs: Other values by ``NODE.INPUT``; a node is named by its id, its title or its class.
        files: Pictures by ``NODE.INPUT``, for nodes that load one; at most two.
        seed: Decides among ``{a|b}`` groups in texts of a saved workflow.
        wait_s: Seconds to wait for the end.
        on_status: Told where the run is, whenever the server was asked.
        idempotency_key: Your own name for this call: a second call of the same name is the same run.

    Raises:
        BadRequestError: The workflow cannot be read, or the server does not take it; it says which node and why.
        Cancelled: Somebody stopped the run.
        ServerError: A node failed; nothing was charged.
        DeadlineExceededError: The run has not ended after `wait_s`; it goes on.
    """
    accepted = yield _request(workflow, inputs, files, seed, {"mode": "async"}, idempotency_key)
    run_id = _text(_table(accepted), "id")
    waited_s, asked = 0.0, 0
    while True:
        pause_s = POLL_S[min(asked, len(POLL_S) - 1)]
        reply = yield Request("GET", f"{PATH}/runs/{run_id}", wait_s=pause_s)
        view = _table(reply)
        status = _text(view, "status")
        if on_status is not None:
            on_status(status)  # type: ignore[arg-type]  # a status that is new is told as it is
        if status not in ("queued", "running"):
            break
        waited_s, asked = waited_s + pause_s, asked + 1
        if waited_s >= wait_s:
            raise DeadlineExceededError(
                f"The run is not done after {wait_s:g} s.", hint=f"It goes on: GET {PATH}/runs/{run_id} tells."
            )
    if status == "cancelled":
        raise Cancelled("The run was stopped.", hint="Nothing was charged.")
    if status != "succeeded":
        raise ServerError(_text(view, "error") or "The run failed.", hint="Nothing was charged.")
    outputs = []
    for file in _tables(reply, view.get("pictures")):
        content = yield Request("GET", _text(file, "url"), accept="*/*")
        if content.media_type in SUFFIXES:
            outputs.append(_output(file, content))
    return WorkflowRun(
        id=run_id,
        job_id=_text(view, "job_id"),
        outputs=tuple(outputs),
        shown=view.get("shown") or {},
        price=_amount(reply, view, "price"),
        charged=_amount(reply, view, "charged"),
    )


def price_workflow(
    workflow: WorkflowSource,
    *,
    inputs: Mapping[str, Value] | None = None,
    files: Mapping[str, ImageSource] | None = None,
    seed: int | None = None,
) -> Exchange[WorkflowPrice]:
    """Return what a run of a workflow would cost; nothing runs and nothing is charged. Arguments as of `run_workflow`.

    Raises:
        BadRequestError: The server does not take the workflow; it says which node and why.
    """
    reply = yield _request(workflow, inputs, files, seed, {"dry_run": "true"}, None)
    found = _table(reply)
    nodes = tuple(
        PricedNode(
            node=_text(line, "node"),
            class_type=_text(line, "class_type"),
            service=_text(line, "service"),
            price=_amount(reply, line, "price"),
            why=_text(line, "why"),
        )
        for line in _tables(reply, found.get("lines"))
    )
    pictures = found.get("pictures")
    return WorkflowPrice(
        price=_amount(reply, found, "price"),
        nodes=nodes,
        pictures=pictures if isinstance(pictures, int) else 0,
        left_out=tuple(str(each) for each in found.get("left_out") or ()),
    )


def _request(
    workflow: WorkflowSource,
    inputs: Mapping[str, Value] | None,
    files: Mapping[str, ImageSource] | None,
    seed: int | None,
    form: Mapping[str, str],
    idempotency_key: str | None,
) -> Request:
    content = _content(workflow)
    media_type = next((kind for start, kind in _KINDS.items() if content.startswith(start)), JSON)
    parts = [Part("workflow", content, media_type)]
    parts += [part_of(_input(name), source) for name, source in (files or {}).items()]
    fields = dict(form)
    if inputs:
        fields["inputs"] = json.dumps({_input(name): value for name, value in inputs.items()})
    if seed is not None:
        fields["seed"] = str(seed)
    headers = {"idempotency-key": visible_key(idempotency_key)} if idempotency_key is not None else {}
    return Request("POST", f"{PATH}/run", fields, parts, headers=headers)


def _content(workflow: WorkflowSource) -> bytes:
    if isinstance(workflow, Picture):
        return workflow.data
    if isinstance(workflow, Mapping):
        try:
            return json.dumps(workflow, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise BadRequestError(f"workflow: cannot be written as JSON ({error}).") from error
    if isinstance(workflow, bytes):
        return workflow
    try:
        return Path(workflow).read_bytes()
    except OSError as error:
        raise BadRequestError(f"workflow: {os.fspath(workflow)!r} cannot be read: {error.strerror}.") from error


def _input(name: str) -> str:
    if "." not in name.strip("."):
        raise BadRequestError(f"inputs: {name!r} must be like '6.text', a node and one of its inputs.")
    return name


def _output(file: dict[str, Any], reply: Reply) -> WorkflowOutput:
    picture = Picture(reply.body, reply.media_type, request_id=reply.request_id)
    return WorkflowOutput(_text(file, "node"), _text(file, "filename"), _text(file, "type") == "output", picture)


def _table(reply: Reply) -> dict[str, Any]:
    found = reply.json()
    if not isinstance(found, dict):
        raise reply.unexpected("is not the expected JSON object")
    return found


def _tables(reply: Reply, value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise reply.unexpected("holds no list of objects")
    return value


def _text(table: Mapping[str, Any], name: str) -> str:
    value = table.get(name, "")
    return value if isinstance(value, str) else ""


def _amount(reply: Reply, table: Mapping[str, Any], name: str) -> Decimal:
    try:
        return Decimal(_text(table, name))
    except InvalidOperation as error:
        raise reply.unexpected(f"holds no number of credits in {name!r}") from error
