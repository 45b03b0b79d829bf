"""What clients of OpenAI's image API depend on, against a live server with workers that follow a script."""

from __future__ import annotations

import base64
from decimal import Decimal

import httpx
import pytest

from keelbill.storage.published import PUBLIC_MODELS
from support.forms import Part, cutout, form, format_of, pixels_of, png, size_of
from support.server import LiveServer

MAKE = "/v1/images/generations"
EDIT = "/v1/images/edits"


@pytest.fixture
def api(server: LiveServer) -> httpx.Client:
    server.set_balance("100")
    return server.client


def refused(answer: httpx.Response, status: int, kind: str) -> str:
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (status, kind), error
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]
    return str(error["message"])


class TestGenerations:
    def test_base64_by_default(self, server: LiveServer) -> None:
        server.set_balance("10")
        body = server.client.post(MAKE, json={"prompt": "an apple"}).json()
        assert body["created"] > 1_700_000_000
        (item,) = body["data"]
        assert size_of(base64.b64decode(item["b64_json"], validate=True)) == (1024, 1024)
        assert (body["output_format"], body["size"]) == ("png", "1024x1024")
        assert server.balance() == Decimal("3.5")

    def test_several_cost_several_times(self, server: LiveServer) -> None:
        server.set_balance("10")
        answer = server.client.post(MAKE, json={"prompt": "an apple", "n": 3, "model": "sd3.5-flash", "seed": 5})
        assert len({item["b64_json"] for item in answer.json()["data"]}) == 3
        assert answer.headers["x-credits-charged"] == "7.5"
        assert server.balance() == Decimal("2.5")

    def test_all_or_none(self, server: LiveServer) -> None:
        server.set_balance("10")
        answer = server.client.post(MAKE, json={"prompt": "an apple", "n": 2})
        refused(answer, 402, "insufficient_quota")
        assert answer.json()["error"]["code"] == "insufficient_quota"
        assert server.balance() == 10

    @pytest.mark.parametrize(
        ("size", "made"),
        [
            ("auto", (1024, 1024)),
            ("256x256", (1024, 1024)),
            ("1536x1024", (1216, 832)),
            ("1024x1792", (768, 1344)),
            ("2100x900", (1536, 640)),
        ],
    )
    def test_the_nearest_shape_is_painted(self, api: httpx.Client, size: str, made: tuple[int, int]) -> None:
        body = api.post(MAKE, json={"prompt": "a", "size": size}).json()
        assert size_of(base64.b64decode(body["data"][0]["b64_json"])) == made

    def test_what_that_api_has_besides(self, api: httpx.Client) -> None:
        more = {
            "model": "gpt-image-1",
            "background": "auto",
            "quality": "high",
            "style": "vivid",
            "user": "u",
            "moderation": "low",
            "output_compression": 80,
            "output_format": "webp",
            "partial_images": 0,
        }
        body = api.post(MAKE, json={"prompt": "a"} | more).json()
        assert format_of(base64.b64decode(body["data"][0]["b64_json"])) == "WEBP"

    @pytest.mark.parametrize(
        ("changes", "message", "param"),
        [
            ({"prompt": None}, "prompt: required", "prompt"),
            ({"prompt": ""}, "prompt: required", "prompt"),
            ({"n": 0}, "n: must be a whole number from 1 to 10", "n"),
            ({"n": 11}, "n: must be a whole number from 1 to 10", "n"),
            ({"size": "big"}, "size: must be auto or WIDTHxHEIGHT, such as 1024x1024", "size"),
            ({"size": "0x5"}, "size: must be auto or WIDTHxHEIGHT, such as 1024x1024", "size"),
            ({"response_format": "png"}, "response_format: must be one of url, b64_json", "response_format"),
            ({"output_format": "gif"}, "output_format: must be one of png, jpeg, webp", "output_format"),
        ],
    )
    def test_refused(self, api: httpx.Client, changes: dict[str, object], message: str, param: str) -> None:
        answer = api.post(MAKE, json={"prompt": "a"} | changes)
        assert refused(answer, 400, "invalid_request_error") == message
        assert answer.json()["error"]["param"] == param

    def test_a_wrong_key(self, server: LiveServer) -> None:
        answer = httpx.post(server.url + MAKE, json={"prompt": "a"}, headers={"authorization": "Bearer sk-x"})
        refused(answer, 401, "authentication_error")


