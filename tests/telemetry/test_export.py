"""What goes to a collector: what the environment asks for, how it looks on the wire, and nothing without an address."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keelbill.core.errors import InvalidInput
from keelbill.telemetry import conventions as names
from keelbill.telemetry.export import Export, Recorder, end, now_ns, read_export
from support.collector import ENDPOINT, Collector, attributes_of, running_collector

ADDRESS = "http://collector:4318"

LOOK = """
import asyncio, sys
from pathlib import Path

import httpx

from keelbill.api.app import create_app
from keelbill.api.platform import build_platform
from keelbill.core.settings import Settings


async def main() -> None:
    platform = build_platform(Settings(home=Path(sys.argv[1]), scripted_engine=True), migrates=True)
    app = create_app(platform)
    await platform.start()
    owner = await platform.db.write(platform.accounts.bootstrap)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post(
            "/v2beta/stable-image/generate/core",
            headers={"authorization": "Bearer " + owner.key_secret, "accept": "image/*"},
            files={"prompt": (None, "a heron")},
        )
    assert answer.status_code == 200, answer.text
    await platform.stop()


asyncio.run(main())
mine = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto", "google.protobuf", "requests")
print([name for name in sys.modules if name.startswith(mine)])
"""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with running_collector() as found:
        monkeypatch.setenv(ENDPOINT, found.url)
        monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
        monkeypatch.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)
        yield found


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, None),
        ({ENDPOINT: ""}, None),
        ({ENDPOINT: ADDRESS}, Export(traces=True, metrics=True)),
        ({ENDPOINT: ADDRESS, "OTEL_SDK_DISABLED": "TRUE"}, None),
        ({ENDPOINT: ADDRESS, "OTEL_METRICS_EXPORTER": "none"}, Export(traces=True, metrics=False)),
        ({ENDPOINT: ADDRESS, "OTEL_TRACES_EXPORTER": "none"}, Export(traces=False, metrics=True)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ADDRESS}, Export(traces=True, metrics=False)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": ADDRESS}, Export(traces=False, metrics=True)),
        ({ENDPOINT: ADDRESS, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, Export(traces=True, metrics=True)),
    ],
)
def test_what_the_environment_asks_for(environment: dict[str, str], wanted: Export | None) -> None:
    assert read_export(environment) == wanted


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({ENDPOINT: "collector:4317"}, ENDPOINT),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "grpc://collector"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ({ENDPOINT: ADDRESS, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
    ],
)
def test_what_is_not_spoken_is_refused_by_name(environment: dict[str, str], name: str) -> None:
    with pytest.raises(InvalidInput, match=name):
        read_export(environment)


def test_buckets_double_from_ten_milliseconds() -> None:
    assert names.DURATION_BUCKETS[0] == 0.01
    assert names.DURATION_BUCKETS[-1] == pytest.approx(81.92)
    assert all(b == 2 * a for a, b in zip(names.DURATION_BUCKETS, names.DURATION_BUCKETS[1:], strict=False))


def test_spans_and_the_histogram_on_the_wire(collector: Collector) -> None:
    recorder = Recorder(Export(traces=True, metrics=True))
    began_ns = now_ns()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    span = recorder.serve("GET", parent, {names.METHOD: "GET"}, began_ns)
    recorder.note("queue", span, began_ns, began_ns + 5, error="lost")
    end(span, began_ns + 10)
    recorder.observe(0.03, {names.MODEL: "sd3"})
    recorder.close()
    served, queue = collector.named("GET")[0], collector.named("queue")[0]
    assert served.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert served.parent_span_id.hex() == "b7ad6b7169203331"
    assert (served.start_time_unix_nano, served.end_time_unix_nano) == (began_ns, began_ns + 10)
    assert served.kind == served.SPAN_KIND_SERVER
    assert queue.parent_span_id == served.span_id
    assert queue.status.code == queue.status.STATUS_CODE_ERROR
    assert attributes_of(queue.attributes) == {names.ERROR_TYPE: "lost"}
    assert {resource["service.name"] for resource in collector.resources} == {names.SERVICE}
    point = collector.metrics[0].histogram.data_points[0]
    assert (collector.metrics[0].name, collector.metrics[0].unit) == ("gen_ai.server.request.duration", "s")
    assert tuple(point.explicit_bounds) == names.DURATION_BUCKETS
    assert (point.count, point.sum) == (1, 0.03)
    assert attributes_of(point.attributes) == {names.MODEL: "sd3"}


@pytest.mark.parametrize("header", ["", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "ff-" + "a" * 200])
def test_a_header_without_a_trace_begins_a_new_one(collector: Collector, header: str) -> None:
    recorder = Recorder(Export(traces=True, metrics=False))
    end(recorder.serve("GET", header, {}, now_ns()), now_ns())
    recorder.close()
    (span,) = collector.spans
    assert not span.parent_span_id
    assert any(span.trace_id)


def test_a_client_that_does_not_sample_is_obeyed(collector: Collector) -> None:
    recorder = Recorder(Export(traces=True, metrics=False))
    span = recorder.serve("GET", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", {}, now_ns())
    recorder.note("queue", span, now_ns(), now_ns())
    end(span, now_ns())
    recorder.close()
    assert collector.spans == []


def test_the_operator_names_the_service(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "pictures")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=abc")
    recorder = Recorder(Export(traces=True, metrics=False))
    end(recorder.serve("GET", "", {}, now_ns()), now_ns())
    recorder.close()
    assert collector.resources[0]["service.name"] == "pictures"
    assert collector.headers[0]["x-token"] == "abc"


def test_only_metrics(collector: Collector) -> None:
    recorder = Recorder(Export(traces=False, metrics=True))
    span = recorder.serve("GET", "", {}, now_ns())
    recorder.note("queue", span, now_ns(), now_ns())
    end(span, now_ns())
    recorder.observe(1.0, {})
    recorder.close()
    assert {path for path, _ in collector.bodies} == {"/v1/metrics"}


def test_nothing_is_imported_without_an_address(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    found = subprocess.run(
        [sys.executable, "-c", LOOK, str(tmp_path / "home")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "[]"
