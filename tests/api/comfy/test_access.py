"""Who gets in, with what, from where; and what the door says to strangers and to pages elsewhere."""

from __future__ import annotations

import asyncio
import base64
import json
import socket as sockets
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from keelbill.api.comfy.door import POLICY
from keelbill.api.comfy.sockets import MAX_ACCOUNT_SOCKETS
from support.browser import Browser, add_person, browser
from support.graphdoors import Client, GraphDoors, listen, text_to_image

ROUTES = [
    ("GET", "/users"),
    ("GET", "/settings"),
    ("GET", "/object_info"),
    ("GET", "/queue"),
    ("GET", "/history"),
    ("GET", "/jobs"),
    ("GET", "/view?filename=x"),
    ("GET", "/userdata?dir=x"),
    ("GET", "/system_stats"),
    ("GET", "/models"),
    ("GET", "/templates/index.json"),
    ("GET", "/internal/files/output"),
    ("POST", "/prompt"),
    ("POST", "/interrupt"),
    ("POST", "/upload/image"),
    ("POST", "/settings"),
    ("DELETE", "/userdata/x"),
]


@pytest.fixture
def person(graphs: GraphDoors) -> Iterator[Browser]:
    with browser(graphs.live) as opened:
        email = f"p{time.monotonic_ns()}@example.org"
        add_person(graphs.live, email)
        assert opened.sign_in(email).status_code == 200
        yield opened


def handshake(client: Client, host: str, client_id: str = "") -> tuple[sockets.socket, int]:
    """Open a socket by hand and return it with the status; what follows is never read."""
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", int(client.live.url.rpartition(":")[2])))
    raw.sendall(
        f"GET /comfy/ws?clientId={client_id} HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        f"sec-websocket-key: {base64.b64encode(b'x' * 16).decode()}\r\nsec-websocket-version: 13\r\n"
        f"authorization: Bearer {client.key}\r\n\r\n".encode()
    )
    return raw, int(raw.recv(12).split()[1])


class TestStrangers:
    @pytest.mark.parametrize(("method", "path"), ROUTES)
    def test_every_route_wants_a_credential(self, graphs: GraphDoors, method: str, path: str) -> None:
        graphs.live.platform.strangers.limit = 1_000_000
        for prefix in ("/comfy", "/comfy/api"):
            if path.startswith(("/internal", "/templates")) and prefix.endswith("api"):
                continue
            answer = httpx.request(method, f"{graphs.live.url}{prefix}{path}")
            assert answer.status_code == 401
            body = answer.json()
            assert body["error"]["type"] == "unauthorized"
            assert body["error"]["extra_info"] == {}
            assert body["node_errors"] == {}
            assert not body["error"]["message"].startswith("Unauthorized: Please login")

    def test_page_leads_to_the_sign_in(self, graphs: GraphDoors) -> None:
        answer = httpx.get(f"{graphs.live.url}/comfy/")
        assert (answer.status_code, answer.headers["location"]) == (302, "/sign-in?next=%2Fcomfy%2F")
        assert httpx.get(f"{graphs.live.url}/comfy").headers["location"] == "/comfy/"

    def test_socket(self, graphs: GraphDoors) -> None:
        url = f"{graphs.live.url.replace('http', 'ws')}/comfy/ws"
        with pytest.raises(InvalidStatus) as refused, connect(url, proxy=None):
            pass
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body or b"")["error"]["type"] == "unauthorized"

    def test_wrong_host(self, ada: Client) -> None:
        assert ada.get("/users", headers={"host": "evil.example"}).status_code == 400
        raw, status = handshake(ada, "evil.example")
        raw.close()
        assert status == 403


