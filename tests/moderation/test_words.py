"""The words that a reader would see in a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelbill.moderation.words import MAX_JOINED, read

VOCABULARY = {5: frozenset({"apple"}), 4: frozenset({"pear"})}


def words_of(text: str) -> set[str]:
    return {form for readings in read(text, VOCABULARY).readings for form in readings}


@pytest.mark.parametrize(
    "text",
    [
        "apple", "an apple.", "Apple!", "(apple:1.3)", "app.le", "app-le", "a_p_p_l_e", "a p p l e", "a.p.p.l.e",
        "a - p - p - l - e", "a p.p l_e", "4pple", "app1e", "@pple", "apppple", "aPpLe", "a**le", "a*ple",
        "re a p p l e d",
    ],
)  # fmt: skip
def test_ways_to_spell_a_word(text: str) -> None:
    assert "apple" in words_of(text)


@pytest.mark.parametrize("text", ["pineapple", "apples", "app le", "a p p", "appl", "grapple", "ap ple", "a****"])
def test_what_is_another_word(text: str) -> None:
    assert "apple" not in words_of(text)


def test_words_that_are_written_together_are_seen_apart() -> None:
    assert {"red", "apple", "pear", "redapplepear"} <= words_of("RedApplePear") | words_of("redApplePear")


def test_the_span_of_a_scattered_word() -> None:
    words = read("an a.p.p.l.e here", VOCABULARY)
    index = next(number for number, readings in enumerate(words.readings) if "apple" in readings)
    assert words.span(index, words.readings[index]["apple"]) == (3, 12)


def test_very_long_chunks_are_not_joined() -> None:
    assert max(map(len, words_of("ab-" * MAX_JOINED))) < MAX_JOINED


@given(st.text(max_size=200))
def test_no_text_is_too_odd(text: str) -> None:
    words = read(text, VOCABULARY)
    assert len(words.pieces) == len(words.readings)
    for index, readings in enumerate(words.readings):
        assert all(index < after <= len(words.pieces) for after in readings.values())
        start, end = words.span(index, index + 1)
        assert 0 <= start < end <= len(text)
