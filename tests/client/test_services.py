"""What each service sends and how its answer is read; the same against the double and against the real server."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image

from keelbill import __version__
from keelbill.client import BadRequestError, Client, DeadlineExceededError, NotFoundError
from support.apidouble import JOB, KEY, ApiDouble


class TestBadInputIsFoundBeforeSending:
    def test_a_file_that_is_not_there(self, double: ApiDouble, client: Client) -> None:
        with pytest.raises(BadRequestError, match=r"image: 'none\.png' cannot be read \(No such file"):
            client.generate("a cat", image="none.png", strength=0.5)
        assert double.asked == []

    def test_a_file_that_is_no_picture(self, client: Client) -> None:
        with pytest.raises(BadRequestError, match="mask: must be a PNG, JPEG or WebP picture; these 5 bytes are none"):
            client.erase(b"\x89PNG\r\n\x1a\n", mask=b"GIF89")

    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_no_numbers(self, client: Client, number: float) -> None:
        with pytest.raises(BadRequestError, match="cfg_scale: must be a number"):
            client.generate("a cat", cfg_scale=number)

    def test_half_a_character(self, client: Client) -> None:
        with pytest.raises(BadRequestError, match="prompt: must be valid Unicode"):
            client.generate("half \ud800")

    @pytest.mark.parametrize("key", ["", "two words", "ü", "x" * 256, "line\n"])
    def test_idempotency_keys(self, client: Client, key: str) -> None:
        with pytest.raises(BadRequestError, match="idempotency_key: must be"):
            client.generate("a cat", idempotency_key=key)

    def test_ids_of_jobs(self, client: Client) -> None:
        with pytest.raises(BadRequestError, match="job_id"):
            client.result("../v1/user/balance")


class TestGenerate:
    def test_all_problems_are_reported(self, client: Client) -> None:
        with pytest.raises(BadRequestError) as caught:
            client.generate("", model="sd9")
        assert [problem.partition(":")[0] for problem in caught.value.problems] == ["prompt", "model"]

    def test_everything_that_can_be_said(self, double: ApiDouble, client: Client) -> None:
        made = client.generate(
            "a cat",
            model="sd3-turbo",
            aspect_ratio="16:9",
            seed=7,
            negative_prompt="dogs",
            cfg_scale=4.5,
            style_preset="line-art",
            output_format="webp",
        )
        asked = double.asked[-1]
        assert (asked.method, asked.path) == ("POST", "/v2beta/stable-image/generate/sd3")
        assert asked.fields == {
            "prompt": "a cat",
            "model": "sd3-turbo",
            "aspect_ratio": "16:9",
            "seed": "7",
            "negative_prompt": "dogs",
            "cfg_scale": "4.5",
            "style_preset": "line-art",
            "output_format": "webp",
        }
        assert (made.model, made.seed, made.media_type) == ("sd3-turbo", 7, "image/webp")
        assert made.to_pil().size == (84, 48)

    def test_only_what_was_said_is_sent_and_always_as_a_form(self, double: ApiDouble, client: Client) -> None:
        client.generate("a cat")
        asked = double.asked[-1]
        assert asked.fields == {"prompt": "a cat", "model": "sd3.5-large"}
        assert asked.headers["content-type"].startswith("multipart/form-data; boundary=")
        assert asked.headers["accept"] == "image/*"
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert asked.headers["user-agent"] == f"keelbill-python/{__version__}"

    def test_what_comes_back(self, client: Client) -> None:
        made = client.generate("a cat", seed=7)
        assert made.data.startswith(b"\x89PNG")
        assert (made.seed, made.finish_reason, made.is_filtered) == (7, "SUCCESS", False)
        assert made.credits_charged == Decimal("6.5")
        assert len(made.request_id) == 32
        assert made.recipe is not None
        assert made.recipe.prompt == "a cat"

    def test_any_text_arrives_as_it_is(self, double: ApiDouble, client: Client) -> None:
        prompt = 'Äpfel "rot" \r\n--boundary\r\nContent-Disposition: form-data; name="seed" 草莓 🍓'
        client.generate(prompt)
        assert double.asked[-1].fields["prompt"] == prompt

    def test_from_a_picture(self, double: ApiDouble, client: Client, picture: bytes) -> None:
        client.generate("a dog", image=picture, strength=0.6, aspect_ratio="16:9")
        asked = double.asked[-1]
        assert asked.fields["mode"] == "image-to-image"
        assert asked.fields["strength"] == "0.6"
        assert "aspect_ratio" not in asked.fields
        assert asked.files == {"image": picture}


class TestOtherServices:
    @pytest.mark.parametrize("name", ["ultra", "core"])
    def test_other_models(self, double: ApiDouble, client: Client, name: str) -> None:
        made = getattr(client, name)("a cat", seed=3, style_preset="anime")
        assert double.asked[-1].path == f"/v2beta/stable-image/generate/{name}"
        assert double.asked[-1].fields == {"prompt": "a cat", "seed": "3", "style_preset": "anime"}
        assert made.seed == 3

    def test_inpaint(self, double: ApiDouble, client: Client, picture: bytes) -> None:
        mask = Image.new("L", (64, 64), 255)
        client.inpaint(picture, "a hat", mask=mask, grow_mask=9)
        asked = double.asked[-1]
        assert asked.path == "/v2beta/stable-image/edit/inpaint"
        assert asked.fields == {"prompt": "a hat", "grow_mask": "9"}
        assert asked.files["image"] == picture
        assert asked.files["mask"].startswith(b"\x89PNG")

    def test_erase_by_transparency(self, double: ApiDouble, client: Client, picture: bytes) -> None:
        client.erase(picture)
        assert set(double.asked[-1].files) == {"image"}
        assert double.asked[-1].fields == {}

    def test_outpaint(self, double: ApiDouble, client: Client, picture: bytes) -> None:
        client.outpaint(picture, left=64, down=32, creativity=0.25)
        assert double.asked[-1].fields == {"left": "64", "down": "32", "creativity": "0.25"}

    def test_upscale_fast(self, double: ApiDouble, client: Client, picture: bytes) -> None:
        client.upscale_fast(picture, output_format="jpeg")
        assert double.asked[-1].path == "/v2beta/stable-image/upscale/fast"

    def test_upscale_conservative(self, double: ApiDouble, client: Client, picture: bytes) -> None:
        client.upscale_conservative(picture, "a cat", creativity=0.3)
        assert double.asked[-1].fields == {"prompt": "a cat", "creativity": "0.3"}

    def test_find_and_change(self, double: ApiDouble, client: Client, picture: bytes) -> None:
        client.search_and_replace(picture, "a dog", "the cat", grow_mask=3)
        client.search_and_recolor(picture, "green", "the hat")
        assert [asked.path.rpartition("/")[2] for asked in double.asked] == ["search-and-replace", "search-and-recolor"]
        assert double.asked[0].fields == {"prompt": "a dog", "search_prompt": "the cat", "grow_mask": "3"}
        assert double.asked[1].fields == {"prompt": "green", "select_prompt": "the hat"}

    def test_backgrounds(
        self, double: ApiDouble, client: Client, picture: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("keelbill.client.forms.POLL_S", (0.01,))
        client.remove_background(picture, output_format="webp")
        client.replace_background(
            picture, "a beach", light_reference=picture, keep_original_background=True, light_source_strength=0.25
        )
        first, second = double.asked[:2]
        assert (first.path, first.fields) == (
            "/v2beta/stable-image/edit/remove-background",
            {"output_format": "webp"},
        )
        assert second.path == "/v2beta/stable-image/edit/replace-background-and-relight"
        assert second.fields == {
            "background_prompt": "a beach",
            "keep_original_background": "true",
            "light_source_strength": "0.25",
        }
        assert set(second.files) == {"subject_image", "light_reference"}
        assert second.headers["accept"] == "application/json"

    @pytest.mark.parametrize("name", ["sketch", "structure"])
    def test_shapes(self, double: ApiDouble, client: Client, picture: bytes, name: str) -> None:
        getattr(client, name)(picture, "a castle", control_strength=0.9)
        assert double.asked[-1].path == f"/v2beta/stable-image/control/{name}"
        assert double.asked[-1].fields == {"prompt": "a castle", "control_strength": "0.9"}

    def test_manners(self, double: ApiDouble, client: Client, picture: bytes) -> None:
        client.style(picture, "a castle", fidelity=0.1, aspect_ratio="16:9")
        client.style_transfer(picture, picture, change_strength=0.1)
        assert double.asked[0].fields == {"prompt": "a castle", "fidelity": "0.1", "aspect_ratio": "16:9"}
        assert double.asked[1].path == "/v2beta/stable-image/control/style-transfer"
        assert double.asked[1].fields == {"change_strength": "0.1"}
        assert set(double.asked[1].files) == {"init_image", "style_image"}

    def test_pictures_of_every_kind(self, double: ApiDouble, client: Client, picture: bytes, tmp_path: Path) -> None:
        path = tmp_path / "cat.png"
        path.write_bytes(picture)
        made = client.upscale_fast(picture)
        with path.open("rb") as file:
            for source in (picture, path, str(path), file, made, made.to_pil()):
                client.upscale_fast(source)
        sent = [asked.files["image"] for asked in double.asked[1:]]
        assert sent[:4] == [picture] * 4
        assert sent[4] == made.data
        assert sent[5].startswith(b"\x89PNG")


class TestSlowResults:
    def test_asks_until_it_is_there(
        self, double: ApiDouble, client: Client, picture: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("keelbill.client.forms.POLL_S", (0.01, 0.02))
        double.polls = 3
        made = client.upscale_creative(picture, "a cat", seed=5)
        assert made.seed == 5
        assert [asked.path for asked in double.asked[1:]] == [f"/v2beta/results/{JOB}"] * 4

    def test_gives_up_and_can_be_asked_later(self, double: ApiDouble, client: Client, picture: bytes) -> None:
        double.polls = 2
        with pytest.raises(DeadlineExceededError, match=rf"ask later with result\('{JOB}'\)"):
            client.upscale_creative(picture, "a cat", wait_s=0.01)
        assert client.result(JOB) is None
        later = client.result(JOB)
        assert later is not None
        assert later.data

    def test_a_result_of_nobody(self, client: Client) -> None:
        with pytest.raises(NotFoundError):
            client.result("f" * 64)


class TestAccounts:
    @pytest.mark.parametrize("text", ["25.0", "18.5", "0.1", "123456789.123456", "7"])
    def test_balances_are_exact(self, double: ApiDouble, client: Client, text: str) -> None:
        double.credits = text
        assert client.balance() == Decimal(text)

    def test_account(self, client: Client) -> None:
        account = client.account()
        assert (account.id, account.email) == ("u1", "ada@example.org")
        assert [(item.name, item.role, item.is_default) for item in account.organizations] == [("Ada", "ADMIN", True)]

    def test_engines(self, client: Client) -> None:
        assert [engine.id for engine in client.engines()] == ["stable-diffusion-v1-6"]
