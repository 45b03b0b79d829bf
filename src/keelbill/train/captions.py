"""Turns a scene into the sentences people would type for it. Knows words and grammar, not pixels."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from keelbill.train.backgrounds import Background
from keelbill.train.concepts import Concept, by_name, plural, with_article
from keelbill.train.landscapes import PLACES
from keelbill.train.lettering import Lettering
from keelbill.train.scenes import Item, Scene

COUNT = 8
NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
_OTHER_WORDS = {"gray": ("grey", 0.35), "teal": ("turquoise", 0.3), "purple": ("violet", 0.1)}
_ADJECTIVES = {
    "gold": ("golden", "gold"),
    "copper": ("copper", "bronze"),
    "wood": ("wooden",),
    "rainbow": ("rainbow", "rainbow colored"),
}
_SUFFIXES = {"galaxy": "with a galaxy texture", "rainbow": "in rainbow colors", "grass": "covered in grass"}
_STYLES = {
    "3d": ("{}, 3d render", "3d render of {}", "a 3d icon of {}", "{}, glossy 3d style", "a 3d illustration of {}"),
    "flat": ("flat vector illustration of {}", "{}, flat design", "{}, vector art", "a flat icon of {}"),
    "cartoon": ("a cartoon of {}", "{}, cartoon style", "cartoon drawing of {}", "{}, cartoon"),
    "sticker": ("a sticker of {}", "{}, sticker", "{}, simple emoji style", "an emoji of {}"),
}
_STYLE_SHARE = {"3d": 0.33}
_STYLE_WORDS = {
    "3d": ("3d render", "3d icon", "glossy 3d"),
    "flat": ("flat design", "vector art"),
    "cartoon": ("cartoon",),
    "sticker": ("sticker", "emoji"),
}
# {t} text, {i} ink, {b} board, {ab} board with its article.
_WRITTEN = {
    "sign": (
        '{ab} sign that says "{t}"', '{ab} sign with the text "{t}" in {i} letters', 'a sign reading "{t}"',
        '{ab} sign with "{t}" written on it', 'a sign that says "{t}"',
    ),
    "plain": (
        'the word "{t}" in {i} letters', '{i} letters that say "{t}"', 'the text "{t}"', '{i} lettering "{t}"',
        'the word "{t}"',
    ),
    "neon": ('{ai} neon sign that says "{t}"', 'a neon sign reading "{t}"', '"{t}" in {i} neon letters'),
    "banner": ('{ab} banner that says "{t}"', '{ab} ribbon with the text "{t}"', 'a banner reading "{t}"'),
    "bubble": ('a speech bubble that says "{t}"', 'a speech bubble with the text "{t}" in {i} letters'),
}  # fmt: skip
_OPENINGS = ("a picture of {}", "an image of {}", "{}, centered", "a simple picture of {}")


@dataclass(frozen=True)
class _Phrase:
    """The words for one kind of thing, before they are put together."""

    noun: str
    countable: bool
    adjective: str = ""
    suffix: str = ""

    def text(self, count: int = 1, *, article: bool = True) -> str:
        noun = plural(self.noun) if count > 1 else self.noun
        words = " ".join(word for word in (self.adjective, noun, self.suffix) if word)
        if count > 1:
            return f"{NUMBERS[count]} {words}"
        return with_article(words) if article and self.countable else words


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
    """Return the plain sentence that tells everything; the style only when it is not the usual one."""
    text = _joined(scene, [_phrase(item, None) for item in scene.items], None)
    if scene.lettering and scene.lettering.carrier == "neon":
        return text
    text = _with_background(text, scene.background, None)
    return text if scene.style == "3d" else _STYLES[scene.style][0].format(text)


def caption(scene: Scene, rng: random.Random) -> str:
    """Draw one caption; parts are left out at random, so that short prompts are learned too."""
    if scene.lettering:
        text = _joined(scene, [], rng)
        hidden = scene.lettering.carrier == "neon"
        return text if hidden or rng.random() < 0.4 else _with_background(text, scene.background, rng)
    if rng.random() < 0.1:
        return _keywords(scene, rng)
    bare = scene.layout == "single" and rng.random() < 0.12
    text = _joined(scene, [_phrase(item, rng) for item in scene.items], rng, article=not bare)
    if rng.random() < 0.72:
        text = _with_background(text, scene.background, rng)
    chance, share = rng.random(), _STYLE_SHARE.get(scene.style, 0.9)
    if chance < share:
        return rng.choice(_STYLES[scene.style]).format(text)
    if chance < share + 0.09 and not bare:
        return rng.choice(_OPENINGS).format(text)
    return text


def _phrase(item: Item, rng: random.Random | None) -> _Phrase:
    """Choose words for an item; without chance, the plainest ones."""
    noun, countable = _noun(by_name()[item.concept], rng)
    phrase = _Phrase(noun, countable)
    treatment = item.treatment
    if treatment.made_of:
        return _made_of(phrase, treatment.made_of, treatment.dye, rng)
    if treatment.material:
        return _of_material(phrase, treatment.material, rng)
    return replace(phrase, adjective=_colour(item, noun, rng))


def _noun(concept: Concept, rng: random.Random | None) -> tuple[str, bool]:
    if rng and concept.synonyms and rng.random() < 0.25:
        synonym = rng.choice(concept.synonyms)
        return synonym, concept.countable or " of " in synonym
    return concept.name, concept.countable


def _colour(item: Item, noun: str, rng: random.Random | None) -> str:
    colour = item.colour or (item.natural if rng is None or rng.random() < 0.5 else "")
    if colour in noun.split():
        return ""
    other, share = _OTHER_WORDS.get(colour, ("", 0.0))
    return other if rng and rng.random() < share else colour


def _made_of(phrase: _Phrase, filling: str, dye: str, rng: random.Random | None) -> _Phrase:
    verb = rng.choice(("made of", "made of", "made of", "made out of", "built from")) if rng else "made of"
    if dye and rng and rng.random() < 0.25:
        return replace(phrase, suffix=f"{verb} {dye} {filling}")
    return replace(phrase, adjective=dye, suffix=f"{verb} {filling}")


def _of_material(phrase: _Phrase, material: str, rng: random.Random | None) -> _Phrase:
    if rng and rng.random() < 0.4:
        return replace(phrase, suffix=_SUFFIXES.get(material, f"made of {material}"))
    adjectives = _ADJECTIVES.get(material, (material,))
    return replace(phrase, adjective=rng.choice(adjectives) if rng else adjectives[0])


def _joined(scene: Scene, phrases: list[_Phrase], rng: random.Random | None, *, article: bool = True) -> str:
    if scene.lettering:
        return _written(scene.lettering, rng)
    if scene.layout == "count":
        return phrases[0].text(len(phrases))
    if scene.layout != "pair":
        return phrases[0].text(article=article)
    a, b = (phrase.text() for phrase in phrases)
    forms = {
        "left": (f"{a} to the left of {b}", f"{b} to the right of {a}", f"{a} on the left and {b} on the right"),
        "above": (f"{a} above {b}", f"{b} below {a}", f"{a} over {b}", f"{b} under {a}"),
        "behind": (f"{b} in front of {a}", f"{a} behind {b}"),
        "next": (f"{a} and {b}", f"{a} next to {b}", f"{a} beside {b}", f"{a} with {b}"),
    }[scene.relation]
    if rng is None:
        return forms[0]
    return rng.choice((*forms, f"{a} and {b}")) if rng.random() < 0.85 else f"{b} and {a}"


def _written(lettering: Lettering, rng: random.Random | None) -> str:
    forms = _WRITTEN[lettering.carrier]
    ink, board = lettering.ink, lettering.board
    return (rng.choice(forms) if rng else forms[0]).format(
        t=lettering.text, i=ink, ai=with_article(ink), b=board, ab=with_article(board) if board else ""
    )


def _with_background(text: str, background: Background, rng: random.Random | None) -> str:
    if background.kind in PLACES:
        phrases = PLACES[background.kind][0]
        return f"{text} {rng.choice(phrases) if rng else phrases[0]}"
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
    return rng.choice(forms) if rng else forms[0]


def _keywords(scene: Scene, rng: random.Random) -> str:
    if scene.layout == "count":
        parts = [_phrase(scene.items[0], rng).text(len(scene.items))]
    else:
        parts = [part for item in scene.items for part in _key_parts(_phrase(item, rng), rng)]
    if rng.random() < 0.6:
        place = scene.background.kind if scene.background.kind in PLACES else f"{scene.background.colour} background"
        parts.append(place)
    if rng.random() < (0.6 if scene.style == "3d" else 0.95):
        parts.append(rng.choice(_STYLE_WORDS[scene.style]))
    return ", ".join(parts)


def _key_parts(phrase: _Phrase, rng: random.Random) -> list[str]:
    if phrase.suffix and rng.random() < 0.4:
        return [replace(phrase, suffix="").text(article=False), phrase.suffix.split(" ", 2)[-1].removeprefix("of ")]
    return [phrase.text(article=False)]
