"""``keelbill verify``: makes a picture again from the recipe it carries and compares the pixels."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import numpy as np
from numpy.typing import NDArray

from keelbill.cli._changes import check_loras
from keelbill.cli._orders import Order, Source, check_source
from keelbill.core.errors import InvalidInput
from keelbill.core.types import Size
from keelbill.imaging.decode import decode, read_bounded, sniff
from keelbill.imaging.encode import encode
from keelbill.imaging.metadata import BadRecipe, Recipe, read

if TYPE_CHECKING:
    from keelbill.engine.model import Model

Pixels = NDArray[np.uint8]

OTHER_DEVICE_TOLERANCE: Final = 2.0
"""Mean difference, in levels of 255, that is accepted where device, precision or versions differ."""


@dataclass(frozen=True)
class Difference:
    """How two pictures of one size differ, in levels of 255."""

    highest: int
    mean: float

    @classmethod
    def between(cls, one: Pixels, other: Pixels) -> Difference:
        """Compare two pictures with shape ``(H, W, 3)``."""
        levels = np.abs(one.astype(np.int16) - other.astype(np.int16))
        return cls(int(levels.max()), float(levels.mean()))


@click.command("verify")
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("-m", "--model", help="Name or path of the model; else the one that the recipe names.")
@click.option("--lora", "loras", multiple=True, help="The adapters that it was made with, as for `generate`, in order.")
@click.option("--image", type=click.Path(path_type=Path), help="The picture that it was made from, if any.")
@click.option("--mask", type=click.Path(path_type=Path), help="The mask that it was made with, if any.")
@click.option(
    "--tolerance",
    type=float,
    help="Mean difference in levels of 255 that still passes; else 0 on the same device, precision and versions, "
    f"and {OTHER_DEVICE_TOLERANCE:g} on others.",
)
def command(
    picture: Path,
    model: str | None,
    loras: tuple[str, ...],
    image: Path | None,
    mask: Path | None,
    tolerance: float | None,
) -> None:
    """Make PICTURE again from its recipe and report the largest and the mean difference of its pixels.

    Exit code 0: the same, within the tolerance. 1: it differs. 2: it cannot be made again.
    """
    from keelbill.core.settings import read_settings

    if tolerance is not None and not 0 <= tolerance <= 255:
        raise InvalidInput("tolerance", tolerance, "from 0 to 255")
    settings = read_settings()
    limit = settings.max_image_bytes
    adapters = check_loras(loras, settings)
    data = read_bounded(picture, field="picture", max_bytes=100 * limit)
    recipe = read(data, field="picture", max_bytes=100 * limit)
    shown = decode(data, field="picture", max_bytes=100 * limit)[:, :, :3]
    if recipe is None:
        raise BadRecipe(f"{picture} carries no recipe; only pictures that Keelbill made can be verified.")
    if (recipe.width, recipe.height) != (shown.shape[1], shown.shape[0]):
        raise BadRecipe(
            f"{picture} has {shown.shape[1]}x{shown.shape[0]} pixels and its recipe {recipe.width}x{recipe.height}: "
            "it was cut or scaled."
        )
    if recipe.kind:
        raise BadRecipe(f"{picture} was made by {recipe.kind}; only pictures that were painted whole can be verified.")
    source = _source(recipe, image, mask, limit)
    order = replace(order_of(recipe, source, model), loras=adapters)
    _compare(recipe, order, data, shown, tolerance)


def order_of(recipe: Recipe, source: Source | None = None, model: str | None = None) -> Order:
    """Turn a recipe back into the order that it came from."""
    return Order(
        prompt=recipe.painted_prompt or recipe.prompt,
        negative=recipe.negative,
        model=model or recipe.model,
        shape=Size(recipe.painted_width or recipe.width, recipe.painted_height or recipe.height),
        seed=recipe.seed + recipe.index,
        steps=recipe.steps,
        cfg=recipe.cfg,
        sampler=recipe.sampler,
        schedule=recipe.schedule,
        shift=recipe.shift,
        source=source,
    )


def _source(recipe: Recipe, image: Path | None, mask: Path | None, limit: int) -> Source | None:
    """Read the given image and mask and check that they are the recipe's."""
    for field, path, digest in (("image", image, recipe.image_hash), ("mask", mask, recipe.mask_hash)):
        if digest and path is None:
            raise InvalidInput(field, "nothing", f"the file with SHA-256 {digest}; the recipe was made with one")
        if path is not None and not digest:
            raise InvalidInput(field, str(path), "left out; the recipe was made without one")
    source = check_source(image, mask, recipe.strength if image else None, max_bytes=limit)
    if source:
        for field, path, found, digest in (
            ("image", image, source.image_hash, recipe.image_hash),
            ("mask", mask, source.mask_hash, recipe.mask_hash),
        ):
            if found != digest:
                raise InvalidInput(field, str(path), f"the file with SHA-256 {digest}")
    return source


