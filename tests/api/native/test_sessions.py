from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from keelbill.api.deps import CSRF_HEADER
from support.browser import PASSWORD, Browser, add_person, browser
from support.oidc import CLIENT_ID, CLIENT_SECRET, oidc_provider
from support.server import LiveServer

EMAIL = "sessions@example.org"


@pytest.fixture(scope="module")
def person(server: LiveServer) -> str:
    return add_person(server, EMAIL)


@pytest.fixture
def page(server: LiveServer, person: str) -> Iterator[Browser]:
    """A browser that is signed in."""
    with browser(server) as opened:
        assert opened.sign_in(EMAIL).status_code == 200
        yield opened


class TestSignIn:
    def test_unknown_address_and_wrong_password_look_alike(self, server: LiveServer, person: str) -> None:
        with browser(server) as page:
            answers = [
                page.post("/api/sign-in", {"email": email, "password": "not the password"})
                for email in (EMAIL, "nobody@example.org")
            ]

        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.json()["errors"][0] for answer in answers}) == 1
        assert "set-cookie" not in answers[0].headers

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            ({"email": EMAIL}, "password: required"),
            ({"email": EMAIL, "password": PASSWORD, "is_staff": True}, "is_staff: "),
            ({"email": 7, "password": PASSWORD}, "email: "),
            ([], "body: "),
        ],
    )
    def test_bodies_of_another_shape(self, server: LiveServer, body: object, problem: str) -> None:
        with browser(server) as page:
            answer = page.post("/api/sign-in", body)

        assert answer.status_code == 400
        assert any(text.startswith(problem) for text in answer.json()["errors"]), answer.text

    def test_a_body_that_is_too_large(self, server: LiveServer) -> None:
        with browser(server) as page:
            answer = page.post("/api/sign-in", {"email": EMAIL, "password": "x" * 100_000})

        assert answer.status_code == 413

    def test_the_cookie_cannot_be_read_by_scripts(self, server: LiveServer, person: str) -> None:
        with browser(server) as page:
            cookie = page.sign_in(EMAIL).headers["set-cookie"].lower()

        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "path=/" in cookie
        assert "domain" not in cookie

    def test_a_cookie_that_was_planted_is_not_taken_over(self, server: LiveServer, person: str) -> None:
        planted = "x" * 43
        with browser(server) as page:
            page.client.cookies.set("session", planted)
            answer = page.sign_in(EMAIL)

        assert answer.status_code == 200
        assert planted not in answer.headers["set-cookie"]
        with browser(server) as victim:
            victim.client.cookies.set("session", planted)
            assert victim.get("/api/session").status_code == 401

    def test_from_a_page_elsewhere(self, server: LiveServer, person: str) -> None:
        with browser(server) as page:
            for origin in ("https://evil.example", "null"):
                answer = page.post("/api/sign-in", {"email": EMAIL, "password": PASSWORD}, origin=origin)
                assert answer.status_code == 403

    def test_over_tls_the_cookie_is_bound_to_the_host(self, start_server: Callable[..., LiveServer]) -> None:
        server = start_server(public_url="https://pictures.example")
        add_person(server, EMAIL)
        with browser(server) as page:
            cookie = page.post(
                "/api/sign-in", {"email": EMAIL, "password": PASSWORD}, origin="https://pictures.example"
            ).headers["set-cookie"]

        assert cookie.startswith("__Host-session=")
        assert "Secure" in cookie


