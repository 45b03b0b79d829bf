"""HEAD answers as GET would, without a body, wherever GET is answered."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from support.forms import form
from support.server import LiveServer
from support.wire import Wire

SD3 = "/v2beta/stable-image/generate/sd3"
OF_EACH_ANSWER = {"date", "x-request-id", "ratelimit"}


def heads(server: LiveServer, path: str, **headers: str) -> list[tuple[int, dict[str, str]]]:
    """Return status and lasting headers of GET and of HEAD, which must have no body."""
    found = []
    for method in ("GET", "HEAD"):
        answer = server.client.request(method, path, headers=headers)
        found.append((answer.status_code, {k: v for k, v in answer.headers.items() if k not in OF_EACH_ANSWER}))
        if method == "HEAD":
            assert answer.content == b""
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/docs/page.css",
        "/openapi.json",
        "/healthz",
        "/startupz",
        "/favicon.ico",
        "/v1/user/balance",
        "/v1/user/account",
        "/v1/engines/list",
        "/v1/models",
        "/api/me",
        "/api/gallery",
        "/comfy/object_info/KSampler",
        "/nothing-here",
        "/v2beta/results/no-such-result",
    ],
)
def test_same_head(server: LiveServer, path: str) -> None:
    by_get, by_head = heads(server, path)
    assert by_head == by_get


def test_of_a_picture(server: LiveServer) -> None:
    server.set_balance("20")
    made = server.client.post("/v1/images/generations", json={"prompt": "a fox", "response_format": "url"}).json()
    path = urlsplit(made["data"][0]["url"]).path
    by_get, by_head = heads(server, path)
    assert by_head == by_get
    assert by_head[0] == 200
    assert int(by_head[1]["content-length"]) > 1000


def test_without_a_key(server: LiveServer) -> None:
    by_get, by_head = heads(server, "/v1/user/balance", authorization="")
    assert by_head == by_get
    assert by_head[0] == 401


def test_where_there_is_no_get(server: LiveServer) -> None:
    answer = server.client.head(SD3)
    assert (answer.status_code, answer.content, answer.headers["allow"]) == (405, b"", "POST")
    assert server.client.delete("/healthz").headers["allow"] == "GET, HEAD"


def test_of_events_ends_at_once(server: LiveServer) -> None:
    server.set_balance("20")
    with server.slow_workers(1.0):
        job_id = server.client.post("/api/jobs", json={"prompt": "a fox", "width": 64, "height": 64}).json()["id"]
        answer = server.client.head(f"/api/jobs/{job_id}/events")
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.content == b""
        assert server.client.get(f"/api/jobs/{job_id}").json()["state"] in ("queued", "running")


def test_the_connection_serves_on(server: LiveServer) -> None:
    wire = Wire(urlsplit(server.url).port or 0)
    line = f"/v1/user/balance HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {server.key}\r\n\r\n"
    wire.send(f"HEAD {line}GET {line}".encode())
    received = b""
    while not received.endswith(b"}"):
        received += wire.socket.recv(65536)
    wire.close()
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert received.count(b'"credits"') == 1


def test_nothing_is_made_by_it(server: LiveServer) -> None:
    server.set_balance("20")
    before = server.balance()
    assert server.client.request("HEAD", SD3, **form(prompt="a fox")).status_code == 405
    assert server.balance() == before
