"""Every metric that is documented is fed: real requests are made, and then each is found with a value."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import httpx
import msgspec
import pytest

from keelbill.api.gauges import LoadWatch
from keelbill.core.types import micro
from keelbill.ledger.models import Kind
from keelbill.serving.messages import WorkerInfo
from keelbill.serving.scripted import Fault, ScriptedPool
from keelbill.storage.blobs import BlobStore
from keelbill.telemetry.metrics import CREDIT_KINDS, Metrics
from support.forms import form
from support.server import LiveServer

SD3 = "/v2beta/stable-image/generate/sd3"
WORKERS = 2


class HeavyPool(ScriptedPool):
    """Says what it uses, as workers with networks do."""

    def workers(self) -> list[WorkerInfo]:
        return [
            msgspec.structs.replace(worker, memory_bytes=2**30, accelerator_bytes=2**31) for worker in super().workers()
        ]


class Receiver(BaseHTTPRequestHandler):
    """Takes every message, or none of those that come to ``/broken``."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(500 if self.path == "/broken" else 204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server whose metrics each test reads after something has happened."""
    home = tmp_path_factory.mktemp("home")
    pool = HeavyPool(
        workers=WORKERS,
        step_s=0.01,
        faults=[Fault("lose", when="breaks", times=1), Fault("fail", when="fails", times=1)],
        read=BlobStore(home / "blobs").read,
    )
    live = LiveServer(home, pool=pool, webhooks=True, webhook_private_targets=True)
    live.start()
    live.set_balance("1000")
    yield live
    live.stop()


