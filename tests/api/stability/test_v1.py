"""What clients of the v1 routes depend on, against a live server with workers that follow a script."""

from __future__ import annotations

import base64
import re
from decimal import Decimal
from typing import Any

import httpx
import pytest

from keelbill.core.ids import new_id
from support.forms import Part, cutout, form, format_of, pixels_of, png, size_of
from support.server import LiveServer

XL = "/v1/generation/stable-diffusion-xl-1024-v1-0/"
TEXT = XL + "text-to-image"
IMAGE = XL + "image-to-image"
PNG = {"accept": "image/png"}
APPLE = [{"text": "an apple"}]


@pytest.fixture
def api(server: LiveServer) -> httpx.Client:
    server.set_balance("100")
    return server.client


def refused(answer: httpx.Response, status: int, name: str) -> str:
    body = answer.json()
    assert (answer.status_code, body["name"]) == (status, name), body
    assert set(body) == {"id", "name", "message"}
    assert re.fullmatch("[0-9a-f]{32}", body["id"])
    return str(body["message"])


def prompts(*texts: str, **fields: object) -> dict[str, Any]:
    named = {f"text_prompts[{n}][text]": text for n, text in enumerate(texts)}
    return form(**named, **fields)


class TestAccount:
    def test_account(self, api: httpx.Client) -> None:
        body = api.get("/v1/user/account").json()
        assert set(body) <= {"id", "email", "organizations", "profile_picture"}
        assert body["id"]
        assert isinstance(body["email"], str)
        (organization,) = body["organizations"]
        assert set(organization) == {"id", "name", "role", "is_default"}
        assert (organization["role"], organization["is_default"]) == ("ADMIN", True)

    def test_balance_is_a_number(self, server: LiveServer) -> None:
        server.set_balance("25")
        assert server.client.get("/v1/user/balance").text == '{"credits":25.0}'
        server.set_balance("18.500001")
        assert server.client.get("/v1/user/balance").text == '{"credits":18.500001}'

    def test_engines(self, api: httpx.Client) -> None:
        engines = api.get("/v1/engines/list").json()
        assert {engine["id"] for engine in engines} >= {"stable-diffusion-v1-6", "stable-diffusion-xl-1024-v1-0"}
        assert all(set(engine) == {"id", "name", "description", "type"} for engine in engines)
        assert {engine["type"] for engine in engines} == {"PICTURE"}

    @pytest.mark.parametrize("path", ["/v1/user/account", "/v1/user/balance", "/v1/engines/list"])
    def test_without_a_key(self, server: LiveServer, path: str) -> None:
        refused(httpx.get(server.url + path), 401, "unauthorized")

    def test_without_the_scope(self, server: LiveServer) -> None:
        key = server.new_key(scopes=("generate",))
        refused(httpx.get(server.url + "/v1/user/balance", headers={"authorization": key}), 403, "permission_denied")


