"""Caps of keys and members: what a refusal names, when it resets, what counts."""

from __future__ import annotations

import pytest

from keelbill.core.principal import Caps
from keelbill.core.types import micro
from keelbill.ledger import budgets
from keelbill.ledger.errors import CapReached
from support.ledgers import Bank

DAY_S = 24 * 60 * 60


@pytest.fixture
def rich(bank: Bank) -> Bank:
    bank.open(amount="1000")
    return bank


@pytest.mark.parametrize(
    ("caps", "said"),
    [
        (Caps(per_request=micro(6)), "cap per request of this key of 6 credits is reached; it does not reset"),
        (Caps(per_day=micro(6)), "daily cap of this key of 6 credits is reached; it resets at 2026-03-21T00:00:00Z"),
        (
            Caps(per_month=micro(6)),
            "monthly cap of this key of 6 credits is reached; it resets at 2026-04-01T",
        ),
        (Caps(total=micro(6)), "total cap of this key of 6 credits is reached; it does not reset"),
    ],
)
def test_a_refusal_names_the_cap_and_its_reset(rich: Bank, caps: Caps, said: str) -> None:
    with pytest.raises(CapReached, match=said) as caught:
        rich.reserve("1", "6.5", key_caps=caps)
    assert (caught.value.status, caught.value.code) == (402, "payment_required")
    assert rich.numbers_of() == ("1000", "0", "1000")
    rich.assert_sound()


def test_a_member_has_caps_too(rich: Bank) -> None:
    rich.charge("1", member_caps=Caps(per_day=micro(10)))
    with pytest.raises(CapReached, match="daily cap of this member"):
        rich.reserve("2", member_caps=Caps(per_day=micro(10)))


def test_running_jobs_count(rich: Bank) -> None:
    caps = Caps(per_day=micro(10))
    rich.reserve("1", key_caps=caps)
    with pytest.raises(CapReached):
        rich.reserve("2", key_caps=caps)
    rich.void("1")
    rich.reserve("3", key_caps=caps)
    rich.assert_sound()


def test_a_new_day_starts_anew(rich: Bank) -> None:
    caps = Caps(per_day=micro(10), per_month=micro(15))
    rich.charge("1", key_caps=caps)
    rich.clock.advance(DAY_S)
    rich.charge("2", key_caps=caps)
    rich.clock.advance(DAY_S)
    with pytest.raises(CapReached, match="monthly"):
        rich.reserve("3", key_caps=caps)
    rich.clock.advance(31 * DAY_S)
    rich.charge("4", key_caps=caps)
    rich.assert_sound()


def test_a_charge_belongs_to_the_day_of_its_hold(rich: Bank) -> None:
    caps = Caps(per_day=micro(10))
    rich.reserve("1", key_caps=caps)
    rich.clock.advance(DAY_S)
    rich.capture("1")
    rich.charge("2", key_caps=caps)
    rich.assert_sound()


def test_what_was_spent_before_a_cap_was_set_counts(rich: Bank) -> None:
    rich.charge("1")
    rich.reserve("2")
    rich.reserve("3")
    rich.void("3")
    with pytest.raises(CapReached):
        rich.reserve("4", key_caps=Caps(per_day=micro(19)))
    rich.reserve("4", "6", key_caps=Caps(per_day=micro(19)))
    rich.void("2")  # it was made without a cap and still gives back to it
    rich.capture("4")
    (row,) = rich.database.read_now(lambda c: budgets.left(c, "key", "key"))
    assert (row.used, row.held) == (12_500_000, 0)
    rich.assert_sound()


def test_keys_do_not_share_a_cap(rich: Bank) -> None:
    rich.reserve("1", key="one", key_caps=Caps(total=micro(7)))
    rich.reserve("2", key="two", key_caps=Caps(total=micro(7)))
    rich.assert_sound()


def test_raising_a_cap_takes_effect_at_once(rich: Bank) -> None:
    rich.charge("1", key_caps=Caps(total=micro(7)))
    with pytest.raises(CapReached):
        rich.reserve("2", key_caps=Caps(total=micro(7)))
    rich.charge("2", key_caps=Caps(total=micro(14)))
    rich.assert_sound()


def test_a_cap_that_comes_back_knows_what_was_spent_meanwhile(rich: Bank) -> None:
    rich.charge("1", key_caps=Caps(total=micro(20), per_day=micro(20)))
    rich.charge("2")
    rich.reserve("3", key_caps=Caps(per_day=micro(20)))
    with pytest.raises(CapReached, match="total cap of this key"):
        rich.reserve("4", key_caps=Caps(total=micro(20)))
    with pytest.raises(CapReached, match="daily cap of this key"):
        rich.reserve("4", key_caps=Caps(per_day=micro(20)))
    rich.void("3")
    rich.charge("4", key_caps=Caps(total=micro(20)))
    rich.assert_sound()


def test_the_first_of_a_month_is_a_day_of_its_own(rich: Bank) -> None:
    caps = Caps(per_day=micro(7), per_month=micro(20))
    rich.clock.advance(12 * DAY_S)  # 1 April
    rich.charge("1", key_caps=caps)
    rich.clock.advance(DAY_S)
    rich.charge("2", key_caps=caps)
    rows = rich.database.read_now(lambda c: budgets.left(c, "key", "key"))
    assert sorted((row.period, row.used) for row in rows) == [
        ("day", 6_500_000),
        ("day", 6_500_000),
        ("month", 13_000_000),
    ]
    rich.assert_sound()
