"""``keelbill models``: list, add, pull, verify and remove. Knows how to say it; `storage.hub` knows how to do it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from keelbill.cli._pictures import require_engine
from keelbill.core.errors import AppError, BadWeights
from keelbill.core.settings import read_settings
from keelbill.storage.catalogue import CATALOGUE, T5_CHOICES, T5Choice
from keelbill.storage.folders import Place, models_root, weight_files
from keelbill.storage.hub import NAME, Hub, Installed, Kind

if TYPE_CHECKING:
    from keelbill.engine.components import Components


@click.group("models", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List, add, pull, verify and remove models."""


def _hub() -> Hub:
    return Hub.from_settings(read_settings())


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(as_json: bool) -> None:
    """Show what is installed and what can be pulled."""
    installed = _hub().list()
    names = {item.name for item in installed}
    available = [CATALOGUE.get(name) for name in CATALOGUE if name not in names]
    if as_json:
        rows = [_row(item) for item in installed]
        rows += [{"name": e.name, "kind": "model", "installed": False, "licence": e.licence} for e in available]
        click.echo(json.dumps(rows, indent=1))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "kind", "origin", "size", "licence"):
        table.add_column(column)
    for item in installed:
        origin = item.origin.value if item.is_there else "files are missing"
        table.add_row(item.name, item.kind.value, origin, _gigabytes(item.size_bytes), item.licence or "unknown")
    for entry in available:
        table.add_row(entry.name, "model", "can be pulled", _gigabytes(entry.expected_bytes("fp16")), entry.licence)
    Console().print(table)


def _row(item: Installed) -> dict[str, Any]:
    return {
        "name": item.name,
        "kind": item.kind.value,
        "installed": item.is_there,
        "origin": item.origin.value,
        "path": str(item.path),
        "extras": [str(path) for path in item.extras],
        "family": item.family,
        "size_bytes": item.size_bytes,
        "licence": item.licence,
        "files": [{"path": str(f.path), "size": f.size, "sha256": f.sha256} for f in item.files],
    }


@command.command("pull")
@click.argument("name")
@click.option("--t5", type=click.Choice(T5_CHOICES), default="fp16", show_default=True, help="Copy of the T5 encoder.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def pull(name: str, t5: T5Choice, yes: bool) -> None:
    """Fetch an official model, or continue an interrupted download."""
    entry = CATALOGUE.get(name)
    size = _gigabytes(entry.expected_bytes(t5))
    click.echo(f"{entry.title}, about {size}, under the {entry.licence}, from {entry.repo}.", err=True)
    if not yes:
        click.confirm("Fetch it?", abort=True, err=True)
    item = _hub().pull(name, t5=t5, on_file=lambda file, i, n: click.echo(f"[{i}/{n}] {file}", err=True))
    click.echo(f"{item.name}: {_gigabytes(item.size_bytes)} in {item.path}")


@command.command("verify")
@click.argument("names", nargs=-1)
def verify(names: Sequence[str]) -> None:
    """Hash models again and compare; all of them if none is named."""
    hub = _hub()
    items = [_find(hub, name) for name in names] if names else hub.list()
    damaged = 0
    for item in items:
        for finding in hub.verify(item.name, item.kind):
            damaged += finding.result in ("changed", "missing")
            click.echo(f"{finding.result:8} {item.name}  {finding.path}")
    if damaged:
        raise BadWeights(f"{damaged} files are not what they were.", hint="Pull or add those models again.")


def _find(hub: Hub, name: str) -> Installed:
    loras = {item.name: item for item in hub.list(Kind.LORA)}
    return loras[name] if name in loras else hub.get(name)


@command.command("remove")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def remove(name: str, yes: bool) -> None:
    """Forget a model; its files are deleted only if they were pulled."""
    hub = _hub()
    item = _find(hub, name)
    if not yes and item.origin == "downloaded":
        click.confirm(f"Delete {_gigabytes(item.size_bytes)} in {item.path}?", abort=True, err=True)
    deleted = hub.remove(name)
    click.echo(f"{name} is removed; {len(deleted)} files were deleted." if deleted else f"{name} is forgotten.")


@command.command("add")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", default="", help="What to call it; the file's name if not given.")
@click.option(
    "--with",
    "extras",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="A file with parts that PATH lacks: autoencoder or text encoders. May be given several times.",
)
def add(path: Path, name: str, extras: tuple[Path, ...]) -> None:
    """List a model file or folder, or everything in a ComfyUI or A1111 models folder; nothing is copied."""
    require_engine()
    hub = _hub()
    root = models_root(path) if path.is_dir() else None
    if root is not None:
        _add_folder(hub, root)
        return
    found = identify(path)
    if found.kind is Kind.MODEL:
        found = _with_extras(found, path, extras)
    item = hub.add(name or slug(path), path, kind=found.kind, family=found.family, extras=extras)
    click.echo(f"{item.name}: {found.kind.value}, {found.family or 'family unknown'}, {_gigabytes(item.size_bytes)}")


@dataclass(frozen=True)
class Identified:
    """What a file turned out to be.

    Args:
        kind: Model or adapter.
        family: Member of the family, if there is a transformer.
        parts: Networks in it.
    """

    kind: Kind
    family: str
    parts: frozenset[str] = frozenset()


def identify(path: Path, extras: Sequence[Path] = ()) -> Identified:
    """Say what a weight file or folder is; reads its header only.

    Raises:
        BadWeights: It cannot be used.
    """
    from keelbill.engine.components import find_components

    if path.is_file() and _is_lora(path):
        return Identified(Kind.LORA, "")
    return _describe(find_components(path, extras))


def _is_lora(path: Path) -> bool:
    from keelbill.engine.lora import ROLES
    from keelbill.engine.weights import open_weights

    shapes = open_weights(path).shapes
    return bool(shapes) and all(name.endswith(tuple(ROLES)) for name in shapes)


def _describe(components: Components) -> Identified:
    from keelbill.engine.config import MMDiTConfig

    transformer = components.transformer
    family = MMDiTConfig.from_tensors(transformer.shapes).family if transformer else ""
    return Identified(Kind.MODEL, family, frozenset(part.value for part in components.parts))


def _with_extras(found: Identified, path: Path, extras: Sequence[Path]) -> Identified:
    """Check that a model is whole enough to run."""
    whole = identify(path, extras) if extras else found
    missing = [part for part in ("transformer", "vae") if part not in whole.parts]
    if missing:
        raise BadWeights(
            f"{path.name} has no {' and no '.join(missing)}; it has {', '.join(sorted(whole.parts))}.",
            hint="Name a file with the missing part by --with.",
        )
    return whole


def slug(path: Path) -> str:
    """Make a model's name out of a file's."""
    stem = path.stem if path.is_file() else path.name
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:64] or "model"


