"""Makes a picture again, from what the SDK remembers of it or from the recipe in its file. Knows no connection."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Final, get_args

from keelbill.client.errors import BadRequestError
from keelbill.client.forms import Model, Ratio, picture_of
from keelbill.client.generating import generate
from keelbill.client.pictures import ImageSource, Picture, read_source, recipe_of
from keelbill.client.wire import Exchange
from keelbill.imaging.metadata import Recipe

MAX_API_SEED: Final = 4_294_967_294


class OtherModelWarning(UserWarning):
    """A picture was made again with other weights than the first time, so it differs."""


def repeat(
    source: ImageSource, *, model: Model | str | None = None, image: ImageSource | None = None
) -> Exchange[Picture]:
    """Make a picture again, with the same seed and the same words.

    A picture that this client made is asked for in the same words. Of any other, the recipe in the file is used; it
    knows no style preset apart from the words.

    Args:
        source: The picture, or its file.
        model: Name to ask for; nothing means the same name as then, where it is one, else ``sd3.5-large``.
        image: The picture that it was made from, if there was one.

    Raises:
        BadRequestError: It carries no recipe, or one that this interface cannot repeat.
    """
    if isinstance(source, Picture) and source.request is not None:
        return _again(source, model)
    recipe = recipe_of(source)
    if recipe is None:
        raise BadRequestError("picture: carries no recipe; it was made elsewhere, or its metadata was removed.")
    return _from_recipe(recipe, model, image)


def ratio_of(width: int, height: int) -> Ratio:
    """Return the published aspect ratio that is nearest to a size."""
    wanted = math.log(width / height)

    def distance(ratio: Ratio) -> float:
        across, down = ratio.split(":")
        return abs(math.log(int(across) / int(down)) - wanted)

    return min(get_args(Ratio), key=distance)


def _again(picture: Picture, model: str | None) -> Exchange[Picture]:
    if picture.request is None:
        raise BadRequestError("picture: nothing is known of how it was made.")
    changed = {} if picture.seed is None else {"seed": str(picture.seed)}
    if model is not None:
        changed["model"] = model
    request = replace(picture.request, form={**picture.request.form, **changed}, headers={})
    made = picture_of((yield request), request)
    _compare(picture.recipe, made)
    return made


def _from_recipe(recipe: Recipe, model: str | None, image: ImageSource | None) -> Exchange[Picture]:
    if recipe.mask_hash:
        raise BadRequestError("picture: was made with a mask; use inpaint with the same picture, mask and seed.")
    if recipe.image_hash and image is None:
        raise BadRequestError("image: the picture was made from another one; give that one too.")
    seed = recipe.seed + recipe.index
    if not 1 <= seed <= MAX_API_SEED:
        raise BadRequestError(f"seed: {seed} must be from 1 to {MAX_API_SEED} to be asked for through this interface.")
    known = recipe.model if recipe.model in get_args(Model) else "sd3.5-large"
    made = yield from generate(
        recipe.prompt,
        model=model or known,
        seed=seed,
        negative_prompt=recipe.negative or None,
        cfg_scale=recipe.cfg if 1 <= recipe.cfg <= 10 else None,
        aspect_ratio=ratio_of(recipe.width, recipe.height),
        image=None if image is None else read_source("image", image),
        strength=None if image is None else recipe.strength,
    )
    _compare(recipe, made)
    return made


def _compare(before: Recipe | None, made: Picture) -> None:
    after = made.recipe
    if before and after and before.model_hash != after.model_hash:
        message = (
            f"This picture was made with the weights of {after.model}, the first one with those of {before.model}."
        )
        warnings.warn(message, OtherModelWarning, stacklevel=2)
