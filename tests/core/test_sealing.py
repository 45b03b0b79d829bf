"""What is sealed opens in its own place, with the same secret, unchanged; and nowhere else."""

from __future__ import annotations

import pytest

from keelbill.core.sealing import Seal

SECRET = bytes(range(32))
VALUE = "whsec_ünd 絵"


def test_what_is_sealed_opens() -> None:
    sealed = Seal(SECRET, "letters").close(VALUE, "one", "two")
    assert sealed.isascii()
    assert "whsec" not in sealed
    assert Seal(SECRET, "letters").open(sealed, "one", "two") == VALUE


def test_no_two_are_alike() -> None:
    seal = Seal(SECRET, "letters")
    assert seal.close(VALUE, "one") != seal.close(VALUE, "one")


def test_only_in_its_place() -> None:
    sealed = Seal(SECRET, "letters").close(VALUE, "one", "two")
    assert Seal(SECRET, "letters").open(sealed, "one") is None
    assert Seal(SECRET, "letters").open(sealed, "two", "one") is None
    assert Seal(SECRET, "parcels").open(sealed, "one", "two") is None
    assert Seal(bytes(32), "letters").open(sealed, "one", "two") is None


def test_changed_on_its_way() -> None:
    seal = Seal(SECRET, "letters")
    head, key, nonce, text, tag = seal.close(VALUE, "one").split(".")
    other = ("B" if text[0] == "A" else "A") + text[1:]
    assert seal.open(".".join((head, key, nonce, other, tag)), "one") is None


@pytest.mark.parametrize("sealed", ["", "x", "a.b.c.d.e", "....", "e30....", "é" * 20, "\0", "whsec_" + "A" * 32])
def test_nonsense(sealed: str) -> None:
    assert Seal(SECRET, "letters").open(sealed, "one") is None
