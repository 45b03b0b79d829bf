"""``keelbill top``: what it shows of a live server, and what it says when there is none."""

from __future__ import annotations

from io import StringIO

import httpx
import pytest
from click.testing import CliRunner
from rich.console import Console

from keelbill.cli.top import Frame, command, look, parse, view
from keelbill.core.errors import PermissionDenied, Unavailable
from support.server import LiveServer

BUSY = """
# TYPE keelbill_queue_jobs gauge
keelbill_queue_jobs{state="queued",model="sd3"} 7
keelbill_queue_jobs{state="running",model="sd3"} 4
# TYPE keelbill_jobs_total counter
keelbill_jobs_total{model="sd3",outcome="succeeded"} 90
keelbill_jobs_total{model="sd3",outcome="failed"} 10
# TYPE keelbill_worker_up gauge
keelbill_worker_up{worker="w0"} 1
keelbill_worker_up{worker="w1"} 1
keelbill_worker_up{worker="w2"} 0
# TYPE keelbill_credits_micro_total counter
keelbill_credits_micro_total{kind="capture"} 6500000
# TYPE keelbill_step_duration_seconds histogram
keelbill_step_duration_seconds_sum{model="sd3"} 2
keelbill_step_duration_seconds_count{model="sd3"} 40
"""


def shown(now: Frame, before: Frame | None = None) -> str:
    out = StringIO()
    Console(file=out, width=110).print(view(now, before, "http://here"))
    return out.getvalue()


def test_one_frame_of_a_live_server(server: LiveServer) -> None:
    answer = server.client.post(
        "/v2beta/stable-image/generate/core", files={"prompt": (None, "a kite")}, headers={"accept": "image/*"}
    )
    assert answer.status_code == 200
    result = CliRunner().invoke(command, ["--once", "--server", server.url])
    assert result.exit_code == 0, result.output
    for word in ("Keelbill at", "Queue", "Workers", "ready", "capture", "holds open"):
        assert word in result.output


def test_rows_of_a_busy_server() -> None:
    text = shown(Frame(10.0, "degraded", ("workers",), parse(BUSY)))
    row = next(line for line in text.splitlines() if "sd3" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["sd3", "7", "4", "100", "–", "20.0"]
    assert "degraded workers" in text
    assert "2.0 pictures at a time on each" in text
    assert "away" in text
    assert "6.50" in text


def test_rates_come_from_two_frames() -> None:
    later = parse(BUSY.replace('"succeeded"} 90', '"succeeded"} 95').replace("6500000", "13000000"))
    text = shown(Frame(13.0, "ok", (), later), Frame(10.0, "ok", (), parse(BUSY)))
    assert "100.0" in text  # 5 pictures in 3 seconds
    assert "130.00" in text


def test_a_restarted_server_shows_no_negative_rate() -> None:
    text = shown(Frame(13.0, "ok", (), parse(BUSY.replace("90", "0"))), Frame(10.0, "ok", (), parse(BUSY)))
    row = next(line for line in text.splitlines() if "sd3" in line)
    assert "-" not in row


def test_there_is_no_server() -> None:
    with httpx.Client(base_url="http://127.0.0.1:9") as client, pytest.raises(Unavailable, match="does not answer"):
        look(client)


def test_the_server_hides_its_metrics() -> None:
    def hides(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404 if request.url.path == "/metrics" else 200, json={"status": "ok"})

    with (
        httpx.Client(base_url="http://far", transport=httpx.MockTransport(hides)) as client,
        pytest.raises(PermissionDenied, match="--token"),
    ):
        look(client)


def test_the_token_is_sent() -> None:
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return (
            httpx.Response(200, json={"status": "ok"})
            if request.url.path == "/readyz"
            else httpx.Response(200, text=BUSY)
        )

    headers = {"authorization": "Bearer secret"}
    with httpx.Client(base_url="http://far", headers=headers, transport=httpx.MockTransport(answer)) as client:
        assert look(client).total("keelbill_jobs_total", model="sd3") == 100
    assert seen == ["Bearer secret", "Bearer secret"]
