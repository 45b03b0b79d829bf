"""Writing pictures: nothing is lost when the system refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from keelbill.cli._files import write_named, write_new
from keelbill.core.errors import InvalidInput


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", replace)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_keeps_the_old_file_and_leaves_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(InvalidInput, match=r"a file that can be written \(No space left on device\)"):
        write_named(path, b"new")
    assert path.read_bytes() == b"old"
    assert [found for found in tmp_path.iterdir() if found.name != "work"] == [path]


def test_a_folder_that_has_gone(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file or directory"):
        write_new(tmp_path / "gone", "a", ".png", b"new")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="File name too long"):
        write_named(tmp_path / ("a" * 300 + ".png"), b"new")


def test_free_names_are_counted_up(tmp_path: Path) -> None:
    names = [write_new(tmp_path, "a", ".png", bytes([number])).name for number in range(3)]
    assert names == ["a.png", "a-2.png", "a-3.png"]


def test_others_may_read_the_file_as_they_may_read_any_other(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    assert write_named(tmp_path / "a.png", b"new").stat().st_mode == plain.stat().st_mode
