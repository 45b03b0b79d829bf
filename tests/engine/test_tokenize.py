"""Prompt weights, quoted characters and tokenisers from files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelbill.core.errors import BadWeights
from keelbill.engine.tokenize import FileTokenizer, WeightedText, character_ids, parse_weights, quoted_words


class TestParseWeights:
    @pytest.mark.parametrize(
        ("prompt", "parts"),
        [
            ("", []),
            ("a red car", [("a red car", 1.0)]),
            ("a (red:1.3) car", [("a ", 1.0), ("red", 1.3), (" car", 1.0)]),
            ("a (red) car", [("a ", 1.0), ("red", 1.1), (" car", 1.0)]),
            ("((deep))", [("deep", 1.21)]),
            ("(a (b:0.5) c:1.5)", [("a ", 1.5), ("b", 0.5), (" c", 1.5)]),
            (r"\(plain\)", [("(plain)", 1.0)]),
            (r"(x\):1.2)", [("x)", 1.2)]),
            ("back\\slash", [("back\\slash", 1.0)]),
            ("open ( only", [("open ( only", 1.0)]),
            ("close ) only", [("close ) only", 1.0)]),
            ("(a:b)", [("a:b", 1.1)]),
            ("(:1.2)", [(":1.2", 1.1)]),
            ("(x:-0.5)", [("x", -0.5)]),
            ("(x:1e9)", [("x:1e9", 1.1)]),
            ("(x:500)", [("x", 10.0)]),
        ],
    )
    def test_rules(self, prompt: str, parts: list[tuple[str, float]]) -> None:
        found = parse_weights(prompt)
        assert [p.text for p in found] == [text for text, _ in parts]
        assert [p.weight for p in found] == pytest.approx([weight for _, weight in parts])

    def test_ten_thousand_open_parentheses_are_plain_text(self) -> None:
        assert parse_weights("(" * 10_000) == [WeightedText("(" * 10_000)]

    def test_deep_nesting_is_bounded(self) -> None:
        depth = 5_000
        assert parse_weights("(" * depth + "x" + ")" * depth) == [WeightedText("x", 10.0)]

    @given(st.text())
    def test_any_text_gives_finite_weights(self, prompt: str) -> None:
        assert all(-10 <= part.weight <= 10 and part.text for part in parse_weights(prompt))

    @given(st.text(alphabet=st.characters(exclude_characters="()\\")))
    def test_text_without_parentheses_is_untouched(self, prompt: str) -> None:
        assert "".join(part.text for part in parse_weights(prompt)) == prompt


class TestQuotedWords:
    @pytest.mark.parametrize(
        ("prompt", "words"),
        [
            ("a sign", []),
            ('a sign that says "OPEN now"', ["OPEN", "now"]),
            ("a sign “Café”", ["Cafe"]),
            ("ein Schild „Halt“", ["Halt"]),
            ("un panneau « Arrêt »", ["Arret"]),
            ("the word 'don't' in red", ["don't"]),
            ("a dog's bowl and a cat's toy", []),
            ('"one" and "two"', ["one", "two"]),
        ],
    )
    def test_quotes(self, prompt: str, words: list[str]) -> None:
        assert quoted_words(prompt) == words


class TestCharacterIds:
    def test_places_case_and_indices(self) -> None:
        ids = character_ids('"Ab c"')
        assert ids == [(ord("A") - 31, 0, 0), (ord("b") - 31, 1, 0), (ord("c") - 31, 0, 1)]

    def test_what_does_not_fit_is_cut(self) -> None:
        assert len(character_ids('"' + "x" * 99 + '"')) == 24

    def test_letters_of_other_scripts_are_unknown(self) -> None:
        assert character_ids('"字"')[0] == (1, 0, 0)

    @given(st.text())
    def test_always_in_range(self, prompt: str) -> None:
        ids = character_ids(f'"{prompt}"')
        assert len(ids) <= 24
        assert all(0 < code < 96 and 0 <= index < 24 and 0 <= word < 24 for code, index, word in ids)


def test_broken_tokenizer_file_is_refused() -> None:
    with pytest.raises(BadWeights, match=r"tokenizer\.json"):
        FileTokenizer("{}")
