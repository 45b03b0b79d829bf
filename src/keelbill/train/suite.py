"""Prompts with known right answers, by category, for a plan's scenes. Knows words, not models or pictures."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from keelbill.train.concepts import by_name, is_held_out, with_article
from keelbill.train.data import SpriteInfo
from keelbill.train.judge import Answers
from keelbill.train.landscapes import PLACES
from keelbill.train.palette import COLOURS

CATEGORIES = ("thing", "colour", "unseen colour", "background", "place", "made of", "unseen made of")
NOT_TAUGHT = ("two things", "counting", "position", "lettering")


@dataclass(frozen=True)
class Question:
    """A prompt and what its picture must show.

    Attributes:
        category: One of `CATEGORIES`.
        prompt: The text.
        expected: The right answer to some of the judge's questions; all must be right.
    """

    category: str
    prompt: str
    expected: dict[str, str] = field(default_factory=dict)


def questions(infos: Sequence[SpriteInfo], answers: Answers, per_category: int, seed: int = 0) -> list[Question]:
    """Draw prompts by chance, the same for the same seed.

    Args:
        infos: Sprites of the plan, treated ones included.
        answers: What the judge may answer; nothing else is asked.
        per_category: Most prompts of each category.
        seed: Of the choice.
    """
    rng = random.Random(f"suite/{seed}")
    untreated = [info for info in infos if not (info.treatment.material or info.treatment.made_of)]
    things = [info.concept for info in untreated]
    recolourable = [info for info in untreated if info.main is not None and info.main.can_change]
    shades = [word for word in answers.background if word and word not in PLACES]
    places = [word for word in answers.background if word in PLACES]
    taught = {
        (info.concept, info.treatment.made_of)
        for info in infos
        if info.treatment.made_of and not info.treatment.dye and info.treatment.made_of in answers.filling
    }
    fillings = sorted({filling for _, filling in taught})
    silhouettes = sorted({concept for concept, _ in taught})
    coloured = [
        (info.concept, colour)
        for info in recolourable
        for colour in COLOURS
        if info.main and colour != info.main.name and colour not in info.concept.split()
    ]
    wished = {
        "thing": [(thing, f"{_a(thing)} on a white background", {"thing": thing}) for thing in things],
        "colour": [_coloured(thing, colour) for thing, colour in coloured if not is_held_out(thing, colour)],
        "unseen colour": [_coloured(thing, colour) for thing, colour in coloured if is_held_out(thing, colour)],
        "background": [
            (thing, f"{_a(thing)} on {with_article(shade)} background", {"thing": thing, "background": shade})
            for thing in things
            for shade in shades
        ],
        "place": [
            (thing, f"{_a(thing)} {PLACES[place][0][0]}", {"thing": thing, "background": place})
            for thing in things
            for place in places
        ],
        "made of": [_made_of(concept, filling) for concept, filling in sorted(taught)],
        "unseen made of": [
            _made_of(concept, filling)
            for concept in silhouettes
            for filling in fillings
            if (concept, filling) not in taught
        ],
    }
    found = []
    for category in CATEGORIES:
        drawn = rng.sample(wished[category], min(per_category, len(wished[category])))
        found += [Question(category, prompt, expected) for _, prompt, expected in drawn]
    return found


def save_suite(path: Path, suite: Sequence[Question]) -> None:
    """Write prompts as a JSON list."""
    path.write_text(json.dumps([asdict(question) for question in suite], indent=0) + "\n", encoding="utf-8")


def load_suite(path: Path) -> list[Question]:
    """Read what `save_suite` wrote."""
    return [Question(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def _a(thing: str) -> str:
    return with_article(thing) if by_name()[thing].countable else thing


def _coloured(thing: str, colour: str) -> tuple[str, str, dict[str, str]]:
    named = f"{colour} {thing}"
    text = with_article(named) if by_name()[thing].countable else named
    return (
        thing,
        f"{text} on a {'black' if colour == 'white' else 'white'} background",
        {
            "thing": thing,
            "colour": colour,
        },
    )


def _made_of(thing: str, filling: str) -> tuple[str, str, dict[str, str]]:
    return thing, f"{_a(thing)} made of {filling} on a white background", {"thing": thing, "filling": filling}
