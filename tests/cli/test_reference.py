"""The generated pages agree with the code, and the written ones name everything."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from keelbill.cli.main import COMMANDS
from keelbill.cli.reference import main, pages
from keelbill.core.settings import Settings
from keelbill.imaging.metadata import Recipe

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["cli.md", "settings.md"])
def test_the_committed_page_is_current(name: str) -> None:
    committed = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert committed == pages()[name], "run `make docs`"


def test_every_command_has_its_part() -> None:
    page = pages()["cli.md"]
    assert all(f"\n## keelbill {name}\n" in page for name in COMMANDS)


def test_every_setting_has_its_row() -> None:
    assert all(f"KEELBILL_{name.upper()}" in pages()["settings.md"] for name in Settings.model_fields)


def test_no_page_shows_this_machine() -> None:
    assert all(str(Path.home()) not in page for page in pages().values())


def test_the_recipes_page_names_every_field() -> None:
    page = (DOCS / "reference" / "recipe.md").read_text(encoding="utf-8")
    assert [item.name for item in fields(Recipe) if f"| `{item.name}` |" not in page] == []


def test_pages_are_written(tmp_path: Path) -> None:
    main(tmp_path / "pages")
    assert {path.name for path in (tmp_path / "pages").iterdir()} == set(pages())
