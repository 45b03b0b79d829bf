from __future__ import annotations

from collections.abc import Callable

import pytest

from support.browser import PASSWORD, add_person, browser, last_link
from support.server import LiveServer

NEW_PASSWORD = "eight lighthouses at dawn"


class TestSignUp:
    def test_closed_by_default(self, server: LiveServer) -> None:
        with browser(server) as page:
            answer = page.post("/api/sign-up", {"email": "ada@example.org", "password": PASSWORD})

        assert answer.status_code == 403
        assert "invitation" in answer.json()["errors"][0]

    def test_from_sign_up_to_free_credits(self, start_server: Callable[..., LiveServer]) -> None:
        server = start_server(open_registration=True, require_verification=True)
        with browser(server) as page:
            body = {"email": "ada@example.org", "password": PASSWORD, "name": "Ada"}
            first = page.post("/api/sign-up", body)
            token = last_link(server)
            again = page.post("/api/sign-up", body)
            assert first.status_code == again.status_code == 202
            assert first.json() == again.json()

            page.sign_in("ada@example.org")
            balance = "/api/me"
            assert page.get(balance).json()["is_verified"] is False
            assert page.post("/api/verify", {"token": token}).status_code == 204
            assert page.post("/api/verify", {"token": token}).status_code == 400
            assert page.get(balance).json()["is_verified"] is True
            made = page.post("/api/keys", {"name": "mine"}).json()
            balance_now = page.client.get("/v1/user/balance", headers={"authorization": made["secret"]}).json()

        assert balance_now == {"credits": 25}


class TestPasswords:
    def test_reset_by_mail(self, server: LiveServer) -> None:
        add_person(server, "reset@example.org")
        with browser(server) as page, browser(server) as signed_in:
            signed_in.sign_in("reset@example.org")
            known = page.post("/api/password/reset", {"email": "reset@example.org"})
            token = last_link(server)
            unknown = page.post("/api/password/reset", {"email": "nobody@example.org"})
            assert (known.status_code, known.json()) == (unknown.status_code, unknown.json()) == (202, known.json())

            body = {"token": token, "password": NEW_PASSWORD}
            assert page.post("/api/password/new", body | {"password": "short"}).status_code == 400
            assert page.post("/api/password/new", body).status_code == 204
            assert page.post("/api/password/new", body).status_code == 400

            assert signed_in.get("/api/session").status_code == 401
            assert page.sign_in("reset@example.org").status_code == 401
            answer = page.post("/api/sign-in", {"email": "reset@example.org", "password": NEW_PASSWORD})
            assert answer.status_code == 200

    def test_change_gives_a_new_cookie(self, server: LiveServer) -> None:
        add_person(server, "change@example.org")
        with browser(server) as page:
            page.sign_in("change@example.org")
            old = page.client.cookies["session"]
            body = {"password": PASSWORD, "new_password": NEW_PASSWORD}

            assert page.post("/api/password/change", body | {"password": "wrong wrong"}).status_code == 401
            assert page.post("/api/password/change", body).status_code == 200

            assert page.client.cookies["session"] != old
            assert page.get("/api/session").status_code == 200
            page.client.cookies.set("session", old)
            assert page.get("/api/session").status_code == 401

    def test_proving_the_password_again(self, server: LiveServer) -> None:
        add_person(server, "prove@example.org")
        with browser(server) as page:
            page.sign_in("prove@example.org")

            assert page.post("/api/password/prove", {"password": "wrong wrong"}).status_code == 401
            answer = page.post("/api/password/prove", {"password": PASSWORD})

            assert answer.json()["is_recent"] is True
            assert page.get("/api/session").status_code == 200


class TestSetUp:
    def test_claims_the_owner(self, start_server: Callable[..., LiveServer]) -> None:
        server = start_server()
        token = server.write(server.platform.accounts.bootstrap).setup_token
        with browser(server) as page:
            body = {"token": token, "email": "owner@example.org", "password": PASSWORD}
            answer = page.post("/api/set-up", body)

            assert answer.status_code == 200, answer.text
            assert answer.json()["user"]["is_staff"] is True
            assert page.post("/api/set-up", body).status_code == 400
            me = server.client.get("/api/me").json()
        assert me["email"] == "owner@example.org"
        assert me["organizations"][0]["id"] == server.org_id


class TestMe:
    @pytest.mark.parametrize("path", ["/api/me", "/api/keys", "/api/orgs", "/api/session", "/api/sessions"])
    def test_without_a_credential(self, server: LiveServer, path: str) -> None:
        with browser(server) as page:
            answer = page.get(path)

        assert answer.status_code == 401
        assert "www-authenticate" in answer.headers

    def test_shows_no_secrets(self, server: LiveServer) -> None:
        text = server.client.get("/api/me").text + server.client.get("/api/keys").text

        for word in ("argon2", "digest", "password_hash", server.key[3:-6]):
            assert word not in text
