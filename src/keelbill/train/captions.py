"""Turns a scene into the sentences people would type for it. Knows words and grammar, not pixels."""

from __future__ import annotations

import random

from keelbill.train.backgrounds import Background
from keelbill.train.concepts import Concept, by_name, with_article
from keelbill.train.scenes import Item, Scene

COUNT = 8
_OTHER_WORDS = {"gray": ("grey", 0.35), "teal": ("turquoise", 0.3), "purple": ("violet", 0.1)}
_STYLES = {
    "3d": ("{}, 3d render", "3d render of {}", "a 3d icon of {}", "{}, glossy 3d style", "a 3d illustration of {}")
}
_OPENINGS = ("a picture of {}", "an image of {}", "{}, centered", "a simple picture of {}")
_STYLE_WORDS = {"3d": ("3d render", "3d icon", "glossy 3d")}


def captions(scene: Scene) -> list[str]:
    """Return different true sentences for one scene, the plainest full one first.

    Args:
        scene: What is in the picture.

    Returns:
        Up to `COUNT` captions without duplicates; the same scene gives the same list.
    """
    rng = random.Random(scene.seed)
    found = [full_caption(scene)] + [caption(scene, rng) for _ in range(COUNT - 1)]
    return list(dict.fromkeys(found))


def full_caption(scene: Scene) -> str:
    """Return the plain sentence that tells everything but the style."""
    names = [_phrase(item) for item in scene.items]
    return f"{_joined(scene, names, None)} on {with_article(scene.background.colour)} background"


def caption(scene: Scene, rng: random.Random) -> str:
    """Draw one caption; parts are left out at random, so that short prompts are learned too."""
    if rng.random() < 0.1:
        return _keywords(scene, rng)
    bare = scene.layout == "single" and rng.random() < 0.12
    phrases = [_varied(item, rng, article=not bare) for item in scene.items]
    text = _joined(scene, phrases, rng)
    drop = rng.random()
    if drop < 0.72:
        text = _with_background(text, scene.background, rng)
    chance = rng.random()
    if chance < 0.33:
        text = rng.choice(_STYLES[scene.style]).format(text)
    elif chance < 0.42 and not bare:
        text = rng.choice(_OPENINGS).format(text)
    return text


def _phrase(item: Item) -> str:
    noun = item.concept
    colour = item.colour or item.natural
    words = noun if colour in noun.split() else f"{colour} {noun}".strip()
    return with_article(words) if by_name()[noun].countable else words


def _varied(item: Item, rng: random.Random, *, article: bool = True) -> str:
    noun, countable = _noun(by_name()[item.concept], rng)
    colour = _colour(item, noun, rng)
    words = f"{colour} {noun}".strip()
    return with_article(words) if article and countable else words


def _noun(concept: Concept, rng: random.Random) -> tuple[str, bool]:
    if concept.synonyms and rng.random() < 0.25:
        synonym = rng.choice(concept.synonyms)
        return synonym, concept.countable or " of " in synonym
    return concept.name, concept.countable


def _colour(item: Item, noun: str, rng: random.Random) -> str:
    colour = item.colour or (item.natural if rng.random() < 0.5 else "")
    if colour in noun.split():
        return ""
    other, share = _OTHER_WORDS.get(colour, ("", 0.0))
    return other if rng.random() < share else colour


def _joined(scene: Scene, phrases: list[str], rng: random.Random | None) -> str:
    if scene.layout != "pair":
        return phrases[0]
    a, b = phrases
    forms = {
        "left": (f"{a} to the left of {b}", f"{b} to the right of {a}", f"{a} on the left and {b} on the right"),
        "above": (f"{a} above {b}", f"{b} below {a}", f"{a} over {b}", f"{b} under {a}"),
        "next": (f"{a} and {b}", f"{a} next to {b}", f"{a} beside {b}", f"{a} with {b}"),
    }[scene.relation]
    if rng is None:
        return forms[0]
    return rng.choice((*forms, f"{a} and {b}")) if rng.random() < 0.85 else f"{b} and {a}"


def _with_background(text: str, background: Background, rng: random.Random) -> str:
    colour = background.colour
    a_colour = with_article(colour)
    forms = [f"{text} on {a_colour} background"] * 3 + [f"{text}, {colour} background"]
    if colour != "dark":
        forms.append(f"{text} on {colour}")
    if background.kind == "studio":
        forms += [
            f"{text} on a soft {colour} background",
            f"{text} in {a_colour} studio",
            f"{text} on {a_colour} floor",
            f"{text}, studio light, {colour} backdrop",
        ]
    else:
        forms += [f"{text} on a plain {colour} background", f"{text} against {a_colour} background"]
    return rng.choice(forms)


def _keywords(scene: Scene, rng: random.Random) -> str:
    parts = [_varied(item, rng, article=False) for item in scene.items]
    if rng.random() < 0.6:
        parts.append(f"{scene.background.colour} background")
    if rng.random() < 0.6:
        parts.append(rng.choice(_STYLE_WORDS[scene.style]))
    return ", ".join(parts)
