"""An OpenID Connect provider on a real socket that signs what a test tells it to, right or wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

CLIENT_ID = "keelbill-client"
CLIENT_SECRET = "keelbill client secret"


@dataclass
class Provider:
    """What the provider says; tests change it.

    Attributes:
        now_s: Its clock.
        user: Claims about whoever signs in.
        changed: Claims that replace the right ones.
        left_out: Claims that are missing.
        metadata: Members that replace those of the discovery document.
        signs_with: The key; another than the published one is a forgery.
        padding: Bytes added to every answer.
        status: Of the token endpoint's answers.
    """

    url: str = ""
    now_s: int = 0
    user: dict[str, Any] = field(
        default_factory=lambda: {
            "sub": "subject-1",
            "email": "ada@example.org",
            "email_verified": True,
            "name": "Ada",
            "picture": "https://example.org/ada.png",
        }
    )
    changed: dict[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    published: Any = None
    signs_with: Any = None
    algorithm: str = "RS256"
    raw_token: str = ""
    padding: int = 0
    status: int = 200
    asked: list[str] = field(default_factory=list)
    grants: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.published = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.signs_with = self.published

    def rotate(self) -> None:
        """Publish and use another key."""
        self.published = self.signs_with = ECKey.generate_key("P-256", {"kid": "two", "use": "sig", "alg": "ES256"})
        self.algorithm = "ES256"

    def sign_in(self, address: str) -> tuple[str, str]:
        """Do what a browser and its user do at the provider; return the code and the state that come back."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = f"code-{len(self.grants)}"
        self.grants[code] = query
        return code, query["state"]

    def token(self, form: dict[str, str], client: tuple[str, str]) -> tuple[int, dict[str, Any]]:
        """Answer the token endpoint."""
        grant = self.grants.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            grant is None
            or client != (CLIENT_ID, CLIENT_SECRET)
            or grant["code_challenge"] != challenge.rstrip(b"=").decode()
            or grant["redirect_uri"] != form.get("redirect_uri")
        ):
            return 400, {"error": "invalid_grant"}
        right = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "iat": self.now_s,
            "exp": self.now_s + 300,
            "nonce": grant["nonce"],
            **self.user,
        }
        claims = {name: value for name, value in (right | self.changed).items() if name not in self.left_out}
        header = {"alg": self.algorithm, "kid": self.signs_with.kid}
        token = self.raw_token or jwt.encode(header, claims, self.signs_with, algorithms=[self.algorithm])
        return self.status, {"access_token": "unused", "token_type": "Bearer", "id_token": token}

    def document(self) -> dict[str, Any]:
        """Answer the discovery endpoint."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        } | self.metadata


@contextmanager
def oidc_provider() -> Iterator[Provider]:
    """Run a provider until the block ends."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked.append(self.path)
            if self.path == "/.well-known/openid-configuration":
                self.answer(200, provider.document())
            elif self.path == "/keys":
                self.answer(200, {"keys": [provider.published.as_dict(private=False)]})
            else:
                self.answer(404, {})

        def do_POST(self) -> None:
            provider.asked.append(self.path)
            text = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {name: values[0] for name, values in parse_qs(text).items()}
            basic = self.headers.get("authorization", "").removeprefix("Basic ")
            user, _, password = base64.b64decode(basic).decode().partition(":")
            client = (unquote(user), unquote(password)) if basic else (form["client_id"], form["client_secret"])
            self.answer(*provider.token(form, client))

        def answer(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode() + b" " * provider.padding
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except ConnectionError:
                return  # the client had enough

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
