from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelbill.identity.keys import ALPHABET, KEY_PATTERN, checksum, digest, is_well_formed, make_key, stub


class TestShape:
    def test_a_key_has_the_published_shape(self) -> None:
        key = make_key()

        assert len(key) == 51
        assert KEY_PATTERN.fullmatch(key)
        assert is_well_formed(key)

    def test_the_sum_is_base62_of_crc32_most_significant_first(self) -> None:
        body = "sk-" + "a" * 42
        value = 0
        for digit in checksum(body):
            value = value * 62 + ALPHABET.index(digit)

        assert value == zlib.crc32(body.encode())
        assert len(checksum(body)) == 6

    def test_a_small_sum_is_padded(self) -> None:
        bodies = (f"sk-{number:042}" for number in range(2_000_000))
        small = next(body for body in bodies if zlib.crc32(body.encode()) < 62**5)

        assert checksum(small).startswith("0")
        assert is_well_formed(small + checksum(small))

    def test_keys_differ(self) -> None:
        assert len({make_key() for _ in range(200)}) == 200

    @given(st.integers(0, 50), st.sampled_from(ALPHABET))
    def test_one_wrong_character_is_noticed(self, place: int, other: str) -> None:
        key = make_key()
        changed = key[:place] + other + key[place + 1 :]

        assert is_well_formed(changed) == (changed == key)

    @given(st.text(max_size=60))
    def test_any_other_text_is_refused_without_an_error(self, text: str) -> None:
        assert not is_well_formed(text)

    @pytest.mark.parametrize("digit", ["\u0661", "\uff11", "é"])
    def test_letters_and_digits_of_other_scripts_are_refused(self, digit: str) -> None:
        assert not is_well_formed(make_key()[:-7] + digit + "000000")


class TestStoredForms:
    def test_the_stub_shows_eight_characters(self) -> None:
        key = "sk-abcd" + "0" * 40 + "wxyz"

        assert stub(key) == "sk-abcd…wxyz"

    def test_digests_of_different_kinds_or_servers_differ(self) -> None:
        one = digest(b"a" * 32, "key", "value")

        assert len(one) == 64
        assert one == digest(b"a" * 32, "key", "value")
        assert one != digest(b"a" * 32, "session", "value")
        assert one != digest(b"b" * 32, "key", "value")
