"""The SDK against the real server on a real socket: what is refused first, then every service, then the pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from keelbill import client as sdk
from keelbill.client import AsyncClient, Client, Done, Picture, Progress, Retries, Started
from keelbill.client.target import checksum
from support.pages import check_first_call, check_notebook, check_sdk_tutorial, run_notebook, run_page
from support.server import LiveServer

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def client(server: LiveServer) -> Iterator[Client]:
    """A client of the real server, with plenty of credits."""
    server.set_balance("1000")
    with Client(server.key, server.url) as made:
        yield made


@pytest.fixture(scope="module")
def apple(server: LiveServer) -> Picture:
    """A picture from the real server."""
    server.set_balance("1000")
    with Client(server.key, server.url) as client:
        return client.generate("a red apple", seed=7)


def circle(picture: Picture) -> Image.Image:
    """A mask that is white in the middle."""
    width, height = picture.to_pil().size
    mask = Image.new("L", (width, height), 0)
    ImageDraw.Draw(mask).ellipse((width // 4, height // 4, 3 * width // 4, 3 * height // 4), fill=255)
    return mask


class TestRefused:
    def test_every_problem_has_its_sentence(self, client: Client) -> None:
        with pytest.raises(sdk.BadRequestError) as caught:
            client.generate("", model="sd9", seed=-1)
        fields = sorted(problem.partition(":")[0] for problem in caught.value.problems)
        assert fields == ["model", "prompt", "seed"]
        assert len(caught.value.request_id) == 32

    def test_a_key_that_nobody_has(self, server: LiveServer) -> None:
        head = "sk-" + "A" * 42
        with Client(head + checksum(head), server.url) as client, pytest.raises(sdk.AuthenticationError) as caught:
            client.balance()
        assert caught.value.name == "unauthorized"

    def test_words_that_the_rules_forbid(self, client: Client) -> None:
        before = client.balance()
        with pytest.raises(sdk.ModerationError, match="Nothing was charged"):
            client.generate("child pornography")
        assert client.balance() == before

    def test_too_few_credits(self, server: LiveServer, client: Client) -> None:
        server.set_balance("1")
        with pytest.raises(sdk.InsufficientCreditsError, match="Nothing was charged"):
            client.generate("a red apple")
        assert client.balance() == Decimal(1)

    def test_a_result_of_nobody(self, client: Client) -> None:
        with pytest.raises(sdk.NotFoundError):
            client.result("f" * 64)

    def test_a_picture_that_fails_is_not_charged(self, server: LiveServer, client: Client) -> None:
        before = client.balance()
        with pytest.raises(sdk.ServerError) as caught:
            client.generate(f"a red apple {server.FAIL}")
        assert not caught.value.can_retry
        assert client.balance() == before

    def test_a_service_that_is_not_installed(self, client: Client, apple: Picture) -> None:
        with pytest.raises(sdk.NotInstalledError):
            client.search_and_replace(apple, "a pear", "the apple")

    def test_a_picture_that_is_too_large(self, server: LiveServer, client: Client) -> None:
        noise = Image.effect_noise((4000, 3000), 100)
        with pytest.raises(sdk.TooLargeError, match="Make the picture smaller"):
            client.upscale_fast(noise)

    def test_a_key_of_another_kind_of_work(self, server: LiveServer) -> None:
        with Client(server.new_key(("history:read",)), server.url) as client, pytest.raises(sdk.PermissionDeniedError):
            client.generate("a red apple")


class TestPictures:
    def test_the_same_seed_gives_the_same_picture(self, client: Client, apple: Picture) -> None:
        assert client.generate("a red apple", seed=7).to_pil().tobytes() == apple.to_pil().tobytes()
        assert client.repeat(apple).to_pil().tobytes() == apple.to_pil().tobytes()

    def test_what_comes_back(self, apple: Picture) -> None:
        assert (apple.seed, apple.finish_reason, apple.media_type) == (7, "SUCCESS", "image/png")
        assert apple.credits_charged == Decimal("6.5")
        assert apple.to_pil().size == (1024, 1024)
        assert apple.recipe is not None
        assert (apple.recipe.prompt, apple.recipe.seed) == ("a red apple", 7)

    def test_the_price_is_taken_once(self, client: Client) -> None:
        before = client.balance()
        made = client.generate("a red apple", model="sd3-turbo", aspect_ratio="16:9", output_format="webp")
        assert before - client.balance() == made.credits_charged == Decimal(4)
        assert (made.to_pil().size, made.media_type) == ((1344, 768), "image/webp")

    def test_a_blurred_picture_is_not_charged(self, server: LiveServer, client: Client) -> None:
        before = client.balance()
        made = client.generate(f"a red apple {server.FILTER}")
        assert made.is_filtered
        assert client.balance() == before

    def test_from_a_file_that_somebody_sent(self, client: Client, apple: Picture, tmp_path: Path) -> None:
        path = apple.save(tmp_path / "apple.png")
        assert client.repeat(path).to_pil().tobytes() == apple.to_pil().tobytes()

    def test_from_a_picture(self, client: Client, apple: Picture) -> None:
        assert client.generate("a green apple", image=apple, strength=0.5, seed=3).seed == 3

    def test_a_part(self, client: Client, apple: Picture) -> None:
        assert client.inpaint(apple, "a leaf", mask=circle(apple)).to_pil().size == (1024, 1024)
        assert client.erase(apple, mask=circle(apple)).credits_charged == Decimal(5)

    def test_larger(self, client: Client, apple: Picture) -> None:
        small = apple.to_pil().resize((128, 128))
        assert client.outpaint(small, left=64, down=32).to_pil().size == (192, 160)
        assert client.upscale_fast(small).to_pil().size == (512, 512)

    def test_a_slow_one(self, client: Client, apple: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("keelbill.client.forms.POLL_S", (0.1,))
        small = apple.to_pil().resize((128, 128))
        assert client.upscale_creative(small, "a red apple", seed=9).seed == 9

    @pytest.mark.parametrize("name", ["ultra", "core"])
    def test_other_models(self, client: Client, name: str) -> None:
        assert getattr(client, name)("a red apple", seed=5).seed == 5


class TestTwice:
    def test_one_name_is_one_picture_and_one_charge(self, client: Client) -> None:
        before = client.balance()
        first = client.generate("a red apple", idempotency_key="order-17")
        again = client.generate("a red apple", idempotency_key="order-17")
        assert first.data == again.data
        assert (first.is_replay, again.is_replay) == (False, True)
        assert before - client.balance() == Decimal("6.5")

    def test_one_name_for_two_wishes(self, client: Client) -> None:
        client.generate("a red apple", idempotency_key="order-18")
        with pytest.raises(sdk.UnprocessableError):
            client.generate("a green apple", idempotency_key="order-18")

    def test_a_rate_limit_is_waited_for(self, start_server: Callable[..., LiveServer]) -> None:
        live = start_server(rate_limit=2, rate_window_s=1.0)
        with Client(live.key, live.url) as client:
            assert [client.balance() for _ in range(5)] == [Decimal(25)] * 5
        with (
            Client(live.key, live.url, retries=Retries(attempts=1)) as client,
            pytest.raises(sdk.RateLimitError) as caught,
        ):
            [client.balance() for _ in range(5)]
        assert caught.value.retry_after_s is not None
        assert caught.value.can_retry


class TestStreams:
    def test_every_step_and_then_the_picture(self, server: LiveServer, client: Client) -> None:
        with server.slow_workers(0.05):
            events = list(client.stream("a red apple", seed=7, aspect_ratio="16:9"))
        assert isinstance(events[-1], Done)
        assert events[-1].picture.seed == 7
        assert events[-1].picture.to_pil().size == (1344, 768)
        assert events[-1].picture.credits_charged == Decimal("6.5")
        steps = [(event.step, event.total) for event in events if isinstance(event, Progress)]
        assert steps == sorted(set(steps))
        assert steps[-1][1] == 4
        assert any(isinstance(event, Started) for event in events)

    def test_the_same_picture_as_by_generate(self, client: Client, apple: Picture) -> None:
        last = list(client.stream("a red apple", seed=7))[-1]
        assert isinstance(last, Done)
        assert last.picture.to_pil().tobytes() == apple.to_pil().tobytes()
        assert client.repeat(last.picture).to_pil().tobytes() == apple.to_pil().tobytes()

    def test_leaving_the_loop_costs_nothing(self, server: LiveServer, client: Client) -> None:
        before = client.balance()
        with server.slow_workers(2.0):
            for event in client.stream("a red apple"):
                if isinstance(event, Progress):
                    break
            server.wait_until_idle()
        assert client.balance() == before

    def test_a_job_that_fails_costs_nothing(self, server: LiveServer, client: Client) -> None:
        before = client.balance()
        with pytest.raises(sdk.ServerError, match="Nothing was charged"):
            list(client.stream(f"a red apple {server.FAIL}"))
        assert client.balance() == before

    def test_a_blurred_picture(self, server: LiveServer, client: Client) -> None:
        last = list(client.stream(f"a red apple {server.FILTER}"))[-1]
        assert isinstance(last, Done)
        assert last.picture.is_filtered

    def test_every_problem_has_its_sentence(self, client: Client) -> None:
        with pytest.raises(sdk.BadRequestError) as caught:
            list(client.stream("", seed=-1))
        assert {problem.partition(":")[0] for problem in caught.value.problems} == {"prompt", "seed"}

    def test_a_model_of_nobody(self, client: Client) -> None:
        with pytest.raises(sdk.NotFoundError, match="model 'sd9' is not allowed"):
            list(client.stream("a red apple", model="sd9"))

    def test_too_few_credits(self, server: LiveServer, client: Client) -> None:
        server.set_balance("1")
        with pytest.raises(sdk.InsufficientCreditsError):
            list(client.stream("a red apple"))


class TestAccounts:
    def test_whose_key_it_is(self, client: Client) -> None:
        account = client.account()
        assert account.id
        assert [item.is_default for item in account.organizations] == [True]
        assert "stable-diffusion-xl-1024-v1-0" in [engine.id for engine in client.engines()]
        assert client.balance() == Decimal(1000)


class TestPages:
    def test_the_first_call(
        self, server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.set_balance("1000")
        names = run_page(DOCS / "tutorials" / "first-api-call.md", tmp_path, monkeypatch, server.url, server.key)
        check_first_call(names, tmp_path, capsys.readouterr().out)

    def test_the_sdk_tutorial(
        self, server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.set_balance("1000")
        names = run_page(DOCS / "tutorials" / "python-sdk.md", tmp_path, monkeypatch, server.url, server.key)
        check_sdk_tutorial(names, tmp_path, capsys.readouterr().out)
        assert server.balance() == Decimal(1000) - Decimal("23.5")

    def test_the_reference(self, server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        server.set_balance("1000")
        run_page(DOCS / "reference" / "python-sdk.md", tmp_path, monkeypatch, server.url, server.key)
        assert (tmp_path / "strawberry.png").exists()

    def test_the_notebook_within_the_credits_of_a_new_account(
        self, start_server: Callable[..., LiveServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        live = start_server()
        printed = run_notebook(tmp_path, monkeypatch, live.url, live.key)
        check_notebook(printed, tmp_path)
        assert live.balance() == Decimal("1.5")


async def test_side_by_side(server: LiveServer) -> None:
    server.set_balance("1000")
    async with AsyncClient(server.key, server.url) as client:
        made = await asyncio.gather(*(client.generate("a red apple", seed=seed) for seed in range(1, 7)))
        assert [picture.seed for picture in made] == [1, 2, 3, 4, 5, 6]
        assert await client.balance() == Decimal(1000) - 6 * Decimal("6.5")
