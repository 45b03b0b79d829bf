"""Jobs over HTTP: submitted with every parameter, watched step by step, fetched, cancelled, and only by their owner."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from keelbill.api.native.engine_names import SAMPLERS, SCHEDULES
from keelbill.engine import samplers, schedules
from keelbill.imaging import metadata
from support.doors import Doors


def submit(client: httpx.Client, **more: Any) -> httpx.Response:
    return client.post("/api/jobs", json={"prompt": "a red fox", "width": 64, "height": 64, **more})


def events_of(client: httpx.Client, job_id: str, **headers: str) -> list[tuple[int, str, dict[str, Any]]]:
    with client.stream("GET", f"/api/jobs/{job_id}/events", headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        text = stream.read().decode()
    told = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if lines:
            told.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return told


def test_names_agree_with_the_engine() -> None:
    assert samplers.SAMPLERS.names() == SAMPLERS
    assert schedules.SCHEDULES.names() == SCHEDULES


class TestSubmit:
    def test_from_wish_to_picture(self, doors: Doors) -> None:
        ann = doors.account("10")
        answer = submit(ann, seed=41, steps=3)
        assert answer.status_code == 202
        job_id = answer.json()["id"]
        assert answer.headers["location"] == f"/api/jobs/{job_id}"
        assert events_of(ann, job_id)[-1][1] == "succeeded"
        result = ann.get(f"/api/jobs/{job_id}/result")
        assert result.headers["content-type"] == "image/png"
        assert (result.headers["seed"], result.headers["finish-reason"]) == ("41", "SUCCESS")
        assert result.headers["x-credits-charged"] == "6.5"
        with Image.open(BytesIO(result.content)) as picture:
            assert picture.size == (64, 64)
        assert ann.get("/api/credits").json()["available"] == "3.5"

    def test_every_parameter_reaches_the_worker(self, doors: Doors) -> None:
        ann = doors.account()
        job_id = doors.picture(
            ann,
            "a fox",
            negative_prompt="fog",
            model="sd3.5-medium",
            width=80,
            height=112,
            seed=2**64 - 1,
            steps=7,
            cfg_scale=5.5,
            sampler="dpmpp_2m",
            schedule="karras",
            style_preset="anime",
            output_format="webp",
        )
        job = ann.get(f"/api/jobs/{job_id}").json()
        assert (job["state"], job["model"], job["seed"], job["width"]) == ("succeeded", "sd3.5-medium", 2**64 - 1, 80)
        task = doors.live.run(doors.live.platform.book.find(job_id)).image_task()  # type: ignore[union-attr]
        assert (task.sampler, task.schedule, task.steps, task.cfg) == ("dpmpp_2m", "karras", 7, 5.5)
        assert task.recipe_prompt == "a fox"
        assert task.prompt != "a fox", "the style is put around it"
        assert ann.get(f"/api/jobs/{job_id}/image").headers["content-type"] == "image/webp"

    def test_from_an_own_picture(self, doors: Doors) -> None:
        ann, bob = doors.account(), doors.account()
        doors.picture(ann)
        image_id = ann.get("/api/gallery").json()["pictures"][0]["id"]
        job_id = doors.picture(ann, image_id=image_id, strength=0.5)
        recipe = metadata.read(ann.get(f"/api/jobs/{job_id}/result").content)
        assert recipe is not None
        assert (recipe.strength, len(recipe.image_hash)) == (0.5, 64)
        stolen = submit(bob, image_id=image_id)
        assert (stolen.status_code, stolen.json()["errors"]) == (
            400,
            ["image_id: there is no such picture in your gallery"],
        )

    @pytest.mark.parametrize(
        ("wish", "named"),
        [
            ({"prompt": ""}, "prompt"),
            ({"prompt": "x" * 10_001}, "prompt"),
            ({"prompt": "a\x00b"}, "prompt"),
            ({"prompt": 7}, "prompt"),
            ({"width": 72}, "width"),
            ({"width": 64, "height": None}, "width"),
            ({"width": 2064}, "width"),
            ({"width": 2048, "height": 2048}, "width"),
            ({"aspect_ratio": "1:1"}, "aspect_ratio"),
            ({"aspect_ratio": "7:5", "width": None, "height": None}, "aspect_ratio"),
            ({"steps": 0}, "steps"),
            ({"steps": 151}, "steps"),
            ({"steps": 4.5}, "steps"),
            ({"cfg_scale": 31}, "cfg_scale"),
            ({"seed": -1}, "seed"),
            ({"seed": 2**64}, "seed"),
            ({"sampler": "magic"}, "sampler"),
            ({"schedule": "magic"}, "schedule"),
            ({"style_preset": "magic"}, "style_preset"),
            ({"output_format": "gif"}, "output_format"),
            ({"image_id": "../x"}, "image_id"),
            ({"model": ""}, "model"),
            ({"unknown": 1}, "unknown"),
        ],
    )
    def test_what_is_refused(self, doors: Doors, wish: dict[str, Any], named: str) -> None:
        ann = doors.account()
        answer = submit(ann, **wish)
        assert answer.status_code == 400
        assert named in " ".join(answer.json()["errors"])
        assert ann.get("/api/credits").json()["reserved"] == "0"

    def test_unknown_model(self, doors: Doors) -> None:
        answer = submit(doors.account(), model="sd9")
        assert answer.status_code == 404
        assert "sd9" in answer.json()["errors"][0]

    def test_out_of_credits(self, doors: Doors) -> None:
        answer = submit(doors.account("6"))
        assert (answer.status_code, answer.json()["name"]) == (402, "payment_required")

    def test_without_the_scope(self, doors: Doors) -> None:
        answer = submit(doors.account("100", "generate"))
        assert (answer.status_code, answer.json()["name"]) == (403, "permission_denied")

    def test_without_a_key(self, doors: Doors) -> None:
        assert httpx.post(f"{doors.live.url}/api/jobs", json={"prompt": "x"}).status_code == 401

    @pytest.mark.parametrize(
        ("wish", "price"),
        [
            ({}, "6.5"),
            ({"width": 1024, "height": 1024}, "6.5"),
            ({"width": 2048, "height": 1024}, "13"),
            ({"steps": 100}, "13"),
            ({"steps": 75, "model": "sd3.5-medium"}, "5.25"),
            ({"model": "keelbill-mini"}, "3.5"),
        ],
    )
    def test_price(self, doors: Doors, wish: dict[str, Any], price: str) -> None:
        ann = doors.account()
        with doors.live.slow_workers(0.01):
            job_id = submit(ann, **wish).json()["id"]
        assert ann.get(f"/api/jobs/{job_id}").json()["price"] == price


class TestIdempotency:
    def test_same_key_same_job(self, doors: Doors) -> None:
        ann = doors.account()
        wish = {"prompt": "x", "width": 64, "height": 64}
        first = ann.post("/api/jobs", json=wish, headers={"idempotency-key": "one"})
        again = ann.post("/api/jobs", json=wish, headers={"idempotency-key": "one"})
        other = ann.post("/api/jobs", json={**wish, "seed": 5}, headers={"idempotency-key": "one"})
        assert first.json() == again.json()
        assert again.headers["idempotent-replayed"] == "true"
        assert other.status_code == 422
        assert len(ann.get("/api/jobs").json()["jobs"]) == 1


class TestEvents:
    def test_in_order_with_previews(self, doors: Doors) -> None:
        ann = doors.account()
        with doors.live.slow_workers(0.3):
            job_id = submit(ann, previews=True).json()["id"]
            told = events_of(ann, job_id)
        assert [number for number, _, _ in told] == list(range(1, len(told) + 1))
        steps = [facts for _, kind, facts in told if kind == "progress"]
        assert steps[-1]["step"] == steps[-1]["total"] == 4
        preview = next(facts["preview"] for facts in steps if facts["preview"])
        with Image.open(BytesIO(b64decode(preview))) as small:
            assert small.format == "JPEG"
        kind, facts = told[-1][1:]
        assert (kind, facts["seed"] > 0, "image" in facts) == ("succeeded", True, False)

    def test_whoever_comes_back_is_told_the_end_again(self, doors: Doors) -> None:
        ann = doors.account()
        job_id = doors.picture(ann)
        assert [(number, kind) for number, kind, _ in events_of(ann, job_id, **{"last-event-id": "6"})] == [
            (7, "succeeded")
        ]
        assert events_of(ann, job_id, **{"last-event-id": "nonsense"})[-1][1] == "succeeded"

    def test_of_a_failure(self, doors: Doors) -> None:
        ann = doors.account()
        job_id = submit(ann, prompt=doors.live.FAIL).json()["id"]
        _, kind, facts = events_of(ann, job_id)[-1]
        assert (kind, facts["code"]) == ("failed", "internal_error")
        assert ann.get(f"/api/jobs/{job_id}").json()["error"]["name"] == "internal_error"
        assert ann.get(f"/api/jobs/{job_id}/result").status_code == 500
        assert ann.get("/api/credits").json()["total"] == "100"


class TestResult:
    def test_not_yet(self, doors: Doors) -> None:
        ann = doors.account()
        with doors.live.slow_workers(0.3):
            job_id = submit(ann).json()["id"]
            answer = ann.get(f"/api/jobs/{job_id}/result")
            assert (answer.status_code, answer.json()) == (202, {"id": job_id, "status": "in-progress"})

    def test_as_json(self, doors: Doors) -> None:
        ann = doors.account()
        job_id = doors.picture(ann, seed=3)
        body = ann.get(f"/api/jobs/{job_id}/result", headers={"accept": "application/json"}).json()
        assert (body["seed"], body["finish_reason"]) == (3, "SUCCESS")
        assert b64decode(body["image"]) == ann.get(f"/api/jobs/{job_id}/image").content

    def test_blurred(self, doors: Doors) -> None:
        ann = doors.account()
        job_id = doors.picture(ann, doors.live.FILTER)
        result = ann.get(f"/api/jobs/{job_id}/result")
        assert (result.headers["finish-reason"], result.headers["x-credits-charged"]) == ("CONTENT_FILTERED", "0")


class TestCancel:
    def test_while_it_runs(self, doors: Doors) -> None:
        ann = doors.account()
        with doors.live.slow_workers(0.2):
            job_id = submit(ann).json()["id"]
            assert ann.delete(f"/api/jobs/{job_id}").json() == {"cancelled": True}
            assert events_of(ann, job_id)[-1][1] == "cancelled"
        assert ann.get("/api/credits").json()["available"] == "100"
        assert ann.get(f"/api/jobs/{job_id}").json()["state"] == "cancelled"

    def test_when_it_has_ended(self, doors: Doors) -> None:
        ann = doors.account()
        assert ann.delete(f"/api/jobs/{doors.picture(ann)}").json() == {"cancelled": False}


class TestList:
    def test_pages_and_states(self, doors: Doors) -> None:
        ann = doors.account()
        made = [doors.picture(ann, seed=seed) for seed in (1, 2, 3)]
        first = ann.get("/api/jobs", params={"limit": 2}).json()
        rest = ann.get("/api/jobs", params={"limit": 2, "before": first["next_before"]}).json()
        assert [job["id"] for job in first["jobs"] + rest["jobs"]] == made[::-1]
        assert rest["next_before"] == ""
        assert ann.get("/api/jobs", params={"state": "failed"}).json()["jobs"] == []
        assert ann.get("/api/jobs", params={"state": "odd"}).status_code == 400

    def test_place_in_the_queue(self, doors: Doors) -> None:
        ann = doors.account()
        with doors.live.slow_workers(0.4):
            ids = [submit(ann, seed=seed).json()["id"] for seed in range(1, 7)]  # four workers
            time.sleep(0.1)
            last = ann.get(f"/api/jobs/{ids[-1]}").json()
            assert (last["state"], last["position"]) == ("queued", 2)
            assert last["wait_estimate_ms"] > 0


class TestOwnership:
    def test_every_route_is_404_for_another_account(self, doors: Doors) -> None:
        ann, bob = doors.account(), doors.account()
        job_id = doors.picture(ann)
        for method, path in (
            ("GET", ""),
            ("DELETE", ""),
            ("GET", "/result"),
            ("GET", "/image"),
            ("GET", "/events"),
        ):
            answer = bob.request(method, f"/api/jobs/{job_id}{path}")
            assert (answer.status_code, answer.json()["name"]) == (404, "not_found"), (method, path)
            missing = bob.request(method, f"/api/jobs/{'0' * 32}{path}")
            assert missing.json()["errors"] == answer.json()["errors"], "nothing tells that it exists"
        assert bob.get("/api/jobs").json()["jobs"] == []
