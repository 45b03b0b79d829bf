"""Strict text and numbers."""

from __future__ import annotations

import pytest

from keelbill.api.text import clean_text, parse_int, parse_number
from keelbill.core.errors import InvalidRequest


class TestText:
    def test_normal_form(self) -> None:
        assert clean_text("prompt", "Ka\u0308se") == "Käse"

    def test_length_counts_code_points_after_normalising(self) -> None:
        assert clean_text("prompt", "a\u0308" * 10, max_chars=10) == "ä" * 10
        assert clean_text("prompt", "\U0001f600" * 10, max_chars=10)
        with pytest.raises(InvalidRequest, match="at most 10 characters, not 11"):
            clean_text("prompt", "x" * 11, max_chars=10)

    @pytest.mark.parametrize("bad", ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\ud800"])
    def test_control_characters(self, bad: str) -> None:
        with pytest.raises(InvalidRequest, match=r"prompt: must not contain the control character U\+"):
            clean_text("prompt", f"a{bad}b")

    def test_line_ends_and_tabs_stay(self) -> None:
        assert clean_text("prompt", "a\tb\r\nc") == "a\tb\r\nc"

    @pytest.mark.parametrize("hidden", ["\u202e", "\u2066", "\u200b", "\u2060", "\ufeff", "\U000e0041"])
    def test_hidden_characters_go(self, hidden: str) -> None:
        assert clean_text("prompt", f"ap{hidden}ple") == "apple"

    def test_nothing_visible_is_nothing(self) -> None:
        with pytest.raises(InvalidRequest, match="prompt: required"):
            clean_text("prompt", "\u200b\u202e", min_chars=1)


class TestNumbers:
    @pytest.mark.parametrize("text", ["7", "7.0", " 7 ", "7.000", "07"])
    def test_ways_to_write_seven(self, text: str) -> None:
        assert parse_int("seed", text, 0, 10) == 7
        assert parse_number("cfg_scale", text, 1, 10) == 7.0

    @pytest.mark.parametrize(
        "text",
        ["", " ", "1e3", "0x10", "NaN", "inf", "Infinity", "+7", "7,5", "٧", "７", "1_000", "7.", ".7", "--7", "7 7"],
    )
    def test_anything_else(self, text: str) -> None:
        with pytest.raises(InvalidRequest, match="a whole number from 0 to 4294967294"):
            parse_int("seed", text, 0, 4294967294)
        with pytest.raises(InvalidRequest, match="strength: must be a number from 0 to 1"):
            parse_number("strength", text, 0, 1)

    def test_range(self) -> None:
        assert parse_int("seed", "4294967294", 0, 4294967294) == 4294967294
        for text in ("4294967295", "-1", "9" * 20):
            with pytest.raises(InvalidRequest):
                parse_int("seed", text, 0, 4294967294)

    def test_bounds_that_binary_cannot_hold(self) -> None:
        assert parse_number("creativity", "0.1", 0.1, 0.5) == 0.1

    def test_fraction_of_a_whole_number(self) -> None:
        with pytest.raises(InvalidRequest):
            parse_int("seed", "7.5", 0, 10)
