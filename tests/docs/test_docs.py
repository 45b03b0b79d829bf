"""The pages hold together: links lead somewhere, what is public has an entry, examples are code, numbers are true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from keelbill import __version__
from keelbill.cli.main import keelbill
from keelbill.cli.reference import pages
from keelbill.client.target import HOST_VARIABLES, KEY_VARIABLES
from keelbill.core.settings import Settings
from keelbill.engine.samplers import SAMPLERS
from keelbill.engine.schedules import SCHEDULES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
KINDS = ("tutorials", "how-to", "reference", "explanation")

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?<![\w/.-])keelbill ((?:[a-z0-9-]+ ?)+)")
# Registry hosts and mirrors, machine paths, and the workplace: nobody outside can use them.
FORBIDDEN = re.compile(
    r"registry\.\w+|pypi\.org|npmjs\.|files\.pythonhosted|index-url|mirror/|artifactory"
    r"|(?<![\w.~/])/(?:home|root|work|tmp|Users|mnt)/",
    re.IGNORECASE,
)


def each_page() -> list[object]:
    return [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in PAGES]


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as hosts of repositories make them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Yield each command's path with each of its visible options, subcommands included."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            yield from ((context.command_path, name) for name in parameter.opts)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from options(child, click.Context(child, parent=context, info_name=name))


@pytest.mark.parametrize("page", each_page())
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{page.name} links to {target}"
        assert place.is_relative_to(ROOT), f"{page.name} links outside the repository: {target}"
        if anchor:
            assert anchor in anchors(place), f"{page.name} links to a heading that is not there: {target}"


@pytest.mark.parametrize("page", each_page())
def test_no_page_names_a_machine_or_a_registry(page: Path) -> None:
    found = FORBIDDEN.search(page.read_text(encoding="utf-8"))
    assert found is None, f"{page.name} says {found[0] if found else ''!r}"


@pytest.mark.parametrize("page", each_page())
def test_python_examples_compile(page: Path) -> None:
    for language, code in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            compile(code, page.name, "exec")


@pytest.mark.parametrize("page", each_page())
def test_commands_in_examples_exist(page: Path) -> None:
    known = _commands()
    for language, code in FENCE.findall(page.read_text(encoding="utf-8")):
        if language != "console":
            continue
        for words in COMMAND.findall(code):
            first, *rest = words.split()
            assert first in known, f"{page.name} shows `keelbill {first}`"
            if known[first]:
                assert rest, f"{page.name} shows `keelbill {first}` without a subcommand"
                assert rest[0] in known[first], f"{page.name} shows `keelbill {first} {rest[0]}`"


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    targets = {(DOCS / link.partition("#")[0]).resolve() for link in LINK.findall(index)}
    assert [page.name for page in DOCS.rglob("*.md") if page.name != "README.md" and page not in targets] == []
    assert {page.parent.name for page in DOCS.rglob("*.md") if page.parent != DOCS} <= set(KINDS)


def test_every_option_has_an_entry() -> None:
    page = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    parts = {part.partition("\n")[0].strip("# "): part for part in re.split(r"^(?=##+ keelbill)", page, flags=re.M)}
    context = click.Context(keelbill, info_name="keelbill")
    found = [(path, name) for path, name in options(keelbill, context) if path != "keelbill"]
    assert len(found) > 20
    assert [f"{path} {name}" for path, name in found if f"`{name}`" not in parts[path]] == []


def test_every_setting_has_an_entry_with_a_description() -> None:
    page = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    assert page == pages()["settings.md"]
    for name, field in Settings.model_fields.items():
        assert field.description
        assert f"`KEELBILL_{name.upper()}`" in page


def test_settings_that_pages_mention_exist() -> None:
    names = {f"KEELBILL_{name.upper()}" for name in Settings.model_fields} | {*KEY_VARIABLES, *HOST_VARIABLES}
    for page in PAGES:
        mentioned = set(re.findall(r"KEELBILL_[A-Z_]+[A-Z]", page.read_text(encoding="utf-8")))
        assert mentioned <= names, page.name


def test_the_newest_release_in_the_changelog_is_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[?(\d+\.\d+\.\d+)\]?", text, re.MULTILINE)
    assert releases[0] == __version__
    groups = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert groups <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_numbers_of_samplers_and_schedules_are_true() -> None:
    for name in ("README.md", "CHANGELOG.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert set(re.findall(r"(\d+) samplers", text)) == {str(len(list(SAMPLERS)))}
        assert set(re.findall(r"(\d+) (?:noise )?schedules", text)) == {str(len(list(SCHEDULES)))}


def test_samplers_and_schedules_have_their_rows() -> None:
    page = (DOCS / "reference" / "samplers.md").read_text(encoding="utf-8")
    assert [name for name in [*SAMPLERS, *SCHEDULES] if f"| `{name}` |" not in page] == []


def test_a_stranger_starts_the_platform_or_makes_a_picture() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = FENCE.findall(readme)[0][1]
    assert "git clone" in first
    assert "make run" in first
    assert 'make picture PROMPT="a strawberry on a light blue background"' in readme


def test_make_verbs_that_pages_show_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        shown = set(re.findall(r"(?:`|\$ )make ([a-z]+)", text))
        assert shown <= targets, page.name


def _commands() -> dict[str, set[str]]:
    context = click.Context(keelbill, info_name="keelbill")
    known: dict[str, set[str]] = {}
    for name in keelbill.list_commands(context) if isinstance(keelbill, click.Group) else ():
        child = keelbill.get_command(context, name)
        if child is not None:
            known[name] = set(child.commands) if isinstance(child, click.Group) else set()
    return known
