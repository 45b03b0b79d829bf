"""Facets and selections over HTTP: filters, tags of many, archives; nothing of them for another account."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import httpx
import pytest

from support.doors import Doors


def ids_of(client: httpx.Client) -> list[str]:
    """Return the ids of an account's pictures, newest first."""
    return [picture["id"] for picture in client.get("/api/gallery").json()["pictures"]]


@pytest.fixture
def ann(doors: Doors) -> httpx.Client:
    """An account with two pictures."""
    client = doors.account()
    doors.picture(client, "a fox")
    doors.picture(client, "a boat", width=128)
    return client


@pytest.mark.parametrize("path", ["changes", "deletions", "archives"])
@pytest.mark.parametrize(
    "body", [{}, {"picture_ids": []}, {"picture_ids": ["../x"]}, {"picture_ids": ["0" * 32] * 501}, {"all": True}]
)
def test_selections_that_are_none(doors: Doors, path: str, body: dict[str, Any]) -> None:
    assert doors.account().post(f"/api/gallery/{path}", json=body).status_code == 400


def test_a_selection_with_a_picture_of_another_account(doors: Doors, ann: httpx.Client) -> None:
    bob = doors.account()
    body = {"picture_ids": ids_of(ann)}
    assert bob.post("/api/gallery/changes", json=body | {"favourite": True}).status_code == 404
    assert bob.post("/api/gallery/archives", json=body).status_code == 404
    assert bob.post("/api/gallery/deletions", json=body).json() == {"deleted": 0}
    assert len(ids_of(ann)) == 2


def test_a_key_that_may_only_read(doors: Doors, ann: httpx.Client) -> None:
    reader = doors.account("0", "generate")
    for path in ("changes", "deletions"):
        assert reader.post(f"/api/gallery/{path}", json={"picture_ids": ["0" * 32]}).status_code == 403


def test_facets_and_filters(ann: httpx.Client) -> None:
    facets = ann.get("/api/gallery/facets").json()
    assert facets["total"] == 2
    assert facets["sizes"] == [{"value": "128x64", "pictures": 1}, {"value": "64x64", "pictures": 1}]
    assert facets["sources"] == [{"value": "api", "pictures": 2}]
    key = facets["keys"][0]["value"]
    for query in ({"size": "128x64"}, {"size": "128x64", "key": key}, {"source": "api", "text": "boat"}):
        (found,) = ann.get("/api/gallery", params=query).json()["pictures"]
        assert (found["prompt"], found["key_id"], found["source"]) == ("a boat", key, "api")
    assert ann.get("/api/gallery", params={"source": "studio"}).json()["pictures"] == []
    for wrong in ({"size": "big"}, {"source": "elsewhere"}):
        assert ann.get("/api/gallery", params=wrong).status_code == 400


def test_tags_of_many(ann: httpx.Client) -> None:
    body = {"picture_ids": ids_of(ann), "add_tags": ["sea  side"], "favourite": True}
    assert ann.post("/api/gallery/changes", json=body).status_code == 204
    assert ann.get("/api/gallery/tags").json() == [{"tag": "sea side", "pictures": 2}]
    assert len(ann.get("/api/gallery", params={"favourite": "true"}).json()["pictures"]) == 2
    body = {"picture_ids": ids_of(ann)[:1], "remove_tags": ["sea side"]}
    assert ann.post("/api/gallery/changes", json=body).status_code == 204
    assert ann.get("/api/gallery/tags").json() == [{"tag": "sea side", "pictures": 1}]


def test_an_archive_with_recipes(ann: httpx.Client) -> None:
    ids = ids_of(ann)
    answer = ann.post("/api/gallery/archives", json={"picture_ids": ids})
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="pictures.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == [*(f"{one}.png" for one in ids), "recipes.json"]
        recipes = json.loads(archive.read("recipes.json"))
    assert [recipe["prompt"] for recipe in recipes] == ["a boat", "a fox"]


def test_deleting_many(ann: httpx.Client) -> None:
    first, second = ids_of(ann)
    assert ann.post("/api/gallery/deletions", json={"picture_ids": [first, "0" * 32]}).json() == {"deleted": 1}
    assert ids_of(ann) == [second]