class TestWritingWithACookie:
    def test_needs_the_token_and_an_own_page(self, page: Browser) -> None:
        token = page.token
        for headers in (
            {CSRF_HEADER: ""},
            {CSRF_HEADER: "0" * 64},
            {CSRF_HEADER: token, "origin": "https://evil.example"},
            {CSRF_HEADER: token, "origin": "null"},
            {CSRF_HEADER: token, "origin": page.server.url + ".evil.example"},
        ):
            answer = page.client.post("/api/sign-out", headers=headers)
            assert answer.status_code == 403, headers
        assert page.get("/api/session").status_code == 200

    def test_the_referer_does_where_there_is_no_origin(self, page: Browser) -> None:
        headers = {CSRF_HEADER: page.token, "referer": page.server.url + "/account"}
        with httpx.Client(base_url=page.server.url, cookies=page.client.cookies) as bare:
            assert bare.post("/api/sign-out", headers={CSRF_HEADER: page.token}).status_code == 403
            assert bare.post("/api/sign-out", headers=headers).status_code == 204

    def test_a_token_of_another_session(self, page: Browser) -> None:
        with browser(page.server) as other:
            other.sign_in(EMAIL)

            assert page.post("/api/sign-out", **{CSRF_HEADER: other.token}).status_code == 403

    def test_a_key_needs_neither_and_ignores_the_cookie(self, page: Browser, server: LiveServer) -> None:
        headers = {"authorization": f"Bearer {server.key}", "origin": "https://evil.example"}

        me = page.client.get("/api/me", headers=headers).json()

        assert me["id"] != page.get("/api/me").json()["id"]
        wrong = page.client.get("/api/me", headers={"authorization": "Bearer wrong"})
        assert wrong.status_code == 401
        assert wrong.headers["www-authenticate"].startswith("Bearer")


class TestSessions:
    def test_reading_the_session_gives_the_token(self, page: Browser) -> None:
        answer = page.get("/api/session")

        assert answer.json()["csrf_token"] == page.token
        assert answer.json()["is_recent"] is True
        assert answer.headers["cache-control"] == "no-store"

    def test_a_key_has_none(self, server: LiveServer) -> None:
        assert server.client.get("/api/session").status_code == 403
        assert server.client.get("/api/sessions").status_code == 403

    def test_a_cookie_does_not_work_after_signing_out(self, page: Browser) -> None:
        cookie = page.client.cookies["session"]

        answer = page.post("/api/sign-out")
        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-type" not in answer.headers
        assert "session" not in page.client.cookies

        page.client.cookies.set("session", cookie)
        assert page.get("/api/session").status_code == 401

    def test_one_of_several_can_be_ended(self, page: Browser) -> None:
        with browser(page.server) as other:
            other.sign_in(EMAIL)
            listed = page.get("/api/sessions").json()
            mine = [session for session in listed if session["is_current"]]
            current = other.get("/api/sessions").json()
            theirs = next(session["id"] for session in current if session["is_current"])

            assert page.send("DELETE", f"/api/sessions/{theirs}").status_code == 204

            assert len(mine) == 1
            assert other.get("/api/session").status_code == 401
            assert page.get("/api/session").status_code == 200

    def test_sessions_of_others_do_not_exist(self, page: Browser, server: LiveServer) -> None:
        add_person(server, "other-sessions@example.org")
        with browser(server) as other:
            other.sign_in("other-sessions@example.org")
            theirs = other.get("/api/sessions").json()[0]["id"]

            assert page.send("DELETE", f"/api/sessions/{theirs}").status_code == 404
            assert other.get("/api/session").status_code == 200

    def test_everywhere(self, page: Browser) -> None:
        with browser(page.server) as other:
            other.sign_in(EMAIL)

            assert page.post("/api/sign-out/everywhere").status_code == 204

            assert other.get("/api/session").status_code == 401
            assert page.get("/api/session").status_code == 401


class TestOtherProviders:
    def test_none_is_set_up(self, server: LiveServer) -> None:
        with browser(server) as page:
            assert page.get("/api/sign-in").json() == {}
            assert page.get("/api/sign-in/google").status_code == 404

    def test_there_and_back(self, start_server: Callable[..., LiveServer]) -> None:
        with oidc_provider() as provider:
            server = start_server(
                oidc_issuer=provider.url,
                oidc_client_id=CLIENT_ID,
                oidc_client_secret=CLIENT_SECRET,
                open_registration=True,
            )
            provider.now_s = server.platform.clock.now_ms() // 1000
            with browser(server) as page, browser(server) as other:
                away = page.get("/api/sign-in/oidc?return_to=/studio")
                assert away.status_code == 303
                code, state = provider.sign_in(away.headers["location"])
                back = f"/api/sign-in/oidc/callback?code={code}&state={state}"

                assert other.get(back).status_code == 401
                home = page.get(back)

                assert (home.status_code, home.headers["location"]) == (303, "/studio")
                assert page.get("/api/me").json()["email"] == "ada@example.org"
                assert page.get("/api/sign-in/oidc?return_to=//evil.example").status_code == 400
