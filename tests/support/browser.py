"""A browser for tests: keeps cookies, sends ``Origin`` and the session's token as a page of the server would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from keelbill.identity.mail import ConsoleMailer
from support.server import LiveServer

PASSWORD = "seven lighthouses at dusk"


class Browser:
    """One person at one server.

    Args:
        server: That server.
    """

    def __init__(self, server: LiveServer) -> None:
        self.server = server
        self.client = httpx.Client(base_url=server.url, headers={"origin": server.url}, timeout=60)
        self.token = ""

    def post(self, path: str, body: object = None, **headers: str) -> httpx.Response:
        """Send a write as a page would; without a body if there is none."""
        return self.send("POST", path, body, **headers)

    def send(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """Send a request; keep the token of a new session."""
        sent: dict[str, Any] = {} if body is None else {"json": body}
        return self.request(method, path, sent, **headers)

    def request(self, method: str, path: str, sent: dict[str, Any], **headers: str) -> httpx.Response:
        """Send a request with any body; keep the token of a new session."""
        answer = self.client.request(method, path, headers={"x-csrf-token": self.token} | headers, **sent)
        if answer.status_code in (200, 201):
            found = answer.json() if answer.headers.get("content-type") == "application/json" else None
            if isinstance(found, dict):
                self.token = found.get("csrf_token", self.token)
        return answer

    def get(self, path: str) -> httpx.Response:
        """Read a page."""
        return self.client.get(path)

    def sign_in(self, email: str) -> httpx.Response:
        """Sign in with the usual password."""
        return self.post("/api/sign-in", {"email": email, "password": PASSWORD})

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


@contextmanager
def browser(server: LiveServer) -> Iterator[Browser]:
    """Open a browser and close it at the end; the server puts up with any number of strangers from then on."""
    server.platform.strangers.limit = 1_000_000
    opened = Browser(server)
    try:
        yield opened
    finally:
        opened.close()


def add_person(server: LiveServer, email: str, **values: Any) -> str:
    """Add a person with the usual password and return the id."""
    accounts = server.platform.accounts
    hashed = accounts.passwords.hash_now(PASSWORD)
    made = server.write(lambda c: accounts.add_person(c, email=email, password_hash=hashed, **values))
    assert made is not None
    return made[0]


def last_link(server: LiveServer) -> str:
    """Return the token in the last message that was sent."""
    postman = server.platform.identity.postman
    server.run(postman.flush())
    assert isinstance(postman.mailer, ConsoleMailer)
    return postman.mailer.recent[-1].link.partition("#token=")[2]
