"""The price list: what is published, what grows with steps, what an operator may change."""

from __future__ import annotations

from pathlib import Path

import pytest

from keelbill.core.errors import InvalidInput, UnknownName
from keelbill.core.types import micro
from keelbill.ledger.prices import PriceList
from support.ledgers import HandClock

PUBLISHED = {
    "6.5": ["sd3.5-large", "sd3-large", "sd3"],
    "4": ["sd3.5-large-turbo", "sd3-large-turbo", "sd3-turbo", "outpaint"],
    "3.5": ["sd3.5-medium", "sd3-medium"],
    "2.5": ["sd3.5-flash"],
    "8": ["ultra", "replace-background-and-relight", "style-transfer"],
    "3": ["core"],
    "2": ["upscale-fast"],
    "40": ["upscale-conservative"],
    "60": ["upscale-creative"],
    "5": [
        "erase",
        "inpaint",
        "search-and-replace",
        "search-and-recolor",
        "remove-background",
        "sketch",
        "structure",
        "style",
    ],
    "0.9": ["v1"],
}


def test_published_prices() -> None:
    items = PriceList.load().items()
    assert items == {item: micro(amount) for amount, names in PUBLISHED.items() for item in names}


@pytest.mark.parametrize(("steps", "price"), [(10, "0.9"), (30, "0.9"), (31, "0.93"), (50, "1.5"), (150, "4.5")])
def test_more_steps_cost_more_on_v1(steps: int, price: str) -> None:
    assert PriceList.load().price("v1", steps) == micro(price)


def test_steps_do_not_matter_elsewhere() -> None:
    assert PriceList.load().price("sd3", 500) == micro("6.5")


def test_an_unknown_item_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'upscale-fast'"):
        PriceList.load().price("upscale-fats")


def test_a_list_takes_effect_at_its_time(tmp_path: Path) -> None:
    own = tmp_path / "prices.toml"
    own.write_text(
        '[[list]]\nversion = "old"\neffective_from = 2020-01-01T00:00:00Z\n[list.credits]\nsd3 = "1"\n'
        '[[list]]\nversion = "new"\neffective_from = 2026-03-21T00:00:00Z\n[list.credits]\nsd3 = "2"\n'
    )
    clock = HandClock()
    prices = PriceList.load(own, clock)
    assert (prices.version, prices.price("sd3")) == ("old", micro(1))
    clock.advance(24 * 60 * 60)
    assert (prices.version, prices.price("sd3")) == ("new", micro(2))


def test_a_file_that_is_not_there_means_the_packaged_list(tmp_path: Path) -> None:
    assert PriceList.load(tmp_path / "prices.toml").version == "2026-01"


@pytest.mark.parametrize(
    "content",
    [
        "not toml",
        "",
        "list = []",
        '[[list]]\nversion = "x"\n',
        '[[list]]\nversion = "x"\neffective_from = "soon"\n[list.credits]\nsd3 = "1"\n',
        '[[list]]\nversion = "x"\neffective_from = 2026-01-01\n[list.credits]\nsd3 = "1"\n',
        '[[list]]\nversion = "x"\neffective_from = 2026-01-01T00:00:00Z\n[list.credits]\nsd3 = "-1"\n',
        '[[list]]\nversion = "x"\neffective_from = 2026-01-01T00:00:00Z\n[list.credits]\nsd3 = "cheap"\n',
    ],
)
def test_a_broken_list_is_refused(tmp_path: Path, content: str) -> None:
    own = tmp_path / "prices.toml"
    own.write_text(content)
    with pytest.raises(InvalidInput):
        PriceList.load(own)
