"""Follows requests from their head to the stored picture, as spans. Knows the names of no span and sends nothing.

A request has a span. Below it are its admission, until its job is written, and the generation: the queue, the worker
with its phases, and the storing. Nothing that a client wrote is in them but the ids of its own trace.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.types import Scope

from keelbill.api.visits import Visit
from keelbill.jobs.book import Book
from keelbill.serving.messages import Cancelled, Event, Failed, JobSpec, Retrying, Started, Succeeded, Terminal
from keelbill.telemetry import conventions as names
from keelbill.telemetry.export import Attributes, Recorder, end, now_ns
from keelbill.telemetry.logs import scrub
from keelbill.telemetry.metrics import METHODS, PHASES, Metrics

if TYPE_CHECKING:
    from opentelemetry.trace import Span


@dataclass
class RequestTrace:
    """A request that is being answered.

    Attributes:
        span: Of the request.
        method: Of the request.
        began_ns: When its head came, in nanoseconds since 1970.
        is_admitted: Whether its first job is written.
    """

    span: Span
    method: str
    began_ns: int
    is_admitted: bool = False
    token: Token[RequestTrace | None] | None = None


@dataclass
class _Generation:
    """A job that has not ended."""

    span: Span
    asked_ns: int
    waits_ns: int
    runs_ns: int = 0
    worker: str = ""
    attempt: int = 1
    stored_ns: tuple[int, int] = (0, 0)


_current: ContextVar[RequestTrace | None] = ContextVar("request_trace", default=None)


class Traces:
    """The spans of one server.

    Args:
        recorder: Makes and sends them.
        metrics: Knows which names of models may be labels.
    """

    def __init__(self, recorder: Recorder, metrics: Metrics) -> None:
        self._recorder = recorder
        self._metrics = metrics
        self._generations: dict[str, _Generation] = {}

    # ------------------------------------------------------------ requests

    def begin(self, scope: Scope, visit: Visit) -> RequestTrace:
        """Begin to follow a request; what it starts is told apart from what others start by Python's context."""
        method = visit.method if visit.method in METHODS else names.OTHER_METHOD
        began_ns = now_ns()
        attributes = {names.METHOD: method, names.REQUEST_ID: scrub(visit.request_id)}
        span = self._recorder.serve(method, _traceparent(scope), attributes, began_ns)
        found = span.get_span_context()
        visit.trace_id = f"{found.trace_id:032x}" if found.is_valid else ""
        trace = RequestTrace(span, method, began_ns)
        trace.token = _current.set(trace)
        return trace

    def end(self, trace: RequestTrace, route: str, status: int) -> None:
        """End a request's span; called in the context in which it began."""
        if trace.token is not None:
            _current.reset(trace.token)
        trace.span.update_name(f"{trace.method} {route}")
        trace.span.set_attribute(names.ROUTE, route)
        trace.span.set_attribute(names.STATUS, status)
        end(trace.span, now_ns(), str(status) if status >= 500 else "")

    # ------------------------------------------------------------ jobs

    def entered(self, spec: JobSpec) -> None:
        """Follow a job that waits for its turn from now on."""
        at_ns = now_ns()
        request = _current.get()
        asked_ns = request.began_ns if request else at_ns
        if request is not None and not request.is_admitted:
            request.is_admitted = True
            self._recorder.note(names.ADMISSION, request.span, request.began_ns, at_ns)
        model = self._metrics.model(spec.task.model)
        attributes = {**self._attributes(model), names.JOB_ID: spec.job_id, names.JOB_KIND: spec.task.kind}
        parent = request.span if request else None
        span = self._recorder.begin(f"{names.GENERATE} {model}", parent, attributes, at_ns)
        self._generations[spec.job_id] = _Generation(span, asked_ns, at_ns)

    def heard(self, spec: JobSpec, event: Event) -> None:
        """Take note of what happens to a job."""
        found = self._generations.get(spec.job_id)
        if found is None:
            return
        if isinstance(event, Started):
            found.runs_ns, found.worker, found.attempt = now_ns(), event.worker, event.attempt
            self._recorder.note(names.QUEUE, found.span, found.waits_ns, found.runs_ns)
        elif isinstance(event, Retrying):
            self._painted(found, now_ns(), error=names.RETRIED)
            found.waits_ns, found.runs_ns = now_ns(), 0
        elif isinstance(event, Succeeded | Failed | Cancelled):
            del self._generations[spec.job_id]
            self._ended(spec, found, event)

    def stored(self, job_id: str, began_ns: int, ended_ns: int) -> None:
        """Take note of when a job's picture was written, together with its charge."""
        if found := self._generations.get(job_id):
            found.stored_ns = (began_ns, ended_ns)

    def close(self) -> None:
        """Send what is left; blocks."""
        self._recorder.close()

    def _ended(self, spec: JobSpec, found: _Generation, event: Terminal) -> None:
        ended_ns = now_ns()
        error = _error_of(event)
        store_ns, stored_ns = found.stored_ns if found.stored_ns[0] else (ended_ns, ended_ns)
        if not found.runs_ns:
            self._recorder.note(names.QUEUE, found.span, found.waits_ns, ended_ns, error=error)
        else:
            paint = self._painted(found, store_ns, error=error)
            if isinstance(event, Succeeded):
                self._note_phases(paint, found.runs_ns, event.phases)
                self._recorder.note(names.STORE, found.span, store_ns, stored_ns)
        if isinstance(event, Succeeded):
            found.span.set_attribute(names.IS_FILTERED, event.filtered)
        end(found.span, ended_ns, error)
        attributes = self._attributes(self._metrics.model(spec.task.model))
        self._recorder.observe(
            (ended_ns - found.asked_ns) / 1e9, attributes | ({names.ERROR_TYPE: error} if error else {})
        )

    def _painted(self, found: _Generation, ended_ns: int, *, error: str) -> Span:
        attributes: Attributes = {names.WORKER: found.worker, names.ATTEMPT: found.attempt}
        return self._recorder.note(
            names.PAINT, found.span, found.runs_ns or found.waits_ns, ended_ns, attributes, error
        )

    def _note_phases(self, paint: Span, began_ns: int, phases_ms: dict[str, float]) -> None:
        """Lay the phases one after another, as a worker goes through them; it reports how long each took."""
        for phase, milliseconds in phases_ms.items():
            if phase not in (*PHASES, names.GRAPH):
                continue
            ended_ns = began_ns + int(milliseconds * 1e6)
            self._recorder.note(phase, paint, began_ns, ended_ns)
            began_ns = ended_ns

    @staticmethod
    def _attributes(model: str) -> dict[str, str]:
        return {
            names.OPERATION: names.GENERATE,
            names.OUTPUT: names.IMAGE,
            names.PROVIDER: names.STABILITY,
            names.MODEL: model,
        }


class TimedBook(Book):
    """A job book that tells how long the storing of a picture took."""

    on_stored: Callable[[str, int, int], None] | None = None

    async def succeed(self, job_id: str, epoch: int, result: Succeeded) -> bool:
        """As of `Book`."""
        began_ns = now_ns()
        try:
            return await super().succeed(job_id, epoch, result)
        finally:
            if self.on_stored is not None:
                self.on_stored(job_id, began_ns, now_ns())


def _error_of(event: Terminal) -> str:
    """Return the name of what went wrong; "" if there is a picture."""
    if isinstance(event, Succeeded):
        return ""
    return event.code if isinstance(event, Failed) else names.CANCELLED


def _traceparent(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return str(value, "latin-1")
    return ""
