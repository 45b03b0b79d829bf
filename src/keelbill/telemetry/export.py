"""Sends spans and one histogram to a collector by OTLP over HTTP. Knows neither requests nor jobs.

Everything here is off unless the environment names a collector, and then only is OpenTelemetry's SDK imported. The
variables are the standard ones, so that a collector's own manual applies.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keelbill import __version__
from keelbill.core.errors import InvalidInput
from keelbill.telemetry import conventions as names

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Histogram
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
SPOKEN: Final = "http/protobuf"
CLOSING_S: Final = 5.0
"""How long the end of a server waits for a collector that does not answer; a request under way may take longer."""

Attributes = Mapping[str, str | bool | int]


@dataclass(frozen=True)
class Export:
    """What goes to a collector.

    Attributes:
        traces: Whether spans do.
        metrics: Whether the histogram does.
    """

    traces: bool
    metrics: bool


def read_export(environment: Mapping[str, str]) -> Export | None:
    """Return what the environment wants sent; nothing if it names no collector.

    Raises:
        InvalidInput: A collector's address is not one of HTTP, or another protocol is wanted.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    traces, metrics = (_is_wanted(environment, signal) for signal in ("TRACES", "METRICS"))
    return Export(traces, metrics) if traces or metrics else None


def _is_wanted(environment: Mapping[str, str], signal: str) -> bool:
    own = f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"
    name = own if environment.get(own) else ENDPOINT
    address = environment.get(name, "")
    if not address or environment.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() == "none":
        return False
    if not address.lower().startswith(("http://", "https://")):
        raise InvalidInput(name, "…", "an address that begins with http:// or https://", hint="The port is often 4318.")
    for asked in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", PROTOCOL):
        if found := environment.get(asked, "").strip():
            if found != SPOKEN:
                raise InvalidInput(asked, found, SPOKEN, hint="Collectors take it on port 4318.")
            break
    return True


def now_ns() -> int:
    """Return the time of day in nanoseconds since 1970, which is what spans carry."""
    return time.time_ns()


class Recorder:
    """Makes spans, measures, and sends both in the background.

    Args:
        export: What is sent.
    """

    def __init__(self, export: Export) -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource

        found = Resource.create({SERVICE_VERSION: __version__})
        if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            found = found.merge(Resource({SERVICE_NAME: names.SERVICE}))
        self._closers: list[_Closer] = []
        self._tracer = self._open_tracer(found if export.traces else None)
        self._durations = self._open_histogram(found) if export.metrics else None

    def _open_tracer(self, resource: Resource | None) -> Tracer:
        from opentelemetry.trace import NoOpTracerProvider

        if resource is None:
            return NoOpTracerProvider().get_tracer(names.SERVICE)
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = OTLPSpanExporter()
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        self._closers.append(_Closer(provider, exporter.shutdown))
        return provider.get_tracer(names.SERVICE, __version__)

    def _open_histogram(self, resource: Resource) -> Histogram:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        exporter = OTLPMetricExporter()
        reader = PeriodicExportingMetricReader(exporter)
        provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self._closers.append(_Closer(provider, exporter.shutdown))
        return provider.get_meter(names.SERVICE, __version__).create_histogram(
            names.DURATION,
            unit=names.DURATION_UNIT,
            description=names.DURATION_SAYS,
            explicit_bucket_boundaries_advisory=names.DURATION_BUCKETS,
        )

    def serve(self, name: str, traceparent: str, attributes: Attributes, began_ns: int) -> Span:
        """Begin the span of a request.

        Args:
            name: Of the span.
            traceparent: The client's header (W3C Trace Context), or "". What else a client says of its trace is its
                own text and is left out.
            attributes: Of the span.
            began_ns: When it began.
        """
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {"traceparent": traceparent} if traceparent else {}
        parent = TraceContextTextMapPropagator().extract(carrier, Context())
        return self._tracer.start_span(
            name, parent, kind=SpanKind.SERVER, attributes=attributes, start_time=began_ns, record_exception=False
        )

    def begin(self, name: str, parent: Span | None, attributes: Attributes, began_ns: int) -> Span:
        """Begin a span below another, or one of its own."""
        return self._tracer.start_span(
            name, _below(parent), attributes=attributes, start_time=began_ns, record_exception=False
        )

    def note(
        self,
        name: str,
        parent: Span,
        began_ns: int,
        ended_ns: int,
        attributes: Attributes | None = None,
        error: str = "",
    ) -> Span:
        """Make a span of something that is over; `error` is the name of what went wrong, if anything did."""
        span = self.begin(name, parent, attributes or {}, began_ns)
        end(span, ended_ns, error)
        return span

    def observe(self, seconds: float, attributes: Attributes) -> None:
        """Measure how long a picture took."""
        if self._durations is not None:
            self._durations.record(seconds, attributes)

    def close(self) -> None:
        """Send what is left; blocks, for a few seconds if the collector does not answer."""
        for closer in self._closers:
            closer.close()


def end(span: Span, ended_ns: int, error: str = "") -> None:
    """End a span; `error` is the name of what went wrong, if anything did."""
    if error:
        from opentelemetry.trace import StatusCode

        span.set_attribute(names.ERROR_TYPE, error)
        span.set_status(StatusCode.ERROR)
    span.end(ended_ns)


def _below(parent: Span | None) -> Context:
    from opentelemetry.context import Context
    from opentelemetry.trace import set_span_in_context

    return Context() if parent is None else set_span_in_context(parent, Context())


class _Closer:
    """Ends a provider; after a while its exporter tries no more."""

    def __init__(self, provider: TracerProvider | MeterProvider, give_up: Callable[[], None]) -> None:
        self._provider = provider
        self._give_up = give_up

    def close(self) -> None:
        timer = threading.Timer(CLOSING_S, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            self._provider.shutdown()
        finally:
            timer.cancel()
