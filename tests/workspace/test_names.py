"""Names of files: what is taken, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelbill.workspace.errors import BadName
from keelbill.workspace.names import MAX_NAME, MAX_PATH, Place, annotated, beside, folder_of, numbered, place_of

HOSTILE = [
    "",
    ".",
    "..",
    "../cat.png",
    "a/../../cat.png",
    "a/./cat.png",
    "/etc/passwd",
    "//host/share",
    "C:/cat.png",
    "c:cat.png",
    "a\\b.png",
    "..\\cat.png",
    "cat\0.png",
    "cat\n.png",
    "cat\u202e.png",
    "cat\ud800.png",
    "folder/",
    "x" * (MAX_NAME + 1),
    "/".join(["deep"] * 20) + "/cat.png",
    "/".join(["x" * 150] * 4),
]


class TestPlaceOf:
    def test_name_with_folders(self) -> None:
        assert place_of("input", "pets/cat.png", "old") == Place("input", "old/pets", "cat.png")

    def test_letters_of_other_languages(self) -> None:
        assert place_of("input", "Übersicht 猫.png").name == "Übersicht 猫.png"

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_names(self, name: str) -> None:
        with pytest.raises(BadName):
            place_of("output", name)

    @pytest.mark.parametrize("folder", [name for name in HOSTILE if name not in {"", "folder/"}])
    def test_hostile_folders(self, folder: str) -> None:
        with pytest.raises(BadName):
            place_of("output", "cat.png", folder)

    @given(st.text(max_size=40), st.text(max_size=40))
    def test_whatever_is_taken_stays_inside(self, name: str, folder: str) -> None:
        try:
            place = place_of("temp", name, folder)
        except BadName:
            return
        parts = place.path.split("/")
        assert all(part and part not in {".", ".."} for part in parts)
        assert "\\" not in place.path
        assert "\0" not in place.path
        assert len(place.path) <= MAX_PATH


def test_slashes_around_folders_mean_nothing() -> None:
    assert folder_of("a//b/") == "a/b"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat.png", ("cat.png", "input")),
        ("cat.png [output]", ("cat.png", "output")),
        ("a/cat.png[temp]", ("a/cat.png", "temp")),
        ("cat [old].png", ("cat [old].png", "input")),
    ],
)
def test_area_after_the_name(name: str, expected: tuple[str, str]) -> None:
    assert annotated(name, "input") == expected


def test_numbers() -> None:
    assert numbered("castle", 7, "image/png") == "castle_00007_.png"
    assert beside("cat.png", 1) == "cat (1).png"
    assert beside("cat", 2) == "cat (2)"
    assert beside(".cat", 1) == ".cat (1)"
