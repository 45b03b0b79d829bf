"""What is known of the request that is being answered: its id, who asks, what it cost. Knows no routes."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import HTTPConnection

from keelbill.api.ratelimit import Standing, Strike
from keelbill.core.principal import Principal

KEY = "keelbill.visit"


@dataclass(slots=True)
class Visit:
    """One request and what its handlers have learned of it.

    Attributes:
        request_id: In the answer's header, in errors and in logs.
        address: Of the client.
        method: As the client wrote it; handlers see a HEAD as GET.
        principal: Who asks; nothing until a credential was accepted.
        standing: How much of the rate limit is left, for the answer's headers.
        strike: What the request counts in the rate limit, so that it can be given back.
        rejected: Why it was refused, as a label of the metrics; "" if it was not.
        credits_micro: What was charged, in micro-credits; for a job that nobody waits for, what was set aside.
        job_id: The job that it made, if any.
        wait_ms: Spent in the queue and on a worker, for the gateway's own overhead.
        is_generation: Whether it waited for a picture.
        is_vouched: Whether a payment provider's signature vouches for it; then it does not count as a stranger's.
        trace_id: Of the request's trace, if traces are sent anywhere.
        closers: Called after the answer, for instance to close temporary files.
    """

    request_id: str
    address: str = ""
    method: str = ""
    principal: Principal | None = None
    standing: Standing | None = None
    strike: Strike | None = None
    rejected: str = ""
    credits_micro: int = 0
    job_id: str = ""
    wait_ms: float = 0.0
    is_generation: bool = False
    is_vouched: bool = False
    trace_id: str = ""
    closers: list[Callable[[], None]] = field(default_factory=list)


def visit_of(request: HTTPConnection | MutableMapping[str, Any]) -> Visit:
    """Return the visit that belongs to a request (or to an ASGI scope)."""
    scope = request.scope if isinstance(request, HTTPConnection) else request
    visit = scope.get(KEY)
    if not isinstance(visit, Visit):
        raise TypeError("the request did not pass through the application's envelope")
    return visit
