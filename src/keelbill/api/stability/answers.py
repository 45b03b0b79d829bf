"""Turns a finished job into the answer that clients read: raw bytes or JSON, with the headers. Knows no tables."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from keelbill.core.types import credits_of
from keelbill.jobs.schemas import Outcome


def finish_reason(outcome: Outcome) -> str:
    """Return ``SUCCESS``, or ``CONTENT_FILTERED`` for a picture that was blurred."""
    return "CONTENT_FILTERED" if outcome.filtered else "SUCCESS"


def credits_text(micro: int) -> str:
    """Write micro-credits as credits without exponent or needless zeros, such as ``6.5``."""
    return f"{credits_of(micro):f}"


def job_headers(outcomes: list[Outcome], elapsed_ms: float) -> dict[str, str]:
    """Return the headers that tell how a request went.

    Args:
        outcomes: Its pictures, at least one.
        elapsed_ms: From the request's start until now.
    """
    first = outcomes[0]
    busy_ms = max(outcome.queue_ms + outcome.run_ms for outcome in outcomes)
    headers = {
        "x-keelbill-model": first.model,
        "x-credits-charged": credits_text(sum(outcome.charged for outcome in outcomes)),
    }
    if first.replayed:
        headers["idempotent-replayed"] = "true"
    else:
        headers["x-gateway-overhead-ms"] = f"{max(0.0, elapsed_ms - busy_ms):.1f}"
    return headers


def picture_answer(outcome: Outcome, headers: dict[str, str], *, as_json: bool, polled: bool = False) -> Response:
    """Answer with one picture.

    Args:
        outcome: The finished job.
        headers: Besides those that every such answer has.
        as_json: Whether the picture travels in base64 inside a JSON object.
        polled: Whether the JSON also has the picture as ``result``, which clients that poll read.
    """
    reason = finish_reason(outcome)
    headers = headers | {"finish-reason": reason, "seed": str(outcome.seed)}
    if not as_json:
        return Response(outcome.image, headers=headers, media_type=outcome.media_type)
    body: dict[str, object] = {"image": outcome.image}
    if polled:
        body["result"] = outcome.image
    body |= {"finish_reason": reason, "seed": outcome.seed}
    headers["content-type"] = f"application/json; type={outcome.media_type}"
    return Response(msgspec.json.encode(body), headers=headers)
