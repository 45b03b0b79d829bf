"""The calls that published notebooks and scripts make with `requests`, as they stand there but for host and key."""

from __future__ import annotations

import base64
import io
import time
from typing import Any

import pytest
import requests

from support.forms import cutout, format_of, png, size_of
from support.server import LiveServer


def send_generation_request(host: str, key: str, params: dict[str, Any], files: Any = None) -> requests.Response:
    """Post a form the way those notebooks do: an empty file part named ``none`` forces multipart."""
    headers = {"Accept": "image/*", "Authorization": f"Bearer {key}"}
    params = dict(params)
    files = dict(files or {})
    image, mask = params.pop("image", None), params.pop("mask", None)
    if image:
        files["image"] = io.BytesIO(image)
    if mask:
        files["mask"] = io.BytesIO(mask)
    if not files:
        files["none"] = ""
    return requests.post(host, headers=headers, files=files, data=params, timeout=60)


@pytest.fixture
def live(server: LiveServer) -> LiveServer:
    server.set_balance("200")
    return server


def test_text_to_image(live: LiveServer) -> None:
    answer = send_generation_request(
        f"{live.url}/v2beta/stable-image/generate/sd3",
        live.key,
        {
            "prompt": "A dream of a far away galaxy",
            "negative_prompt": "",
            "aspect_ratio": "3:2",
            "seed": 0,
            "output_format": "jpeg",
            "model": "sd3.5-large-turbo",
            "mode": "text-to-image",
        },
    )
    assert answer.ok, answer.text
    assert (format_of(answer.content), size_of(answer.content)) == ("JPEG", (1216, 832))
    assert answer.headers.get("finish-reason") != "CONTENT_FILTERED"
    assert int(answer.headers["seed"]) > 0


def test_image_to_image(live: LiveServer) -> None:
    answer = send_generation_request(
        f"{live.url}/v2beta/stable-image/generate/sd3",
        live.key,
        {
            "image": png(320, 320),
            "prompt": "a cat",
            "negative_prompt": "dogs",
            "strength": 0.75,
            "seed": 7,
            "output_format": "png",
            "model": "sd3.5-large",
            "mode": "image-to-image",
        },
    )
    assert answer.ok, answer.text
    assert size_of(answer.content) == (1024, 1024)


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("generate/ultra", {"prompt": "a", "aspect_ratio": "16:9", "seed": 0, "output_format": "jpeg"}),
        ("generate/core", {"prompt": "a", "aspect_ratio": "1:1", "style_preset": "cinematic", "output_format": "webp"}),
        ("edit/erase", {"image": png(), "mask": png(mode="L", colour=255), "seed": 0, "output_format": "webp"}),
        ("edit/inpaint", {"image": cutout(), "prompt": "a dog", "negative_prompt": "", "seed": 0}),
        ("edit/outpaint", {"image": png(), "left": 64, "right": 0, "up": 32, "down": 0, "creativity": 0.5}),
        ("upscale/fast", {"image": png(), "output_format": "jpeg"}),
        ("upscale/conservative", {"image": png(), "prompt": "a", "creativity": 0.35, "output_format": "webp"}),
    ],
)
def test_other_services(live: LiveServer, path: str, params: dict[str, Any]) -> None:
    answer = send_generation_request(f"{live.url}/v2beta/stable-image/{path}", live.key, params)
    assert answer.ok, answer.text
    assert format_of(answer.content) == str(params.get("output_format", "png")).upper()


def test_asynchronous_upscale(live: LiveServer) -> None:
    answer = requests.post(
        f"{live.url}/v2beta/stable-image/upscale/creative",
        headers={"Accept": "application/json", "Authorization": f"Bearer {live.key}"},
        files={"image": io.BytesIO(png(128, 128))},
        data={"prompt": "a", "negative_prompt": "", "seed": 0, "creativity": 0.3, "output_format": "jpeg"},
        timeout=60,
    )
    assert answer.ok, answer.text
    name = json_of(answer)["id"]
    started = time.monotonic()
    status = 202
    while status == 202 and time.monotonic() - started < 20:
        answer = requests.get(
            f"{live.url}/v2beta/results/{name}",
            headers={"Accept": "*/*", "Authorization": f"Bearer {live.key}"},
            timeout=60,
        )
        status = answer.status_code
        time.sleep(0.1)
    assert status == 200
    assert format_of(answer.content) == "JPEG"


def test_a_failure_is_read_from_name_and_errors(live: LiveServer) -> None:
    answer = send_generation_request(f"{live.url}/v2beta/stable-image/generate/core", live.key, {"prompt": ""})
    assert not answer.ok
    assert json_of(answer)["name"] == "bad_request"
    assert json_of(answer)["errors"] == ["prompt: required"]


class TestOlderScripts:
    ENGINE = "/v1/generation/stable-diffusion-v1-6"

    def headers(self, live: LiveServer, accept: str = "application/json") -> dict[str, str]:
        return {"Accept": accept, "Authorization": f"Bearer {live.key}"}

    def test_text_to_image(self, live: LiveServer) -> None:
        answer = requests.post(
            live.url + self.ENGINE + "/text-to-image",
            headers=self.headers(live) | {"Content-Type": "application/json"},
            json={
                "text_prompts": [{"text": "A lighthouse on a cliff"}],
                "cfg_scale": 7,
                "height": 512,
                "width": 896,
                "samples": 1,
                "steps": 30,
            },
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        for image in json_of(answer)["artifacts"]:
            assert size_of(base64.b64decode(image["base64"])) == (896, 512)

    def test_image_to_image(self, live: LiveServer) -> None:
        answer = requests.post(
            live.url + self.ENGINE + "/image-to-image",
            headers=self.headers(live),
            files={"init_image": io.BytesIO(png(512, 512))},
            data={
                "image_strength": 0.35,
                "init_image_mode": "IMAGE_STRENGTH",
                "text_prompts[0][text]": "Galactic dog with a cape",
                "cfg_scale": 7,
                "samples": 1,
                "steps": 30,
            },
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        assert size_of(base64.b64decode(json_of(answer)["artifacts"][0]["base64"])) == (512, 512)

    def test_masking(self, live: LiveServer) -> None:
        answer = requests.post(
            live.url + self.ENGINE + "/image-to-image/masking",
            headers=self.headers(live, "image/png"),
            files={"init_image": io.BytesIO(png(512, 512)), "mask_image": io.BytesIO(png(512, 512))},
            data={
                "mask_source": "MASK_IMAGE_BLACK",
                "text_prompts[0][text]": "A large spiral galaxy",
                "cfg_scale": 7,
                "clip_guidance_preset": "FAST_BLUE",
                "samples": 1,
                "steps": 30,
            },
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        assert format_of(answer.content) == "PNG"

    def test_upscale(self, live: LiveServer) -> None:
        answer = requests.post(
            f"{live.url}/v1/generation/esrgan-v1-x2plus/image-to-image/upscale",
            headers=self.headers(live, "image/png"),
            files={"image": io.BytesIO(png(512, 512))},
            data={"width": 1024},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        assert size_of(answer.content) == (1024, 1024)

    def test_account_balance_engines(self, live: LiveServer) -> None:
        for path in ("/v1/user/account", "/v1/user/balance", "/v1/engines/list"):
            answer = requests.get(live.url + path, headers=self.headers(live), timeout=60)
            assert answer.status_code == 200
            assert json_of(answer)


def json_of(answer: requests.Response) -> Any:
    return answer.json()
