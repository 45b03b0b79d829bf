"""Administration over HTTP: for administrators only, with a recent password, and every change leaves a trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import update

from keelbill.core.ids import new_id
from keelbill.identity.models import login_session
from support.browser import PASSWORD, Browser, add_person, browser
from support.server import LiveServer

READS = (
    "/api/admin/accounts",
    "/api/admin/vouchers",
    "/api/admin/audit",
    "/api/admin/models",
    "/api/admin/queue",
    "/api/admin/workers",
    "/api/admin/health",
)
WRITES: tuple[tuple[str, str, object], ...] = (
    ("POST", "/api/admin/accounts", {"email": "eve@example.org", "password": PASSWORD, "is_staff": True}),
    ("PATCH", "/api/admin/accounts/{me}", {"is_staff": True}),
    ("POST", "/api/admin/vouchers", {"credits": "1000"}),
    ("POST", "/api/admin/models/sd3.5-medium/pull", {}),
    ("DELETE", "/api/admin/models/sd3.5-medium/pull", None),
    ("DELETE", "/api/admin/models/sd3.5-medium", None),
    ("PUT", "/api/admin/queue/pause", {"is_paused": True}),
    ("POST", f"/api/admin/queue/{'0' * 32}/move", {"to": "front"}),
    ("DELETE", f"/api/admin/queue/{'0' * 32}", None),
)


def person(server: LiveServer, **values: Any) -> tuple[str, str]:
    """Add a person and return id and address."""
    email = f"{new_id()}@example.org"
    return add_person(server, email, **values), email


@pytest.fixture
def root(server: LiveServer) -> Iterator[Browser]:
    """An administrator of the server."""
    _, email = person(server, is_staff=True)
    with browser(server) as page:
        page.sign_in(email)
        yield page


@pytest.fixture
def ada(server: LiveServer) -> Iterator[Browser]:
    """The owner of an organisation, who administers nothing else."""
    _, email = person(server, name="Ada")
    with browser(server) as page:
        page.sign_in(email)
        yield page


def actions(root: Browser) -> list[str]:
    return [line["action"] for line in root.get("/api/admin/audit").json()]


class TestWhoMay:
    @pytest.mark.parametrize("path", READS)
    def test_look(self, ada: Browser, root: Browser, server: LiveServer, path: str) -> None:
        assert ada.get(path).status_code == 403
        assert server.client.get(path).status_code == 403  # a key without the scope
        assert root.get(path).status_code == 200

    @pytest.mark.parametrize(("method", "path", "body"), WRITES)
    def test_change(self, ada: Browser, server: LiveServer, method: str, path: str, body: object) -> None:
        path = path.replace("{me}", ada.get("/api/session").json()["user"]["id"])
        assert ada.send(method, path, body).status_code == 403
        assert not server.platform.gateway.is_paused

    def test_only_with_a_recent_password(self, root: Browser, server: LiveServer) -> None:
        mine = root.get("/api/session").json()["user"]["id"]
        old = update(login_session).where(login_session.c.user_id == mine).values(authenticated_ms=1)
        server.write(lambda c: c.execute(old).rowcount)
        assert root.get("/api/admin/accounts").status_code == 403
        assert root.post("/api/password/prove", {"password": PASSWORD}).status_code == 200
        assert root.get("/api/admin/accounts").status_code == 200

    def test_without_the_token_of_the_session(self, root: Browser) -> None:
        root.token = "stolen"
        assert root.send("PUT", "/api/admin/queue/pause", {"is_paused": True}).status_code == 403


class TestAccounts:
    def test_found_by_address(self, root: Browser, server: LiveServer) -> None:
        user_id, email = person(server, name="Grace")
        (found,) = root.get(f"/api/admin/accounts?text={email}").json()["accounts"]
        assert (found["id"], found["name"], found["credits"]) == (user_id, "Grace", "25")
        assert not {"password_hash", "password"} & found.keys()

    def test_page_by_page(self, root: Browser, server: LiveServer) -> None:
        person(server)
        first = root.get("/api/admin/accounts?limit=1").json()
        second = root.get(f"/api/admin/accounts?limit=1&before={first['next_before']}").json()
        assert first["accounts"] != second["accounts"]

    def test_added_and_signed_in(self, root: Browser, server: LiveServer) -> None:
        email = f"{new_id()}@example.org"
        body = {"email": email, "password": PASSWORD, "name": "  Grace   H. "}
        made = root.post("/api/admin/accounts", body)
        assert (made.status_code, made.json()["name"], made.json()["is_verified"]) == (201, "Grace H.", True)
        assert root.post("/api/admin/accounts", body).status_code == 409
        assert root.post("/api/admin/accounts", {"email": "x@example.org", "password": "short"}).status_code == 400
        with browser(server) as page:
            assert page.sign_in(email).status_code == 200

    def test_access_taken_away_and_given_back(self, root: Browser, server: LiveServer) -> None:
        user_id, email = person(server)
        with browser(server) as page:
            page.sign_in(email)
            key = page.post("/api/keys", {"name": "k"}).json()["secret"]
            assert root.send("PATCH", f"/api/admin/accounts/{user_id}", {"is_disabled": True}).status_code == 204
            assert page.get("/api/session").status_code == 401
            assert page.sign_in(email).status_code == 401
            headers = {"authorization": f"Bearer {key}"}
            assert server.client.get("/api/credits", headers=headers).status_code == 401
            assert root.send("PATCH", f"/api/admin/accounts/{user_id}", {"is_disabled": False}).status_code == 204
            assert page.sign_in(email).status_code == 200
        assert {"person.enable", "person.disable"} <= {*actions(root)[:6]}

    def test_another_administrator(self, root: Browser, server: LiveServer) -> None:
        user_id, email = person(server)
        assert root.send("PATCH", f"/api/admin/accounts/{user_id}", {"is_staff": True}).status_code == 204
        with browser(server) as page:
            page.sign_in(email)
            assert page.get("/api/admin/health").status_code == 200

    def test_nobody_locks_themselves_out(self, root: Browser) -> None:
        mine = root.get("/api/session").json()["user"]["id"]
        for change in ({"is_disabled": True}, {"is_staff": False}):
            assert root.send("PATCH", f"/api/admin/accounts/{mine}", change).status_code == 400
        assert root.send("PATCH", f"/api/admin/accounts/{new_id()}", {"is_disabled": True}).status_code == 404


class TestVouchers:
    def test_made_once_and_redeemed(self, root: Browser, ada: Browser) -> None:
        made = root.post("/api/admin/vouchers", {"credits": "40", "note": "for the class"})
        assert made.headers["cache-control"] == "no-store"
        code = made.json()["code"]
        assert ada.post("/api/credits/vouchers", {"code": code}).json()["added"] == "40"
        listed = root.get("/api/admin/vouchers")
        assert code not in listed.text
        newest = listed.json()[0]
        assert (newest["credits"], newest["used"], newest["note"]) == ("40", 1, "for the class")
        assert "voucher.create" in actions(root)

    @pytest.mark.parametrize("body", [{"credits": "0"}, {"credits": "-1"}, {"credits": "5", "uses": 0}, {}])
    def test_worth_nothing(self, root: Browser, body: dict[str, object]) -> None:
        assert root.post("/api/admin/vouchers", body).status_code == 400


class TestModels:
    def test_what_is_here_and_what_could_be(self, root: Browser) -> None:
        found = {model["name"]: model for model in root.get("/api/admin/models").json()["models"]}
        assert (found["keelbill-mini"]["state"], found["keelbill-mini"]["is_default"]) == ("installed", True)
        assert (found["sd3.5-medium"]["state"], found["sd3.5-medium"]["origin"]) == ("available", "")

    def test_what_cannot_be_removed_or_fetched(self, root: Browser) -> None:
        assert root.send("DELETE", "/api/admin/models/keelbill-mini").status_code == 409
        assert root.send("DELETE", "/api/admin/models/keelbill-mini-turbo").status_code == 400
        assert root.send("DELETE", "/api/admin/models/sd3.5-medium").status_code == 404
        assert root.post("/api/admin/models/nothing/pull", {}).status_code == 404
        assert root.post("/api/admin/models/..%2Fx/pull", {}).status_code in (400, 404)
        assert root.send("DELETE", "/api/admin/models/sd3.5-medium/pull").status_code == 404


class TestQueue:
    @pytest.fixture(autouse=True)
    def _resumed(self, server: LiveServer) -> Iterator[None]:
        yield
        server.run(self._resume(server))
        server.wait_until_idle()

    async def _resume(self, server: LiveServer) -> None:
        server.platform.gateway.resume()

    def test_paused_reordered_cancelled_resumed(self, root: Browser, server: LiveServer) -> None:
        server.set_balance("100")
        assert root.send("PUT", "/api/admin/queue/pause", {"is_paused": True}).status_code == 204
        body = {"prompt": "a secret boat", "width": 64, "height": 64}
        first, second, third = (server.client.post("/api/jobs", json=body).json()["id"] for _ in range(3))
        shown = root.get("/api/admin/queue")
        assert "secret" not in shown.text
        assert (shown.json()["is_paused"], shown.json()["waiting"]) == (True, 3)
        assert root.post(f"/api/admin/queue/{third}/move", {"to": "front"}).status_code == 204
        assert [job["id"] for job in root.get("/api/admin/queue").json()["jobs"]] == [third, first, second]
        assert root.send("DELETE", f"/api/admin/queue/{first}").status_code == 204
        with server.client.stream("GET", f"/api/jobs/{first}/events") as events:
            assert b"event: cancelled" in events.read()
        assert server.client.get(f"/api/jobs/{first}").json()["charged"] == "0"
        assert root.send("DELETE", f"/api/admin/queue/{first}").status_code == 404
        assert root.post(f"/api/admin/queue/{first}/move", {"to": "back"}).status_code == 404
        assert root.send("PUT", "/api/admin/queue/pause", {"is_paused": False}).status_code == 204
        for job in (second, third):
            with server.client.stream("GET", f"/api/jobs/{job}/events") as events:
                assert b"event: succeeded" in events.read()
        assert [a for a in actions(root) if a.startswith(("queue", "job"))][:3] == [
            "queue.resume",
            "job.cancel",
            "queue.pause",
        ]

    def test_workers(self, root: Browser) -> None:
        workers = root.get("/api/admin/workers").json()
        assert len(workers) == 4
        assert all(worker["is_ready"] and worker["running"] == [] for worker in workers)


def test_health_says_what_is_on_and_no_secret(root: Browser, server: LiveServer) -> None:
    found = root.get("/api/admin/health").json()
    assert (found["status"], found["database"], found["failing"]) == ("ok", "sqlite", [])
    assert 0 < found["disk_free_bytes"] <= found["disk_total_bytes"]
    assert found["started_ms"] > 0
    assert found["books"]["mismatches"] == 0
    assert found["settings"]["cards"] is False
    assert found["settings"]["model"] == "keelbill-mini"
