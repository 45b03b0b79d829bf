"""Traces of a running server, as a collector sees them: from a request's head to the stored picture, and no word of it.

A canary is a text that occurs nowhere else; prompts, keys, headers and addresses full of canaries are sent, and what
the collector got is searched for them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import StringIO

import httpx
import pytest
import structlog
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from keelbill.api.traces import Traces
from keelbill.core.errors import InvalidInput
from keelbill.serving.messages import Cancelled, Failed, ImageTask, JobSpec, Progress, Retrying, Started, Succeeded
from keelbill.telemetry import conventions as names
from keelbill.telemetry.export import Export, Recorder
from keelbill.telemetry.metrics import Metrics
from support.collector import ENDPOINT, Collector, attributes_of, running_collector
from support.forms import form
from support.server import LiveServer

SD3 = "/v2beta/stable-image/generate/sd3"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
PROMPT = "canaryprompt of a heron"
KEY_LIKE = "sk-CanaryRequestId0123456789abcdefghijklmnopqrstuvw"
HEADERS = {
    "traceparent": f"00-{TRACE}-{PARENT}-01",
    "tracestate": "canary=state",
    "baggage": "canary=baggage",
    "user-agent": "canaryagent/1",
    "x-request-id": KEY_LIKE,
    "stability-client-id": "canaryclient",
}
DONE = Succeeded(
    image=b"",
    media_type="image/png",
    width=64,
    height=64,
    seed=1,
    model="mini",
    phases={"text": 10.0, "denoise": 200.0, "decode": 30.0, "moderate": 20.0, "encode": 5.0, "canary": 1.0},
)


@dataclass
class Evidence:
    """What a server told a collector while it answered.

    Attributes:
        collector: Who was told.
        answers: By what was asked.
        key: That was sent.
        logged: What the server logged meanwhile.
    """

    collector: Collector
    answers: dict[str, httpx.Response] = field(default_factory=dict)
    key: str = ""
    logged: StringIO = field(default_factory=StringIO)

    def served(self, name: str) -> Span:
        """Return the span of the request with an id."""
        wanted = self.answers[name].headers["x-request-id"]
        (found,) = [s for s in self.collector.spans if attributes_of(s.attributes).get(names.REQUEST_ID) == wanted]
        return found


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    with running_collector() as collector:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(ENDPOINT, collector.url)
            live = LiveServer(tmp_path_factory.mktemp("traced"))
            live.start()
        found = Evidence(collector, key=live.key)
        structlog.configure(
            processors=[structlog.processors.JSONRenderer()],
            logger_factory=structlog.WriteLoggerFactory(file=found.logged),
        )
        try:
            collect(live, found.answers)
        finally:
            live.stop()
            structlog.reset_defaults()
    return found


def collect(live: LiveServer, answers: dict[str, httpx.Response]) -> None:
    """Send good and bad requests, and keep what they are answered."""
    ask = live.client
    answers["traced"] = ask.post(SD3, **form(prompt=PROMPT), headers=HEADERS)
    answers["good"] = ask.post(SD3, **form(prompt=PROMPT))
    answers["failed"] = ask.post(SD3, **form(prompt=f"{PROMPT} {LiveServer.FAIL}"))
    answers["filtered"] = ask.post(SD3, **form(prompt=f"{PROMPT} {LiveServer.FILTER}"))
    answers["invalid"] = ask.post(SD3, **form(prompt=PROMPT, aspect_ratio="canary"))
    answers["nowhere"] = ask.get("/canarypath", params={"canaryname": "canaryvalue"})
    answers["odd"] = ask.request("TRACE", "/v1/user/balance")
    answers["health"] = ask.get("/healthz")
    answers["job"] = ask.post("/api/jobs", json={"prompt": PROMPT})
    live.wait_until_idle()


def children(evidence: Evidence, span: Span) -> dict[str, Span]:
    return evidence.collector.below(span)


def generation(evidence: Evidence, name: str) -> Span:
    """Return the span of what a request let paint."""
    below = children(evidence, evidence.served(name))
    (found,) = [span for span_name, span in below.items() if span_name.startswith(names.GENERATE)]
    return found


def test_a_picture_from_its_admission_to_the_store(evidence: Evidence) -> None:
    assert evidence.answers["good"].status_code == 200
    served = evidence.served("good")
    assert served.name == f"POST {SD3}"
    assert attributes_of(served.attributes) == {
        names.METHOD: "POST",
        names.ROUTE: SD3,
        names.STATUS: 200,
        names.REQUEST_ID: evidence.answers["good"].headers["x-request-id"],
    }
    painted = generation(evidence, "good")
    assert set(children(evidence, served)) == {names.ADMISSION, painted.name}
    steps = children(evidence, painted)
    assert sorted(steps, key=lambda name: steps[name].start_time_unix_nano) == [
        names.QUEUE,
        names.PAINT,
        names.STORE,
    ]
    assert set(children(evidence, steps[names.PAINT])) == {"denoise"}
    admission = children(evidence, served)[names.ADMISSION]
    assert served.start_time_unix_nano == admission.start_time_unix_nano
    assert admission.end_time_unix_nano <= steps[names.QUEUE].end_time_unix_nano
    assert steps[names.PAINT].end_time_unix_nano == steps[names.STORE].start_time_unix_nano
    assert steps[names.STORE].end_time_unix_nano <= painted.end_time_unix_nano


def test_a_generation_carries_the_conventions_names(evidence: Evidence) -> None:
    found = attributes_of(generation(evidence, "good").attributes)
    assert found[names.JOB_ID]
    assert {name: value for name, value in found.items() if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.output.type": "image",
        "gen_ai.provider.name": "stability_ai",
        "gen_ai.request.model": found["gen_ai.request.model"],
    }
    assert generation(evidence, "good").name == f"generate_content {found['gen_ai.request.model']}"


def test_the_clients_trace_goes_on(evidence: Evidence) -> None:
    (served,) = [span for span in evidence.collector.spans if span.parent_span_id.hex() == PARENT]
    assert served.trace_id.hex() == TRACE
    assert attributes_of(served.attributes)[names.REQUEST_ID] == "sk-[cut]"
    assert evidence.answers["traced"].headers["x-request-id"] == KEY_LIKE
    below = children(evidence, served)
    assert len(below) == 2
    assert {span.trace_id.hex() for span in below.values()} == {TRACE}
    assert evidence.served("good").trace_id.hex() != TRACE


def test_a_picture_that_fails(evidence: Evidence) -> None:
    assert evidence.answers["failed"].status_code == 500
    served, painted = evidence.served("failed"), generation(evidence, "failed")
    assert served.status.code == painted.status.code == painted.status.STATUS_CODE_ERROR
    assert attributes_of(served.attributes)[names.ERROR_TYPE] == "500"
    assert attributes_of(painted.attributes)[names.ERROR_TYPE]
    assert names.STORE not in children(evidence, painted)


def test_a_filtered_picture_is_no_error(evidence: Evidence) -> None:
    painted = generation(evidence, "filtered")
    assert attributes_of(painted.attributes)[names.IS_FILTERED] is True
    assert painted.status.code == painted.status.STATUS_CODE_UNSET


def test_a_refusal_is_the_clients_fault_and_paints_nothing(evidence: Evidence) -> None:
    assert evidence.answers["invalid"].status_code == 400
    served = evidence.served("invalid")
    assert served.status.code == served.status.STATUS_CODE_UNSET
    assert attributes_of(served.attributes)[names.STATUS] == 400
    assert children(evidence, served) == {}


def test_addresses_and_methods_that_nobody_knows_share_a_name(evidence: Evidence) -> None:
    assert evidence.served("nowhere").name == "GET unmatched"
    assert attributes_of(evidence.served("odd").attributes)[names.METHOD] == names.OTHER_METHOD


def test_monitors_leave_no_trace(evidence: Evidence) -> None:
    wanted = evidence.answers["health"].headers["x-request-id"]
    assert wanted not in {attributes_of(span.attributes).get(names.REQUEST_ID) for span in evidence.collector.spans}


def test_a_job_that_nobody_waits_for_belongs_to_its_request(evidence: Evidence) -> None:
    job_id = evidence.answers["job"].json()["id"]
    assert attributes_of(generation(evidence, "job").attributes)[names.JOB_ID] == job_id


def test_the_histogram_counts_pictures_by_their_end(evidence: Evidence) -> None:
    (metric,) = {metric.name: metric for metric in evidence.collector.metrics}.values()
    assert (metric.name, metric.unit) == ("gen_ai.server.request.duration", "s")
    points = {
        str(attributes_of(point.attributes).get(names.ERROR_TYPE, "")): point for point in metric.histogram.data_points
    }
    failed = str(attributes_of(generation(evidence, "failed").attributes)[names.ERROR_TYPE])
    assert {error: point.count for error, point in points.items()} == {"": 4, failed: 1}
    assert tuple(points[""].explicit_bounds) == names.DURATION_BUCKETS
    assert points[""].sum > 0


def test_lines_of_the_log_name_the_trace(evidence: Evidence) -> None:
    lines = [json.loads(line) for line in evidence.logged.getvalue().splitlines()]
    wanted = evidence.answers["good"].headers["x-request-id"]
    (line,) = [line for line in lines if line.get("request_id") == wanted]
    assert line["trace_id"] == evidence.served("good").trace_id.hex()


def test_no_word_of_a_client_reaches_the_collector(evidence: Evidence) -> None:
    assert evidence.collector.bodies
    sent = b"\n".join(body for _, body in evidence.collector.bodies).lower()
    assert b"canary" not in sent
    assert evidence.key.encode().lower() not in sent
    assert b"sk-" not in sent.replace(b"sk-[cut]", b"")


# ---------------------------------------------------------------- one job by hand


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with running_collector() as found:
        monkeypatch.setenv(ENDPOINT, found.url)
        yield found


@pytest.fixture
def traces() -> Traces:
    return Traces(Recorder(Export(traces=True, metrics=True)), Metrics(default_model="mini"))


SPEC = JobSpec(job_id="j" * 32, org_id="o", task=ImageTask(prompt=PROMPT))


def test_phases_follow_one_another(collector: Collector, traces: Traces) -> None:
    traces.entered(SPEC)
    for event in (Started("worker-1", 1), Progress(1, 4), DONE):
        traces.heard(SPEC, event)
    traces.close()
    (paint,) = collector.named(names.PAINT)
    assert attributes_of(paint.attributes) == {names.WORKER: "worker-1", names.ATTEMPT: 1}
    phases = collector.below(paint)
    took = {name: phases[name].end_time_unix_nano - phases[name].start_time_unix_nano for name in phases}
    assert took == {"text": 10e6, "denoise": 200e6, "decode": 30e6, "moderate": 20e6, "encode": 5e6}
    assert phases["denoise"].start_time_unix_nano == phases["text"].end_time_unix_nano


def test_a_lost_worker_and_another_try(collector: Collector, traces: Traces) -> None:
    traces.entered(SPEC)
    for event in (Started("worker-1", 1), Retrying(2, "canary"), Started("worker-2", 2), DONE):
        traces.heard(SPEC, event)
    traces.close()
    assert len(collector.named(names.QUEUE)) == 2
    tries = [attributes_of(span.attributes) for span in collector.named(names.PAINT)]
    assert [found.get(names.ERROR_TYPE) for found in tries] == [names.RETRIED, None]
    assert [found[names.WORKER] for found in tries] == ["worker-1", "worker-2"]


@pytest.mark.parametrize(
    ("event", "error"),
    [(Failed("deadline_exceeded", "canary"), "deadline_exceeded"), (Cancelled("canary"), names.CANCELLED)],
)
def test_the_end_of_a_job_that_never_began(
    collector: Collector, traces: Traces, event: Failed | Cancelled, error: str
) -> None:
    traces.entered(SPEC)
    traces.heard(SPEC, event)
    traces.heard(SPEC, event)
    traces.close()
    assert {span.name for span in collector.spans} == {names.QUEUE, "generate_content mini"}
    assert {attributes_of(span.attributes)[names.ERROR_TYPE] for span in collector.spans} == {error}
    (point,) = collector.metrics[0].histogram.data_points
    assert attributes_of(point.attributes)[names.ERROR_TYPE] == error
    assert b"canary" not in b"".join(body for _, body in collector.bodies)


# ---------------------------------------------------------------- beside the rest


def test_a_collector_that_is_away_is_nobodys_trouble(
    start_server: Callable[..., LiveServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    live = start_server()
    assert live.client.post(SD3, **form(prompt="a heron")).status_code == 200
    live.stop()


def test_an_address_that_cannot_be_right_is_told_at_the_start(
    start_server: Callable[..., LiveServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT, "collector:4317")
    with pytest.raises(InvalidInput, match=ENDPOINT):
        start_server()


def test_without_a_collector_nothing_is_followed(server: LiveServer) -> None:
    assert server.platform.traces is None
    assert server.platform.gateway.newcomers == []
