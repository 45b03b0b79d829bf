"""The words that style presets put around a prompt."""

from __future__ import annotations

from pathlib import Path

import pytest

from keelbill.core.errors import InvalidRequest
from keelbill.prompting.presets import PRESETS, apply_preset, presets


def test_the_data_file_holds_exactly_the_published_names() -> None:
    assert tuple(presets()) == PRESETS
    assert len(set(PRESETS)) == 17
    assert list(PRESETS) == sorted(PRESETS)


def test_an_unknown_preset_names_those_that_there_are() -> None:
    with pytest.raises(InvalidRequest) as caught:
        apply_preset("a cat", "", "oil-paint")
    (problem,) = caught.value.problems
    assert problem.startswith("style_preset: must be one of 3d-model, analog-film")
    assert problem.endswith("tile-texture")
    assert "oil-paint" not in problem


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_preset_changes_nothing(nothing: str | None) -> None:
    assert apply_preset(" a cat. ", "dogs,", nothing) == (" a cat. ", "dogs,")


@pytest.mark.parametrize("name", PRESETS)
def test_the_users_words_come_first_and_whole(name: str) -> None:
    prompt, _ = apply_preset("a red fox on the moon", "", name)
    assert prompt.startswith("a red fox on the moon, ")
    assert len(prompt) > len("a red fox on the moon, ") + 10
    assert len(prompt) < 160


@pytest.mark.parametrize("name", PRESETS)
def test_every_style_can_be_told_from_every_other(name: str) -> None:
    others = {apply_preset("a cat", "", other)[0] for other in PRESETS if other != name}
    assert apply_preset("a cat", "", name)[0] not in others


def test_the_end_of_a_sentence_does_not_double() -> None:
    assert apply_preset("a cat. ", "", "origami")[0].startswith("a cat, origami")
    assert apply_preset("a cat,", "", "origami")[0].startswith("a cat, origami")


def test_braces_in_a_prompt_are_only_braces() -> None:
    assert apply_preset("{prompt} {0} {x}", "", "anime")[0].startswith("{prompt} {0} {x}, anime")


def test_what_the_user_avoids_comes_before_what_the_style_avoids() -> None:
    assert apply_preset("a cat", "dogs, ", "photographic")[1] == "dogs, drawing, cartoon, 3d render"
    assert apply_preset("a cat", "", "photographic")[1] == "drawing, cartoon, 3d render"


def test_a_style_that_avoids_nothing_leaves_the_negative_prompt() -> None:
    assert apply_preset("a cat", "dogs", "origami")[1] == "dogs"
    assert apply_preset("a cat", "", "origami")[1] == ""


def test_a_style_does_not_avoid_what_it_asks_for() -> None:
    for style in presets().values():
        for word in filter(None, style.negative.split(", ")):
            assert word not in style.after, style.name


def test_a_style_alone_is_a_prompt() -> None:
    assert apply_preset("", "", "pixel-art")[0].startswith("pixel art")


def test_the_page_of_styles_shows_what_is_really_added() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "styles.md").read_text(encoding="utf-8")
    for name, style in presets().items():
        assert f"| `{name}` | {style.after.removeprefix(', ')} | {style.negative or '–'} |" in page
