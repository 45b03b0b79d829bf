"""What monitors are told, and who sees the metrics."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from starlette.requests import Request

from keelbill import __version__
from keelbill.api.health import Health, Readiness, may_see_metrics
from keelbill.api.platform import Platform
from keelbill.core.clock import SystemClock
from keelbill.core.errors import Unavailable
from support.forms import form
from support.server import LiveServer
from support.wire import Wire, request


def asked(address: str = "203.0.113.9", **headers: str) -> Request:
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": lines, "client": (address, 1)})


class TestAlive:
    def test_without_a_key(self, server: LiveServer) -> None:
        answer = server.client.get("/healthz", headers={"authorization": ""})
        assert answer.json() == {"status": "ok", "version": __version__}

    def test_started(self, server: LiveServer) -> None:
        assert server.client.get("/startupz").json() == {"status": "ok"}

    def test_queue(self, server: LiveServer) -> None:
        body = server.client.get("/api/status", headers={"authorization": ""}).json()
        assert body["workers"] == 4
        assert set(body["queue"]) == {"jobs", "running", "wait_s"}


class TestReady:
    def test_all_well(self, server: LiveServer) -> None:
        answer = server.client.get("/readyz")
        assert answer.status_code == 200
        assert answer.json() == {"status": "ok", "failing": [], "degraded": []}

    def test_full_disk_stops_work_and_nothing_else(self, start_server: Callable[..., LiveServer]) -> None:
        server = start_server(min_free_disk_bytes=2**60)
        answer = server.client.get("/readyz")
        picture = server.client.post("/v2beta/stable-image/generate/sd3", **form(prompt="a red apple"))
        assert answer.status_code == 503
        assert answer.json()["failing"] == ["disk"]
        assert picture.status_code == 503
        assert server.balance() == 25

    def test_draining(self, start_server: Callable[..., LiveServer]) -> None:
        server = start_server()
        server.platform.is_draining = True
        answer = server.client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["failing"] == ["draining"]
        assert server.client.get("/healthz").status_code == 200

    async def test_database_that_is_away_and_no_workers(self) -> None:
        async def write(_: object) -> None:
            raise Unavailable("database: away")

        parts: Any = SimpleNamespace(
            clock=SystemClock(),
            is_draining=False,
            is_started=True,
            mismatches=None,
            db=SimpleNamespace(write=write),
            blobs=SimpleNamespace(has_space=lambda: True),
            gateway=SimpleNamespace(workers=list),
            book=SimpleNamespace(leases=SimpleNamespace(seen=None)),
        )
        found = await Health(cast(Platform, parts)).readiness()
        assert found == Readiness(("database",), ("workers",))
        assert found.status == "failing"
        assert Readiness((), ("workers",)).status == "degraded"

    async def test_before_the_start(self) -> None:
        parts: Any = SimpleNamespace(clock=SystemClock(), is_draining=False, is_started=False)
        assert (await Health(cast(Platform, parts)).readiness()).failing == ("starting",)


class TestMetrics:
    def test_from_this_machine(self, server: LiveServer) -> None:
        server.client.get("/v1/user/balance")
        answer = server.client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'keelbill_http_requests_total{method="GET",route="/v1/user/balance",status="200"}' in answer.text
        assert 'keelbill_worker_up{worker="0"} 1.0' in answer.text

    def test_passed_on_by_a_proxy(self, server: LiveServer) -> None:
        wire = Wire(urlsplit(server.url).port or 0)
        assert wire.ask(request(path="/metrics", x_forwarded_for="203.0.113.9")).status == 404
        wire.close()

    def test_commits_are_measured(self, server: LiveServer) -> None:
        server.client.post("/v2beta/stable-image/generate/sd3", **form(prompt="a red apple"))
        text = server.client.get("/metrics").text
        assert "keelbill_db_commit_seconds_count 0.0" not in text
        assert 'outcome="succeeded"' in text

    @pytest.mark.parametrize(
        ("request_", "token", "trusted", "seen"),
        [
            (asked("127.0.0.1"), "", False, True),
            (asked("::1"), "", False, True),
            (asked(), "", False, False),
            (asked(authorization="Bearer "), "", False, False),
            (asked(authorization="Bearer right"), "right", False, True),
            (asked(authorization="bearer right"), "right", False, True),
            (asked(authorization="Bearer wrong"), "right", False, False),
            (asked("127.0.0.1", x_forwarded_for="203.0.113.9"), "", False, False),
            (asked("127.0.0.1", forwarded="for=203.0.113.9"), "", False, False),
            (asked("127.0.0.1", x_forwarded_for="127.0.0.1"), "", True, True),
            (asked("203.0.113.9", x_forwarded_for="203.0.113.9"), "", True, False),
        ],
        ids=range(11),
    )
    def test_who_sees_them(self, request_: Request, token: str, trusted: bool, seen: bool) -> None:
        assert may_see_metrics(request_, token, trusted) is seen
