"""The two forms of a text: the one that is used and the one that is judged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelbill.moderation.folding import fold, unmask, visible


class TestVisible:
    @pytest.mark.parametrize(
        "hidden",
        ["\u202e", "\u202a", "\u2066", "\u2069", "\u200b", "\u200c", "\u200e", "\u2060", "\ufeff", "\u00ad", "\u3164",
         "\U000e0041", "\U000e007f", "\u180e", "\u034f"],
    )  # fmt: skip
    def test_what_nobody_sees_is_removed(self, hidden: str) -> None:
        assert visible(f"a{hidden}b") == "ab"

    def test_a_joiner_stays_inside_an_emoji(self) -> None:
        for emoji in ("👩\u200d🚀", "👨\u200d👩\u200d👧", "🏳\ufe0f\u200d🌈", "🧑🏽\u200d🍳", "👁\ufe0f\u200d🗨"):
            assert visible(emoji) == emoji

    def test_a_joiner_between_letters_is_removed(self) -> None:
        assert visible("n\u200du\u200dd\u200de") == "nude"

    def test_a_joiner_at_the_edge_of_an_emoji_is_removed(self) -> None:
        assert visible("\u200d🚀\u200d a") == "🚀 a"

    def test_composed_and_decomposed_accents_become_one(self) -> None:
        assert visible("cafe\u0301") == visible("café") == "café"

    @pytest.mark.parametrize("text", ["a cat", "ein Fuchs", "富士山", "قط", "line\nbreak\ttab", "🇩🇪", "①"])
    def test_ordinary_text_stays(self, text: str) -> None:
        assert visible(text) == text

    @given(st.text(max_size=60))
    def test_twice_is_as_good_as_once(self, text: str) -> None:
        assert visible(visible(text)) == visible(text)


class TestFold:
    @pytest.mark.parametrize(
        "spelling",
        ["cat", "CAT", "càt", "ｃａｔ", "𝒸𝒶𝓉", "𝐂𝐀𝐓", "ⓒⓐⓣ", "🅒🅐🅣", "🅲🅰🆃", "🇨🇦🇹", "ᴄᴀᴛ", "сат", "c̶a̶t̶", "cατ"],
    )
    def test_every_spelling_of_a_word_is_the_word(self, spelling: str) -> None:
        assert fold(visible(spelling)).latin == "cat"

    def test_other_scripts_are_kept_beside(self) -> None:
        assert fold("кот").plain == "кот"

    def test_places_point_into_the_text(self) -> None:
        folded = fold("ﬁn ⓐ")
        assert folded.latin == "fin a"
        assert folded.places == (0, 0, 1, 2, 3)

    @given(st.text(max_size=80))
    def test_the_forms_are_of_equal_length(self, text: str) -> None:
        folded = fold(visible(text))
        assert len(folded.plain) == len(folded.latin) == len(folded.cased) == len(folded.places)
        assert list(folded.places) == sorted(folded.places)


@pytest.mark.parametrize(("word", "letters"), [("s3x", "sex"), ("b00k", "book"), ("@pple", "apple"), ("$un", "sun")])
def test_digits_and_signs_stand_for_letters(word: str, letters: str) -> None:
    assert unmask(word) == letters


def test_a_one_stands_for_either_letter() -> None:
    assert unmask("1i1") == "iii"
    assert unmask("1i1", one="l") == "lil"