class TestTextToImage:
    def test_json(self, server: LiveServer) -> None:
        server.set_balance("10")
        answer = server.client.post(TEXT, json={"text_prompts": APPLE, "seed": 5})
        assert answer.headers["content-type"] == "application/json"
        (artifact,) = answer.json()["artifacts"]
        assert (artifact["seed"], artifact["finishReason"]) == (5, "SUCCESS")
        assert size_of(base64.b64decode(artifact["base64"], validate=True)) == (512, 512)
        assert server.balance() == Decimal("9.1")

    def test_png(self, api: httpx.Client) -> None:
        answer = api.post(TEXT, json={"text_prompts": APPLE, "seed": 5, "width": 1024, "height": 640}, headers=PNG)
        assert answer.headers["content-type"] == "image/png"
        assert (answer.headers["Finish-Reason"], answer.headers["Seed"]) == ("SUCCESS", "5")
        assert (format_of(answer.content), size_of(answer.content)) == ("PNG", (1024, 640))

    @pytest.mark.parametrize("accept", ["*/*", "application/json", "image/png, application/json"])
    def test_json_for_every_other_wish(self, api: httpx.Client, accept: str) -> None:
        answer = api.post(TEXT, json={"text_prompts": APPLE}, headers={"accept": accept})
        assert "artifacts" in answer.json()

    def test_samples_are_several_pictures_at_several_prices(self, server: LiveServer) -> None:
        server.set_balance("10")
        answer = server.client.post(TEXT, json={"text_prompts": APPLE, "samples": 3, "seed": 5})
        artifacts = answer.json()["artifacts"]
        assert [artifact["seed"] for artifact in artifacts] == [5, 6, 7]
        assert len({artifact["base64"] for artifact in artifacts}) == 3
        assert answer.headers["x-credits-charged"] == "2.7"
        assert server.balance() == Decimal("7.3")

    def test_a_sample_is_the_picture_of_its_seed(self, api: httpx.Client) -> None:
        many = api.post(TEXT, json={"text_prompts": APPLE, "samples": 2, "seed": 5}).json()["artifacts"]
        one = api.post(TEXT, json={"text_prompts": APPLE, "seed": 6}).json()["artifacts"]
        assert pixels_of(base64.b64decode(one[0]["base64"])) == pixels_of(base64.b64decode(many[1]["base64"]))

    def test_all_samples_or_none_are_paid_for(self, server: LiveServer) -> None:
        server.set_balance("2.6")
        answer = server.client.post(TEXT, json={"text_prompts": APPLE, "samples": 3})
        refused(answer, 429, "insufficient_balance")
        assert server.balance() == Decimal("2.6")

    @pytest.mark.parametrize(
        ("steps", "left"), [(10, "99.1"), (30, "99.1"), (31, "99.07"), (60, "98.2"), (150, "95.5")]
    )
    def test_more_steps_cost_more(self, server: LiveServer, steps: int, left: str) -> None:
        server.set_balance("100")
        assert server.client.post(TEXT, json={"text_prompts": APPLE, "steps": steps}).status_code == 200
        assert server.balance() == Decimal(left)

    def test_every_field_that_there_is(self, api: httpx.Client) -> None:
        body = {
            "text_prompts": [{"text": "an apple", "weight": 1.0}, {"text": "people", "weight": -0.9}],
            "height": 832,
            "width": 1216,
            "cfg_scale": 7,
            "sampler": "K_DPMPP_2S_ANCESTRAL",
            "samples": 1,
            "seed": 4_294_967_295,
            "steps": 20,
            "clip_guidance_preset": "FAST_BLUE",
            "style_preset": "anime",
            "extras": {"anything": [1]},
            "mode": "unknown",
        }
        answer = api.post(TEXT, json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["artifacts"][0]["seed"] == 4_294_967_295

    def test_a_filtered_sample(self, server: LiveServer) -> None:
        server.set_balance("10")
        answer = server.client.post(TEXT, json={"text_prompts": [{"text": server.FILTER}]})
        assert answer.json()["artifacts"][0]["finishReason"] == "CONTENT_FILTERED"
        assert server.balance() == 10

    def test_a_retry(self, server: LiveServer) -> None:
        server.set_balance("10")
        key = {"idempotency-key": new_id()}
        body = {"text_prompts": APPLE, "samples": 2}
        first = server.client.post(TEXT, json=body, headers=key)
        second = server.client.post(TEXT, json=dict(reversed(body.items())), headers=key)
        assert second.headers["idempotent-replayed"] == "true"
        assert second.content == first.content
        assert server.balance() == Decimal("8.2")


class TestWrongJson:
    @pytest.mark.parametrize(
        ("changes", "name", "message"),
        [
            ({"text_prompts": None}, "invalid_prompts", "text_prompts: required"),
            ({"text_prompts": []}, "invalid_prompts", "text_prompts: at least one must have a weight above 0"),
            ({"text_prompts": [{"text": ""}]}, "invalid_prompts", "text_prompts: item 0, text: required"),
            ({"samples": 0}, "invalid_samples", "samples: must be a whole number from 1 to 10"),
            ({"samples": 11}, "invalid_samples", "samples: must be a whole number from 1 to 10"),
            ({"height": 500}, "invalid_height_or_width", "height: must be a multiple of 64 from 128 to 4096"),
            ({"width": 64}, "invalid_height_or_width", "width: must be a multiple of 64 from 128 to 4096"),
            (
                {"width": 256, "height": 256},
                "invalid_pixel_count",
                "height and width: must make from 262,144 to 1,048,576 pixels for stable-diffusion-xl-1024-v1-0, "
                "not 256x256 = 65,536",
            ),
            ({"steps": 9}, "bad_request", "steps: must be a whole number from 10 to 150"),
            ({"cfg_scale": 36}, "bad_request", "cfg_scale: must be a number from 0 to 35"),
            ({"seed": 4_294_967_296}, "bad_request", "seed: must be a whole number from 0 to 4294967295"),
            ({"style_preset": "none"}, "bad_request", None),
            ({"sampler": "EULER"}, "bad_request", None),
            ({"clip_guidance_preset": "FAST"}, "bad_request", None),
        ],
    )
    def test_each_has_its_name(
        self, api: httpx.Client, changes: dict[str, object], name: str, message: str | None
    ) -> None:
        found = refused(api.post(TEXT, json={"text_prompts": APPLE} | changes), 400, name)
        assert message is None or found == message

    def test_several_samples_as_one_png(self, api: httpx.Client) -> None:
        answer = api.post(TEXT, json={"text_prompts": APPLE, "samples": 2}, headers=PNG)
        refused(answer, 400, "invalid_samples")

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"\xff"])
    def test_no_object_at_all(self, api: httpx.Client, body: bytes) -> None:
        answer = api.post(TEXT, content=body, headers={"content-type": "application/json"})
        refused(answer, 400, "bad_request")

    def test_a_form(self, api: httpx.Client) -> None:
        assert "application/json" in refused(api.post(TEXT, **prompts("a")), 400, "bad_request")

    @pytest.mark.parametrize("route", ["text-to-image", "image-to-image", "image-to-image/masking"])
    def test_an_engine_that_is_none(self, api: httpx.Client, route: str) -> None:
        message = refused(api.post(f"/v1/generation/imaginary/{route}", json={}), 404, "not_found")
        assert "'imaginary'" in message


