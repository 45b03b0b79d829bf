"""Somebody who knows the ids of another account's things: every door answers as if there were nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from keelbill.core.ids import new_id
from support.browser import Browser, add_person, browser
from support.server import LiveServer

NOBODYS = "0" * 32


@dataclass(frozen=True)
class Mine:
    """What the first account has."""

    picture: str
    job: str
    board: str
    upload: str


@pytest.fixture(scope="module")
def mine(server: LiveServer) -> Mine:
    """A picture of the first account with its job, on a board, and an uploaded picture."""
    server.set_balance("25")
    client = server.client
    job = client.post("/api/jobs", json={"prompt": "a secret boat", "width": 64, "height": 64}).json()["id"]
    client.get(f"/api/jobs/{job}/events")  # ends when the job has ended
    pictures = client.get("/api/gallery?limit=5").json()["pictures"]
    picture = next(found["id"] for found in pictures if found["job_id"] == job)
    board = client.post("/api/gallery/albums", json={"name": f"secret {new_id()}"}).json()["id"]
    client.post(f"/api/gallery/albums/{board}/pictures", json={"picture_ids": [picture]})
    file = BytesIO()
    Image.new("RGB", (64, 64), "navy").save(file, "PNG")
    upload = client.post("/api/uploads", files={"image": ("a.png", file.getvalue(), "image/png")}).json()["id"]
    return Mine(picture, job, board, upload)


@pytest.fixture
def stranger(server: LiveServer) -> Iterator[Browser]:
    """Another person with an account, signed in."""
    email = f"{new_id()}@example.org"
    add_person(server, email)
    with browser(server) as page:
        assert page.sign_in(email).status_code == 200
        yield page


READS = (
    ("/api/gallery/{}", "picture"),
    ("/api/gallery/{}/image", "picture"),
    ("/api/gallery/{}/thumbnail", "picture"),
    ("/api/gallery/{}/recipe", "picture"),
    ("/api/jobs/{}", "job"),
    ("/api/jobs/{}/events", "job"),
    ("/api/uploads/{}/image", "upload"),
    ("/api/jobs/{}/result", "job"),
    ("/api/jobs/{}/image", "job"),
)
WRITES: tuple[tuple[str, str, str, Any], ...] = (
    ("PATCH", "/api/gallery/{}", "picture", {"favourite": True}),
    ("DELETE", "/api/gallery/{}", "picture", None),
    ("DELETE", "/api/jobs/{}", "job", None),
    ("PATCH", "/api/gallery/albums/{}", "board", {"name": "taken"}),
    ("DELETE", "/api/gallery/albums/{}", "board", None),
)
LISTS: tuple[tuple[str, str, Any], ...] = (
    ("/api/gallery/changes", "picture", lambda id_: {"picture_ids": [id_], "favourite": True}),
    ("/api/gallery/deletions", "picture", lambda id_: {"picture_ids": [id_]}),
    ("/api/gallery/archives", "picture", lambda id_: {"picture_ids": [id_]}),
    ("/api/enlargements", "picture", lambda id_: {"image_id": id_}),
    ("/api/jobs", "picture", lambda id_: {"prompt": "a boat", "image_id": id_, "strength": 0.5}),
    ("/api/jobs", "upload", lambda id_: {"prompt": "a boat", "image_id": id_, "strength": 0.5}),
)


def told(answer: httpx.Response, *ids: str) -> tuple[int, str]:
    """Return what an answer tells, but for its own id and the ids that were asked for."""
    body = answer.text
    if answer.headers["content-type"].startswith("application/json"):
        found = answer.json()
        if isinstance(found, dict):
            found.pop("id", None)
        body = str(found)
    for id_ in ids:
        body = body.replace(id_, "ID")
    return answer.status_code, body


@pytest.mark.parametrize(("path", "kind"), READS, ids=[path for path, _ in READS])
def test_reading(server: LiveServer, mine: Mine, stranger: Browser, path: str, kind: str) -> None:
    theirs = getattr(mine, kind)
    guessed, nothing = stranger.get(path.format(theirs)), stranger.get(path.format(NOBODYS))
    assert guessed.status_code == 404, guessed.text
    assert told(guessed, theirs) == told(nothing, NOBODYS)
    signed_out = httpx.get(server.url + path.format(theirs))
    assert signed_out.status_code == 401


@pytest.mark.parametrize(("method", "path", "kind", "body"), WRITES, ids=[f"{m} {p}" for m, p, _, _ in WRITES])
def test_writing(
    server: LiveServer, mine: Mine, stranger: Browser, method: str, path: str, kind: str, body: Any
) -> None:
    theirs = getattr(mine, kind)
    guessed = stranger.send(method, path.format(theirs), body)
    assert guessed.status_code == 404, guessed.text
    assert told(guessed, theirs) == told(stranger.send(method, path.format(NOBODYS), body), NOBODYS)
    assert server.client.get(f"/api/gallery/{mine.picture}").json()["favourite"] is False


@pytest.mark.parametrize(("path", "kind", "body"), LISTS, ids=[f"{path} {kind}" for path, kind, _ in LISTS])
def test_naming_it_in_a_request(
    server: LiveServer, mine: Mine, stranger: Browser, path: str, kind: str, body: Any
) -> None:
    theirs = getattr(mine, kind)
    guessed, nothing = (stranger.post(path, body(id_)) for id_ in (theirs, NOBODYS))
    assert told(guessed, theirs) == told(nothing, NOBODYS)
    assert b"secret" not in guessed.content
    found = server.client.get(f"/api/gallery/{mine.picture}").json()
    assert (found["prompt"], found["favourite"]) == ("a secret boat", False)


def test_putting_it_on_a_board_of_ones_own(mine: Mine, stranger: Browser) -> None:
    board = stranger.post("/api/gallery/albums", {"name": "mine"}).json()["id"]
    answer = stranger.post(f"/api/gallery/albums/{board}/pictures", {"picture_ids": [mine.picture]})
    assert answer.status_code == 404
    assert stranger.get(f"/api/gallery?album={board}").json()["pictures"] == []
    assert stranger.get(f"/api/gallery?album={mine.board}").json()["pictures"] == []
    assert stranger.get("/api/gallery?text=secret").json()["pictures"] == []
