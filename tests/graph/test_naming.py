"""Names of the files that graphs make."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelbill.core.errors import InvalidInput
from keelbill.graph.naming import file_prefix, prefix_problem

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def named(prefix: str) -> str:
    return file_prefix(prefix, width=1024, height=768, now=NOW, place=2)


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("ComfyUI", "ComfyUI"),
        ("%year%-%month%-%day%/%hour%%minute%%second%", "2026-03-04/050607"),
        ("%width%x%height%_%batch_num%", "1024x768_2"),
        ("100%", "100%"),
        ("%unknown%_%width%", "%unknown%_1024"),
        ("日本/猫", "日本/猫"),
        ("a..b", "a..b"),
    ],
)
def test_fields_are_filled_and_all_else_stays(prefix: str, name: str) -> None:
    assert named(prefix) == name


@pytest.mark.parametrize("prefix", ["..", "../a", "a/../b", "/a", "c:/a", "a\\b", "a\nb", "a\x00", "x" * 201])
def test_what_leaves_the_folder(prefix: str) -> None:
    assert prefix_problem(prefix)
    with pytest.raises(InvalidInput):
        named(prefix)


@given(prefix=st.text(max_size=60))
def test_any_name_is_filled_or_refused(prefix: str) -> None:
    if prefix_problem(prefix):
        with pytest.raises(InvalidInput):
            named(prefix)
    else:
        assert prefix_problem(named(prefix)) == ""
