"""What type checkers see of the SDK: a change that breaks its users breaks here."""

from __future__ import annotations

from decimal import Decimal
from typing import assert_type

from keelbill.client import Account, AsyncClient, Client, Engine, Event, Picture, recipe_of
from keelbill.imaging.metadata import Recipe
from support.apidouble import JOB, KEY, QUICK, USUAL_EVENTS, ApiDouble


def test_blocking(double: ApiDouble, client: Client, picture: bytes) -> None:
    made = client.generate("a cat", model="sd3", aspect_ratio="16:9", seed=1, style_preset="anime")
    assert_type(made, Picture)
    assert_type(made.credits_charged, Decimal | None)
    assert_type(client.upscale_fast(picture), Picture)
    assert_type(client.balance(), Decimal)
    assert_type(client.account(), Account)
    assert_type(client.engines(), list[Engine])
    assert_type(recipe_of(made), Recipe | None)
    double.events = list(USUAL_EVENTS)
    for event in client.stream("a cat"):
        assert_type(event, Event)
    assert made.seed == 1


def test_wrong_uses_are_found_by_the_checker(client: Client) -> None:
    def never_called() -> None:
        client.generate("a cat", aspect_ratio="5:7")  # type: ignore[arg-type]
        client.generate("a cat", colour="red")  # type: ignore[call-arg]
        client.generate()  # type: ignore[call-arg]
        client.generate("a cat", style_preset="nice")  # type: ignore[arg-type]

    assert callable(never_called)


async def test_asynchronous(double: ApiDouble, picture: bytes) -> None:
    double.polls = 0
    async with AsyncClient(KEY, double.base_url, retries=QUICK) as client:
        assert_type(await client.generate("a cat", seed=1), Picture)
        assert_type(await client.balance(), Decimal)
        await client.upscale_creative(picture, "a cat")
        assert_type(await client.result(JOB), Picture | None)
        double.events = list(USUAL_EVENTS)
        async for event in client.stream("a cat"):
            assert_type(event, Event)
