"""Requests as node graphs send them: API nodes through a proxy, and a pack with keys of its own."""

from __future__ import annotations

import base64
import time
from typing import Any

import httpx
import pytest

from support.forms import cutout, format_of, png, size_of
from support.server import LiveServer


@pytest.fixture
def live(server: LiveServer) -> LiveServer:
    server.set_balance("200")
    return server


class TestNodesThroughAProxy:
    """They ask for JSON and PNG, and take any ``name`` or ``errors`` in an answer for a failure."""

    TREE = "/proxy/stability/v2beta/stable-image/"

    def post(self, live: LiveServer, path: str, **fields: object) -> httpx.Response:
        files = {name: (name, value, "image/png") for name, value in fields.items() if isinstance(value, bytes)}
        data = {name: str(value) for name, value in fields.items() if not isinstance(value, bytes)}
        headers = {"accept": "application/json", "x-api-key": live.key}
        return httpx.post(
            live.url + self.TREE + path,
            headers=headers,
            files=files or {"none": ("none", b"")},
            data=data | {"output_format": "png"},
            timeout=60,
        )

    def picture(self, answer: httpx.Response, key: str = "image") -> bytes:
        body = answer.json()
        assert answer.status_code == 200, body
        assert "name" not in body
        assert "errors" not in body
        assert body["finish_reason"] == "SUCCESS"
        return base64.b64decode(body[key], validate=True)

    def test_sd3(self, live: LiveServer) -> None:
        answer = self.post(
            live,
            "generate/sd3",
            prompt="a",
            negative_prompt="",
            aspect_ratio="16:9",
            seed=0,
            strength=0.5,
            style_preset="",
            model="sd3.5-large",
            cfg_scale=4.0,
            mode="text-to-image",
        )
        assert size_of(self.picture(answer)) == (1344, 768)

    def test_sd3_with_an_image(self, live: LiveServer) -> None:
        answer = self.post(
            live,
            "generate/sd3",
            prompt="a",
            aspect_ratio="1:1",
            seed=1,
            strength=0.5,
            model="sd3.5-medium",
            cfg_scale=4.0,
            mode="image-to-image",
            image=png(512, 512),
        )
        assert size_of(self.picture(answer)) == (1024, 1024)

    def test_ultra_with_an_image(self, live: LiveServer) -> None:
        answer = self.post(live, "generate/ultra", prompt="a", seed=1, strength=0.5, image=png(512, 512))
        self.picture(answer)

    def test_upscale(self, live: LiveServer) -> None:
        self.picture(self.post(live, "upscale/fast", image=png()))
        self.picture(self.post(live, "upscale/conservative", image=png(), prompt="a", creativity=0.35, seed=0))

    def test_creative_upscale_is_polled(self, live: LiveServer) -> None:
        submitted = self.post(live, "upscale/creative", image=png(), prompt="a", creativity=0.3, seed=0)
        assert submitted.status_code == 200
        name = submitted.json()["id"]
        for _ in range(1200):
            answer = httpx.get(
                f"{live.url}/proxy/stability/v2beta/results/{name}",
                headers={"accept": "application/json", "authorization": f"Bearer {live.key}"},
            )
            if answer.status_code != 202:
                break
            assert set(answer.json()) == {"id", "status"}
            time.sleep(0.05)
        assert format_of(self.picture(answer, "result")) == "PNG"

    @pytest.mark.parametrize(("balance", "key", "status"), [("200", "sk-x", 401), ("1", "", 402)])
    def test_statuses_that_they_explain(self, live: LiveServer, balance: str, key: str, status: int) -> None:
        live.set_balance(balance)
        headers = {"accept": "application/json", "x-api-key": key or live.key}
        answer = httpx.post(
            live.url + self.TREE + "generate/sd3", headers=headers, files={"none": ""}, data={"prompt": "a"}
        )
        assert answer.status_code == status
        assert answer.json()["errors"]


class TestPackWithItsOwnKey:
    """It sends the bare key, asks for bytes, and sends fields of its own to every service."""

    def post(self, live: LiveServer, path: str, accept: str, data: dict[str, Any], **files: bytes) -> httpx.Response:
        own = {"style": "False", "api_key_override": "", "output_format": "png"}
        parts = {name: ("image", content) for name, content in files.items()} or {"none": ("none", b"")}
        return httpx.post(
            f"{live.url}/v2beta/stable-image/{path}",
            headers={"authorization": live.key, "accept": accept},
            files=parts,
            data=own | data,
            timeout=60,
        )

    def test_sd3(self, live: LiveServer) -> None:
        data = {
            "prompt": "a",
            "negative_prompt": "",
            "model": "sd3-large-turbo",
            "cfg_scale": "7.0",
            "seed": "5",
            "strength": "0.7",
            "aspect_ratio": "16:9(1344, 768)".partition("(")[0],
        }
        answer = self.post(live, "generate/sd3", "image/*", data)
        assert answer.status_code == 200, answer.text
        assert size_of(answer.content) == (1344, 768)

    @pytest.mark.parametrize(
        ("path", "data"),
        [
            ("generate/sd3", {"prompt": "a", "strength": "0.7"}),
            ("edit/inpaint", {"prompt": "a"}),
            ("edit/erase", {}),
            ("edit/outpaint", {"left": "64", "creativity": "0.5"}),
            ("upscale/conservative", {"prompt": "a"}),
        ],
    )
    def test_every_service_hears_of_the_mode(self, live: LiveServer, path: str, data: dict[str, str]) -> None:
        answer = self.post(live, path, "image/*", data | {"mode": "image-to-image"}, image=cutout())
        assert answer.status_code == 200, answer.text
        assert format_of(answer.content) == "PNG"

    def test_creative_upscale(self, live: LiveServer) -> None:
        submitted = self.post(live, "upscale/creative", "*/*", {"prompt": "a", "mode": "image-to-image"}, image=png())
        path = f"{live.url}/v2beta/stable-image/upscale/creative/result/{submitted.json()['id']}"
        for _ in range(1200):
            answer = httpx.get(path, headers={"authorization": live.key, "accept": "*/*"})
            if answer.status_code != 202:
                break
            time.sleep(0.05)
        assert answer.status_code == 200
        assert format_of(answer.content) == "PNG"

    def test_errors_have_the_keys_it_reads(self, live: LiveServer) -> None:
        body = self.post(live, "generate/core", "image/*", {"prompt": ""}).json()
        assert (body["name"], body["errors"]) == ("bad_request", ["prompt: required"])