class TestKeys:
    def test_basic(self, ada: Client) -> None:
        for pair in (f"user:{ada.key}", f":{ada.key}", f"{ada.key}:"):
            header = {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
            assert httpx.get(f"{ada.live.url}/comfy/users", headers=header).status_code == 200

    @pytest.mark.parametrize("value", ["Basic !!!", "Basic " + base64.b64encode(b"\xff\xfe").decode(), "Bearer x", ""])
    def test_nonsense(self, ada: Client, value: str) -> None:
        assert httpx.get(f"{ada.live.url}/comfy/users", headers={"authorization": value}).status_code == 401

    def test_name_in_a_header_is_not_believed(self, ada: Client, bob: Client) -> None:
        ada.http.post("/userdata/a.json", content=b"1")
        assert bob.get("/userdata/a.json", headers={"comfy-user": "somebody"}).status_code == 404

    def test_key_without_the_scope(self, graphs: GraphDoors) -> None:
        client = graphs.account("100", "graph")
        assert client.get("/users").status_code == 403

    def test_socket_with_basic(self, ada: Client) -> None:
        url = f"{ada.live.url.replace('http://', 'ws://user:' + ada.key + '@')}/comfy/ws?clientId=b"
        with connect(url, proxy=None) as opened:
            assert listen(opened, until="status").of("status")[0]["sid"] == "b"


class TestPages:
    """A browser that is signed in, and pages of this server and of others."""

    def test_own_page_reads_and_writes(self, person: Browser) -> None:
        assert person.get("/comfy/api/users").json() == {"storage": "server", "migrated": True}
        headers = {"sec-fetch-site": "same-origin"}
        assert person.client.post("/comfy/api/settings", json={"a": 1}, headers=headers).status_code == 200
        assert person.post("/comfy/api/prompt", {"prompt": text_to_image()}).status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"sec-fetch-site": "none"},
        ],
    )
    def test_other_pages_cannot_write(self, person: Browser, headers: dict[str, str]) -> None:
        assert person.post("/comfy/prompt", {"prompt": text_to_image()}, **headers).status_code == 403
        assert person.post("/comfy/interrupt", **headers).status_code == 403
        assert person.send("DELETE", "/comfy/userdata/x", **headers).status_code == 403

    def test_writes_without_an_origin(self, person: Browser) -> None:
        del person.client.headers["origin"]
        assert person.post("/comfy/prompt", {"prompt": text_to_image()}).status_code == 403

    @pytest.mark.parametrize(
        "kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"]
    )
    def test_forms(self, person: Browser, ada: Client, kind: str) -> None:
        headers = {"content-type": kind}
        for path in ("/prompt", "/queue", "/history", "/interrupt", "/free"):
            assert person.client.post(f"/comfy{path}", content=b"{}", headers=headers).status_code == 415
            from_a_page = {**headers, "origin": "https://evil.example"}
            assert ada.http.post(path, content=b"{}", headers=from_a_page).status_code == 415

    def test_program_that_calls_its_json_a_form(self, ada: Client) -> None:
        """As Python's own library does, and with it the scripts that people copy."""
        body = json.dumps({"prompt": text_to_image()}).encode()
        kind = {"content-type": "application/x-www-form-urlencoded"}
        assert ada.http.post("/prompt", content=body, headers=kind).status_code == 200

    def test_password_that_the_browser_keeps(self, ada: Client) -> None:
        basic = "Basic " + base64.b64encode(f"u:{ada.key}".encode()).decode()
        headers = {"authorization": basic, "origin": "https://evil.example"}
        assert httpx.post(f"{ada.live.url}/comfy/interrupt", headers=headers).status_code == 403

    def test_socket_of_another_page(self, person: Browser) -> None:
        url = f"{person.server.url.replace('http', 'ws')}/comfy/ws"
        cookie = "; ".join(f"{name}={value}" for name, value in person.client.cookies.items())
        elsewhere: Any = "https://evil.example"
        with pytest.raises(InvalidStatus) as refused:
            connect(url, additional_headers={"cookie": cookie}, origin=elsewhere, proxy=None)
        assert refused.value.response.status_code == 403
        own: Any = person.server.url
        with connect(url, additional_headers={"cookie": cookie}, origin=own, proxy=None) as opened:
            listen(opened, until="status")

    def test_no_answer_may_be_read_elsewhere(self, ada: Client) -> None:
        answer = ada.get("/queue", headers={"origin": "https://evil.example"})
        assert not any(name.startswith("access-control") for name in answer.headers)

    def test_policy(self, person: Browser, ada: Client) -> None:
        for answer in (person.get("/comfy/?x=1"), ada.get("/users"), ada.get("/user.css")):
            assert answer.status_code == 200
            assert answer.headers["content-security-policy"] == POLICY
            assert answer.headers["x-frame-options"] == "SAMEORIGIN"

    def test_first_visit_shows_a_workflow_that_runs(self, person: Browser) -> None:
        assert person.get("/comfy/").headers["location"] == "?template=text_to_image"
        assert person.get("/comfy/?template=text_to_image").status_code == 200
        person.client.post("/comfy/api/settings", json={"a": 1})
        assert person.get("/comfy/").status_code == 200

    def test_icons_that_the_page_looks_for_at_the_root(self, person: Browser) -> None:
        path = "/assets/images/favicon_progress_16x16/frame_0.png"
        assert person.get(path).headers["content-type"] == "image/png"
        assert person.get("/assets/images/..%2f..%2findex.html").status_code == 404

    def test_page_and_its_files(self, person: Browser) -> None:
        page = person.get("/comfy/?x=1")
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["cache-control"] == "no-cache"
        script = page.text.partition('src="./')[2].partition('"')[0]
        answer = person.get(f"/comfy/{script}")
        assert answer.headers["content-type"].startswith("text/javascript")
        assert answer.headers["content-encoding"] == "gzip"
        assert person.get(f"/comfy/{script}.map").status_code == 404
        assert person.get("/comfy/assets/..%2f..%2f__init__.py").status_code == 404
        assert person.get("/comfy/nonsense").status_code == 404
        assert person.client.request("PUT", "/comfy/api/prompt").status_code == 405


