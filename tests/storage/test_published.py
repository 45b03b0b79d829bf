"""Which installed model stands for a published name, and with which steps and guidance."""

from __future__ import annotations

import pytest

from keelbill.ledger.prices import PriceList
from keelbill.storage.published import PUBLIC_MODELS, Engine, engine_for

EMBEDDED = ("keelbill-mini",)


@pytest.mark.parametrize("name", PUBLIC_MODELS)
def test_every_name_has_a_price(name: str) -> None:
    assert PriceList.load().price(name) > 0


@pytest.mark.parametrize("name", PUBLIC_MODELS)
def test_the_embedded_model_keeps_its_own_steps_and_guidance(name: str) -> None:
    assert engine_for(PUBLIC_MODELS[name], installed=EMBEDDED, default="keelbill-mini") == Engine()


@pytest.mark.parametrize("name", ["sd3.5-large-turbo", "sd3-turbo", "sd3-large-turbo", "sd3.5-flash"])
def test_distilled_names_take_the_embedded_turbo_model(name: str) -> None:
    installed = (*EMBEDDED, "keelbill-mini-turbo")
    assert engine_for(PUBLIC_MODELS[name], installed=installed, default="keelbill-mini") == Engine(
        "keelbill-mini-turbo", 4, 1
    )


def test_plain_names_leave_the_embedded_turbo_model_alone() -> None:
    installed = (*EMBEDDED, "keelbill-mini-turbo")
    assert engine_for(PUBLIC_MODELS["sd3.5-large"], installed=installed, default="keelbill-mini") == Engine()


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("sd3.5-large", Engine("sd3.5-large", None, 4)),
        ("sd3", Engine("sd3.5-large", None, 4)),
        ("sd3-large", Engine("sd3.5-large", None, 4)),
        ("sd3-turbo", Engine("sd3.5-large-turbo", 4, 1)),
        ("sd3.5-medium", Engine("sd3.5-medium", None, 4)),
        ("sd3-medium", Engine("sd3.5-medium", None, 4)),
    ],
)
def test_official_weights_are_taken_when_they_are_there(name: str, engine: Engine) -> None:
    installed = (*EMBEDDED, "sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium")
    assert engine_for(PUBLIC_MODELS[name], installed=installed, default="keelbill-mini") == engine
