"""``keelbill train``: build the training data, train the embedded model and look at what it makes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keelbill.core.errors import InvalidInput
from keelbill.core.settings import read_settings

if TYPE_CHECKING:
    from keelbill.train.programme import Folders

STAGE_NAMES = ("autoencoder", "transformer", "export")
UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_budget(text: str) -> float:
    """Read a time such as ``90s``, ``25m`` or ``1.5h``.

    Returns:
        Seconds.

    Raises:
        InvalidInput: It is no such time, or it is zero.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip().lower())
    if not found or float(found[1]) == 0:
        raise InvalidInput("budget", text, "a time above zero such as 90s, 25m or 1.5h")
    return float(found[1]) * UNITS_S[found[2]]


def _folders(out: Path, photographs: Path | None = None) -> Folders:
    from keelbill.train.programme import Folders

    home = read_settings().home / "train"
    if photographs is not None and not photographs.is_dir():
        raise InvalidInput("photographs", str(photographs), "a folder of WebP pictures")
    return Folders(run=out, sprites=home / "sprites", cache=home / "packages", photographs=photographs)


@click.group("train")
def command() -> None:
    """Train and evaluate the embedded model."""


@command.command("sprites")
def sprites() -> None:
    """Build the sprite pack from pinned packages, their licences checked."""
    from keelbill.train.programme import open_sprites

    folders = _folders(Path())
    pack = open_sprites(folders)
    click.echo(f"{len(pack)} sprites in {folders.sprites}")


@command.command("embedded")
@click.option(
    "--budget", default="25m", show_default=True, help="Time of the training stages together, restarts counted."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Checkpoints and model.")
@click.option("--stage", type=click.Choice(STAGE_NAMES), multiple=True, help="Only this stage; may be repeated.")
@click.option(
    "--photographs",
    type=click.Path(path_type=Path),
    help="Folder of photographs that the autoencoder also learns from.",
)
def embedded(budget: str, out: Path, stage: tuple[str, ...], photographs: Path | None) -> None:
    """Train the embedded model; a second call goes on where the first one stopped."""
    budget_s = parse_budget(budget)
    folders = _folders(out, photographs)
    from keelbill.train.programme import train_embedded

    model = train_embedded(folders, budget_s=budget_s, log=click.echo, stages=stage or STAGE_NAMES)
    if model is not None:
        click.echo(f'Wrote the model {model}; try: keelbill generate "a red car" --model {model}')


@command.command("evaluate")
@click.option("--model", "name", default="keelbill-mini", show_default=True, help="Name or folder of the model.")
@click.option("--quick", is_flag=True, help="Eight prompts with one seed each instead of forty with two.")
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("evaluation.webp"),
    show_default=True,
    help="Where the contact sheet goes.",
)
def evaluation(name: str, quick: bool, sheet: Path) -> None:
    """Make fixed prompts, write a contact sheet and print what can be measured."""
    from keelbill.cli import _pictures
    from keelbill.train.evaluate import evaluate

    result = evaluate(_pictures.load(name), sheet, seeds=1 if quick else 2, prompts=8 if quick else 40)
    click.echo(f"{result.pictures} pictures on {sheet}, {result.seconds:.2f} s each (median)")
    click.echo(f"background as asked: {result.backgrounds:.0%}")
    click.echo("Whether the thing is right is for you to see on the sheet.")
