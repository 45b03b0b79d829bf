"""What clients of the v2beta services depend on, against a live server with workers that follow a script."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from queue import Queue
from types import SimpleNamespace

import httpx
import pytest

from keelbill.api import envelope
from keelbill.api.stability.services import SERVICES
from keelbill.core.ids import new_id
from keelbill.core.settings import Settings
from keelbill.core.sizes import RATIOS, core_size, published_size
from keelbill.storage.published import PUBLIC_MODELS
from support.forms import cutout, encoded, form, format_of, pixels_of, png, size_of
from support.server import LiveServer

SD3 = "/v2beta/stable-image/generate/sd3"
CORE = "/v2beta/stable-image/generate/core"
ULTRA = "/v2beta/stable-image/generate/ultra"
CREATIVE = "/v2beta/stable-image/upscale/creative"
EDIT = "/v2beta/stable-image/edit/"
JSON = {"accept": "application/json"}


@pytest.fixture
def api(server: LiveServer) -> httpx.Client:
    server.set_balance("1000")
    return server.client


def errors_of(answer: httpx.Response) -> list[str]:
    body = answer.json()
    assert set(body) == {"id", "name", "errors"}
    assert body["id"] == answer.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", body["id"])
    errors: list[str] = body["errors"]
    assert errors
    return errors


class TestWhoAsks:
    @pytest.mark.parametrize("scheme", ["", "Bearer ", "bearer ", "BEARER "])
    def test_bare_key_and_bearer(self, server: LiveServer, scheme: str) -> None:
        server.set_balance("100")
        answer = httpx.post(
            server.url + CORE, headers={"authorization": scheme + server.key}, **form(prompt="a"), timeout=60
        )
        assert answer.status_code == 200

    def test_header_of_node_graphs(self, server: LiveServer) -> None:
        server.set_balance("100")
        answer = httpx.post(server.url + CORE, headers={"X-API-KEY": server.key}, **form(prompt="a"), timeout=60)
        assert answer.status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"authorization": ""},
            {"authorization": "Bearer"},
            {"authorization": "Bearer sk-wrong"},
            {"authorization": "Basic c2stOg=="},
            {"authorization": "sk-" + "a" * 48},
            {"authorization": "sk-" + "a" * 5000},
        ],
    )
    def test_no_key_or_a_wrong_one(self, server: LiveServer, headers: dict[str, str]) -> None:
        answer = httpx.post(server.url + SD3, headers=headers, **form(prompt="a"))
        assert answer.status_code == 401
        assert answer.json()["name"] == "unauthorized"
        assert errors_of(answer) == ["authorization: invalid or missing header value"]
        assert "sk-" not in answer.text

    def test_a_key_in_the_address_is_refused(self, server: LiveServer) -> None:
        answer = httpx.post(server.url + SD3 + f"?api_key={server.key}", **form(prompt="a"))
        assert answer.status_code == 401
        assert "never in the address" in answer.text
        assert server.key not in answer.text

    def test_a_good_body_does_not_excuse_a_bad_key(self, server: LiveServer) -> None:
        answer = httpx.post(server.url + SD3, headers={"authorization": "Bearer x"}, **form(prompt="a"))
        assert answer.status_code == 401

    def test_a_good_key_does_not_excuse_a_bad_body(self, api: httpx.Client) -> None:
        assert api.post(SD3, **form(prompt="a", seed="x")).status_code == 400

    def test_a_key_without_the_scope(self, server: LiveServer) -> None:
        answer = httpx.post(
            server.url + CREATIVE,
            headers={"authorization": server.new_key(scopes=("generate",))},
            **form(prompt="a", image=png()),
        )
        assert answer.status_code == 403
        assert answer.json()["name"] == "permission_denied"
        assert "'upscale'" in errors_of(answer)[0]


class TestAnswers:
    def test_bytes_with_reason_and_seed(self, api: httpx.Client) -> None:
        answer = api.post(SD3, headers={"accept": "image/*"}, **form(prompt="a", seed=11))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["finish-reason"] == "SUCCESS"
        assert answer.headers["seed"] == "11"
        assert answer.headers["x-keelbill-model"] == "scripted"
        assert answer.headers["x-credits-charged"] == "6.5"
        assert float(answer.headers["x-gateway-overhead-ms"]) >= 0
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
        assert "ratelimit" in answer.headers
        assert (format_of(answer.content), size_of(answer.content)) == ("PNG", (1024, 1024))

    def test_json(self, api: httpx.Client) -> None:
        answer = api.post(SD3, headers=JSON, **form(prompt="a", seed=11))
        assert answer.headers["content-type"] == "application/json; type=image/png"
        body = answer.json()
        assert set(body) == {"image", "finish_reason", "seed"}
        assert (body["finish_reason"], body["seed"]) == ("SUCCESS", 11)
        assert format_of(base64.b64decode(body["image"], validate=True)) == "PNG"

    @pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
    def test_formats(self, api: httpx.Client, output_format: str) -> None:
        raw = api.post(CORE, **form(prompt="a", output_format=output_format))
        assert raw.headers["content-type"] == f"image/{output_format}"
        assert format_of(raw.content) == output_format.upper()
        wrapped = api.post(CORE, headers=JSON, **form(prompt="a", output_format=output_format))
        assert wrapped.headers["content-type"] == f"application/json; type=image/{output_format}"

    @pytest.mark.parametrize("accept", ["*/*", "image/png", "image/webp, */*;q=0.1"])
    def test_bytes_for_every_other_wish(self, api: httpx.Client, accept: str) -> None:
        assert api.post(CORE, headers={"accept": accept}, **form(prompt="a")).headers["content-type"] == "image/png"

    def test_without_an_accept_header(self, server: LiveServer) -> None:
        server.set_balance("100")
        request = server.client.build_request("POST", CORE, **form(prompt="a"))
        del request.headers["accept"]
        assert server.client.send(request).headers["content-type"] == "image/png"

    def test_the_reported_seed_gives_the_same_pixels(self, api: httpx.Client) -> None:
        first = api.post(CORE, headers=JSON, **form(prompt="a")).json()
        assert 1 <= first["seed"] <= 4_294_967_294
        again = api.post(CORE, headers=JSON, **form(prompt="a", seed=first["seed"])).json()
        assert pixels_of(base64.b64decode(again["image"])) == pixels_of(base64.b64decode(first["image"]))

    def test_seed_0_is_drawn_anew(self, api: httpx.Client) -> None:
        seeds = {api.post(CORE, **form(prompt="a", seed=0)).headers["seed"] for _ in range(3)}
        assert len(seeds) == 3
        assert "0" not in seeds


class TestSizes:
    @pytest.mark.parametrize("ratio", RATIOS)
    @pytest.mark.parametrize("model", PUBLIC_MODELS)
    def test_every_ratio_of_every_model(self, api: httpx.Client, ratio: str, model: str) -> None:
        answer = api.post(SD3, **form(prompt="a", aspect_ratio=ratio, model=model))
        size = published_size(ratio)
        assert size_of(answer.content) == (size.width, size.height)

    @pytest.mark.parametrize("ratio", RATIOS)
    def test_core(self, api: httpx.Client, ratio: str) -> None:
        size = core_size(ratio)
        answer = api.post(CORE, **form(prompt="a", aspect_ratio=ratio))
        assert size_of(answer.content) == (size.width, size.height)

    def test_an_input_keeps_its_shape(self, api: httpx.Client) -> None:
        answer = api.post(
            SD3,
            **form(prompt="a", mode="image-to-image", strength=0.5, image=png(300, 200), aspect_ratio="9:21"),
        )
        assert size_of(answer.content) == (1248, 832)


class TestFieldsThatDoNotCount:
    def test_a_shape_beside_an_image(self, api: httpx.Client) -> None:
        sent = form(prompt="a", mode="image-to-image", strength=0.5, image=png(300, 200), aspect_ratio="custom")
        assert size_of(api.post(SD3, **sent).content) == (1248, 832)

    @pytest.mark.parametrize("strength", ["0.5", "7", "much", b"a file"])
    def test_a_strength_without_an_image(self, api: httpx.Client, strength: str | bytes) -> None:
        plain = api.post(SD3, **form(prompt="a", seed="5"))
        answer = api.post(SD3, **form(prompt="a", seed="5", strength=strength))
        assert answer.status_code == 200
        assert pixels_of(answer.content) == pixels_of(plain.content)

    def test_a_strength_counts_where_an_image_may_be(self, api: httpx.Client) -> None:
        answer = api.post(ULTRA, **form(prompt="a", image=png(), strength="much"))
        assert answer.json()["errors"] == ["strength: must be a number from 0 to 1"]


class TestPrices:
    @pytest.mark.parametrize(
        ("model", "price"),
        [
            ("sd3.5-large", "6.5"),
            ("sd3-large", "6.5"),
            ("sd3", "6.5"),
            ("sd3.5-large-turbo", "4"),
            ("sd3-large-turbo", "4"),
            ("sd3-turbo", "4"),
            ("sd3.5-medium", "3.5"),
            ("sd3-medium", "3.5"),
            ("sd3.5-flash", "2.5"),
        ],
    )
    def test_of_models(self, server: LiveServer, model: str, price: str) -> None:
        server.set_balance("50")
        answer = server.client.post(SD3, **form(prompt="a", model=model))
        assert answer.headers["x-credits-charged"] == price
        assert server.balance() == Decimal(50) - Decimal(price)

    @pytest.mark.parametrize(
        ("path", "fields", "price"),
        [
            (ULTRA, {"prompt": "a"}, "8"),
            (CORE, {"prompt": "a"}, "3"),
            (EDIT + "erase", {"image": cutout()}, "5"),
            (EDIT + "inpaint", {"image": cutout(), "prompt": "a"}, "5"),
            (EDIT + "outpaint", {"image": png(), "left": 64}, "4"),
            ("/v2beta/stable-image/upscale/fast", {"image": png()}, "2"),
            ("/v2beta/stable-image/upscale/conservative", {"image": png(), "prompt": "a"}, "40"),
        ],
    )
    def test_of_services(self, server: LiveServer, path: str, fields: dict[str, object], price: str) -> None:
        server.set_balance("50")
        answer = server.client.post(path, **form(**fields))
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-credits-charged"] == price
        assert server.balance() == Decimal(50) - Decimal(price)

    def test_too_little_leaves_the_balance_alone(self, server: LiveServer) -> None:
        server.set_balance("6.4")
        answer = server.client.post(SD3, **form(prompt="a"))
        assert answer.status_code == 402
        assert answer.json()["name"] == "payment_required"
        assert "6.5 needed, 6.4 available." in errors_of(answer)[0]
        assert server.balance() == Decimal("6.4")

    def test_exactly_enough(self, server: LiveServer) -> None:
        server.set_balance("6.5")
        assert server.client.post(SD3, **form(prompt="a")).status_code == 200
        assert server.balance() == 0

    def test_parallel_requests_never_overdraw(self, server: LiveServer) -> None:
        server.set_balance("20")
        with ThreadPoolExecutor(12) as threads:
            answers = list(threads.map(lambda _: server.client.post(SD3, **form(prompt="a")), range(12)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200] * 3 + [402] * 9
        assert server.balance() == Decimal("0.5")

    def test_a_bad_request_costs_nothing(self, server: LiveServer) -> None:
        server.set_balance("20")
        assert server.client.post(SD3, **form(prompt="")).status_code == 400
        assert server.balance() == 20

    def test_a_failed_picture_costs_nothing(self, server: LiveServer) -> None:
        server.set_balance("20")
        answer = server.client.post(SD3, **form(prompt=f"a {server.FAIL}"))
        assert answer.status_code == 500
        assert answer.json()["name"] == "internal_error"
        assert server.balance() == 20


def _next_line(lines: Queue[dict[str, object]]) -> dict[str, object]:
    """Wait for the next line about a picture; it is written after the answer is sent."""
    while (line := lines.get(timeout=60))["route"] != SD3:
        pass
    return line


class TestRequestLog:
    """What operators see of a request."""

    @pytest.fixture
    def lines(self, monkeypatch: pytest.MonkeyPatch) -> Queue[dict[str, object]]:
        found: Queue[dict[str, object]] = Queue()
        monkeypatch.setattr(envelope, "log", SimpleNamespace(info=lambda event, **facts: found.put(facts)))
        return found

    def test_charge_and_job(self, server: LiveServer, lines: Queue[dict[str, object]]) -> None:
        server.set_balance("20")
        assert server.client.post(SD3, **form(prompt="a")).status_code == 200
        line = _next_line(lines)
        assert str(line["credits"]) == "6.5"
        assert re.fullmatch("[0-9a-f]{32}", str(line["job"]))

    def test_a_replay_is_not_counted_again(self, server: LiveServer, lines: Queue[dict[str, object]]) -> None:
        server.set_balance("20")
        key = {"idempotency-key": new_id()}
        for _ in range(2):
            assert server.client.post(SD3, headers=key, **form(prompt="a")).status_code == 200
        first, second = _next_line(lines), _next_line(lines)
        assert [str(line["credits"]) for line in (first, second)] == ["6.5", "0"]
        assert first["job"] == second["job"]


class TestModeration:
    def test_a_filtered_picture_is_blurred_and_free(self, server: LiveServer) -> None:
        server.set_balance("20")
        answer = server.client.post(SD3, headers=JSON, **form(prompt=f"a {server.FILTER}"))
        assert answer.status_code == 200
        assert answer.json()["finish_reason"] == "CONTENT_FILTERED"
        assert answer.headers["finish-reason"] == "CONTENT_FILTERED"
        assert answer.headers["x-credits-charged"] == "0"
        assert server.balance() == 20

    def test_a_refused_prompt_is_free(self, server: LiveServer) -> None:
        server.set_balance("20")
        answer = server.client.post(SD3, **form(prompt="child pornography"))
        assert answer.status_code == 403
        assert answer.json()["name"] == "content_moderation"
        assert server.balance() == 20


class TestLenientForms:
    def test_an_empty_file_that_forces_multipart(self, api: httpx.Client) -> None:
        answer = api.post(SD3, files={"none": ""}, data={"prompt": "a", "output_format": "jpeg"})
        assert answer.status_code == 200

    def test_what_other_clients_send_changes_nothing(self, api: httpx.Client) -> None:
        plain = api.post(CORE, **form(prompt="a", seed=5))
        odd = api.post(
            CORE,
            files={"none": ("none", b"", "application/octet-stream"), "extra": ("x.bin", b"123")},
            data={
                "prompt": "a",
                "seed": " 5.0 ",
                "negative_prompt": "",
                "style": "False",
                "style_preset": "",
                "mode": "image-to-image",
                "model": "whatever",
                "cfg_scale": "700",
                "api_key_override": "x",
            },
        )
        assert odd.status_code == 200
        assert pixels_of(odd.content) == pixels_of(plain.content)

    def test_text_parts_with_a_type_of_their_own(self, api: httpx.Client) -> None:
        answer = api.post(CORE, files={"prompt": (None, "ä", "text/plain; charset=utf-8"), "seed": ("", "5")})
        assert answer.status_code == 200
        assert answer.headers["seed"] == "5"

    def test_mode_on_an_edit(self, api: httpx.Client) -> None:
        fields = form(prompt="a", image=cutout(), mode="image-to-image", strength="0.7", style="False")
        assert api.post(EDIT + "inpaint", **fields).status_code == 200

    def test_a_file_with_any_name_and_type(self, api: httpx.Client) -> None:
        for name, kind in (("image", None), ("upload", "application/octet-stream"), ("x.gif", "image/gif")):
            part = (name, cutout(), kind) if kind else (name, cutout())
            answer = api.post(EDIT + "erase", files={"image": part})
            assert answer.status_code == 200, answer.text

    def test_headers_that_name_the_client(self, api: httpx.Client) -> None:
        names = {
            "stability-client-id": "app",
            "stability-client-user-id": "u" * 300,
            "stability-client-version": "1",
            "organization": "o",
        }
        assert api.post(CORE, headers=names, **form(prompt="a")).status_code == 200

    def test_capitals_in_booleans(self, api: httpx.Client) -> None:
        answer = api.post(
            EDIT + "replace-background-and-relight",
            **form(subject_image=png(), background_prompt="a", keep_original_background="True"),
        )
        assert answer.status_code == 501


IMAGE_MODE = {"prompt": "a", "mode": "image-to-image"}
WHOLE_SEED = "must be a whole number from 0 to 4294967294"


class TestWrongParameters:
    @pytest.mark.parametrize(
        ("path", "fields", "problems"),
        [
            (SD3, {}, ["prompt: required"]),
            (SD3, {"prompt": ""}, ["prompt: required"]),
            (SD3, {"prompt": "x" * 10_001}, ["prompt: must have at most 10000 characters, not 10001"]),
            (SD3, {"prompt": "a\x07"}, ["prompt: must not contain the control character U+0007"]),
            (SD3, {"prompt": "a", "seed": "-1"}, [f"seed: {WHOLE_SEED}"]),
            (SD3, {"prompt": "a", "seed": "4294967295"}, [f"seed: {WHOLE_SEED}"]),
            (SD3, {"prompt": "a", "seed": "1.5"}, [f"seed: {WHOLE_SEED}"]),
            (SD3, {"prompt": "a", "seed": "1e3"}, [f"seed: {WHOLE_SEED}"]),
            (SD3, {"prompt": "a", "cfg_scale": "0.9"}, ["cfg_scale: must be a number from 1 to 10"]),
            (SD3, {"prompt": "a", "cfg_scale": "11"}, ["cfg_scale: must be a number from 1 to 10"]),
            (SD3, {"prompt": "a", "output_format": "gif"}, ["output_format: must be one of png, jpeg, webp"]),
            (
                SD3,
                {"prompt": "a", "aspect_ratio": "4:3"},
                ["aspect_ratio: must be one of 21:9, 16:9, 3:2, 5:4, 1:1, 4:5, 2:3, 9:16, 9:21"],
            ),
            (SD3, {"prompt": "a", "model": "sd9"}, ["model: must be one of " + ", ".join(PUBLIC_MODELS)]),
            (SD3, {"prompt": "a", "mode": "video"}, ["mode: must be one of text-to-image, image-to-image"]),
            (SD3, {"prompt": "a", "image": png()}, ["image: only allowed when mode is image-to-image"]),
            (
                SD3,
                IMAGE_MODE,
                [
                    "image: required when mode is image-to-image",
                    "strength: required when mode is image-to-image",
                ],
            ),
            (SD3, IMAGE_MODE | {"image": png(), "strength": "1.1"}, ["strength: must be a number from 0 to 1"]),
            (SD3, IMAGE_MODE | {"image": "text", "strength": "1"}, ["image: must be sent as a file"]),
            (SD3, {"seed": "x", "cfg_scale": "x"}, ["prompt", "seed", "cfg_scale"]),
            (ULTRA, {"prompt": "a", "image": png()}, ["strength: required when image is given"]),
            (ULTRA, {"prompt": "a", "strength": "0.5"}, ["image: required when strength is given"]),
            (EDIT + "erase", {}, ["image: required"]),
            (EDIT + "erase", {"image": png(), "grow_mask": "21"}, ["grow_mask: must be a whole number from 0 to 20"]),
            (EDIT + "inpaint", {"grow_mask": "101"}, ["prompt", "grow_mask", "image"]),
            (
                EDIT + "outpaint",
                {"image": png()},
                ["left: at least one of left, right, up and down must be above 0"],
            ),
            (EDIT + "outpaint", {"image": png(), "left": "2001"}, ["left: must be a whole number from 0 to 2000"]),
            (
                EDIT + "replace-background-and-relight",
                {"subject_image": png(), "light_source_strength": "0.5"},
                [
                    "background_prompt: required unless background_reference is given",
                    "light_source_strength: only allowed with light_source_direction or light_reference",
                ],
            ),
            (
                EDIT + "remove-background",
                {"image": png(), "output_format": "jpeg"},
                ["output_format: must be one of png, webp"],
            ),
            (EDIT + "search-and-replace", {"image": png(), "prompt": "a"}, ["search_prompt: required"]),
            (
                "/v2beta/stable-image/upscale/conservative",
                {"image": png(), "prompt": "a", "creativity": "0.1"},
                ["creativity: must be a number from 0.2 to 0.5"],
            ),
            (
                "/v2beta/stable-image/control/style-transfer",
                {"init_image": png(), "style_image": png(), "change_strength": "0"},
                ["change_strength: must be a number from 0.1 to 1"],
            ),
        ],
    )
    def test_each_is_named(self, api: httpx.Client, path: str, fields: dict[str, object], problems: list[str]) -> None:
        answer = api.post(path, **(form(**fields) if fields else form(unknown="x")))
        assert answer.status_code == 400
        assert answer.json()["name"] == "bad_request"
        found = errors_of(answer)
        if all(":" in problem for problem in problems):
            assert found == problems
        else:
            assert [problem.partition(":")[0] for problem in found] == problems

    def test_one_field_twice(self, api: httpx.Client) -> None:
        answer = api.post(SD3, files=[("prompt", (None, "a")), ("prompt", (None, "b"))])
        assert (answer.status_code, errors_of(answer)) == (400, ["prompt: must be sent once"])

    def test_text_from_a_file(self, api: httpx.Client) -> None:
        prompt, seed = ("prompt.txt", b"an apple"), ("seed", b"")
        answer = api.post(SD3, files={"prompt": prompt, "seed": seed}, data={"model": " sd3.5-flash\n"})
        assert errors_of(answer) == ["prompt: must be sent as text, not as a file"]

    def test_no_content_type(self, api: httpx.Client) -> None:
        answer = api.post(SD3, content=b"")
        assert (answer.status_code, errors_of(answer)) == (400, ["content-type: required"])

    @pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
    def test_other_content_types(self, api: httpx.Client, kind: str) -> None:
        answer = api.post(SD3, content=b'{"prompt": "a"}', headers={"content-type": kind})
        assert (answer.status_code, errors_of(answer)) == (400, ["content-type: must be multipart/form-data"])

    def test_an_answer_that_is_neither(self, api: httpx.Client) -> None:
        answer = api.post(SD3, headers={"accept": "text/html"}, **form(prompt="a"))
        assert (answer.status_code, errors_of(answer)) == (400, ["accept: must admit application/json or image/*"])

    def test_text_that_is_not_utf8(self, api: httpx.Client) -> None:
        answer = api.post(SD3, files={"prompt": (None, b"\xff\xfe")})
        assert (answer.status_code, errors_of(answer)) == (
            400,
            ["prompt: must be UTF-8 text; give the part a filename if it is a file"],
        )

    def test_unknown_paths(self, api: httpx.Client) -> None:
        answer = api.post("/v2beta/stable-image/generate/sd4", **form(prompt="a"))
        assert (answer.status_code, answer.json()["name"]) == (404, "not_found")


WITHOUT_NETWORK: dict[str, dict[str, object]] = {
    "edit/search-and-replace": {"image": png(), "prompt": "a", "search_prompt": "b"},
    "edit/search-and-recolor": {"image": png(), "prompt": "a", "select_prompt": "b"},
    "edit/remove-background": {"image": png()},
    "edit/replace-background-and-relight": {"subject_image": png(), "background_prompt": "a"},
    "control/sketch": {"image": png(), "prompt": "a"},
    "control/structure": {"image": png(), "prompt": "a"},
    "control/style": {"image": png(), "prompt": "a"},
    "control/style-transfer": {"init_image": png(), "style_image": png()},
}


class TestWithoutTheNetwork:
    def test_these_are_all(self) -> None:
        assert {service.path for service in SERVICES if service.missing} == set(WITHOUT_NETWORK)

    @pytest.mark.parametrize("path", WITHOUT_NETWORK)
    def test_a_good_request_is_told_what_is_missing(self, server: LiveServer, path: str) -> None:
        server.set_balance("20")
        answer = server.client.post(f"/v2beta/stable-image/{path}", **form(**WITHOUT_NETWORK[path]))
        assert (answer.status_code, answer.json()["name"]) == (501, "not_implemented")
        assert errors_of(answer)[0].startswith("This installation has no network that ")
        assert server.balance() == 20

    @pytest.mark.parametrize("path", WITHOUT_NETWORK)
    def test_a_bad_request_is_told_what_is_wrong(self, api: httpx.Client, path: str) -> None:
        answer = api.post(f"/v2beta/stable-image/{path}", **form(output_format="gif"))
        assert answer.status_code == 400
        assert len(errors_of(answer)) >= 2


class TestEdits:
    def test_sizes(self, api: httpx.Client) -> None:
        image = png(128, 96)
        mask = png(64, 64, mode="L", colour=255)
        assert size_of(api.post(EDIT + "inpaint", **form(image=image, mask=mask, prompt="a")).content) == (128, 96)
        assert size_of(api.post(EDIT + "erase", **form(image=image, mask=mask)).content) == (128, 96)
        wide = api.post(EDIT + "outpaint", **form(image=image, left=10, right=20, up=0, down=6))
        assert size_of(wide.content) == (158, 102)
        assert size_of(api.post("/v2beta/stable-image/upscale/fast", **form(image=image)).content) == (512, 384)
        large = api.post("/v2beta/stable-image/upscale/conservative", **form(image=image, prompt="a"))
        width, height = size_of(large.content)
        assert 0.95 < width * height / 4_194_304 < 1.05
        assert width / height == pytest.approx(4 / 3, rel=0.02)

    @pytest.mark.parametrize("service", ["inpaint", "erase"])
    @pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
    def test_without_mask_and_transparency(self, server: LiveServer, service: str, mode: str) -> None:
        server.set_balance("10")
        colour = (9, 9, 9, 255)[: len(mode)] if mode != "L" else 9
        answer = server.client.post(EDIT + service, **form(image=png(mode=mode, colour=colour), prompt="a"))
        assert answer.status_code == 400
        assert errors_of(answer) == ["mask: required, because no part of the image is transparent"]
        assert server.balance() == 10

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    def test_formats_of_inputs(self, api: httpx.Client, kind: str) -> None:
        assert api.post(EDIT + "erase", **form(image=encoded(kind), mask=png(mode="L", colour=255))).status_code == 200


class TestPolling:
    def test_from_submission_to_picture(self, server: LiveServer) -> None:
        server.set_balance("100")
        with server.slow_workers():
            answer = server.client.post(CREATIVE, **form(prompt="a", image=png(96, 64), seed=9))
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/json"
            name = answer.json()["id"]
            assert re.fullmatch("[0-9a-f]{64}", name)
            assert list(answer.json()) == ["id"]
            waiting = server.client.get(f"/v2beta/results/{name}", headers=JSON)
            assert waiting.status_code == 202
            assert waiting.json() == {"id": name, "status": "in-progress"}
        done = self.finished(server, f"/v2beta/results/{name}", "application/json; type=image/png")
        assert done.headers["content-type"] == "application/json; type=image/png"
        body = done.json()
        assert body["image"] == body["result"]
        assert (body["finish_reason"], body["seed"]) == ("SUCCESS", 9)
        raw = server.client.get(f"/v2beta/stable-image/upscale/creative/result/{name}", headers={"accept": "*/*"})
        assert raw.headers["content-type"] == "image/png"
        assert raw.content == base64.b64decode(body["image"])
        assert (raw.headers["finish-reason"], raw.headers["seed"]) == ("SUCCESS", "9")
        assert server.balance() == 40

    def test_another_key_finds_nothing(self, server: LiveServer) -> None:
        server.set_balance("100")
        name = server.client.post(CREATIVE, **form(prompt="a", image=png())).json()["id"]
        answer = httpx.get(
            f"{server.url}/v2beta/results/{name}", headers={"authorization": server.new_key(), "accept": "*/*"}
        )
        assert (answer.status_code, answer.json()["name"]) == (404, "not_found")

    @pytest.mark.parametrize("name", ["0" * 64, "x", "f" * 63])
    def test_unknown_results(self, api: httpx.Client, name: str) -> None:
        assert api.get(f"/v2beta/results/{name}").status_code == 404

    def test_a_failure_is_told_and_free(self, server: LiveServer) -> None:
        server.set_balance("100")
        name = server.client.post(CREATIVE, **form(prompt=f"a {server.FAIL}", image=png())).json()["id"]
        answer = self.finished(server, f"/v2beta/results/{name}", "application/json")
        assert (answer.status_code, answer.json()["name"]) == (500, "internal_error")
        assert server.balance() == 100

    @staticmethod
    def finished(server: LiveServer, path: str, accept: str) -> httpx.Response:
        for _ in range(1200):
            answer = server.client.get(path, headers={"accept": accept})
            if answer.status_code != 202:
                return answer
            time.sleep(0.05)
        raise TimeoutError(path)


class TestRetries:
    def test_the_same_request_is_answered_alike_and_charged_once(self, server: LiveServer) -> None:
        server.set_balance("6.5")
        key = {"idempotency-key": new_id()}
        first = server.client.post(SD3, headers=key, **form(prompt="a", output_format="webp"))
        second = server.client.post(SD3, headers=key, **form(output_format="webp", prompt="a"))
        assert (first.status_code, second.status_code) == (200, 200)
        assert second.content == first.content
        assert second.headers["seed"] == first.headers["seed"]
        assert second.headers["idempotent-replayed"] == "true"
        assert "idempotent-replayed" not in first.headers
        assert server.balance() == 0

    def test_another_request_under_the_same_key(self, server: LiveServer) -> None:
        server.set_balance("20")
        key = {"idempotency-key": new_id()}
        assert server.client.post(SD3, headers=key, **form(prompt="a")).status_code == 200
        answer = server.client.post(SD3, headers=key, **form(prompt="b"))
        assert (answer.status_code, answer.json()["name"]) == (422, "unprocessable_entity")
        assert server.balance() == Decimal("13.5")

    def test_a_failed_attempt_leaves_its_key_free(self, server: LiveServer) -> None:
        server.set_balance("1")
        key = {"idempotency-key": new_id()}
        assert server.client.post(SD3, headers=key, **form(prompt="a")).status_code == 402
        server.set_balance("10")
        assert server.client.post(SD3, headers=key, **form(prompt="a")).status_code == 200

    def test_a_malformed_key(self, api: httpx.Client) -> None:
        answer = api.post(SD3, headers={"idempotency-key": "x" * 256}, **form(prompt="a"))
        assert errors_of(answer) == ["idempotency-key: must have 1 to 255 visible ASCII characters"]

    def test_an_asynchronous_request(self, server: LiveServer) -> None:
        server.set_balance("60")
        key = {"idempotency-key": new_id()}
        names = {
            server.client.post(CREATIVE, headers=key, **form(prompt="a", image=png())).json()["id"] for _ in range(2)
        }
        assert len(names) == 1


class TestLimits:
    def test_one_byte_over_ten_mebibytes(self, api: httpx.Client) -> None:
        answer = api.post(
            SD3, content=b"x" * (10 * 2**20 + 1), headers={"content-type": "multipart/form-data; boundary=x"}
        )
        assert (answer.status_code, answer.json()["name"]) == (413, "payload_too_large")

    def test_one_byte_over_without_saying_so(self, api: httpx.Client) -> None:
        head = b'--x\r\ncontent-disposition: form-data; name="a"; filename="a"\r\n\r\n'
        pieces = iter([head, *[b"x" * 2**20] * 10])
        answer = api.post(SD3, content=pieces, headers={"content-type": "multipart/form-data; boundary=x"})
        assert (answer.status_code, answer.json()["name"]) == (413, "payload_too_large")

    def test_the_151st_request_in_the_window(self, start_server: Callable[..., LiveServer]) -> None:
        """The window is ten seconds by default; a slow machine needs longer for 151 requests, so it is wider here."""
        usual = Settings.model_fields
        assert (usual["rate_limit"].default, usual["rate_window_s"].default) == (150, 10)
        live = start_server(rate_limit=150, rate_window_s=300)
        answers = [live.client.get("/v1/engines/list") for _ in range(151)]
        assert {answer.status_code for answer in answers[:150]} == {200}
        assert answers[150].status_code == 429
        assert 1 <= int(answers[150].headers["retry-after"]) <= 300
        answer = live.client.post(SD3, **form(prompt="a"))
        assert (answer.status_code, answer.json()["name"]) == (429, "rate_limit_exceeded")

    def test_a_client_that_hangs_up_does_not_pay(self, server: LiveServer) -> None:
        server.set_balance("20")
        timeout = httpx.Timeout(60, read=1)
        with server.slow_workers(step_s=1), pytest.raises(httpx.ReadTimeout):
            httpx.post(server.url + SD3, headers={"authorization": server.key}, timeout=timeout, **form(prompt="a"))
        deadline = time.monotonic() + 60
        while server.balance() != 20 and time.monotonic() < deadline:
            time.sleep(0.05)  # on a busy machine, the request is read after its client has gone
        server.wait_until_idle()
        assert server.balance() == 20
