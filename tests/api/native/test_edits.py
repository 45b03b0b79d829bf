"""Changes of a part of a picture over HTTP: what reaches the worker, what it costs, what is refused."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from keelbill.serving.messages import ImageTask
from support.doors import Doors


def upload(client: httpx.Client, picture: Image.Image) -> str:
    out = BytesIO()
    picture.save(out, "PNG")
    answer = client.post("/api/uploads", files={"image": out.getvalue()})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def photo(width: int = 128, height: int = 96) -> Image.Image:
    return Image.new("RGB", (width, height), "teal")


def mask(width: int = 128, height: int = 96) -> Image.Image:
    drawn = Image.new("L", (width, height))
    drawn.paste(255, (32, 32, 64, 64))
    return drawn


def edit(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/api/edits", json=body)


def finished(doors: Doors, client: httpx.Client, answer: httpx.Response) -> ImageTask:
    assert answer.status_code == 202, answer.text
    job_id = answer.json()["id"]
    assert answer.headers["location"] == f"/api/jobs/{job_id}"
    with client.stream("GET", f"/api/jobs/{job_id}/events") as events:
        assert b"event: succeeded" in events.read()
    found = doors.live.run(doors.live.platform.book.find(job_id))
    assert found is not None
    return found.image_task()


def test_a_masked_part_is_painted_anew(doors: Doors) -> None:
    ann = doors.account("20")
    body = {"image_id": upload(ann, photo()), "mask_id": upload(ann, mask())}
    options = {"prompt": "a red door", "negative_prompt": "rust", "strength": 0.8, "grow_mask": 6, "seed": 9}
    task = finished(doors, ann, edit(ann, kind="inpaint", **body, **options, style_preset="anime", steps=7))
    assert (task.kind, task.width, task.height) == ("inpaint", 128, 96)
    assert (task.strength, task.grow_mask, task.seed, task.steps) == (0.8, 6, 9, 7)
    assert task.recipe_prompt == "a red door"
    assert task.prompt != task.recipe_prompt, "the style is put around it"
    assert task.image != task.mask
    picture = ann.get("/api/gallery").json()["pictures"][0]
    assert (picture["kind"], picture["prompt"], picture["width"]) == ("inpaint", "a red door", 128)
    assert ann.get("/api/credits").json()["available"] == "15"


def test_something_is_taken_away_without_words(doors: Doors) -> None:
    ann = doors.account("20")
    task = finished(doors, ann, edit(ann, kind="erase", image_id=upload(ann, photo()), mask_id=upload(ann, mask())))
    assert (task.kind, task.prompt) == ("erase", "")


def test_a_margin_is_added(doors: Doors) -> None:
    ann = doors.account("20")
    task = finished(doors, ann, edit(ann, kind="outpaint", image_id=upload(ann, photo()), left=64, down=32))
    assert (task.kind, task.left, task.right, task.up, task.down) == ("outpaint", 64, 0, 0, 32)
    picture = ann.get("/api/gallery").json()["pictures"][0]
    assert (picture["width"], picture["height"]) == (192, 128)
    assert ann.get("/api/credits").json()["available"] == "16"


def test_a_picture_of_the_gallery_is_changed(doors: Doors) -> None:
    ann = doors.account()
    doors.picture(ann)
    image_id = ann.get("/api/gallery").json()["pictures"][0]["id"]
    drawn = upload(ann, mask(64, 64))
    assert finished(doors, ann, edit(ann, kind="inpaint", prompt="a hat", image_id=image_id, mask_id=drawn)).width == 64


def test_without_a_mask_the_transparent_part_changes(doors: Doors) -> None:
    ann = doors.account()
    cut = Image.new("RGBA", (64, 64), (0, 128, 128, 255))
    cut.paste((0, 0, 0, 0), (16, 16, 32, 32))
    task = finished(doors, ann, edit(ann, kind="inpaint", prompt="a hat", image_id=upload(ann, cut)))
    assert task.mask == ""
    opaque = edit(ann, kind="inpaint", prompt="a hat", image_id=upload(ann, photo()))
    assert opaque.status_code == 400
    assert opaque.json()["errors"] == ["mask_id: required, because the picture has no transparent part"]


def test_many_steps_cost_more(doors: Doors) -> None:
    ann = doors.account("20")
    body = {"image_id": upload(ann, photo()), "mask_id": upload(ann, mask())}
    finished(doors, ann, edit(ann, kind="inpaint", prompt="a door", steps=100, **body))
    assert ann.get("/api/credits").json()["available"] == "10"


def test_a_retry_is_not_a_second_picture(doors: Doors) -> None:
    ann = doors.account("20")
    body = {"kind": "erase", "image_id": upload(ann, photo()), "mask_id": upload(ann, mask())}
    first, again = (ann.post("/api/edits", json=body, headers={"idempotency-key": "once"}) for _ in range(2))
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"kind": "magic"}, "kind"),
        ({"prompt": ""}, "prompt"),
        ({"image_id": "0" * 32}, "image_id"),
        ({"mask_id": "0" * 32}, "mask_id"),
        ({"mask_id": "../x"}, "mask_id"),
        ({"strength": 1.1}, "strength"),
        ({"grow_mask": 101}, "grow_mask"),
        ({"left": 1}, "left"),
        ({"kind": "outpaint"}, "left"),
        ({"kind": "outpaint", "left": 8}, "mask_id"),
        ({"kind": "outpaint", "left": 2001, "mask_id": None}, "left"),
        ({"style_preset": "magic"}, "style_preset"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_what_is_refused(doors: Doors, changed: dict[str, Any], named: str) -> None:
    ann = doors.account()
    body = {"kind": "inpaint", "prompt": "x", "image_id": upload(ann, photo()), "mask_id": upload(ann, mask())}
    answer = edit(ann, **body | changed)
    assert answer.status_code == 400
    assert named in " ".join(answer.json()["errors"])
    assert ann.get("/api/credits").json()["reserved"] == "0"


def test_the_finished_picture_is_bounded(doors: Doors) -> None:
    ann = doors.account()
    answer = edit(ann, kind="outpaint", image_id=upload(ann, photo(3000, 3000)), left=2000, down=2000)
    assert answer.status_code == 400
    assert "5000x5000" in answer.json()["errors"][0]


def test_another_account_cannot_use_the_picture_or_the_mask(doors: Doors) -> None:
    ann, bob = doors.account(), doors.account()
    of_ann, of_bob = upload(ann, photo()), upload(bob, photo())
    assert edit(bob, kind="outpaint", image_id=of_ann, left=8).status_code == 400
    assert edit(bob, kind="erase", image_id=of_bob, mask_id=of_ann).status_code == 400


def test_refused_words_are_refused_here_too(doors: Doors) -> None:
    ann = doors.account()
    body = {"image_id": upload(ann, photo()), "mask_id": upload(ann, mask())}
    answer = edit(ann, kind="inpaint", prompt="a naked child", **body)
    assert (answer.status_code, answer.json()["name"]) == (403, "content_moderation")
    assert ann.get("/api/credits").json()["reserved"] == "0"


def test_out_of_credits(doors: Doors) -> None:
    ann = doors.account("4")
    answer = edit(ann, kind="erase", image_id=upload(ann, photo()), mask_id=upload(ann, mask()))
    assert (answer.status_code, answer.json()["name"]) == (402, "payment_required")


def test_the_prices_are_published(doors: Doors) -> None:
    found = httpx.get(f"{doors.live.url}/api/options").json()["edit_prices"]
    assert found == {"inpaint": "5", "erase": "5", "outpaint": "4"}