def scrape(live: LiveServer) -> dict[str, float]:
    """Return every series with its labels as they stand in the text."""
    lines = live.client.get("/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def total(series: dict[str, float], name: str, **labels: str) -> float:
    """Add up the series of a name that carry these labels; fails if there is none."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    found = [
        value
        for key, value in series.items()
        if re.split(r"[{ ]", key)[0] == name and all(label in key for label in wanted)
    ]
    assert found, f"there is no {name} with {labels}"
    return sum(found)


def picture(live: LiveServer, prompt: str = "a red apple", key: str = "") -> httpx.Response:
    asked = form(prompt=prompt)
    return live.client.post(SD3, **asked, headers={"idempotency-key": key} if key else {})


def eventually(live: LiveServer, name: str, **labels: str) -> float:
    """Return a value that appears a little later than what it counts."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return total(scrape(live), name, **labels)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class TestMoney:
    def test_moved_by_kind(self, busy: LiveServer) -> None:
        before = scrape(busy)
        assert picture(busy).status_code == 200
        busy.write(lambda c: busy.platform.ledger.adjust(c, busy.org_id, micro("3"), "tests", "more"))
        after = scrape(busy)
        name = "keelbill_credits_micro_total"
        assert total(after, name, kind="grant") == micro("25")  # at the first start
        assert total(after, name, kind="capture") - total(before, name, kind="capture") == micro("6.5")
        assert total(after, name, kind="adjust") - total(before, name, kind="adjust") == micro("3")
        assert scrape(busy)['keelbill_credits_micro_total{kind="adjust"}'] == total(after, name, kind="adjust")

    def test_kinds_are_those_of_the_ledger(self) -> None:
        assert set(CREDIT_KINDS) == {kind.value for kind in Kind}

    def test_open_holds_and_their_age(self, busy: LiveServer) -> None:
        ledger = busy.platform.ledger
        assert total(scrape(busy), "keelbill_holds_open") == 0
        assert total(scrape(busy), "keelbill_hold_age_seconds") == 0
        busy.write(
            lambda c: ledger.reserve(c, org_id=busy.org_id, job_id="open", amount=micro("1"), price_version="tests")
        )
        time.sleep(0.05)
        series = scrape(busy)
        busy.write(lambda c: ledger.void(c, "open", "tests"))
        assert total(series, "keelbill_holds_open") == 1
        assert 0.05 <= total(series, "keelbill_hold_age_seconds") < 10

    def test_orphans_that_a_sweep_released(self, busy: LiveServer) -> None:
        ledger, long_ago = busy.platform.ledger, 1
        busy.write(
            lambda c: ledger.reserve(
                c,
                org_id=busy.org_id,
                job_id="orphan",
                amount=micro("1"),
                price_version="tests",
                expires_ms=long_ago,
            )
        )
        before = total(scrape(busy), "keelbill_orphan_holds_swept_total")
        busy.run(busy.platform.janitor.sweep())
        assert total(scrape(busy), "keelbill_orphan_holds_swept_total") - before == 1

    def test_books_that_differ_show_on_metrics_and_readiness(self, busy: LiveServer) -> None:
        def change(by: int) -> None:
            with sqlite3.connect(busy.settings.home / "keelbill.db", timeout=10) as books:
                books.execute("UPDATE wallet SET posted = posted + ? WHERE id >= 0", (by,))
            books.close()
            busy.run(busy.platform.check_books())

        change(1)
        try:
            wrong = scrape(busy)
            time.sleep(0.5)  # for so long an answer about readiness is given again
            ready = busy.client.get("/readyz")
        finally:
            change(-1)
        assert total(wrong, "keelbill_ledger_mismatch") > 0
        assert ready.status_code == 200
        assert ready.json() == {"status": "degraded", "failing": [], "degraded": ["ledger"]}
        assert total(scrape(busy), "keelbill_ledger_mismatch") == 0

    def test_books_are_checked_at_the_start(self, busy: LiveServer) -> None:
        deadline = time.monotonic() + 60
        while busy.platform.mismatches is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert busy.platform.mismatches == 0

    def test_replays(self, busy: LiveServer) -> None:
        picture(busy, key="again")
        before = total(scrape(busy), "keelbill_idempotent_replays_total")
        assert picture(busy, key="again").headers["idempotent-replayed"] == "true"
        assert total(scrape(busy), "keelbill_idempotent_replays_total") - before == 1

    def test_messages_to_users(self, busy: LiveServer, receiver: str) -> None:
        for path in ("/fine", "/broken"):
            assert busy.client.post("/api/webhooks", json={"url": receiver + path}).status_code == 201
        picture(busy)
        name = "keelbill_webhook_events_total"
        assert eventually(busy, name, provider="outgoing", outcome="delivered") >= 1
        assert eventually(busy, name, provider="outgoing", outcome="postponed") >= 1


class TestWork:
    def test_phases_and_steps(self, busy: LiveServer) -> None:
        assert picture(busy).status_code == 200
        series = scrape(busy)
        assert total(series, "keelbill_generation_duration_seconds_sum", phase="denoise") > 0
        steps = total(series, "keelbill_step_duration_seconds_count")
        mean_s = total(series, "keelbill_step_duration_seconds_sum") / steps
        assert steps >= 1
        assert mean_s == pytest.approx(0.01, rel=0.5)

    def test_memory_and_models(self, busy: LiveServer) -> None:
        assert eventually(busy, "keelbill_model_loads_total", reason="start") == WORKERS
        series = scrape(busy)
        assert total(series, "keelbill_gpu_memory_bytes", kind="host") == WORKERS * 2**30
        assert total(series, "keelbill_gpu_memory_bytes", kind="accelerator") == WORKERS * 2**31
        assert total(series, "keelbill_worker_up") == WORKERS

    def test_retries(self, busy: LiveServer) -> None:
        assert picture(busy, "a chair that breaks").status_code == 200
        assert total(scrape(busy), "keelbill_job_retries_total") >= 1

    def test_database_and_loop(self, busy: LiveServer) -> None:
        series = scrape(busy)
        assert total(series, "keelbill_db_commit_seconds_sum") > 0
        assert total(series, "keelbill_db_batch_size_sum") >= total(series, "keelbill_db_batch_size_count") > 0
        assert total(series, "keelbill_db_writer_queue") >= 0
        deadline = time.monotonic() + 60
        while total(scrape(busy), "keelbill_event_loop_lag_seconds") == 0:  # measured once a second
            assert time.monotonic() < deadline
            time.sleep(0.1)


class TestRefusals:
    @pytest.fixture
    def refused(self, busy: LiveServer) -> Callable[[str], float]:
        before = scrape(busy)
        name = "keelbill_http_rejected_total"
        return lambda reason: total(scrape(busy), name, reason=reason) - total(before, name, reason=reason)

    def test_no_key(self, busy: LiveServer, refused: Callable[[str], float]) -> None:
        assert busy.client.get("/v1/user/balance", headers={"authorization": "Bearer sk-no"}).status_code == 401
        assert refused("auth") == 1

    def test_no_credits(self, busy: LiveServer, refused: Callable[[str], float]) -> None:
        busy.set_balance("1")
        answer = picture(busy)
        busy.set_balance("100")
        assert answer.status_code == 402
        assert refused("credits") == 1

    def test_full_disk(
        self, busy: LiveServer, refused: Callable[[str], float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(busy.platform.blobs, "min_free_bytes", 2**60)
        assert picture(busy).status_code == 503
        assert busy.balance() > 0
        assert refused("disk") == 1

    def test_database_that_is_locked(self, busy: LiveServer, refused: Callable[[str], float]) -> None:
        books = sqlite3.connect(busy.settings.home / "keelbill.db", isolation_level=None, timeout=10)
        books.execute("BEGIN IMMEDIATE")
        try:
            answer = picture(busy)
        finally:
            books.execute("ROLLBACK")
            books.close()
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert refused("db") == 1
        assert picture(busy).status_code == 200


class TestLoads:
    def info(self, name: str, *models: str, ready: bool = True) -> WorkerInfo:
        return WorkerInfo(name=name, device="cpu", models=models, ready=ready)

    def counted(self, metrics: Metrics, model: str, reason: str) -> float:
        labels = {"model": model, "reason": reason}
        return metrics.registry.get_sample_value("keelbill_model_loads_total", labels) or 0

    def test_first_model_second_model_and_restart(self) -> None:
        metrics = Metrics(frozenset({"one", "two"}))
        watch = LoadWatch(metrics)
        watch.look([self.info("w", "one", "")])
        watch.look([self.info("w", "one", "")])
        watch.look([self.info("w", "one", "", "two")])
        watch.look([self.info("w", ready=False)])
        watch.look([self.info("w", "one", "")])
        assert self.counted(metrics, "one", "start") == 2
        assert self.counted(metrics, "two", "job") == 1

    def test_two_workers(self) -> None:
        metrics = Metrics(frozenset({"one"}))
        LoadWatch(metrics).look([self.info("a", "one"), self.info("b", "one")])
        assert self.counted(metrics, "one", "start") == 2


def test_database_that_is_away_does_not_hide_the_rest(start_server: Callable[..., LiveServer]) -> None:
    live = start_server()
    platform = live.platform
    read = platform.db.read

    async def away(_: object) -> None:
        raise TimeoutError

    platform.db.read = away  # type: ignore[method-assign, assignment]
    try:
        answer = live.client.get("/metrics")
    finally:
        platform.db.read = read  # type: ignore[method-assign]
    assert answer.status_code == 200
    assert "keelbill_worker_up" in answer.text
