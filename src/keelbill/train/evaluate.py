"""Measures what a model makes of prompts: a contact sheet for the eye, and a judge's verdict by category.

The judge is a network that learned from renders alone. It is lenient with soft pictures, so the sheet is always looked
at as well.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from keelbill.engine.model import Model
from keelbill.engine.pipeline import GenerationRequest, Pipeline
from keelbill.train.backgrounds import BACKGROUND_COLOURS
from keelbill.train.judge import Judge
from keelbill.train.sheets import contact_sheet
from keelbill.train.suite import Question

PROMPTS: tuple[tuple[str, str], ...] = (
    ("a strawberry on a light blue background", "light blue"),
    ("a red car on a white background", "white"),
    ("a hamburger on a yellow background", "yellow"),
    ("a green apple on a white background", "white"),
    ("a banana on a purple background", "purple"),
    ("a sunflower on a dark blue background", "dark blue"),
    ("a house on a light green background", "light green"),
    ("a castle on a pink background", "pink"),
    ("a penguin on a light blue background", "light blue"),
    ("a cat on a white background", "white"),
    ("a dog on a green background", "green"),
    ("an elephant on a beige background", "beige"),
    ("a watermelon on a white background", "white"),
    ("a lemon on a black background", "black"),
    ("a carrot on a blue background", "blue"),
    ("a tomato on a light green background", "light green"),
    ("a bus on a gray background", "gray"),
    ("a rocket on a dark background", "dark"),
    ("a blue guitar on a white background", "white"),
    ("a robot on a yellow background", "yellow"),
    ("a teddy bear on a pink background", "pink"),
    ("a crown on a purple background", "purple"),
    ("an umbrella on a light blue background", "light blue"),
    ("a christmas tree on a red background", "red"),
    ("a pizza on a green background", "green"),
    ("a donut on a lavender background", "lavender"),
    ("a coffee cup on an orange background", "orange"),
    ("a birthday cake on a light blue background", "light blue"),
    ("a butterfly on a white background", "white"),
    ("a fish on a blue background", "blue"),
    ("a turtle on a beige background", "beige"),
    ("a frog on a pink background", "pink"),
    ("a heart on a white background", "white"),
    ("a star on a dark blue background", "dark blue"),
    ("a purple dress on a white background", "white"),
    ("a sailboat on a light blue background", "light blue"),
    ("a cactus on an orange background", "orange"),
    ("an alarm clock on a green background", "green"),
    ("a balloon on a yellow background", "yellow"),
    ("a mushroom on a lavender background", "lavender"),
)
"""Prompts within the domain of a first model, and the background that each asks for."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        pictures: How many pictures were made.
        backgrounds: Share of them with the background that was asked for.
        seconds: Median seconds of a picture, the prompt read and the picture decoded.
    """

    pictures: int
    backgrounds: float
    seconds: float

    def facts(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return {
            "pictures": self.pictures,
            "backgrounds_right": round(self.backgrounds, 3),
            "median_seconds": round(self.seconds, 2),
        }


def evaluate(model: Model, sheet: Path, *, seeds: int = 2, prompts: int = len(PROMPTS)) -> Evaluation:
    """Make every prompt's pictures, write them on a sheet and judge their backgrounds.

    Args:
        model: The model.
        sheet: Where the contact sheet goes; the suffix chooses its format.
        seeds: Pictures of each prompt.
        prompts: How many of `PROMPTS`, from the first.
    """
    pipeline = Pipeline(model)
    pictures: list[NDArray[np.uint8]] = []
    labels: list[str] = []
    right: list[bool] = []
    seconds: list[float] = []
    for prompt, background in PROMPTS[:prompts]:
        for seed in range(1, seeds + 1):
            begin = time.perf_counter()
            pixels = pipeline.picture(GenerationRequest(prompt, seed=seed))
            seconds.append(time.perf_counter() - begin)
            rows = (pixels.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
            pictures.append(rows)
            labels.append(prompt)
            right.append(nearest_background(rows) == background)
    contact_sheet(pictures, labels, sheet, columns=10)
    return Evaluation(len(pictures), float(np.mean(right)), float(np.median(seconds)))


@dataclass(frozen=True)
class Scores:
    """What the judge says of a suite of prompts.

    Attributes:
        right: Share of pictures with everything right, by category.
        pictures: How many pictures were judged.
        diversity: Mean distance between the judge's features of pictures of one prompt with different seeds, as a
            share of the same distance between pictures of different prompts.
        seconds: Median seconds of a picture.
    """

    right: dict[str, float]
    pictures: int
    diversity: float
    seconds: float

    def facts(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return {
            "all_right": {name: round(share, 3) for name, share in self.right.items()},
            "pictures": self.pictures,
            "diversity": round(self.diversity, 3),
            "median_seconds": round(self.seconds, 2),
        }


def score(model: Model, judge: Judge, suite: Sequence[Question], *, seeds: int = 1, spread: int = 4) -> Scores:
    """Make a picture of every prompt and let the judge compare it with what was asked.

    Args:
        model: The model.
        judge: Knows the model's things.
        suite: Prompts with right answers.
        seeds: Pictures of each prompt.
        spread: Prompts of which eight pictures are made to measure diversity.
    """
    pipeline = Pipeline(model)
    hits: dict[str, list[bool]] = {}
    seconds: list[float] = []
    for question in suite:
        for seed in range(1, seeds + 1):
            begin = time.perf_counter()
            pixels = pipeline.picture(GenerationRequest(question.prompt, seed=seed))
            seconds.append(time.perf_counter() - begin)
            answer = judge.judge(pixels[None])[0]
            is_right = all(answer[name] == value for name, value in question.expected.items())
            hits.setdefault(question.category, []).append(is_right)
    right = {name: float(np.mean(values)) for name, values in hits.items()}
    prompts = [question.prompt for question in suite[:: max(1, len(suite) // spread)]][:spread]
    return Scores(right, len(seconds), _diversity(pipeline, judge, prompts), float(np.median(seconds)))


def _diversity(pipeline: Pipeline, judge: Judge, prompts: Sequence[str], seeds: int = 8) -> float:
    rows = []
    for prompt in prompts:
        pixels = [pipeline.picture(GenerationRequest(prompt, seed=seed)) for seed in range(1, seeds + 1)]
        with torch.inference_mode():
            rows.append(judge.features(torch.stack(pixels)))
    within = float(torch.stack([torch.pdist(row).mean() for row in rows]).mean())
    between = float(torch.cdist(rows[0], torch.cat(rows[1:])).mean()) if len(rows) > 1 else within
    return within / max(between, 1e-9)


def nearest_background(picture: NDArray[np.uint8]) -> str:
    """Name the background colour that is nearest to the median of the picture's upper corners.

    Args:
        picture: Pixels with shape ``(H, W, 3)``.
    """
    side = max(2, picture.shape[0] // 10)
    corners = np.concatenate([picture[:side, :side].reshape(-1, 3), picture[:side, -side:].reshape(-1, 3)])
    colour = np.median(corners, axis=0)
    return min(BACKGROUND_COLOURS, key=lambda name: float(np.abs(colour - BACKGROUND_COLOURS[name].rgb).sum()))


def write_metrics(
    path: Path, evaluation: Evaluation | None = None, scores: Scores | None = None, **others: dict[str, Any]
) -> None:
    """Add what was measured to a ``metrics.json``; what was counted by eye stays."""
    facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if evaluation:
        facts["evaluation"] = facts.get("evaluation", {}) | evaluation.facts()
    if scores:
        facts["judge"] = scores.facts()
    facts |= others
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
