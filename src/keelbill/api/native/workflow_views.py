"""What clients are told of runs of workflows: prices, states, pictures, and what happens meanwhile. Knows no HTTP."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from pydantic import Field

from keelbill.api.comfy.submission import Checked
from keelbill.api.native.bodies import View
from keelbill.api.native.job_bodies import credits_text
from keelbill.graph.errors import GraphInvalid
from keelbill.serving.messages import Cancelled, Event, Failed, GraphNews, Progress, Queued, Retrying, Started
from keelbill.workspace.schemas import Run

PREFIX: Final = "/v1/workflows"
EXAMPLE: Final[dict[str, Any]] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 16711680}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}
"""A small graph for the documentation, which costs nothing."""

STATES: Final = {"open": "queued", "succeeded": "succeeded", "failed": "failed", "cancelled": "cancelled"}


class NodePrice(View):
    """What one node costs."""

    node: str
    class_type: str
    service: str = Field(description="Item of the price list.")
    price: str = Field(examples=["4.7"])
    why: str


class WorkflowPrice(View):
    """What a run would cost. Nothing was stored and nothing runs."""

    price: str = Field(description="In credits.", examples=["4.7"])
    lines: list[NodePrice]
    pictures: int = Field(description="That are painted.")
    pixel_steps: int = Field(description="Pixels times steps of everything that is painted.")
    left_out: list[str] = Field(description="What is wrong with outputs that cannot be made although others can.")

    @classmethod
    def of(cls, checked: Checked) -> WorkflowPrice:
        """Return a checked graph's price as JSON."""
        quote = checked.quote
        lines = [
            NodePrice(
                node=line.node,
                class_type=line.class_type,
                service=line.service,
                price=credits_text(line.amount),
                why=line.why,
            )
            for line in quote.lines
        ]
        return cls(
            price=credits_text(quote.price),
            lines=lines,
            pictures=quote.pictures,
            pixel_steps=quote.pixel_steps,
            left_out=left_out(checked.valid.node_errors),
        )


class WorkflowPicture(View):
    """A file that a run put out."""

    node: str
    filename: str
    type: str = Field(description="`output` is kept, `temp` goes after a day.")
    media_type: str = ""
    url: str = Field(description="Where it is, for the same key.")
    image: str = Field(default="", description="Its bytes in base64, where the answer waited for them.")


class WorkflowRun(View):
    """A run of a workflow."""

    id: str
    job_id: str = Field(description="For `/api/jobs`, which cancels it.")
    status: str = Field(examples=["queued", "running", "succeeded", "failed", "cancelled"])
    price: str = Field(description="Credits that are set aside.")
    charged: str = Field(description="Credits that were taken; nothing, if every result was known already.")
    pictures: list[WorkflowPicture] = Field(default=[])
    shown: dict[str, Any] = Field(default={}, description="What else output nodes show, such as texts, by node.")
    error: str = ""
    left_out: list[str] = Field(default=[], description="What is wrong with outputs that were left out.")


def left_out(node_errors: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with nodes of a graph that runs without them."""
    return list(GraphInvalid("", "", node_errors=node_errors).problems[1:])


def pictures_of(run: Run) -> list[WorkflowPicture]:
    """Return the files that a run put out, those that are kept first."""
    found = [
        (node, file)
        for node, shown in run.results.items()
        for files in shown.values()
        if isinstance(files, list)
        for file in files
        if isinstance(file, dict) and "filename" in file
    ]
    found.sort(key=lambda each: each[1].get("type") != "output")
    return [
        WorkflowPicture(
            node=node,
            filename="/".join(part for part in (file.get("subfolder"), file["filename"]) if part),
            type=str(file.get("type", "output")),
            url=f"{PREFIX}/runs/{run.prompt_id}/pictures/{place}",
        )
        for place, (node, file) in enumerate(found)
    ]


def shown_of(run: Run) -> dict[str, Any]:
    """Return what output nodes show besides files, by node."""
    found = {
        node: {name: value for name, value in shown.items() if not _has_files(value)}
        for node, shown in run.results.items()
    }
    return {node: shown for node, shown in found.items() if shown}


def error_of(run: Run) -> str:
    """Return why a run failed, with the node; "" if it did not."""
    last = run.last_message
    if last is None or last[0] != "execution_error":
        return ""
    said = last[1]
    node, kind = said.get("node_id"), said.get("node_type")
    message = str(said.get("exception_message", "")).strip()
    return f"Node {node} ({kind}): {message}" if node else message


def with_content(picture: WorkflowPicture, content: bytes, media_type: str) -> WorkflowPicture:
    """Return a picture with its bytes."""
    return picture.model_copy(update={"image": base64.b64encode(content).decode(), "media_type": media_type})


async def told(events: AsyncIterator[Event], run: Run) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Say what happens in a run: pairs of a kind and its facts; the end is left to the caller."""
    async for event in events:
        if isinstance(event, Queued):
            yield "queued", {"position": event.position, "estimate_ms": event.estimate_ms}
        elif isinstance(event, Started):
            yield "started", {"worker": event.worker, "attempt": event.attempt}
        elif isinstance(event, Retrying):
            yield "retrying", {"attempt": event.attempt, "reason": event.reason}
        elif isinstance(event, Progress):
            yield "progress", {"step": event.step, "total": event.total}
        elif isinstance(event, GraphNews) and (news := _news(event, run)):
            yield news
        elif isinstance(event, Failed):
            yield "failed", {"code": event.code, "message": event.message}
        elif isinstance(event, Cancelled):
            yield "cancelled", {"reason": event.reason}


def _news(news: GraphNews, run: Run) -> tuple[str, dict[str, Any]] | None:
    if news.kind == "cached":
        return "cached", {"nodes": list(news.nodes)}
    if news.kind == "node":
        return "node", {"node": news.display, "class_type": run.class_of(news.node)}
    if news.kind == "progress":
        return "progress", {"node": news.display, "step": news.value, "total": news.total}
    return None


def _has_files(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(each, dict) and "filename" in each for each in value)
