"""The asynchronous client does what the blocking one does; cancelling and parallel calls first."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from decimal import Decimal

import pytest

from keelbill import client as sdk
from keelbill.client import AsyncClient, Client, Done, Progress, Retries
from support.apidouble import KEY, QUICK, USUAL_EVENTS, ApiDouble, Scripted


@pytest.fixture
async def asynchronous(double: ApiDouble) -> AsyncIterator[AsyncClient]:
    """A client of the double."""
    async with AsyncClient(KEY, double.base_url, retries=QUICK, timeout_s=60) as made:
        yield made


async def test_a_mistyped_key() -> None:
    with pytest.raises(sdk.AuthenticationError, match="has a typo"):
        AsyncClient(KEY[:-1] + ("0" if KEY[-1] != "0" else "1"))


async def test_errors_are_the_same(asynchronous: AsyncClient) -> None:
    with pytest.raises(sdk.BadRequestError, match="prompt: required; model: must be one of"):
        await asynchronous.generate("", model="sd9")


async def test_retries_share_one_idempotency_key(double: ApiDouble, asynchronous: AsyncClient) -> None:
    double.script = [Scripted(503), Scripted(drop=True), Scripted(429, headers={"retry-after": "0"})]
    assert (await asynchronous.generate("a cat")).seed == 4242
    assert len({asked.headers["idempotency-key"] for asked in double.asked}) == 1
    assert len(double.asked) == 4


async def test_a_byte_now_and_then(double: ApiDouble) -> None:
    double.script = [Scripted(200, b"x" * 1000, {"content-type": "image/png"}, chunk_s=0.05)]
    async with AsyncClient(KEY, double.base_url, retries=Retries(attempts=1), timeout_s=0.4) as client:
        with pytest.raises(sdk.DeadlineExceededError):
            await client.generate("a cat")


async def test_calls_run_side_by_side(double: ApiDouble, asynchronous: AsyncClient) -> None:
    double.script = [Scripted(503, delay_s=2)] * 4
    start = time.monotonic()
    made = await asyncio.gather(*(asynchronous.generate("a cat", seed=seed) for seed in (1, 2, 3, 4)))
    assert time.monotonic() - start < 7
    assert [picture.seed for picture in made] == [1, 2, 3, 4]


async def test_a_stream(double: ApiDouble, asynchronous: AsyncClient) -> None:
    double.events = [*USUAL_EVENTS[:3], ("break", {}), *USUAL_EVENTS[3:]]
    events = [event async for event in asynchronous.stream("a cat", seed=7)]
    assert isinstance(events[-1], Done)
    assert events[-1].picture.seed == 7
    assert len(events) == 5


async def test_leaving_a_stream_cancels_the_job(double: ApiDouble, asynchronous: AsyncClient) -> None:
    double.events = list(USUAL_EVENTS)
    async with aclosing(asynchronous.stream("a cat")) as events:
        async for event in events:
            if isinstance(event, Progress):
                break
    assert double.cancelled == ["j1"]


async def test_cancelling_the_task_cancels_the_job(double: ApiDouble, asynchronous: AsyncClient) -> None:
    double.events = list(USUAL_EVENTS)
    reached = asyncio.Event()

    async def watch() -> None:
        async for event in asynchronous.stream("a cat"):
            if isinstance(event, Progress):
                reached.set()
                await asyncio.sleep(60)

    task = asyncio.create_task(watch())
    await asyncio.wait_for(reached.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(3000):
        if double.cancelled:
            break
        await asyncio.sleep(0.02)
    assert double.cancelled == ["j1"]


async def test_slow_results_accounts_and_repeats(
    double: ApiDouble, asynchronous: AsyncClient, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keelbill.client.forms.POLL_S", (0.01,))
    made = await asynchronous.upscale_creative(picture, "a cat")
    assert made.credits_charged == Decimal(60)
    assert await asynchronous.balance() == Decimal("25.0")
    first = await asynchronous.generate("a cat")
    assert (await asynchronous.repeat(first)).data == first.data


def test_both_clients_have_the_same_methods() -> None:
    def public(kind: type) -> dict[str, str]:
        return {
            name: str(inspect.signature(member))
            for name, member in vars(kind).items()
            if not name.startswith("_") and callable(member)
        }

    blocking, other = public(Client), public(AsyncClient)
    assert len(blocking) > 15
    assert {name: text for name, text in other.items() if name != "stream"} == {
        name: text for name, text in blocking.items() if name != "stream"
    }
    assert [str(item) for item in inspect.signature(AsyncClient.stream).parameters.values()] == [
        str(item) for item in inspect.signature(Client.stream).parameters.values()
    ]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_methods_explain_themselves(kind: type[Client] | type[AsyncClient]) -> None:
    assert str(inspect.signature(kind.generate)).startswith("(self, /, prompt: 'str', *, model: 'Model | str' = ")
    assert str(inspect.signature(kind.generate)).endswith("-> 'Picture'")
    assert "negative_prompt: What to avoid" in (kind.generate.__doc__ or "")
    assert kind.generate.__name__ == "generate"