def _compare(recipe: Recipe, order: Order, data: bytes, shown: Pixels, tolerance: float | None) -> None:
    """Make the picture again, print how it differs, and end with exit code 1 if it differs too much."""
    from keelbill.cli import _pictures
    from keelbill.cli._progress import progress_bar

    _pictures.check_names(order.sampler, order.schedule)
    with progress_bar() as bar:
        bar.status(f"loading {Path(order.model).name}")
        with _pictures.changed(_pictures.load(order.model), order.loras) as loaded:
            _require_same_weights(recipe, loaded)
            made = _pictures.make(loaded, order, 0, bar.step)
    pixels = _enlarged(made.pixels, recipe)
    kind = sniff(data)
    if kind is None:
        raise TypeError("a decoded picture has a format")
    # Through the same encoder, so that a lossy format is compared with itself.
    difference = Difference.between(decode(encode(pixels, kind), max_bytes=100 * 2**20), shown)
    changes = changed(recipe, made.recipe)
    allowed = tolerance if tolerance is not None else OTHER_DEVICE_TOLERANCE if changes else 0.0
    passes = difference.mean <= allowed
    verdict = "identical" if difference.highest == 0 else "same within tolerance" if passes else "different"
    click.echo(
        f"{verdict}: max difference {difference.highest}, mean difference {difference.mean:.4f} of 255"
        f" (tolerance {allowed:g}); {made.seconds:.1f} s"
    )
    for change in changes:
        click.echo(f"  {change}")
    if not passes:
        sys.exit(1)


def _enlarged(pixels: Pixels, recipe: Recipe) -> Pixels:
    """Bring what was painted to the size of the picture, as the server did."""
    if not recipe.enlarger:
        return pixels
    from keelbill.engine.upscale import UPSCALER, load_upscaler
    from keelbill.serving.tasks import enlarged

    if recipe.enlarger != UPSCALER:
        raise BadRecipe(f"The picture was enlarged by {recipe.enlarger!r}, and {UPSCALER!r} is what there is.")
    return enlarged(pixels, Size(recipe.width, recipe.height), load_upscaler())


def changed(recipe: Recipe, now: Recipe) -> list[str]:
    """Say which of the things that decide the last bits differ between two recipes."""
    pairs = [("device", recipe.device, now.device), ("precision", recipe.dtype, now.dtype)]
    pairs += [(name, recipe.versions.get(name, ""), text) for name, text in now.versions.items()]
    return [f"{name}: made with {old or 'unknown'}, checked with {new}" for name, old, new in pairs if old != new]


def _require_same_weights(recipe: Recipe, model: Model) -> None:
    if recipe.model_hash and model.hash != recipe.model_hash:
        raise BadRecipe(
            f"The picture was made with weights {recipe.model_hash[:12]} and {model.name} has {model.hash[:12]}; "
            "other weights make another picture.",
            hint="If adapters were added to them, give the same ones with --lora.",
        )
