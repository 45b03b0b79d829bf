from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.browser import PASSWORD, Browser, add_person, browser, last_link
from support.server import LiveServer

ADA = "orgs@example.org"


@pytest.fixture(scope="module")
def person(server: LiveServer) -> str:
    return add_person(server, ADA)


@pytest.fixture
def ada(server: LiveServer, person: str) -> Iterator[Browser]:
    """The owner of a new team, whose session acts for it."""
    with browser(server) as page:
        page.sign_in(ADA)
        org_id = page.post("/api/orgs", {"name": "Lighthouse"}).json()["id"]
        assert page.post(f"/api/orgs/switch/{org_id}").status_code == 200
        yield page


def invite(ada: Browser, email: str, role: str = "member") -> str:
    """Invite somebody and return the token of the link."""
    answer = ada.post("/api/orgs/current/invitations", {"email": email, "role": role})
    assert answer.status_code == 201, answer.text
    return last_link(ada.server)


def test_switching_gives_a_new_cookie(server: LiveServer, person: str) -> None:
    with browser(server) as page:
        page.sign_in(ADA)
        before = page.client.cookies["session"]
        org_id = page.post("/api/orgs", {"name": "Other"}).json()["id"]

        page.post(f"/api/orgs/switch/{org_id}")

        assert page.client.cookies["session"] != before
        orgs = page.get("/api/orgs").json()
        assert next(org for org in orgs if org["id"] == org_id)["is_default"] is True
        assert page.post(f"/api/orgs/switch/{server.org_id}").status_code == 404


def test_from_invitation_to_leaving(ada: Browser, server: LiveServer) -> None:
    token = invite(ada, "bob@example.org")
    with browser(server) as bob:
        joined = bob.post("/api/join", {"token": token, "password": PASSWORD, "name": "Bob"})
        assert joined.status_code == 200, joined.text
        bob_id = joined.json()["user"]["id"]
        assert bob.post("/api/join", {"token": token, "password": PASSWORD}).status_code == 400
        assert [member["user_id"] for member in bob.get("/api/orgs/current/members").json()] == [bob_id]
        assert {member["role"] for member in ada.get("/api/orgs/current/members").json()} == {"owner", "member"}
        assert bob.post("/api/keys", {}).status_code == 403
        made = ada.post("/api/keys", {"user_id": bob_id}).json()

        path = f"/api/orgs/current/members/{bob_id}"
        assert ada.send("PATCH", path, {"caps": {"per_day": "1"}}).status_code == 204
        assert ada.send("PATCH", path, {}).status_code == 400
        assert ada.send("PATCH", path, {"role": "viewer"}).status_code == 204
        assert bob.get("/api/session").status_code == 401

        headers = {"authorization": made["secret"]}
        assert ada.client.get("/api/me", headers=headers).status_code == 200
        assert ada.send("DELETE", path).status_code == 204
        assert ada.client.get("/api/me", headers=headers).status_code == 401
    actions = [entry["action"] for entry in ada.get("/api/orgs/current/audit").json()]
    assert {"org.create", "member.invite", "member.join", "member.role", "member.remove", "key.revoke"} <= set(actions)


def test_accepting_with_an_account(ada: Browser, server: LiveServer) -> None:
    add_person(server, "carol@example.org")
    token = invite(ada, "carol@example.org", "admin")
    with browser(server) as carol:
        carol.sign_in("carol@example.org")
        assert carol.post("/api/orgs/accept", {"token": token}).status_code == 200
        assert carol.get("/api/orgs/current/invitations").status_code == 200
        me = carol.get("/api/me").json()["id"]
        answer = carol.send("PATCH", f"/api/orgs/current/members/{me}", {"role": "owner"})
        assert answer.status_code == 403
        assert carol.send("DELETE", "/api/orgs/current").status_code == 403


def test_invitations_are_listed_and_withdrawn(ada: Browser) -> None:
    invite(ada, "dora@example.org")
    listed = ada.get("/api/orgs/current/invitations").json()

    assert [found["email"] for found in listed] == ["dora@example.org"]
    path = f"/api/orgs/current/invitations/{listed[0]['id']}"
    assert ada.send("DELETE", path).status_code == 204
    assert ada.send("DELETE", path).status_code == 404


def test_the_last_owner_stays(ada: Browser) -> None:
    me = ada.get("/api/me").json()["id"]

    answer = ada.send("PATCH", f"/api/orgs/current/members/{me}", {"role": "admin"})

    assert answer.status_code == 409
    assert ada.send("DELETE", f"/api/orgs/current/members/{me}").status_code == 409


def test_a_closed_team(ada: Browser) -> None:
    assert ada.send("PATCH", "/api/orgs/current", {"name": "Closing"}).status_code == 204
    assert ada.send("DELETE", "/api/orgs/current").status_code == 204

    assert ada.get("/api/session").status_code == 401


def test_what_a_key_may_not_do(server: LiveServer) -> None:
    assert server.client.post("/api/orgs", json={"name": "Mine"}).status_code == 403
    assert server.client.get("/api/orgs/current/audit").status_code == 403
    assert server.client.get("/api/orgs").status_code == 200
    assert len(server.client.get("/api/orgs/current/members").json()) == 1
