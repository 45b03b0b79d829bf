"""``keelbill nodes``: which nodes there are, and which packs of nodes are enabled. Knows no server and no torch."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from keelbill.cli._files import write_named
from keelbill.core.errors import InvalidInput
from keelbill.core.settings import default_home, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from keelbill.graph.node import Input, Node
    from keelbill.graph.packs import Pack

VARIABLE: Final = "KEELBILL_NODE_PACKS"
MAX_BYTES: Final = 64 * 2**20
_LINE: Final = re.compile(r"^node_packs\s*=.*$", re.MULTILINE)
_RESTART: Final = "It takes effect when the server starts again."


@click.group("nodes")
def command() -> None:
    """List, search and enable nodes and packs of nodes."""


@command.command("list")
@click.option("--category", default="", help="Only of this part of the menu, such as sampling.")
def list_nodes(category: str) -> None:
    """List all nodes, with those of enabled packs."""
    _print(node for node in _nodes().values() if node.category.startswith(category))


@command.command("search")
@click.argument("text")
def search(text: str) -> None:
    """List nodes whose name, menu or description has TEXT in it."""
    wanted = text.casefold()
    found = [
        node
        for node in _nodes().values()
        if wanted in " ".join((node.name, node.display_name, node.category, node.description, *node.aliases)).casefold()
    ]
    if not found:
        raise InvalidInput("text", text, "in the name, the menu or the description of some node")
    _print(found)


@command.command("info")
@click.argument("name")
def info(name: str) -> None:
    """Show the inputs and outputs of the node NAME."""
    from keelbill.core.errors import UnknownName

    nodes = _nodes()
    if name not in nodes:
        raise UnknownName("node", name, nodes)
    node = nodes[name]
    click.echo(f"{node.name}: {node.display_name or node.name}")
    click.echo(f"menu: {node.category}")
    click.echo(f"from: {node.module}")
    if node.description:
        click.echo(node.description)
    for each in node.inputs:
        click.echo(f"  in   {each.name}: {_shown(each)}")
    for output in node.outputs:
        click.echo(f"  out  {output.name or output.type}: {output.type}")


@command.command("packs")
def packs() -> None:
    """List the packs that are installed, and those that are known."""
    from keelbill.graph.pack_index import known

    there = _installed()
    for pack in there:
        click.echo(f"{pack.name} {pack.version}  {pack.state}  {', '.join(pack.classes)}")
        click.echo(f"  {pack.digest or 'installed as an editable folder; cannot be enabled'}")
    names = {pack.name for pack in there}
    for listed in known(read_settings().home):
        if listed.name not in names:
            click.echo(f"{listed.name} {listed.version}  not installed  {', '.join(listed.classes)}")


@command.command("enable")
@click.argument("name")
def enable(name: str) -> None:
    """Enable the installed pack NAME, with the version and the files that it has now."""
    from keelbill.graph.packs import find, with_pack

    setting = _own_setting()
    pack = find(_installed(), name)
    _write(with_pack(setting, pack))
    click.echo(f"{pack.name} {pack.version} is enabled, with {', '.join(pack.classes)}. {_RESTART}")


@command.command("disable")
@click.argument("name")
def disable(name: str) -> None:
    """Turn the pack NAME off."""
    from keelbill.graph.packs import without_pack

    setting = _own_setting()
    changed = without_pack(setting, name)
    if changed == setting:
        raise InvalidInput("pack", name, "enabled in settings.toml")
    _write(changed)
    click.echo(f"{name} is off. {_RESTART}")


@command.command("missing")
@click.argument("workflow", type=click.Path(path_type=Path))
def missing(workflow: Path) -> None:
    """Say which nodes of WORKFLOW are not there, and how to add them. Exit code 1 if there are any."""
    from keelbill.graph import pack_index

    content = _read(workflow)
    found = pack_index.missing(
        pack_index.used_classes(content), _nodes(), _installed(), pack_index.known(read_settings().home)
    )
    for each in found:
        click.echo(f"{each.class_type} (node {', '.join(each.nodes)}): {each.command or 'no known pack has it'}")
    if found:
        raise click.exceptions.Exit(1)
    click.echo("All nodes are there.")


def _nodes() -> Mapping[str, type[Node]]:
    from keelbill.graph.packs import load_enabled

    return load_enabled(read_settings().node_packs)


def _installed() -> list[Pack]:
    from keelbill.graph.packs import installed

    return installed(read_settings().node_packs)


def _print(nodes: Iterable[type[Node]]) -> None:
    rows = sorted((node.category, node.name, node.module) for node in nodes)
    for category, name, module in rows:
        pack = module.partition("custom_nodes.")[2]
        click.echo(f"{category}/{name}" + (f"  ({pack})" if pack else ""))


def _shown(each: Input) -> str:
    parts = [each.type if not each.choices else "{" + ", ".join(each.choices[:12]) + "}"]
    if each.default not in (None, ""):
        parts.append(f"= {each.default}")
    if each.low is not None and each.high is not None:
        parts.append(f"[{each.low}..{each.high}]")
    if each.is_optional:
        parts.append("optional")
    return " ".join(parts)


def _read(path: Path) -> dict[str, Any]:
    from keelbill.imaging.decode import sniff
    from keelbill.imaging.workflows import read_texts

    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput("workflow", str(path), f"a file that can be read ({error.strerror})") from error
    text = content.decode("utf-8", "replace")
    if sniff(content):
        texts = read_texts(content, field="workflow", max_bytes=MAX_BYTES)
        text = texts.get("workflow") or texts.get("prompt") or ""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidInput("workflow", str(path), "JSON, or a picture that carries a workflow") from error
    if not isinstance(found, dict):
        raise InvalidInput("workflow", str(path), "a graph or a saved workflow")
    return found


def _own_setting() -> str:
    """Return what the settings file has enabled.

    Raises:
        InvalidInput: The environment decides in its place.
    """
    if os.environ.get(VARIABLE):
        raise InvalidInput(VARIABLE, "…", "unset, because it wins over settings.toml; change it there")
    return read_settings().node_packs


def _write(setting: str) -> None:
    """Write the setting into the settings file, and leave its other lines alone."""
    path = default_home() / "settings.toml"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    line = f'node_packs = "{setting}"'
    changed = _LINE.sub(lambda _: line, text, count=1) if _LINE.search(text) else f"{line}\n{text}"
    write_named(path, changed.encode())
