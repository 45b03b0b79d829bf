"""An organisation's rules about prompts, its queue and the server's trail, as browsers and keys see them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import update

from keelbill.core.ids import new_id
from keelbill.identity.models import login_session
from support.browser import Browser, add_person, browser
from support.forms import form
from support.server import LiveServer

FIGURE = "president trump on a horse"
POLICY = "/api/moderation/policy"
REVIEWS = "/api/moderation/reviews"
GENERATE = "/v2beta/stable-image/generate/sd3"
TRAIL = "/api/moderation/trail"


@pytest.fixture
def ada(server: LiveServer) -> Iterator[Browser]:
    """The owner of an organisation without any history."""
    email = f"{new_id()}@example.org"
    add_person(server, email)
    with browser(server) as page:
        page.sign_in(email)
        yield page


@pytest.fixture
def root(server: LiveServer) -> Iterator[Browser]:
    """An administrator of the server."""
    email = f"{new_id()}@example.org"
    add_person(server, email, is_staff=True)
    with browser(server) as page:
        page.sign_in(email)
        yield page


def key_of(page: Browser) -> str:
    """Return a new key of somebody's organisation."""
    answer = page.post("/api/keys", {"name": "pictures"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["secret"])


def ask(page: Browser, key: str, prompt: str) -> int:
    """Ask for a picture and return the status."""
    headers = {"authorization": f"Bearer {key}"}
    return page.client.post(GENERATE, headers=headers, **form(prompt=prompt)).status_code


def age_sessions(server: LiveServer) -> None:
    """Let every session have proved its password a day ago."""
    server.write(lambda c: c.execute(update(login_session).values(authenticated_ms=1)).rowcount)


class TestPolicy:
    @pytest.mark.parametrize(
        "actions",
        [
            {"noise": "block"},
            {"gore": "burn"},
            {"minors": "allow"},
            {"minors": "review"},
            {},
            {"gore": 1},
            "gore",
            None,
        ],
    )
    def test_what_cannot_be_chosen(self, ada: Browser, actions: object) -> None:
        answer = ada.send("PUT", POLICY, {"actions": actions})
        assert answer.status_code == 400
        assert answer.json()["name"] == "bad_request"

    def test_the_minors_problem_is_named(self, ada: Browser) -> None:
        answer = ada.send("PUT", POLICY, {"actions": {"minors": "allow"}})
        assert answer.json()["errors"] == ["minors: is always blocked and cannot be set to allow"]

    def test_unknown_members_are_refused(self, ada: Browser) -> None:
        assert ada.send("PUT", POLICY, {"actions": {"gore": "allow"}, "force": True}).status_code == 400

    def test_without_the_sessions_token(self, ada: Browser) -> None:
        answer = ada.send("PUT", POLICY, {"actions": {"gore": "allow"}}, **{"x-csrf-token": "no"})
        assert answer.status_code == 403

    def test_a_key_does_not_choose(self, ada: Browser) -> None:
        headers = {"authorization": f"Bearer {key_of(ada)}"}
        assert ada.client.put(POLICY, json={"actions": {"gore": "allow"}}, headers=headers).status_code == 403
        assert ada.client.get(POLICY, headers=headers).status_code == 403

    def test_nobody_sees_it_from_outside(self, server: LiveServer) -> None:
        with browser(server) as stranger:
            assert stranger.get(POLICY).status_code == 401

    def test_the_defaults(self, ada: Browser) -> None:
        lines = {line["category"]: line for line in ada.get(POLICY).json()}
        assert lines["minors"] == {
            "category": "minors",
            "label": "sexual content with minors",
            "action": "block",
            "is_locked": True,
        }
        assert lines["public_figures"]["action"] == "review"
        assert len(lines) == 7

    def test_a_choice_stays_and_the_next_one_adds_to_it(self, ada: Browser) -> None:
        ada.send("PUT", POLICY, {"actions": {"gore": "allow"}})
        ada.send("PUT", POLICY, {"actions": {"hate": "review"}})
        actions = {line["category"]: line["action"] for line in ada.get(POLICY).json()}
        assert (actions["gore"], actions["hate"], actions["sexual"]) == ("allow", "review", "block")

    def test_a_choice_is_in_the_audit_log(self, ada: Browser) -> None:
        ada.send("PUT", POLICY, {"actions": {"gore": "allow"}})
        newest = ada.get("/api/orgs/current/audit").json()[0]
        assert newest["action"] == "moderation.policy"
        assert '"gore": "block"' in newest["before"]
        assert '"gore": "allow"' in newest["after"]

    def test_an_old_session_must_prove_itself_again(self, ada: Browser, server: LiveServer) -> None:
        age_sessions(server)
        assert ada.send("PUT", POLICY, {"actions": {"gore": "allow"}}).status_code in (401, 403)

    def test_it_decides_about_the_next_picture(self, ada: Browser) -> None:
        key = key_of(ada)
        assert ask(ada, key, "entrails on a table") == 403
        ada.send("PUT", POLICY, {"actions": {"gore": "allow"}})
        assert ask(ada, key, "entrails on a table") == 200
        assert ask(ada, key, "a nude child, entrails") == 403


class TestReviews:
    def test_from_the_prompt_to_the_decision(self, ada: Browser) -> None:
        assert ask(ada, key_of(ada), FIGURE) == 200
        (review,) = ada.get(REVIEWS).json()
        assert (review["text"], review["category"], review["state"]) == (FIGURE, "public_figures", "open")
        assert "text_hash" not in review

        done = ada.post(f"{REVIEWS}/{review['id']}", {"decision": "approved", "note": "satire"})

        assert done.status_code == 200
        assert (done.json()["state"], done.json()["note"]) == ("approved", "satire")
        assert done.json()["decided_by"] == review["user_id"]
        assert ada.get(REVIEWS).json() == []
        assert len(ada.get(f"{REVIEWS}?state=all").json()) == 1
        again = ada.post(f"{REVIEWS}/{review['id']}", {"decision": "rejected"})
        assert (again.status_code, again.json()["name"]) == (409, "conflict")

    @pytest.mark.parametrize("body", [{}, {"decision": "open"}, {"decision": "approved", "note": "x" * 1001}, []])
    def test_what_is_no_decision(self, ada: Browser, body: object) -> None:
        assert ada.post(f"{REVIEWS}/{new_id()}", body).status_code == 400

    def test_a_review_that_is_not_there(self, ada: Browser) -> None:
        answer = ada.post(f"{REVIEWS}/{new_id()}", {"decision": "approved"})
        assert (answer.status_code, answer.json()["name"]) == (404, "not_found")

    def test_another_organisation_sees_nothing_of_it(self, ada: Browser, server: LiveServer) -> None:
        ask(ada, key_of(ada), FIGURE)
        (review,) = ada.get(REVIEWS).json()
        email = f"{new_id()}@example.org"
        add_person(server, email)
        with browser(server) as other:
            other.sign_in(email)
            assert other.get(REVIEWS).json() == []
            assert other.post(f"{REVIEWS}/{review['id']}", {"decision": "approved"}).status_code == 404
            assert other.get(f"{REVIEWS}?everywhere=true").status_code == 403
            path = f"{REVIEWS}/{review['id']}?everywhere=true"
            assert other.post(path, {"decision": "approved"}).status_code == 403

    def test_the_servers_administrators_may_decide_everywhere(self, ada: Browser, root: Browser) -> None:
        ask(ada, key_of(ada), FIGURE)
        (review,) = ada.get(REVIEWS).json()
        assert root.get(REVIEWS).json() == []
        assert review["id"] in [line["id"] for line in root.get(f"{REVIEWS}?everywhere=true").json()]
        done = root.post(f"{REVIEWS}/{review['id']}?everywhere=true", {"decision": "rejected"})
        assert done.json()["state"] == "rejected"


class TestTrail:
    def test_it_is_for_administrators_of_the_server(self, ada: Browser) -> None:
        assert ada.get(TRAIL).status_code == 403

    def test_it_tells_what_happened_without_the_prompt(self, ada: Browser, root: Browser) -> None:
        assert ask(ada, key_of(ada), "canary-4711 nude") == 403
        answer = root.get(TRAIL)
        newest = answer.json()[0]
        assert (newest["action"], newest["category"], newest["span_length"]) == ("block", "sexual", 4)
        assert "canary-4711" not in answer.text
        assert root.get(f"{TRAIL}?org_id={newest['org_id']}&limit=1").json() == [newest]
        assert root.get(f"{TRAIL}?org_id={new_id()}").json() == []
        assert root.get(f"{TRAIL}?before_id={newest['id']}&org_id={newest['org_id']}").json() == []

    @pytest.mark.parametrize("query", ["limit=0", "limit=501", f"org_id={'x' * 33}"])
    def test_bounds(self, root: Browser, query: str) -> None:
        assert root.get(f"{TRAIL}?{query}").status_code == 400


def test_a_refused_prompt_costs_nothing(server: LiveServer) -> None:
    before = server.balance()
    answer = server.client.post(GENERATE, **form(prompt="a nude woman"))
    assert answer.status_code == 403
    assert answer.json()["name"] == "content_moderation"
    assert answer.json()["errors"] == [
        "prompt: refused, because the rules of this server do not allow sexual content; nothing was charged"
    ]
    assert server.balance() == before


def test_what_is_to_be_avoided_is_not_judged(server: LiveServer) -> None:
    server.set_balance("25")
    answer = server.client.post(GENERATE, **form(prompt="a woman in a park", negative_prompt="nudity, nsfw"))
    assert answer.status_code == 200