def _add_folder(hub: Hub, root: Path) -> None:
    """Add every usable model and adapter below a models folder that is not listed yet; say why the others are not."""
    found = list(_identify_all(root))
    parts = [(path, what) for path, place, what in found if place is Place.PARTS and isinstance(what, Identified)]
    known = {item.path for item in hub.list()}
    added = 0
    for path, place, what in found:
        if path.absolute() in known:
            continue
        if isinstance(what, AppError):
            click.echo(f"skipped  {path.name}: {what}", err=True)
            continue
        is_model = place is Place.MODELS and "transformer" in what.parts
        if not is_model and what.kind is not Kind.LORA:
            continue
        extras = _missing_parts(what, parts) if is_model else ()
        try:
            if is_model:
                _with_extras(what, path, extras)
            item = hub.add(_free_name(hub, path), path, kind=what.kind, family=what.family, extras=extras)
        except AppError as error:
            click.echo(f"skipped  {path.name}: {error}", err=True)
            continue
        added += 1
        click.echo(f"added    {item.name} ({what.kind.value}{', ' + what.family if what.family else ''})")
    click.echo(f"{added} added from {root}; nothing was copied.")


def _identify_all(root: Path) -> Iterator[tuple[Path, Place, Identified | AppError]]:
    for path, place in weight_files(root):
        try:
            yield path, place, identify(path)
        except AppError as error:
            yield path, place, error


def _missing_parts(model: Identified, parts: Sequence[tuple[Path, Identified]]) -> tuple[Path, ...]:
    """Choose a file for each part that a model lacks; names that mention SD3 win, because others share the shapes."""
    have = set(model.parts)
    chosen = []
    for path, what in sorted(parts, key=lambda item: ("sd3" not in item[0].name.lower(), item[0].name)):
        if what.parts and not what.parts & have and "transformer" not in what.parts:
            chosen.append(path)
            have |= what.parts
    return tuple(chosen)


def _free_name(hub: Hub, path: Path) -> str:
    taken = {item.name for item in hub.list()} | set(CATALOGUE)
    base = slug(path)
    names = (base, *(f"{base[:60]}-{i}" for i in range(2, 1000)))
    return next((name for name in names if name not in taken and NAME.fullmatch(name)), base)
