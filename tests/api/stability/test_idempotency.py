"""Names of requests and their fingerprints."""

from __future__ import annotations

import pytest

from keelbill.api.stability.fields import Problem
from keelbill.api.stability.idempotency import fingerprint_of, idempotency

BASE = fingerprint_of("POST", "/x", {"prompt": "a", "seed": "1"}, {"image": b"1"})


def test_no_header_no_name() -> None:
    def never() -> str:
        raise AssertionError("all files were read for nothing")

    assert idempotency(None, never) is None


@pytest.mark.parametrize("key", ["", " ", "a b", "ä", "x" * 256, "a\n"])
def test_keys_that_are_none(key: str) -> None:
    with pytest.raises(Problem, match="1 to 255 visible ASCII characters"):
        idempotency(key, lambda: BASE)


def test_a_key_is_kept_as_it_is() -> None:
    named = idempotency("!" + "x" * 254, lambda: BASE)
    assert named is not None
    assert (named.key[0], len(named.key), named.fingerprint) == ("!", 255, BASE)


def test_order_of_fields_does_not_matter() -> None:
    assert fingerprint_of("POST", "/x", {"seed": "1", "prompt": "a"}, {"image": b"1"}) == BASE


@pytest.mark.parametrize(
    "other",
    [
        ("GET", "/x", {"prompt": "a", "seed": "1"}, {"image": b"1"}),
        ("POST", "/y", {"prompt": "a", "seed": "1"}, {"image": b"1"}),
        ("POST", "/x", {"prompt": "a", "seed": "2"}, {"image": b"1"}),
        ("POST", "/x", {"prompt": "a"}, {"image": b"1"}),
        ("POST", "/x", {"prompt": "a", "seed": "1"}, {"image": b"2"}),
        ("POST", "/x", {"prompt": "a", "seed": "1"}, {"mask": b"1"}),
        ("POST", "/x", {"prompt": "aseed", "": "1"}, {"image": b"1"}),
    ],
)
def test_everything_else_does(other: tuple[str, str, dict[str, str], dict[str, bytes]]) -> None:
    assert fingerprint_of(*other) != BASE
