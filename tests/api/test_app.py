"""What surrounds every route: ids, hosts, origins, headers, the rate limit and unknown paths."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from starlette.requests import Request

from support.forms import form
from support.server import LiveServer
from support.wire import Reply, Wire, request

SD3 = "/v2beta/stable-image/generate/sd3"
BALANCE = "/v1/user/balance"


MALFORMED = [
    "",
    "Bearer",
    "Bearer ",
    "Basic dXNlcjpwYXNz",
    "Token sk-abc",
    "sk-",
    "sk-" + "a" * 48,
    "Bearer sk-" + "a" * 48,
    "Bearer sk-" + "a" * 47,
    "Bearer null",
    "Bearer undefined",
    "Bearer sk-abc, Bearer sk-def",
    "Bearer sk-é",
    "Bearer " + "x" * 600,
    "Bearer sk-abc def",
    "Bearer\tsk-abc",
    "' OR 1=1 --",
    "Bearer ../../etc/passwd",
    "Digest username=x",
    "${jndi:ldap://x}",
]


def over_the_wire(server: LiveServer, data: bytes) -> Reply:
    wire = Wire(urlsplit(server.url).port or 0)
    try:
        return wire.ask(data)
    finally:
        wire.close()


class TestRequestId:
    def test_fresh_for_each_request(self, server: LiveServer) -> None:
        ids = {server.client.get("/healthz").headers["x-request-id"] for _ in range(3)}
        assert len(ids) == 3
        assert all(re.fullmatch("[0-9a-f]{32}", name) for name in ids)

    def test_the_clients_own(self, server: LiveServer) -> None:
        answer = server.client.get("/healthz", headers={"x-request-id": "My-id_1"})
        assert answer.headers["x-request-id"] == "My-id_1"

    @pytest.mark.parametrize("name", ["", "a" * 65, "a b", "a;b", "<script>"])
    def test_unusable_one_is_replaced(self, server: LiveServer, name: str) -> None:
        answer = server.client.get("/healthz", headers={"x-request-id": name})
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])

    def test_stands_in_the_error(self, server: LiveServer) -> None:
        answer = server.client.post(SD3, headers={"x-request-id": "abc"}, **form(seed="x"))
        assert answer.status_code == 400
        assert answer.json()["id"] == "abc"


class TestHeaders:
    @pytest.mark.parametrize("path", ["/healthz", "/nothing", BALANCE])
    def test_security(self, server: LiveServer, path: str) -> None:
        headers = server.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in headers
        assert "server" not in headers

    def test_hsts_behind_tls(self, start_server: Callable[..., LiveServer]) -> None:
        server = start_server(public_url="https://pictures.example")
        assert "max-age" in server.client.get("/healthz").headers["strict-transport-security"]

    def test_rate_limit_is_told(self, server: LiveServer) -> None:
        headers = server.client.get(BALANCE).headers
        assert headers["ratelimit-policy"] == '"requests";q=100000;w=10'
        assert re.fullmatch(r'"requests";r=\d+;t=\d+', headers["ratelimit"])


class TestHost:
    @pytest.mark.parametrize(
        "host", ["localhost", "LOCALHOST:99", "127.0.0.1", "10.1.2.3:80", "[::1]:9", "a.localhost"]
    )
    def test_ours(self, server: LiveServer, host: str) -> None:
        assert over_the_wire(server, request(path="/healthz", host=host)).status == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "a/b", "@"]
    )
    def test_somebody_elses_name(self, server: LiveServer, host: str) -> None:
        reply = over_the_wire(server, request(path="/healthz", host=host))
        assert reply.status == 400
        assert reply.json()["errors"][0].startswith("host: ")

    def test_names_that_the_operator_adds(self, start_server: Callable[..., LiveServer]) -> None:
        server = start_server(public_url="https://pictures.example", allowed_hosts="other.example, third.example")
        for host, status in {"pictures.example": 200, "third.example": 200, "fourth.example": 400}.items():
            assert over_the_wire(server, request(path="/healthz", host=host)).status == status


class TestOrigins:
    def test_closed_by_default(self, server: LiveServer) -> None:
        answer = server.client.get("/healthz", headers={"origin": "https://page.example"})
        assert not [name for name in answer.headers if name.startswith("access-control")]
        ask = {"origin": "https://page.example", "access-control-request-method": "POST"}
        assert server.client.options(SD3, headers=ask).status_code == 403

    def test_listed_origin(self, start_server: Callable[..., LiveServer]) -> None:
        server = start_server(allowed_origins="https://page.example, *")
        ask = {"origin": "https://page.example", "access-control-request-method": "POST"}
        preflight = server.client.options(SD3, headers=ask)
        answer = server.client.get("/healthz", headers={"origin": "https://page.example"})
        stranger = server.client.get("/healthz", headers={"origin": "https://other.example"})
        assert preflight.status_code == 204
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        assert "access-control-allow-credentials" not in [*answer.headers, *preflight.headers]
        assert "access-control-allow-origin" not in stranger.headers
        assert stranger.headers["vary"] == "origin"


class TestUnknown:
    @pytest.mark.parametrize(
        ("path", "keys"),
        [
            ("/nothing", {"id", "name", "errors"}),
            ("/v2beta/nothing", {"id", "name", "errors"}),
            ("/v1/nothing", {"id", "name", "message"}),
            ("/v1/images/nothing", {"error"}),
        ],
    )
    def test_path(self, server: LiveServer, path: str, keys: set[str]) -> None:
        answer = server.client.get(path)
        assert answer.status_code == 404
        assert set(answer.json()) == keys

    def test_trailing_slash_is_another_path(self, server: LiveServer) -> None:
        assert server.client.get("/healthz/").status_code == 404

    def test_method(self, server: LiveServer) -> None:
        answer = server.client.get(SD3)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"
        assert answer.json()["name"] == "method_not_allowed"

    def test_every_method_of_a_path_is_named(self, server: LiveServer) -> None:
        answer = server.client.put("/api/keys")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD, POST"


class TestMistakes:
    def test_ours_tell_nothing(
        self, start_server: Callable[..., LiveServer], capfd: pytest.CaptureFixture[str]
    ) -> None:
        server = start_server()

        async def broken(asked: Request) -> None:
            raise RuntimeError(f"secret detail of {asked.url}")

        server.app.add_api_route("/broken", broken)
        answer = server.client.get("/broken")
        assert answer.status_code == 500
        assert answer.json()["name"] == "internal_error"
        assert answer.headers["x-request-id"] in answer.json()["errors"][0]
        assert "secret detail" not in answer.text
        assert "Traceback" not in answer.text
        assert server.client.get("/healthz").status_code == 200

    def test_native_form_of_validation(self, server: LiveServer) -> None:
        answer = server.client.post("/api/keys", json={"nonsense": 1})
        assert answer.status_code == 400
        assert set(answer.json()) == {"id", "name", "errors"}


class TestRateLimit:
    def test_one_too_many(self, start_server: Callable[..., LiveServer]) -> None:
        server = start_server(rate_limit=20, rate_window_s=3600)
        answers = [server.client.get(BALANCE) for _ in range(40)]
        assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 20
        late = answers[-1]
        assert 3590 < int(late.headers["retry-after"]) <= 3600
        assert late.json()["name"] == "rate_limit_exceeded"
        assert late.headers["x-content-type-options"] == "nosniff"

    def test_another_account_is_not_held_up(self, start_server: Callable[..., LiveServer]) -> None:
        server = start_server(rate_limit=5, rate_window_s=3600)
        for _ in range(10):
            server.client.get(BALANCE)
        assert server.client.get("/healthz", headers={"authorization": ""}).status_code == 200
        assert server.client.get(BALANCE, headers={"authorization": "sk-wrong"}).status_code == 401

    def test_strangers_are_limited_by_address(self, start_server: Callable[..., LiveServer]) -> None:
        server = start_server()
        wrong = {"authorization": "Bearer sk-nobody"}
        answers = [server.client.get(BALANCE, headers=wrong) for _ in range(40)]
        statuses = [answer.status_code for answer in answers]
        assert statuses == [401] * 30 + [429] * 10  # a refused key counts twice, 60 are allowed
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert server.client.get(BALANCE).status_code == 200
        assert server.client.get("/healthz", headers={"authorization": ""}).status_code == 200


class TestCredentials:
    @pytest.mark.parametrize("shape", ["{key}", "Bearer {key}", "bearer {key}", "BEARER  {key} "])
    def test_ways_to_send_the_key(self, server: LiveServer, shape: str) -> None:
        reply = over_the_wire(server, request(path=BALANCE, authorization=shape.format(key=server.key)))
        assert reply.status == 200

    def test_other_header(self, server: LiveServer) -> None:
        reply = over_the_wire(server, request(path=BALANCE, x_api_key=server.key))
        assert reply.status == 200

    @pytest.mark.parametrize("name", ["key", "api_key", "API_KEY", "token", "access_token"])
    def test_key_in_the_address(self, server: LiveServer, name: str) -> None:
        reply = over_the_wire(
            server, request(path=f"{BALANCE.replace('v1/user/balance', 'v2beta/results/x')}?{name}=sk-1")
        )
        assert reply.status == 401
        assert any("never in the address" in line for line in reply.json()["errors"])

    def test_twenty_that_are_none(self, start_server: Callable[..., LiveServer]) -> None:
        server = start_server()
        for value in MALFORMED:
            reply = over_the_wire(server, request("POST", SD3, authorization=value))
            assert reply.status == 401, value
            assert reply.headers["www-authenticate"].startswith("Bearer")
            assert reply.json()["errors"] == ["authorization: invalid or missing header value"]
        assert server.client.get(BALANCE).status_code == 200

    def test_two_at_once(self, server: LiveServer) -> None:
        head = f"GET {BALANCE} HTTP/1.1\r\nhost: localhost\r\nauthorization: {server.key}\r\nauthorization: x\r\n\r\n"
        assert over_the_wire(server, head.encode()).status == 401
