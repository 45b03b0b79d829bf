"""``keelbill train``: build the training data, train the embedded model and look at what it makes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keelbill.core.errors import InvalidInput
from keelbill.core.settings import read_settings

if TYPE_CHECKING:
    from keelbill.train.programme import Folders

STAGE_NAMES = ("autoencoder", "transformer", "export", "upscaler", "turbo", "judge")
USUAL_STAGES = STAGE_NAMES[:3]
QUICK_QUESTIONS = 10
QUICK_SIGNS = 4
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
    """Build the sprite pack and fetch fonts from pinned packages, their licences checked."""
    from keelbill.train.fonts import build_fonts
    from keelbill.train.programme import open_sprites

    folders = _folders(Path())
    pack = open_sprites(folders)
    click.echo(f"{len(pack)} sprites in {folders.sprites}")
    fonts = build_fonts(folders.sprites.parent / "fonts", cache=folders.cache)
    click.echo(f"{len(fonts.names)} fonts in {folders.sprites.parent / 'fonts'}")


@command.command("embedded")
@click.option(
    "--budget", default="25m", show_default=True, help="Time of the training stages together, restarts counted."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Checkpoints and model.")
@click.option(
    "--stage",
    type=click.Choice(STAGE_NAMES),
    multiple=True,
    help="Only this stage; may be repeated. The last three are run only when named, each with the whole budget.",
)
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

    model = train_embedded(folders, budget_s=budget_s, log=click.echo, stages=stage or USUAL_STAGES)
    if model is not None:
        click.echo(f'Wrote the model {model}; try: keelbill generate "a red car" --model {model}')


@command.command("evaluate")
@click.option("--model", "name", default="keelbill-mini", show_default=True, help="Name or folder of the model.")
@click.option("--quick", is_flag=True, help="A sheet of eight prompts, and ten prompts of each category.")
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("evaluation.webp"),
    show_default=True,
    help="Where the contact sheet goes.",
)
@click.option("--metrics", type=click.Path(path_type=Path, dir_okay=False), help="JSON file that receives the figures.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with the training data, as `keelbill train sprites` writes it: compare with scenes that it taught.",
)
@click.option(
    "--pictures",
    type=click.IntRange(2, 10_000),
    default=200,
    show_default=True,
    help="How many pictures are compared with scenes.",
)
def evaluation(name: str, quick: bool, sheet: Path, metrics: Path | None, data: Path | None, pictures: int) -> None:
    """Make fixed prompts, write a contact sheet, let the judge compare pictures with what was asked, and read signs."""
    from keelbill.cli import _pictures
    from keelbill.models import embedded_folder
    from keelbill.train.compare import WORDS, compare, signs
    from keelbill.train.evaluate import evaluate, score, write_metrics
    from keelbill.train.judge import load_judge
    from keelbill.train.measures import open_reader
    from keelbill.train.programme import SUITE_FILE
    from keelbill.train.suite import NOT_TAUGHT, load_suite

    if data is not None and not (data / "sprites").is_dir():
        raise InvalidInput("data", str(data), "a folder that holds sprites; `keelbill train sprites` builds it")
    read = open_reader()
    model = _pictures.load(name)
    result = evaluate(model, sheet, seeds=1 if quick else 2, prompts=8 if quick else 40)
    click.echo(f"{result.pictures} pictures on {sheet}, {result.seconds:.2f} s each (median)")
    click.echo(f"background as asked, by its colour: {result.backgrounds:.0%}")
    folder = embedded_folder("keelbill-judge")
    judge = load_judge(folder)
    suite = load_suite(folder / SUITE_FILE)
    if quick:
        asked = Counter[str]()
        suite = [q for q in suite if asked.update([q.category]) or asked[q.category] <= QUICK_QUESTIONS]
    scores = score(model, judge, suite)
    click.echo("everything right, by the judge (it is lenient with soft pictures: look at the sheet):")
    for category, share in scores.right.items():
        click.echo(f"  {category:16} {share:4.0%}")
    for category in NOT_TAUGHT:
        click.echo(f"  {category:16} not taught")
    click.echo(f"difference between seeds, of that between prompts: {scores.diversity:.0%}")
    lettered = signs(model, read, WORDS[:QUICK_SIGNS] if quick else WORDS)
    click.echo(f"signs read by a machine: {lettered.exact:.0%} exact, {lettered.near:.0%} of the letters in place")
    others = {"lettering": lettered.facts()}
    if data is not None:
        found = compare(model, judge, data, read, pictures=pictures)
        for line in found.lines():
            click.echo(line)
        others["likeness"] = found.facts()
    if metrics:
        write_metrics(metrics, result, scores, **others)
