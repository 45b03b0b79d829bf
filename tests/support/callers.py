"""Everybody who may knock at a server: strangers, members of each role, people elsewhere, keys of each scope."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, get_args

import httpx
from fastapi import FastAPI
from PIL import Image
from starlette.routing import Route

from keelbill.api.handbook.samples import example
from keelbill.core.ids import new_id
from keelbill.core.principal import Role, Scope
from keelbill.identity import repository
from keelbill.identity.schemas import KeyOptions
from support.browser import PASSWORD, Browser, add_person
from support.server import LiveServer

ROLES: Final[tuple[Role, ...]] = get_args(Role)
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
CALLERS: Final = ("nobody", *ROLES, "elsewhere", "staff", *(f"key {scope}" for scope in SCOPES))
NOT_THERE: Final = "0" * 32

BODIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "POST /api/password/prove": {"password": PASSWORD},
    "POST /api/password/change": {"password": PASSWORD, "new_password": PASSWORD},
    "PATCH /api/orgs/current/members/{user_id}": {"role": "viewer"},
    "POST /api/keys": {"name": "another", "scopes": ["keys:write"]},
    "PUT /api/admin/queue/pause": {"is_paused": False},
}
"""What is sent where the document's example would be refused to people who may, or would be in the way of others."""


@dataclass(frozen=True)
class Door:
    """One operation.

    Attributes:
        method: HTTP method.
        path: Pattern of the route.
    """

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def doors_of(app: FastAPI) -> list[Door]:
    """Return every operation of an application, each once."""
    found = {
        Door(method, route.path): None
        for route in app.router.routes
        if isinstance(route, Route)
        for method in sorted((route.methods or set()) - {"HEAD"})
    }
    return list(found)


class Callers:
    """A team with a member of each role, people elsewhere, and keys; each can knock at any door.

    Args:
        server: Where.
    """

    def __init__(self, server: LiveServer) -> None:
        server.platform.strangers.limit = 1_000_000
        self.server = server
        self.document: dict[str, Any] = server.client.get("/openapi.json").json()
        self.browsers: dict[str, Browser] = {}
        self.users: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self._emails: dict[str, str] = {}
        self.org_id = ""
        self.client = httpx.Client(base_url=server.url, timeout=60)
        picture = BytesIO()
        Image.new("RGB", (64, 64)).save(picture, "PNG")
        self._picture = picture.getvalue()
        for name in ("owner", *(role for role in ROLES if role != "owner"), "elsewhere", "staff"):
            self._add(name)
        self.guest = add_person(server, f"guest-{new_id()}@example.org")
        server.write(lambda c: repository.add_member(c, self.org_id, self.guest, "viewer", 1))
        for scope in SCOPES:
            self.keys[f"key {scope}"] = self._key(scope)

    def _add(self, name: str) -> None:
        email = self._emails[name] = f"{name}-{new_id()}@example.org"
        self.users[name] = add_person(self.server, email, is_staff=name == "staff")
        page = self.browsers[name] = Browser(self.server)
        assert page.sign_in(email).status_code == 200
        if name == "owner":
            self.org_id = str(page.post("/api/orgs", {"name": "Team"}).json()["id"])
        elif name in ROLES:
            role: Any = name
            self.server.write(lambda c: repository.add_member(c, self.org_id, self.users[name], role, 1))
        if name in ROLES:
            assert page.post(f"/api/orgs/switch/{self.org_id}").status_code == 200

    def _key(self, scope: Scope) -> str:
        options = KeyOptions(name=scope, scopes=frozenset({scope}))
        keys, owner = self.server.platform.keys, self.users["owner"]
        return self.server.write(lambda c: keys.make(c, self.org_id, owner, options)[1])

    def come_back(self, caller: str) -> None:
        """Sign a person in anew, into the team if it is one of its members."""
        if caller in self.browsers:
            page = self.browsers[caller]
            assert page.sign_in(self._emails[caller]).status_code == 200
            if caller in ROLES:
                assert page.post(f"/api/orgs/switch/{self.org_id}").status_code == 200

    def knock(self, caller: str, door: Door, things: Mapping[str, str] | None = None) -> httpx.Response:
        """Send a request that is right in everything but perhaps in who sends it.

        Args:
            caller: Who.
            door: Where.
            things: What stands in the places of the path; else ids of things that are not there.
        """
        path = door.path.replace("{path:path}", "x")
        for name, value in {"user_id": self.guest, **self._enums(door), **(things or {})}.items():
            path = path.replace(f"{{{name}}}", value)
        while "{" in path:
            before, _, rest = path.partition("{")
            path = before + NOT_THERE + rest.partition("}")[2]
        sent = self._body(door)
        if caller in self.browsers:
            return self.browsers[caller].request(door.method, path, sent)
        headers = {"authorization": f"Bearer {self.keys[caller]}"} if caller in self.keys else {}
        return self.client.request(door.method, path, headers=headers, **sent)

    def _operation(self, door: Door) -> dict[str, Any]:
        found: dict[str, Any] = self.document["paths"].get(door.path, {}).get(door.method.lower(), {})
        return found

    def _enums(self, door: Door) -> dict[str, str]:
        found = {}
        for parameter in self._operation(door).get("parameters", ()):
            if parameter["in"] == "path" and "enum" in parameter["schema"]:
                found[parameter["name"]] = str(parameter["schema"]["enum"][0])
        return found

    def _body(self, door: Door) -> dict[str, Any]:
        if str(door) in BODIES:
            return {"json": BODIES[str(door)]}
        content = self._operation(door).get("requestBody", {}).get("content", {})
        if "application/json" in content:
            return {"json": example(self.document, content["application/json"]["schema"])}
        if "multipart/form-data" in content:
            schema = content["multipart/form-data"]["schema"]
            files: dict[str, Any] = {}
            for name in schema.get("required", ()):
                field = schema["properties"][name]
                is_file = field.get("format") == "binary"
                files[name] = ("a.png", self._picture) if is_file else (None, str(example(self.document, field, name)))
            return {"files": files or {"none": ""}}
        return {"json": {}} if door.method in ("POST", "PUT", "PATCH") and not self._operation(door) else {}

    def close(self) -> None:
        """Close all connections."""
        self.client.close()
        for page in self.browsers.values():
            page.close()


@contextmanager
def callers(server: LiveServer) -> Iterator[Callers]:
    """Let everybody come, and go at the end."""
    everybody = Callers(server)
    try:
        yield everybody
    finally:
        everybody.close()


def is_let_in(answer: httpx.Response) -> bool:
    """Whether the caller was let in, whatever became of the request."""
    if answer.status_code in (401, 403):
        return False
    return not (answer.status_code == 429 and json.loads(answer.content or b"{}").get("name") == "rate_limit_exceeded")
