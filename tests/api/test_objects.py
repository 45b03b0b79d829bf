"""Somebody else's things do not exist: at every route with an id, another account gets what nobody's id gets."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from io import BytesIO

import httpx
import pytest
from PIL import Image

from keelbill.api.app import create_app
from keelbill.core.types import micro
from support.callers import NOT_THERE, Callers, Door, callers, doors_of
from support.doors import Doors, doors
from support.graphdoors import text_to_image

__all__ = ["doors"]

NOBODYS = {
    "engine_id": "names a model",
    "model": "names a model",
    "name": "names a model or a kind of secret of the caller",
    "provider": "names a service to sign in with",
    "digest": "of a file of the studio",
    "path": "of a file of the studio",
    "part": "of a file of the studio",
    "token": "opens by itself",
    "place": "counts the pictures of a run",
    "user_id": "people are known to those who share an organisation; see tests/identity",
    "payment_id": "cards are off here; see tests/ledger/test_payments.py",
    "review_id": "see tests/moderation/test_service.py",
}
"""Places in paths that name nothing that belongs to an account, or whose owners are tested elsewhere."""
GIVEN = re.compile(r"{(\w+)(?::path)?}")
PASSED_OVER = ("/api/admin/", "/api/treasury/", "/gallery/")
"""For staff only; and a page that is the same for everybody and asks the routes here for what it shows."""
KEYED = ("/v2beta/", "/proxy/")
"""Routes that take keys only."""


@pytest.fixture(scope="module")
def everybody(doors: Doors) -> Iterator[Callers]:
    with callers(doors.live) as found:
        owner = found.browsers["owner"]
        doors.live.write(lambda c: doors.live.platform.ledger.adjust(c, found.org_id, micro("100"), "tests", "funds"))
        assert owner.get("/api/orgs").status_code == 200
        found.keys["key elsewhere"] = doors.account().headers["authorization"].removeprefix("Bearer ")
        yield found


def finished(everybody: Callers) -> str:
    """Let the owner make a picture and return its job."""
    owner = everybody.browsers["owner"]
    made = owner.post("/api/jobs", {"prompt": "a red fox", "width": 64, "height": 64})
    assert made.status_code == 202, made.text
    until_s = time.monotonic() + 60
    while owner.get(f"/api/jobs/{made.json()['id']}").json()["state"] != "succeeded":
        assert time.monotonic() < until_s
        time.sleep(0.05)
    return str(made.json()["id"])


@pytest.fixture(scope="module")
def things(everybody: Callers) -> dict[str, str]:
    """Return one of everything, made by the owner of the team."""
    owner = everybody.browsers["owner"]

    def made(answer: httpx.Response, *names: str) -> str:
        assert answer.is_success, answer.text
        found = answer.json()
        for name in names:
            found = found[int(name) if isinstance(found, list) else name]
        return str(found)

    out = BytesIO()
    Image.new("RGB", (64, 64)).save(out, "PNG")
    token = {"x-csrf-token": owner.token}
    found = {"job_id": finished(everybody), "org_id": everybody.org_id}
    found["id"] = found["job_id"]
    found["picture_id"] = made(owner.get("/api/gallery"), "pictures", "0", "id")
    found["album_id"] = made(owner.post("/api/gallery/albums", {"name": "Best"}), "id")
    found["key_id"] = made(owner.get("/api/keys"), "0", "id")
    hook = owner.post("/api/webhooks", {"url": "http://127.0.0.1:9/"})
    found["webhook_id"] = made(hook, "webhook", "id")
    found["delivery_id"] = made(owner.post(f"/api/webhooks/{found['webhook_id']}/ping"), "id")
    sent = owner.client.post("/api/uploads", files={"image": out.getvalue()}, headers=token)
    found["upload_id"] = made(sent, "id")
    found["run_id"] = made(owner.post("/v1/workflows/run", {"workflow": text_to_image()}), "id")
    invited = {"email": "guest@example.org", "role": "member"}
    assert owner.post("/api/orgs/current/invitations", invited).is_success
    found["invitation_id"] = made(owner.get("/api/orgs/current/invitations"), "0", "id")
    found["session_id"] = made(owner.get("/api/sessions"), "0", "id")
    return found


def doors_with_ids(doors: Doors) -> list[Door]:
    """Return the routes whose path names a thing of an account."""
    found = doors_of(create_app(doors.live.platform))
    return [
        door
        for door in found
        if set(GIVEN.findall(door.path)) - NOBODYS.keys() and not door.path.startswith(PASSED_OVER)
    ]


def said(answer: httpx.Response) -> tuple[int, str]:
    """Return what an answer says, without the names of the request and of what was asked for."""
    return answer.status_code, re.sub(r"[0-9a-f]{32}", "", answer.text)


def test_every_kind_of_id_is_tried(doors: Doors, things: dict[str, str]) -> None:
    named = {name for door in doors_of(create_app(doors.live.platform)) for name in GIVEN.findall(door.path)}
    assert named == things.keys() | NOBODYS.keys()


def test_the_owner_finds_them(everybody: Callers, doors: Doors, things: dict[str, str]) -> None:
    reading = [door for door in doors_with_ids(doors) if door.method == "GET" and not door.path.startswith(KEYED)]
    answers = {str(door): everybody.knock("owner", door, things | {"place": "0"}) for door in reading}
    assert len(reading) >= 12
    assert {door: answer.text[:200] for door, answer in answers.items() if not answer.is_success} == {}


def test_another_account_does_not(everybody: Callers, doors: Doors, things: dict[str, str]) -> None:
    wrong = []
    for door in doors_with_ids(doors):
        caller = "key elsewhere" if door.path.startswith(KEYED) else "elsewhere"
        theirs = everybody.knock(caller, door, things | {"place": "0"})
        nobodys = everybody.knock(caller, door, dict.fromkeys(things, NOT_THERE) | {"place": "0"})
        if said(theirs) != said(nobodys) or theirs.status_code != 404:
            wrong.append(
                f"{door}: {theirs.status_code} {theirs.text[:160]} / {nobodys.status_code} {nobodys.text[:160]}"
            )
    assert wrong == []


def test_and_changed_nothing(everybody: Callers, doors: Doors, things: dict[str, str]) -> None:
    test_the_owner_finds_them(everybody, doors, things)
    owner = everybody.browsers["owner"]
    assert owner.get(f"/api/jobs/{things['job_id']}").json()["state"] == "succeeded"
    assert things["invitation_id"] in owner.get("/api/orgs/current/invitations").text
    assert things["session_id"] in owner.get("/api/sessions").text
    assert things["webhook_id"] in owner.get("/api/webhooks").text
    assert things["album_id"] in owner.get("/api/gallery/albums").text