class TestLinks:
    def test_a_link_needs_no_key(self, server: LiveServer) -> None:
        server.set_balance("10")
        body = server.client.post(MAKE, json={"prompt": "a", "response_format": "url"}).json()
        url = body["data"][0]["url"]
        assert url.startswith(server.url)
        assert "b64_json" not in body["data"][0]
        answer = httpx.get(url)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert size_of(answer.content) == (1024, 1024)

    def test_a_made_up_link(self, server: LiveServer) -> None:
        refused(httpx.get(f"{server.url}/v1/images/files/{'A' * 120}"), 404, "invalid_request_error")


class TestEdits:
    @pytest.mark.parametrize("name", ["image", "image[]"])
    def test_an_image(self, server: LiveServer, name: str) -> None:
        server.set_balance("10")
        answer = server.client.post(EDIT, files={name: ("i.png", cutout(96, 64))}, data={"prompt": "a", "seed": "3"})
        assert answer.status_code == 200, answer.text
        assert size_of(base64.b64decode(answer.json()["data"][0]["b64_json"])) == (96, 64)
        assert server.balance() == Decimal("3.5")

    def test_several_images_are_taken_for_the_first(self, api: httpx.Client) -> None:
        parts: list[tuple[str, Part]] = [
            ("image[]", ("a.png", cutout(96, 64))),
            ("image[]", ("b.png", png(64, 64))),
            ("prompt", (None, "a")),
        ]
        answer = api.post(EDIT, files=parts)
        assert size_of(base64.b64decode(answer.json()["data"][0]["b64_json"])) == (96, 64)

    def test_a_mask_with_a_hole(self, api: httpx.Client) -> None:
        answer = api.post(EDIT, **form(image=png(96, 64), mask=cutout(96, 64), prompt="a"))
        assert size_of(base64.b64decode(answer.json()["data"][0]["b64_json"])) == (96, 64)

    def test_a_mask_without_one(self, api: httpx.Client) -> None:
        answer = api.post(EDIT, **form(image=png(), mask=png(), prompt="a"))
        message = refused(answer, 400, "invalid_request_error")
        assert message == "mask: must have a transparent part, which is painted anew"

    def test_an_opaque_image_is_repainted(self, api: httpx.Client) -> None:
        answer = api.post(EDIT, **form(image=png(512, 512), prompt="a"))
        assert size_of(base64.b64decode(answer.json()["data"][0]["b64_json"])) == (1024, 1024)

    def test_without_an_image(self, api: httpx.Client) -> None:
        assert refused(api.post(EDIT, **form(prompt="a")), 400, "invalid_request_error") == "image: required"

    def test_the_same_seed_gives_the_same_pixels(self, api: httpx.Client) -> None:
        made = [api.post(EDIT, **form(image=cutout(), prompt="a", seed=4)).json()["data"][0]["b64_json"] for _ in "12"]
        assert pixels_of(base64.b64decode(made[0])) == pixels_of(base64.b64decode(made[1]))


class TestModels:
    def test_list(self, api: httpx.Client) -> None:
        body = api.get("/v1/models").json()
        assert body["object"] == "list"
        assert [model["id"] for model in body["data"]] == list(PUBLIC_MODELS)
        assert all(set(model) == {"id", "object", "created", "owned_by"} for model in body["data"])

    def test_one(self, api: httpx.Client) -> None:
        assert api.get("/v1/models/sd3.5-large").json()["object"] == "model"
        refused(api.get("/v1/models/gpt-9"), 404, "invalid_request_error")
