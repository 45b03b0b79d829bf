from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from support.browser import Browser, add_person, browser
from support.server import LiveServer

EMAIL = "keys@example.org"


@pytest.fixture(scope="module")
def page(server: LiveServer) -> Iterator[Browser]:
    """The browser of an account that others do not use."""
    add_person(server, EMAIL)
    with browser(server) as opened:
        opened.sign_in(EMAIL)
        yield opened


@pytest.fixture(scope="module")
def manager(server: LiveServer) -> Iterator[httpx.Client]:
    """A key that may manage keys."""
    secret = server.new_key(("account:read", "keys:write", "generate"))
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {secret}"}, timeout=60) as client:
        yield client


def use(server: LiveServer, secret: str) -> int:
    """Return the status that a key gets."""
    return httpx.get(server.url + "/api/me", headers={"authorization": secret}, timeout=60).status_code


def test_made_listed_changed_and_revoked(page: Browser) -> None:
    body = {"name": "script", "scopes": ["generate", "account:read"], "caps": {"per_day": "6.5"}, "rate_limit": 20}
    answer = page.post("/api/keys", body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    key_id = made["key"]["id"]
    assert use(page.server, made["secret"]) == 200

    listed = next(key for key in page.get("/api/keys").json() if key["id"] == key_id)
    assert (listed["name"], listed["caps"]["per_day"], listed["rate_limit"]) == ("script", "6.5", 20)
    assert made["secret"] not in page.get("/api/keys").text

    changed = page.send("PATCH", f"/api/keys/{key_id}", {"name": "other", "rate_limit": None}).json()
    assert (changed["name"], changed["rate_limit"], changed["caps"]["per_day"]) == ("other", None, "6.5")

    assert page.send("DELETE", f"/api/keys/{key_id}").status_code == 204
    assert use(page.server, made["secret"]) == 401
    assert page.get(f"/api/keys/{key_id}").json()["is_active"] is False


def test_revoked_keys_stop_within_a_second(page: Browser) -> None:
    made = page.post("/api/keys", {}).json()
    assert use(page.server, made["secret"]) == 200

    began = time.monotonic()
    page.send("DELETE", f"/api/keys/{made['key']['id']}")
    status = use(page.server, made["secret"])

    assert status == 401
    assert time.monotonic() - began < 5  # one request each; the limit of a second is tested by itself


def test_rotation_shows_the_pair(page: Browser) -> None:
    old = page.post("/api/keys", {"name": "app"}).json()

    new = page.post(f"/api/keys/{old['key']['id']}/rotate", {"overlap_s": 60}).json()

    assert new["key"]["rotated_from"] == old["key"]["id"]
    assert page.get(f"/api/keys/{old['key']['id']}").json()["replaced_by"] == new["key"]["id"]
    assert use(page.server, old["secret"]) == use(page.server, new["secret"]) == 200


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"scopes": ["root"]}, "scopes"),
        ({"caps": {"per_day": 6.5}}, "caps.per_day"),
        ({"caps": {"per_day": "-1"}}, "caps.per_day"),
        ({"rate_limit": 0}, "rate_limit"),
        ({"networks": ["everywhere"]}, "networks"),
        ({"expires_ms": 1}, "expires_ms"),
        ({"id": "x"}, "id"),
        ({"name": "x" * 101}, "name"),
    ],
)
def test_what_cannot_be_chosen(page: Browser, body: object, problem: str) -> None:
    answer = page.post("/api/keys", body)

    assert answer.status_code == 400
    assert answer.json()["errors"][0].startswith(problem), answer.text


def test_keys_of_others_do_not_exist(page: Browser, server: LiveServer) -> None:
    theirs = server.client.get("/api/keys").json()[0]["id"]

    answers = [
        page.get(f"/api/keys/{theirs}"),
        page.send("PATCH", f"/api/keys/{theirs}", {"name": "mine"}),
        page.post(f"/api/keys/{theirs}/rotate", {}),
        page.send("DELETE", f"/api/keys/{theirs}"),
    ]

    assert [answer.status_code for answer in answers] == [404] * 4
    unknown = page.get("/api/keys/" + "f" * 32)
    assert unknown.json()["errors"][0].replace("f" * 32, "") == answers[0].json()["errors"][0].replace(theirs, "")


def test_a_key_without_the_scope(server: LiveServer) -> None:
    plain = {"authorization": server.new_key()}

    for answer in (
        httpx.post(server.url + "/api/keys", json={}, headers=plain),
        httpx.patch(server.url + "/api/keys/x", json={}, headers=plain),
    ):
        assert answer.status_code == 403
        assert "keys:write" in answer.json()["errors"][0]


def test_a_key_gives_no_more_than_it_has(manager: httpx.Client) -> None:
    assert manager.post("/api/keys", json={"scopes": ["generate"]}).status_code == 201
    answer = manager.post("/api/keys", json={"scopes": ["edit"]})

    assert answer.status_code == 403
    assert "edit" in answer.json()["errors"][0]