class TestGreed:
    def test_body_of_200_megabytes(self, ada: Client) -> None:
        def body() -> Iterator[bytes]:
            yield b'{"prompt": "'
            for _ in range(200):
                yield b"x" * 2**20

        began = time.monotonic()
        try:
            status = ada.http.post("/prompt", content=body(), headers={"content-type": "application/json"}).status_code
        except httpx.WriteError:  # the server hangs up on who goes on sending
            status = 413
        assert status == 413
        assert time.monotonic() - began < 10

    @pytest.mark.parametrize(
        "body",
        [
            b"[" * 100_000,
            b'{"prompt": ' * 5000 + b"1" + b"}" * 5000,
            b'{"prompt": NaN}',
            b'{"prompt": "\\ud800"}',
            b"\xff\xfe",
            b"[]",
            b"",
            b'{"prompt": ' + b"9" * 5000 + b"}",
        ],
    )
    def test_bodies_that_are_no_graph(self, ada: Client, body: bytes) -> None:
        answer = ada.http.post("/prompt", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] in {"bad_request", "no_prompt", "invalid_prompt"}

    def test_compressed_body(self, ada: Client) -> None:
        assert ada.http.post("/prompt", content=b"x", headers={"content-encoding": "gzip"}).status_code == 415

    def test_graph_of_too_many_nodes(self, ada: Client) -> None:
        graph = {str(number): {"class_type": "PreviewImage", "inputs": {}} for number in range(513)}
        answer = ada.post("/prompt", {"prompt": graph})
        assert answer.status_code == 400
        assert "at most 512" in answer.json()["error"]["message"]

    def test_socket_that_never_reads(self, graphs: GraphDoors, ada: Client) -> None:
        """Its own account and everybody else go on, and the server keeps little for it."""
        raw, status = handshake(ada, "127.0.0.1", "dead")
        assert status == 101
        began = time.monotonic()
        for seed in range(15):
            ada.ended(ada.submit(text_to_image(seed=seed, steps=200), client_id="dead"))
        assert time.monotonic() - began < 60
        raw.close()

    def test_too_many_sockets(self, ada: Client, bob: Client) -> None:
        opened = []
        try:
            for number in range(MAX_ACCOUNT_SOCKETS):
                context = ada.socket(f"s{number}")
                context.__enter__()
                opened.append(context)
            with pytest.raises(InvalidStatus) as refused, ada.socket("one-more"):
                pass
            assert refused.value.response.status_code == 429
            with bob.socket("mine"):
                pass
        finally:
            for context in opened:
                context.__exit__(None, None, None)

    def test_nonsense_over_the_socket(self, ada: Client) -> None:
        with ada.socket("c1") as socket:
            for frame in ("", "x", "[]", '{"type": "feature_flags", "data": 7}', '{"type": 7}', b"\0\0", "[" * 10_000):
                socket.send(frame)
            ada.submit(text_to_image(), client_id="c1")
            assert listen(socket).of("execution_success")


