"""Uploads over HTTP: decoded safely, bounded, upright, without what the file said about itself, and only one's own."""

from __future__ import annotations

from io import BytesIO

import httpx
import pytest
from PIL import Image

from support import hostile
from support.doors import Doors


def upload(client: httpx.Client, data: bytes, name: str = "image") -> httpx.Response:
    return client.post("/api/uploads", files={name: ("any.bin", data)})


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_comes_back_as_pixels(doors: Doors, kind: str) -> None:
    ann = doors.account("0")
    made = upload(ann, hostile.photo(96, 64, kind))
    assert made.status_code == 201, made.text
    facts = made.json()
    assert (facts["width"], facts["height"]) == (96, 64)
    back = ann.get(f"/api/uploads/{facts['id']}/image")
    assert back.headers["content-type"] == "image/png"
    assert "private" in back.headers["cache-control"]
    with Image.open(BytesIO(back.content)) as picture:
        assert picture.size == (96, 64)


def test_what_a_file_says_about_itself_is_not_kept(doors: Doors) -> None:
    ann = doors.account("0")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "taken at home"
    out = BytesIO()
    Image.new("RGB", (96, 64), "red").save(out, "JPEG", exif=exif)
    facts = upload(ann, out.getvalue()).json()
    assert (facts["width"], facts["height"]) == (64, 96), "it is upright"
    assert b"at home" not in ann.get(f"/api/uploads/{facts['id']}/image").content


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a not for us",
        b"\x89PNG\r\n\x1a\n and no more",
        hostile.bomb(20_000, 20_000),
        hostile.photo(96, 64)[:400],
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
    ids=["empty", "gif", "cut off", "bomb", "half", "svg"],
)
def test_what_is_no_picture_is_refused(doors: Doors, data: bytes) -> None:
    answer = upload(doors.account("0"), data)
    assert answer.status_code in (400, 413)
    assert answer.json()["errors"][0].startswith("image")


def test_a_form_without_a_picture_is_refused(doors: Doors) -> None:
    ann = doors.account("0")
    assert upload(ann, hostile.photo(), "picture").status_code == 400
    assert ann.post("/api/uploads", json={"image": "x"}).status_code in (400, 415)
    as_text = ann.post("/api/uploads", files={"image": (None, b"text")})
    assert (as_text.status_code, as_text.json()["errors"]) == (400, ["image: required, as a file"])


def test_others_do_not_see_it(doors: Doors) -> None:
    ann, bob = doors.account("0"), doors.account()
    path = f"/api/uploads/{upload(ann, hostile.photo()).json()['id']}"
    assert ann.get(f"{path}/image").status_code == 200
    assert bob.get(f"{path}/image").status_code == 404
    assert httpx.get(f"{doors.live.url}{path}/image").status_code == 401
    stolen = bob.post("/api/jobs", json={"prompt": "a fox", "image_id": path.rpartition("/")[2]})
    assert (stolen.status_code, stolen.json()["errors"]) == (
        400,
        ["image_id: there is no such picture in your gallery"],
    )


def test_who_may_not_generate_may_not_upload(doors: Doors) -> None:
    assert upload(doors.account("0", "generate"), hostile.photo()).status_code == 403


def test_a_job_starts_from_an_upload_in_its_shape(doors: Doors) -> None:
    ann = doors.account()
    image_id = upload(ann, hostile.photo(320, 160)).json()["id"]
    made = ann.post("/api/jobs", json={"prompt": "a fox", "image_id": image_id, "strength": 0.4})
    assert made.status_code == 202, made.text
    task = doors.live.run(doors.live.platform.book.find(made.json()["id"])).image_task()  # type: ignore[union-attr]
    assert (task.width, task.height) == (1456, 720), "about a megapixel"
    assert (task.strength, len(task.image)) == (0.4, 64)


def test_a_size_that_is_asked_for_counts(doors: Doors) -> None:
    ann = doors.account()
    image_id = upload(ann, hostile.photo(320, 160)).json()["id"]
    made = ann.post("/api/jobs", json={"prompt": "a fox", "image_id": image_id, "aspect_ratio": "1:1"})
    task = doors.live.run(doors.live.platform.book.find(made.json()["id"])).image_task()  # type: ignore[union-attr]
    assert (task.width, task.height) == (1024, 1024)
