"""``keelbill generate --server`` on a real socket: what is refused before anything is sent comes first."""

from __future__ import annotations

import io
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from keelbill.imaging.metadata import read
from support.apidouble import KEY, USUAL_EVENTS, ApiDouble, Scripted, api_double
from support.commandline import Run
from support.server import LiveServer

pytestmark = pytest.mark.usefixtures("unloadable")


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiDouble]:
    """A server, with its key in the environment."""
    monkeypatch.delenv("STABILITY_API_KEY", raising=False)
    monkeypatch.setenv("KEELBILL_API_KEY", KEY)
    with api_double(ApiDouble(events=list(USUAL_EVENTS))) as running:
        yield running


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ("--sampler euler", "sampler must be left out with --server, because the server decides it."),
            ("--schedule simple", "schedule must be left out with --server"),
            ("--size 64x64", "size must be left out with --server"),
            ("--steps 9", "steps must be left out with --server"),
            ("--cfg 0.5", "cfg must be from 1 to 10 with --server."),
            ("--seed 0", "seed must be from 1 to 4294967294 with --server and 1 pictures."),
            ("--seed 4294967294 --n 2", "seed must be from 1 to 4294967293"),
            ("--n 0", "n must be from 1 to 100 pictures."),
            ("--strength 0.5", "strength must be given together with image."),
            ("--mask photo.png", "mask must be given together with image."),
            ("--image photo.png --strength 2", "strength must be from 0 to 1."),
            ("--image none.png", "image 'none.png' cannot be read: No such file"),
            ("--image photo.png --mask photo.png --model sd3", "model must be left out with --server and a mask"),
            ("--style nice", "style must be one of 3d-model"),
            ("--aspect-ratio 5:7", "aspect_ratio must be one of"),
            ("-o a.tiff", "output must be a file name that ends in"),
            ("-o none/a.png", "output must be in a folder that exists."),
        ],
    )
    def test_one_sentence_and_nothing_sent(
        self, run: Run, double: ApiDouble, photo: Path, arguments: str, sentence: str
    ) -> None:
        assert sentence in run("generate", "a cat", "--server", double.base_url, *arguments.split()).sentence
        assert double.asked == []

    @pytest.mark.parametrize("option", [("--key", KEY), ("--style", "anime")])
    def test_options_that_need_a_server(self, run: Run, option: tuple[str, str]) -> None:
        sentence = run("generate", "a cat", *option).sentence
        assert "must be given together with server." in sentence
        assert KEY not in sentence

    def test_no_key(self, run: Run, double: ApiDouble, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("KEELBILL_API_KEY")
        sentence = run("generate", "a cat", "--server", double.base_url).sentence
        assert sentence.startswith("There is no API key. Set KEELBILL_API_KEY")

    def test_a_mistyped_key_is_not_sent_and_not_shown(self, run: Run, double: ApiDouble) -> None:
        wrong = KEY[:9] + "0" + KEY[10:]
        sentence = run("generate", "a cat", "--server", double.base_url, "--key", wrong).sentence
        assert "has a typo" in sentence
        assert wrong not in sentence
        assert double.asked == []

    def test_nothing_listens(self, run: Run, double: ApiDouble) -> None:
        sentence = run("generate", "a cat", "--server", "nowhere.invalid").sentence
        assert sentence.startswith("Cannot connect to nowhere.invalid")

    def test_the_server_refuses(self, run: Run, double: ApiDouble) -> None:
        double.script = [Scripted(402, {"name": "payment_required", "errors": ["balance: 1 is less than 6.5"]})]
        assert (
            "balance: 1 is less than 6.5. Nothing was charged."
            in run("generate", "a cat", "--server", double.base_url).sentence
        )
        assert list(Path().glob("*.png")) == []


class TestPictures:
    def test_a_new_file_with_its_recipe(self, run: Run, double: ApiDouble) -> None:
        outcome = run("generate", "A red car", "--server", double.base_url, "--seed", "7", "--negative", "dogs")
        assert outcome.code == 0, outcome
        assert outcome.out.startswith("a-red-car-7.png  seed 7  ")
        assert outcome.out.endswith(" s  6.5 credits\n")
        recipe = read(Path("a-red-car-7.png").read_bytes())
        assert recipe is not None
        assert (recipe.prompt, recipe.seed, recipe.negative) == ("A red car", 7, "dogs")

    def test_a_file_of_ones_own_name(self, run: Run, double: ApiDouble) -> None:
        Path("car.jpg").write_text("old")
        assert run("generate", "a car", "--server", double.base_url, "-o", "car.jpg").code == 0
        assert Path("car.jpg").read_bytes().startswith(b"\xff\xd8\xff")

    def test_several_with_seeds_in_a_row(self, run: Run, double: ApiDouble) -> None:
        outcome = run("generate", "a car", "--server", double.base_url, "--seed", "7", "--n", "3")
        assert [line.split()[0] for line in outcome.out.splitlines()] == ["a-car-7.png", "a-car-8.png", "a-car-9.png"]

    def test_every_wish_arrives(self, run: Run, double: ApiDouble) -> None:
        double.native = False
        run(
            *("generate", "a car", "--server", double.base_url, "--model", "sd3-turbo", "--aspect-ratio", "16:9"),
            *("--cfg", "5", "--style", "anime", "--format", "webp", "--seed", "3"),
        )
        assert [asked.path for asked in double.asked] == ["/api/jobs", "/v2beta/stable-image/generate/sd3"]
        assert double.asked[-1].fields == {
            "prompt": "a car",
            "model": "sd3-turbo",
            "aspect_ratio": "16:9",
            "cfg_scale": "5",
            "style_preset": "anime",
            "output_format": "webp",
            "seed": "3",
        }

    def test_from_a_picture(self, run: Run, double: ApiDouble, photo: Path) -> None:
        assert run("generate", "a car", "--server", double.base_url, "--image", "photo.png").code == 0
        assert double.asked[-1].fields["strength"] == "0.7"
        assert double.asked[-1].files == {"image": photo.read_bytes()}

    def test_with_a_mask(self, run: Run, double: ApiDouble, photo: Path) -> None:
        arguments = ("--image", "photo.png", "--mask", "photo.png")
        assert run("generate", "a car", "--server", double.base_url, *arguments).code == 0
        assert double.asked[-1].path == "/v2beta/stable-image/edit/inpaint"

    def test_a_blurred_picture_is_told(self, run: Run, double: ApiDouble) -> None:
        double.native = False
        data = double.paint({"prompt": "x"}, {})[0]
        headers = {"content-type": "image/png", "finish-reason": "CONTENT_FILTERED", "seed": "4"}
        double.script = [Scripted(404), Scripted(200, data, headers)]
        outcome = run("generate", "a car", "--server", double.base_url)
        assert outcome.code == 0
        assert "The server's rules blurred this picture." in outcome.err

    def test_a_job_that_fails_on_the_way_is_not_made_twice(self, run: Run, double: ApiDouble) -> None:
        double.events = [*USUAL_EVENTS[:2], ("failed", {"code": "internal_error", "message": "It went wrong."})]
        assert run("generate", "a car", "--server", double.base_url).code == 2
        assert not any("generate" in asked.path for asked in double.asked)


class TestKeys:
    def test_spaces_are_forgiven_aloud(self, run: Run, double: ApiDouble, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEELBILL_API_KEY", f" {KEY}\n")
        outcome = run("generate", "a car", "--server", double.base_url)
        assert outcome.code == 0
        assert "The API key (KEELBILL_API_KEY) had spaces" in outcome.err
        assert KEY not in outcome.err + outcome.out

    def test_from_standard_input(self, run: Run, double: ApiDouble, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("KEELBILL_API_KEY")
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{KEY}\nmore\n"))
        assert run("generate", "a car", "--server", double.base_url, "--key", "-").code == 0


def test_prices_are_shown_as_numbers(run: Run, double: ApiDouble) -> None:
    outcome = run("generate", "a car", "--server", double.base_url, "--model", "sd3-turbo")
    assert Decimal(outcome.out.split()[-2]) == Decimal(4)


class TestAgainstTheRealServer:
    @pytest.fixture(autouse=True)
    def _key(self, server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
        server.set_balance("100")
        monkeypatch.setenv("KEELBILL_API_KEY", server.key)

    def test_a_picture(self, run: Run, server: LiveServer) -> None:
        outcome = run("generate", "a red car", "--server", server.url, "--seed", "7", "--n", "2", "--style", "anime")
        assert outcome.code == 0, outcome
        assert [path.name for path in sorted(Path().glob("*.png"))] == ["a-red-car-7.png", "a-red-car-8.png"]
        assert "a-red-car-8.png  seed 8  " in outcome.out
        assert server.balance() == Decimal(100) - 2 * Decimal("6.5")
        recipe = read(Path("a-red-car-7.png").read_bytes())
        assert recipe is not None
        assert (recipe.prompt, recipe.seed) == ("a red car", 7)

    def test_from_a_picture_with_a_mask(self, run: Run, server: LiveServer, photo: Path) -> None:
        arguments = ("--image", "photo.png", "--mask", "photo.png", "-o", "new.webp")
        assert run("generate", "a car", "--server", server.url, *arguments).code == 0
        assert Path("new.webp").exists()

    def test_too_few_credits(self, run: Run, server: LiveServer) -> None:
        server.set_balance("1")
        outcome = run("generate", "a car", "--server", server.url)
        assert outcome.code == 2
        assert "Nothing was charged." in outcome.err

    def test_an_unknown_model(self, run: Run, server: LiveServer) -> None:
        outcome = run("generate", "a car", "--server", server.url, "--model", "sd9")
        assert outcome.code == 2
        assert outcome.err.startswith("keelbill: model: ")
