"""Writes the reference pages of the command line and of the settings from the code. Knows no other documents.

``python -m keelbill.cli.reference docs/reference`` writes them; a test fails when they are stale.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from keelbill.cli.main import keelbill
from keelbill.core.settings import Settings

GENERATED = "<!-- Written by `make docs` from the code; edit the code instead. -->"


def pages() -> dict[str, str]:
    """Return every generated page: file name to Markdown."""
    return {"cli.md": cli_page(), "settings.md": settings_page()}


def cli_page() -> str:
    """Describe all commands with their arguments and options."""
    context = click.Context(keelbill, info_name="keelbill")
    head = [
        "# Command line",
        GENERATED,
        "Bad input ends with one sentence on standard error and exit code 2. Pictures and numbers go to standard\n"
        "output, progress goes to standard error. What is done when nothing is said comes from the\n"
        "[settings](settings.md).",
    ]
    return "\n\n".join([*head, *_command(keelbill, context, 1)]) + "\n"


def settings_page() -> str:
    """Describe all settings with their environment variables and defaults."""
    rows = ["| setting | environment | default | what it is |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=False)
        shown = "the system's data folder" if name == "home" else f"`{default}`" if default != "" else "nothing"
        rows.append(f"| `{name}` | `KEELBILL_{name.upper()}` | {shown} | {field.description} |")
    head = [
        "# Settings",
        GENERATED,
        "The environment wins over `settings.toml` in the data folder, which is `KEELBILL_HOME` if that is set.",
    ]
    return "\n\n".join([*head, "\n".join(rows)]) + "\n"


def _command(command: click.Command, context: click.Context, depth: int) -> Iterator[str]:
    """Yield the paragraphs of a command and of its subcommands."""
    if depth > 1:
        yield f"{'#' * depth} {context.command_path}"
        yield "```\n" + command.get_usage(context).removeprefix("Usage: ") + "\n```"
        yield inspect.cleandoc(command.help or "")
        rows = [row for parameter in command.params if (row := _row(parameter, context))]
        if rows:
            yield "\n".join(["| option | value | what it does |", "|---|---|---|", *rows])
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _command(child, click.Context(child, parent=context, info_name=name), depth + 1)


def _row(parameter: click.Parameter, context: click.Context) -> str:
    if not isinstance(parameter, click.Option) or parameter.hidden:
        return ""
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    value = "" if parameter.is_flag else f"`{parameter.make_metavar(context)}`".replace("|", "\\|")
    default = f" Default: `{parameter.default}`." if parameter.show_default else ""
    return f"| {names} | {value} | {parameter.help or ''}{default} |".replace("  |", " |")


def main(folder: Path) -> None:
    """Write all pages into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
        click.echo(f"wrote {folder / name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