class TestOthers:
    def test_no_event_crosses(self, ada: Client, bob: Client) -> None:
        with ada.socket("shared") as hers, bob.socket("shared") as his:
            listen(hers, until="status")
            sid = listen(his, until="status").of("status")[0]["sid"]
            assert sid != "shared"
            prompt_id = ada.submit(text_to_image(), client_id="shared")
            listen(hers)
            bob.submit(text_to_image(seed=1), client_id=sid)
            heard = listen(his)
        assert prompt_id not in json.dumps(heard.texts)

    def test_another_accounts_client_id_hears_nothing(self, ada: Client, bob: Client) -> None:
        with ada.socket("hers") as socket:
            listen(socket, until="status")
            bob.run(text_to_image("his words"), client_id="hers")
            ada.submit(text_to_image(), client_id="hers")
            heard = listen(socket)
        assert len(heard.of("execution_start")) == 1
        assert heard.of("status")[-1]["status"]["exec_info"]["queue_remaining"] == 0

    def test_no_run_crosses(self, graphs: GraphDoors, ada: Client, bob: Client) -> None:
        with graphs.live.slow_workers(0.1):
            prompt_id = ada.submit(text_to_image(seed=3, steps=15))
            assert bob.get("/queue").json() == {"queue_running": [], "queue_pending": []}
            assert bob.get("/prompt").json() == {"exec_info": {"queue_remaining": 0}}
            assert bob.get("/jobs").json()["jobs"] == []
            assert bob.get(f"/jobs/{prompt_id}").status_code == 404
            assert bob.post(f"/jobs/{prompt_id}/cancel").status_code == 404
            bob.post("/interrupt")
            bob.post("/interrupt", {"prompt_id": prompt_id})
            bob.post("/queue", {"clear": True, "delete": [prompt_id]})
            bob.post("/jobs/cancel", {"job_ids": [prompt_id]})
            bob.post("/free", {"unload_models": True})
            assert ada.ended(prompt_id)["status"]["status_str"] == "success"
        bob.post("/history", {"clear": True, "delete": [prompt_id]})
        assert bob.get(f"/history/{prompt_id}").json() == {}
        assert prompt_id in ada.get("/history").json()

    def test_no_result_crosses(self, ada: Client, bob: Client) -> None:
        graph = text_to_image("the very same words", seed=99)
        ada.run(graph)
        with bob.socket("c1") as socket:
            bob.submit(graph, client_id="c1")
            heard = listen(socket)
        assert heard.of("execution_cached")[0]["nodes"] == []


def test_nobody_waits_for_a_loop_that_is_blocked(ada: Client) -> None:
    """The largest graph that is let in is parsed beside the loop."""
    body = json.dumps({"prompt": {"1": {"class_type": "x" * 9_000_000, "inputs": {}}}}).encode()

    async def measure() -> float:
        began = time.monotonic()
        await asyncio.sleep(0.05)
        return time.monotonic() - began

    answer = ada.http.post("/prompt", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert len(answer.content) < 10_000
    assert ada.live.run(measure()) < 0.5