class TestImageToImage:
    def test_a_form_with_numbered_prompts(self, api: httpx.Client) -> None:
        fields = {
            "text_prompts[3][text]": "an apple",
            "text_prompts[3][weight]": "1",
            "text_prompts[8][text]": "people",
            "text_prompts[8][weight]": "-1",
            "image_strength": "0.4",
            "init_image_mode": "IMAGE_STRENGTH",
            "samples": "2",
            "mode": "ignored",
        }
        answer = api.post(IMAGE, **form(init_image=png(640, 512), **fields))
        assert answer.status_code == 200, answer.text
        artifacts = answer.json()["artifacts"]
        assert [size_of(base64.b64decode(artifact["base64"])) for artifact in artifacts] == [(640, 512)] * 2

    def test_the_last_of_a_repeated_index_counts(self, api: httpx.Client) -> None:
        parts: list[tuple[str, Part]] = [
            ("init_image", ("i.png", png())),
            ("text_prompts[0][text]", (None, "first")),
            ("text_prompts[0][text]", (None, "an apple")),
            ("seed", (None, "3")),
        ]
        twice = api.post(IMAGE, files=parts, headers=PNG)
        once = api.post(IMAGE, **prompts("an apple", init_image=png(), seed=3), headers=PNG)
        assert pixels_of(twice.content) == pixels_of(once.content)

    def test_schedules(self, api: httpx.Client) -> None:
        fields = {"init_image_mode": "STEP_SCHEDULE", "step_schedule_start": "0.6", "step_schedule_end": "0.01"}
        assert api.post(IMAGE, **prompts("a", init_image=png(), **fields)).status_code == 200

    @pytest.mark.parametrize(
        ("fields", "name"),
        [
            ({}, "bad_request"),
            ({"init_image": b"no picture"}, "bad_request"),
            ({"init_image": png(), "image_strength": "1.1"}, "bad_request"),
            ({"init_image": png(), "samples": "0"}, "invalid_samples"),
        ],
    )
    def test_refused(self, api: httpx.Client, fields: dict[str, object], name: str) -> None:
        refused(api.post(IMAGE, **prompts("a", **fields)), 400, name)

    def test_without_prompts(self, api: httpx.Client) -> None:
        refused(api.post(IMAGE, **form(init_image=png())), 400, "invalid_prompts")


