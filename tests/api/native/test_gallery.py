"""The gallery over HTTP: lists, search, files, thumbnails, albums; nothing of it for another account."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from support.doors import Doors


def prompts(client: httpx.Client, **params: Any) -> list[str]:
    answer = client.get("/api/gallery", params=params)
    assert answer.status_code == 200, answer.text
    return [picture["prompt"] for picture in answer.json()["pictures"]]


def newest(client: httpx.Client) -> dict[str, Any]:
    picture: dict[str, Any] = client.get("/api/gallery").json()["pictures"][0]
    return picture


def test_a_picture_with_all_its_facts(doors: Doors) -> None:
    ann = doors.account()
    job_id = doors.picture(ann, "a red fox", negative_prompt="fog", seed=2**64 - 1, width=80, height=96)
    picture = newest(ann)
    facts = {
        "job_id": job_id,
        "prompt": "a red fox",
        "negative_prompt": "fog",
        "seed": 2**64 - 1,
        "width": 80,
        "height": 96,
        "price": "6.5",
        "requested_model": "sd3.5-large",
        "filtered": False,
        "favourite": False,
    }
    assert facts.items() <= picture.items()
    assert ann.get(f"/api/gallery/{picture['id']}").json() == picture
    assert not {"org_id", "blob_ref", "thumb_ref", "number"} & picture.keys()
    recipe = ann.get(f"/api/gallery/{picture['id']}/recipe").json()["recipe"]
    assert (recipe["prompt"], recipe["seed"], recipe["width"]) == ("a red fox", 2**64 - 1, 80)


def test_file_and_thumbnail(doors: Doors) -> None:
    ann = doors.account()
    job_id = doors.picture(ann, width=640, height=320)
    picture_id = newest(ann)["id"]
    file = ann.get(f"/api/gallery/{picture_id}/image")
    assert file.content == ann.get(f"/api/jobs/{job_id}/image").content
    assert file.headers["content-type"] == "image/png"
    assert file.headers["x-content-type-options"] == "nosniff"
    assert file.headers["content-disposition"] == f'inline; filename="{picture_id}.png"'
    assert "private" in file.headers["cache-control"]
    small = ann.get(f"/api/gallery/{picture_id}/thumbnail")
    with Image.open(BytesIO(small.content)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (320, 160))


def test_search_filters_and_pages(doors: Doors) -> None:
    ann = doors.account()
    for prompt in ("a red fox", "a blue door", "a red door"):
        doors.picture(ann, prompt)
    assert prompts(ann, text="red") == ["a red door", "a red fox"]
    assert prompts(ann, text="doo") == ["a red door", "a blue door"]
    assert prompts(ann, model="sd3.5-medium") == []
    assert prompts(ann, kind="generate", limit=1) == ["a red door"]
    first = ann.get("/api/gallery", params={"limit": 2}).json()
    assert prompts(ann, cursor=first["next_cursor"]) == ["a red fox"]
    assert ann.get("/api/gallery", params={"cursor": "?"}).status_code == 400
    assert ann.get("/api/gallery", params={"limit": 0}).status_code == 400


def test_marks_tags_and_albums(doors: Doors) -> None:
    ann = doors.account()
    doors.picture(ann, "one")
    doors.picture(ann, "two")
    picture_id = newest(ann)["id"]
    changed = ann.patch(f"/api/gallery/{picture_id}", json={"favourite": True, "tags": ["b", "a"]}).json()
    assert (changed["favourite"], changed["tags"]) == (True, ["a", "b"])
    assert prompts(ann, favourite="true") == prompts(ann, tag="a") == ["two"]
    assert ann.get("/api/gallery/tags").json() == [{"tag": "a", "pictures": 1}, {"tag": "b", "pictures": 1}]
    album = ann.post("/api/gallery/albums", json={"name": "Best"}).json()
    assert ann.post("/api/gallery/albums", json={"name": "Best"}).status_code == 409
    inside = f"/api/gallery/albums/{album['id']}/pictures"
    assert ann.post(inside, json={"picture_ids": [picture_id]}).status_code == 204
    assert prompts(ann, album=album["id"]) == ["two"]
    assert ann.patch(f"/api/gallery/albums/{album['id']}", json={"name": "Better"}).status_code == 204
    (listed,) = ann.get("/api/gallery/albums").json()
    assert (listed["name"], listed["pictures"]) == ("Better", 1)
    assert ann.delete(f"{inside}/{picture_id}").status_code == 204
    assert prompts(ann, album=album["id"]) == []
    assert ann.delete(f"/api/gallery/albums/{album['id']}").status_code == 204


def test_delete_takes_words_and_bytes_away(doors: Doors) -> None:
    ann = doors.account()
    job_id = doors.picture(ann, "words that should vanish")
    picture_id = newest(ann)["id"]
    assert ann.delete(f"/api/gallery/{picture_id}").status_code == 204
    for path in (f"/api/gallery/{picture_id}", f"/api/gallery/{picture_id}/image", f"/api/jobs/{job_id}/result"):
        assert ann.get(path).status_code == 404
    assert prompts(ann, text="vanish") == []
    assert "vanish" not in repr(doors.live.run(doors.live.platform.book.find(job_id)))


@pytest.mark.parametrize(
    "body", [{"tags": ["a,b"]}, {"tags": "a"}, {"favourite": "yes"}, {"prompt": "new"}, {"id": "x"}]
)
def test_changes_that_are_refused(doors: Doors, body: dict[str, Any]) -> None:
    ann = doors.account()
    doors.picture(ann)
    assert ann.patch(f"/api/gallery/{newest(ann)['id']}", json=body).status_code == 400
    assert newest(ann)["prompt"] == "a red fox"


def test_every_route_is_404_for_another_account(doors: Doors) -> None:
    ann, bob = doors.account(), doors.account()
    doors.picture(ann)
    picture_id = newest(ann)["id"]
    album_id = ann.post("/api/gallery/albums", json={"name": "Mine"}).json()["id"]
    for method, path, body in (
        ("GET", picture_id, None),
        ("GET", f"{picture_id}/recipe", None),
        ("GET", f"{picture_id}/image", None),
        ("GET", f"{picture_id}/thumbnail", None),
        ("PATCH", picture_id, {"favourite": True}),
        ("PATCH", picture_id, {}),
        ("DELETE", picture_id, None),
        ("PATCH", f"albums/{album_id}", {"name": "Stolen"}),
        ("POST", f"albums/{album_id}/pictures", {"picture_ids": [picture_id]}),
        ("DELETE", f"albums/{album_id}/pictures/{picture_id}", None),
        ("DELETE", f"albums/{album_id}", None),
    ):
        answer = bob.request(method, f"/api/gallery/{path}", json=body)
        assert (answer.status_code, answer.json()["name"]) == (404, "not_found"), (method, path)
    assert prompts(bob) == []
    assert newest(ann)["favourite"] is False


def test_scopes(doors: Doors) -> None:
    assert doors.account("0", "history:read").get("/api/gallery").status_code == 403
    reader = doors.account("0", "generate")
    assert reader.get("/api/gallery").status_code == 200
    assert reader.post("/api/gallery/albums", json={"name": "x"}).status_code == 403
