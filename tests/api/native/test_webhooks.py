"""Webhooks over HTTP, to a receiver on this machine that checks every signature."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from keelbill.webhooks.signatures import is_authentic
from support.doors import Doors


class Receiver:
    """Somebody else's server; it notes what it is sent."""

    def __init__(self) -> None:
        self.messages: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.messages.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def wait_for(self, event: str) -> tuple[dict[str, str], bytes]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for headers, body in self.messages:
                if json.loads(body)["type"] == event:
                    return headers, body
            time.sleep(0.02)
        raise AssertionError(f"no {event} within 60 seconds; came: {self.messages}")

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    yield opened
    opened.close()


def test_a_finished_picture_is_told_and_signed(doors: Doors, receiver: Receiver) -> None:
    ann = doors.account("14")
    made = ann.post("/api/webhooks", json={"url": receiver.url})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    secret, hook = made.json()["secret"], made.json()["webhook"]
    job_id = doors.picture(ann)
    headers, body = receiver.wait_for("job.succeeded")
    assert is_authentic(secret, headers, body, int(time.time()))
    assert json.loads(body)["data"]["id"] == job_id
    assert json.loads(receiver.wait_for("credits.low")[1])["data"] == {"available_micro_credits": 7_500_000}
    doors.picture(ann, doors.live.FAIL)
    assert json.loads(receiver.wait_for("job.failed")[1])["data"]["code"] == "internal_error"
    log = ann.get(f"/api/webhooks/{hook['id']}/deliveries").json()
    assert {delivery["event"] for delivery in log} == {"job.succeeded", "job.failed", "credits.low"}
    (listed,) = ann.get("/api/webhooks").json()
    assert "secret" not in listed


def test_a_revoked_key_is_told(doors: Doors, receiver: Receiver) -> None:
    ann = doors.account()
    ann.post("/api/webhooks", json={"url": receiver.url, "events": ["key.revoked"]})
    (key,) = ann.get("/api/keys").json()
    assert ann.delete(f"/api/keys/{key['id']}").status_code == 204
    assert json.loads(receiver.wait_for("key.revoked")[1])["data"] == {"id": key["id"]}


def test_ping_and_once_more(doors: Doors, receiver: Receiver) -> None:
    ann = doors.account()
    hook_id = ann.post("/api/webhooks", json={"url": receiver.url}).json()["webhook"]["id"]
    ping = ann.post(f"/api/webhooks/{hook_id}/ping")
    assert ping.status_code == 202
    receiver.wait_for("ping")
    receiver.messages.clear()
    time.sleep(0.1)
    assert ann.post(f"/api/webhooks/{hook_id}/deliveries/{ping.json()['id']}").status_code == 202
    headers, _ = receiver.wait_for("ping")
    assert headers["webhook-id"] == ping.json()["id"]


def test_change_roll_and_remove(doors: Doors, receiver: Receiver) -> None:
    ann = doors.account()
    made = ann.post("/api/webhooks", json={"url": receiver.url}).json()
    hook = f"/api/webhooks/{made['webhook']['id']}"
    changed = ann.patch(hook, json={"enabled": False, "events": ["job.failed"]}).json()
    assert (changed["enabled"], changed["events"], changed["url"]) == (False, ["job.failed"], receiver.url)
    assert ann.post(f"{hook}/secret").json()["secret"] != made["secret"]
    assert ann.post(f"{hook}/secret?overlap_s=0").status_code == 200
    assert ann.post(f"{hook}/secret?overlap_s=2592001").status_code == 400
    assert ann.delete(hook).status_code == 204
    assert ann.get("/api/webhooks").json() == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "ftp://example.com/"},
        {"url": "https://user:secret@example.com/"},
        {"url": "https://example.com/", "events": []},
        {"url": "https://example.com/", "events": ["job.exploded"]},
        {"url": "https://example.com/", "secret": "mine"},
    ],
)
def test_what_is_refused(doors: Doors, body: dict[str, Any]) -> None:
    assert doors.account().post("/api/webhooks", json=body).status_code == 400


def test_every_route_is_404_for_another_account(doors: Doors, receiver: Receiver) -> None:
    ann, bob = doors.account(), doors.account()
    hook_id = ann.post("/api/webhooks", json={"url": receiver.url}).json()["webhook"]["id"]
    delivery_id = ann.post(f"/api/webhooks/{hook_id}/ping").json()["id"]
    for method, path, body in (
        ("PATCH", hook_id, {"enabled": False}),
        ("DELETE", hook_id, None),
        ("POST", f"{hook_id}/secret", None),
        ("POST", f"{hook_id}/ping", None),
        ("GET", f"{hook_id}/deliveries", None),
        ("POST", f"{hook_id}/deliveries/{delivery_id}", None),
    ):
        answer = bob.request(method, f"/api/webhooks/{path}", json=body)
        assert (answer.status_code, answer.json()["name"]) == (404, "not_found"), (method, path)
    assert ann.get("/api/webhooks").json()[0]["enabled"] is True


def test_scope(doors: Doors) -> None:
    reader = doors.account("0", "keys:write")
    assert reader.get("/api/webhooks").status_code == 200
    assert reader.post("/api/webhooks", json={"url": "https://example.com/"}).status_code == 403
