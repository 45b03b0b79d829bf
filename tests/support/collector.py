"""A collector of traces for tests: a real socket that takes OTLP over HTTP and decodes what comes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"

Value = str | int | bool | float


def attributes_of(pairs: object) -> dict[str, Value]:
    """Return attributes by name."""
    found: dict[str, Value] = {}
    for pair in pairs if isinstance(pairs, list) else list(pairs):  # type: ignore[call-overload]  # protobuf's list
        assert isinstance(pair, KeyValue)
        found[pair.key] = getattr(pair.value, pair.value.WhichOneof("value") or "string_value")
    return found


@dataclass
class Collector:
    """What came.

    Attributes:
        url: Where it listens.
        bodies: Everything as it came, with its path.
        headers: Of the requests.
        spans: Decoded, in the order in which they came.
        metrics: Likewise.
        resources: Attributes of whoever sent it.
    """

    url: str = ""
    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    resources: list[dict[str, Value]] = field(default_factory=list)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> bool:
        """Decode a message; false if it is at the wrong place."""
        self.bodies.append((path, body))
        self.headers.append(headers)
        if path == "/v1/traces":
            traces = ExportTraceServiceRequest.FromString(body)
            for of_resource in traces.resource_spans:
                self.resources.append(attributes_of(of_resource.resource.attributes))
                self.spans += [span for scope in of_resource.scope_spans for span in scope.spans]
        elif path == "/v1/metrics":
            metrics = ExportMetricsServiceRequest.FromString(body)
            for of_metrics in metrics.resource_metrics:
                self.resources.append(attributes_of(of_metrics.resource.attributes))
                self.metrics += [metric for scope in of_metrics.scope_metrics for metric in scope.metrics]
        else:
            return False
        return True

    def named(self, name: str) -> list[Span]:
        """Return the spans of a name."""
        return [span for span in self.spans if span.name == name]

    def below(self, parent: Span) -> dict[str, Span]:
        """Return a span's children by name."""
        return {span.name: span for span in self.spans if span.parent_span_id == parent.span_id}


@contextmanager
def running_collector() -> Iterator[Collector]:
    """Listen, and stop at the end."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            is_known = collector.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(200 if is_known else 404)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.send_header("connection", "close")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, name="collector", kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
