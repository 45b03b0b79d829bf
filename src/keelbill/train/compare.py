"""Compares a model's pictures with the data that it learned from: as a whole, one by one, and by their letters."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from keelbill.engine.model import Model
from keelbill.engine.pipeline import GenerationRequest, Pipeline
from keelbill.train.batch_render import BatchRenderer
from keelbill.train.captions import full_caption
from keelbill.train.data import Sprites
from keelbill.train.fonts import Fonts
from keelbill.train.judge import Judge
from keelbill.train.measures import Copies, Lettered, Reader, copies, frechet_distance, lettering
from keelbill.train.plan import Plan
from keelbill.train.scenes import Catalogue, Mix, sample_scene

WORDS = ("hello", "open", "cafe", "sale", "music", "pizza", "taxi", "hotel", "books", "welcome", "stop", "love")
LEARNED = 4096
"""Training scenes among which copies are looked for."""

CHUNK = 32


@dataclass(frozen=True)
class Likeness:
    """How a model's pictures compare with scenes that it could have learned from.

    Attributes:
        distance: Fréchet distance between pictures and new scenes, by the judge's features. A trend for models that are
            measured alike; it is not the published FID, which uses another network.
        floor: The same between two sets of new scenes of the same size: what would be perfect.
        copies: How near pictures come to training scenes.
        pictures: How many were made.
        renders: What a machine reads of letterings of the training data; nothing where there are no fonts.
    """

    distance: float
    floor: float
    copies: Copies
    pictures: int
    renders: Lettered | None = None

    def facts(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        near = self.copies
        return {
            "frechet": round(self.distance, 2),
            "frechet_of_new_scenes": round(self.floor, 2),
            "to_nearest_training_scene": round(near.pictures, 4),
            "new_scenes_to_nearest_training_scene": round(near.fresh, 4),
            "least_distance": round(near.nearest, 4),
            "pictures": self.pictures,
        } | ({"lettering_of_renders": self.renders.facts()} if self.renders else {})

    def lines(self) -> list[str]:
        """Tell it to a person."""
        near = self.copies
        told = [
            f"Fréchet distance to new scenes, by the judge's features: {self.distance:.1f} (of new scenes themselves: "
            f"{self.floor:.1f}; {self.pictures} pictures; not the published FID)",
            f"nearest of {LEARNED} training scenes, mean difference: {near.pictures:.3f} (of new scenes: "
            f"{near.fresh:.3f}; least: {near.nearest:.3f})",
        ]
        if self.renders:
            told.append(f"signs of the training data: {self.renders.exact:.0%} exact, {self.renders.near:.0%} near")
        return told


def compare(model: Model, judge: Judge, data: Path, read: Reader, *, pictures: int) -> Likeness:
    """Compare a model with the things that a judge knows, from a folder of training data.

    Args:
        model: The model.
        judge: Knows the things that the model learned.
        data: Folder with ``sprites`` and perhaps ``fonts``.
        read: Reads letters.
        pictures: How many are painted, at least 2.

    Raises:
        BadSprites: There is no sprite pack in the folder.
    """
    sprites = Sprites.load(data / "sprites")
    plan = Plan(things=judge.answers.thing[1:])
    found = likeness(model, judge, plan, sprites, pictures=pictures)
    if not (data / "fonts").is_dir():
        return found
    return replace(found, renders=signs_of_renders(sprites, Fonts(data / "fonts"), read, side=plan.side))


def likeness(model: Model, judge: Judge, plan: Plan, sprites: Sprites, *, pictures: int, seed: int = 0) -> Likeness:
    """Paint the captions of new scenes and compare the pictures with other new scenes and with training scenes.

    Args:
        model: The model.
        judge: Whose features are compared.
        plan: What the model learned.
        sprites: Of the training data.
        pictures: How many are painted, at least 2.
        seed: Of the scenes; training draws others.
    """
    catalogue, render = Catalogue(plan.choose(sprites.infos)), BatchRenderer(sprites)

    def scenes(name: str, count: int) -> tuple[Tensor, list[str]]:
        drawn = plan.scenes(catalogue, count, random.Random(f"likeness/{name}/{seed}"))
        rows = [render(drawn[first : first + CHUNK], plan.side).float() / 255 for first in range(0, count, CHUNK)]
        return torch.cat(rows), [full_caption(scene) for scene in drawn]

    _, asked = scenes("asked", pictures)
    one, other = scenes("one", pictures)[0], scenes("other", pictures)[0]
    made = paint(model, asked)
    described = [_features(judge, some) for some in (made, one, other)]
    return Likeness(
        frechet_distance(described[0], described[1]),
        frechet_distance(described[2], described[1]),
        copies(made, one, scenes("learned", LEARNED)[0]),
        pictures,
    )


def paint(model: Model, prompts: Sequence[str], seed: int = 1) -> Tensor:
    """Make one picture of each prompt, with seeds that follow one another; shape ``(B, 3, H, W)``."""
    pipeline = Pipeline(model)
    rows = [pipeline.picture(GenerationRequest(prompt, seed=seed + n)) for n, prompt in enumerate(prompts)]
    return torch.stack(rows).cpu()


def _features(judge: Judge, pictures: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat([judge.features(part) for part in pictures.split(CHUNK)])


def signs(model: Model, read: Reader, words: Sequence[str] = WORDS) -> Lettered:
    """Let a model paint signs and read them."""
    prompts = [f"a sign that says {word.upper()} on a white background" for word in words]
    return lettering(paint(model, prompts), words, read)


def signs_of_renders(sprites: Sprites, fonts: Fonts, read: Reader, *, side: int, count: int = 30) -> Lettered:
    """Read letterings of the training data, which are right: more than this cannot be read of any model's pictures."""
    render, rng = BatchRenderer(sprites, fonts=fonts), random.Random("signs")
    catalogue = Catalogue(sprites.infos, fonts.names)
    mix = Mix(layouts={"lettering": 1.0}, backgrounds={"plain": 1.0})
    scenes = [sample_scene(rng, catalogue, mix) for _ in range(count)]
    words = [scene.lettering.text for scene in scenes if scene.lettering]
    return lettering(render(scenes, side).float() / 255, words, read)