class TestMasking:
    def test_white_and_black_masks(self, api: httpx.Client) -> None:
        for source in ("MASK_IMAGE_WHITE", "MASK_IMAGE_BLACK"):
            fields = {"mask_source": source, "mask_image": png(96, 64, mode="L", colour=255)}
            answer = api.post(IMAGE + "/masking", **prompts("a", init_image=png(96, 64), **fields), headers=PNG)
            assert answer.status_code == 200, answer.text
            assert size_of(answer.content) == (96, 64)

    def test_the_images_own_transparency(self, api: httpx.Client) -> None:
        fields = prompts("a", init_image=cutout(), mask_source="INIT_IMAGE_ALPHA")
        assert api.post(IMAGE + "/masking", **fields).status_code == 200

    @pytest.mark.parametrize("mode", ["RGB", "RGBA"])
    def test_an_opaque_image_says_nothing_of_what_to_paint(self, api: httpx.Client, mode: str) -> None:
        fields = prompts("a", init_image=png(mode=mode), mask_source="INIT_IMAGE_ALPHA")
        message = refused(api.post(IMAGE + "/masking", **fields), 400, "bad_request")
        assert message.startswith("mask_source: INIT_IMAGE_ALPHA needs")
        assert api.get("/v1/user/balance").json()["credits"] == 100

    @pytest.mark.parametrize(
        ("fields", "name"),
        [
            ({"mask_source": "MASK_IMAGE_WHITE"}, "invalid_mask_image"),
            ({"mask_source": "MASK_IMAGE_WHITE", "mask_image": png(65, 64)}, "invalid_mask_image"),
            ({"mask_source": "MASK_IMAGE_WHITE", "mask_image": b"no picture"}, "invalid_mask_image"),
            ({"mask_image": png()}, "bad_request"),
            ({"mask_source": "MASK"}, "bad_request"),
        ],
    )
    def test_refused(self, api: httpx.Client, fields: dict[str, object], name: str) -> None:
        refused(api.post(IMAGE + "/masking", **prompts("a", init_image=png(), **fields)), 400, name)


class TestUpscale:
    PATH = "/v1/generation/esrgan-v1-x2plus/image-to-image/upscale"

    @pytest.mark.parametrize(
        ("fields", "size"),
        [({}, (600, 400)), ({"width": "900"}, (900, 600)), ({"height": "800"}, (1200, 800))],
    )
    def test_sizes(self, api: httpx.Client, fields: dict[str, str], size: tuple[int, int]) -> None:
        answer = api.post(self.PATH, **form(image=png(300, 200), **fields), headers=PNG)
        assert answer.status_code == 200, answer.text
        assert size_of(answer.content) == size

    def test_both_sides(self, api: httpx.Client) -> None:
        answer = api.post(self.PATH, **form(image=png(300, 300), width="600", height="600"))
        refused(answer, 400, "invalid_height_or_width")

    def test_too_large(self, api: httpx.Client) -> None:
        refused(api.post(self.PATH, **form(image=png(1200, 1200))), 400, "invalid_pixel_count")
