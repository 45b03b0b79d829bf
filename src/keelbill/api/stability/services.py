"""The v2beta services as data: what each takes, how its pictures are bounded, what it costs and which task it becomes.

Knows neither HTTP nor who asks.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import msgspec

from keelbill.api.stability.fields import MAX_SEED, Choice, Flag, Integer, Number, Parameter, Text, Values
from keelbill.api.stability.sizes import (
    CREATIVE_IMAGE,
    CUTOUT_IMAGE,
    EDIT_IMAGE,
    FAST_IMAGE,
    MASK,
    SD3_IMAGE,
    SHAPED_IMAGE,
    ULTRA_IMAGE,
    PictureLimits,
)
from keelbill.core.principal import Scope
from keelbill.core.sizes import MEGAPIXEL, RATIOS, core_size, published_size, scaled_to
from keelbill.core.types import Size
from keelbill.prompting.presets import PRESETS, apply_preset
from keelbill.serving.messages import ImageTask, Kind
from keelbill.storage.published import DEFAULT_MODEL, MISSING, PUBLIC_MODELS

OutputFormat = Literal["png", "jpeg", "webp"]


@dataclass(frozen=True)
class Picture:
    """An input picture that was checked and stored.

    Attributes:
        ref: In the blob store.
        size: Width and height, upright.
        has_alpha: Whether it carries transparency.
    """

    ref: str
    size: Size
    has_alpha: bool = False


@dataclass(frozen=True)
class PictureField:
    """A file that a service takes.

    Attributes:
        name: Of the form field.
        limits: Bounds of its size.
        required: Whether the request is refused without it.
        about: One sentence for the documentation.
    """

    name: str
    limits: PictureLimits
    required: bool = False
    about: str = "PNG, JPEG or WebP."


Rules = Callable[[Values, Collection[str]], list[str]]
Ignores = Callable[[Mapping[str, str]], Collection[str]]
Build = Callable[[Values, Mapping[str, Picture]], ImageTask]


def _ignores_nothing(fields: Mapping[str, str]) -> Collection[str]:
    del fields
    return ()


def _no_rules(values: Values, pictures: Collection[str]) -> list[str]:
    del values, pictures
    return []


@dataclass(frozen=True)
class Service:
    """One route below ``/v2beta/stable-image``.

    Attributes:
        path: Behind that prefix.
        title: For the documentation.
        item: Of the price list; "" where the model's name is the item.
        scope: That the credential must carry.
        parameters: The text fields.
        pictures: The files.
        build: Makes the task; nothing where this installation lacks the network.
        rules: Finds problems between fields; gets the names of the pictures that were sent.
        ignores: Names the fields that do not count beside the others, whatever is in them.
        missing: What this installation lacks, one sentence, "" if nothing.
        is_async: Whether the answer is an id to poll.
        is_masked: Whether a mask, or else the image's transparency, says what is painted anew.
    """

    path: str
    title: str
    item: str
    scope: Scope
    parameters: tuple[Parameter, ...]
    pictures: tuple[PictureField, ...] = ()
    build: Build | None = None
    rules: Rules = _no_rules
    ignores: Ignores = _ignores_nothing
    missing: str = ""
    is_async: bool = False
    is_masked: bool = False

    def price_item(self, values: Values) -> str:
        """Return the item of the price list that a request costs."""
        return self.item or values.text("model")


PROMPT = Text("prompt", "What to paint.", required=True, least=1)
OPTIONAL_PROMPT = Text("prompt", "What to paint.", least=1)
NEGATIVE = Text("negative_prompt", "What to avoid.")
SEED = Integer("seed", "Decides the noise; 0 picks one at random.", default=0, most=MAX_SEED)
FORMAT = Choice("output_format", "Format of the answer's picture.", allowed=("png", "jpeg", "webp"), default="png")
CUTOUT_FORMAT = Choice("output_format", "Format of the answer's picture.", allowed=("png", "webp"), default="png")
STYLE = Choice("style_preset", "A style that is put around the prompt.", allowed=PRESETS)
RATIO = Choice("aspect_ratio", "Shape of the picture.", allowed=RATIOS, default="1:1")
STRENGTH = Number("strength", "How much of the image is painted anew: 0 keeps it, 1 ignores it.")
CONTROL = Number("control_strength", "How closely the image is followed.", default=0.7)
SEARCH_GROW = Integer("grow_mask", "Pixels by which the mask is widened.", most=20, default=3)


def random_seed() -> int:
    """Pick a seed from 1 to 4294967294."""
    return 1 + secrets.randbelow(MAX_SEED)


def task_for(
    values: Values, *, kind: Kind = "generate", size: Size | None = None, picture: Picture | None = None
) -> ImageTask:
    """Make the part of a task that all services share: texts with their style, seed, format, size and image.

    Args:
        values: Of the request.
        kind: What is done.
        size: Of the finished picture, or nothing to leave it to the worker.
        picture: The input picture, if there is one.
    """
    prompt = values.text("prompt")
    styled, negative = apply_preset(prompt, values.text("negative_prompt"), values.text("style_preset"))
    return ImageTask(
        kind=kind,
        prompt=styled,
        negative_prompt=negative,
        recipe_prompt=prompt,
        width=size.width if size else 0,
        height=size.height if size else 0,
        seed=values.integer("seed") or random_seed(),
        output_format=cast(OutputFormat, values.text("output_format") or "png"),
        image=picture.ref if picture else "",
    )


def _sd3_ignores(fields: Mapping[str, str]) -> Collection[str]:
    """An image keeps its shape, and there is nothing to keep without one."""
    return ("aspect_ratio",) if fields.get("mode", "").strip() == "image-to-image" else ("strength",)


def _sd3_rules(values: Values, pictures: Collection[str]) -> list[str]:
    if values.text("mode") == "image-to-image":
        absent = [] if "image" in pictures else ["image: required when mode is image-to-image"]
        return absent if "strength" in values else [*absent, "strength: required when mode is image-to-image"]
    if "image" in pictures:
        return ["image: only allowed when mode is image-to-image"]
    return []


def _sd3(values: Values, pictures: Mapping[str, Picture]) -> ImageTask:
    if values.text("mode") != "image-to-image":
        return task_for(values, size=published_size(values.text("aspect_ratio")))
    return _repaint(values, pictures["image"])


def _repaint(values: Values, picture: Picture) -> ImageTask:
    task = task_for(values, size=scaled_to(picture.size, MEGAPIXEL), picture=picture)
    return msgspec.structs.replace(task, strength=values.number("strength"))


def _ultra_rules(values: Values, pictures: Collection[str]) -> list[str]:
    if "image" in pictures and "strength" not in values:
        return ["strength: required when image is given"]
    if "strength" in values and "image" not in pictures:
        return ["image: required when strength is given"]
    return []


def _ultra(values: Values, pictures: Mapping[str, Picture]) -> ImageTask:
    if "image" in pictures:
        return _repaint(values, pictures["image"])
    return task_for(values, size=published_size(values.text("aspect_ratio")))


def _core(values: Values, pictures: Mapping[str, Picture]) -> ImageTask:
    del pictures
    return task_for(values, size=core_size(values.text("aspect_ratio")))


def _painted_over(kind: Kind) -> Build:
    def build(values: Values, pictures: Mapping[str, Picture]) -> ImageTask:
        image, mask = pictures["image"], pictures.get("mask")
        task = task_for(values, kind=kind, size=image.size, picture=image)
        return msgspec.structs.replace(task, mask=mask.ref if mask else "", grow_mask=values.integer("grow_mask"))

    return build


def _outpaint_rules(values: Values, pictures: Collection[str]) -> list[str]:
    del pictures
    sides = ("left", "right", "up", "down")
    if any(values.integer(side) for side in sides):
        return []
    return ["left: at least one of left, right, up and down must be above 0"]


def _outpaint(values: Values, pictures: Mapping[str, Picture]) -> ImageTask:
    image = pictures["image"]
    left, right, up, down = (values.integer(side) for side in ("left", "right", "up", "down"))
    size = Size(image.size.width + left + right, image.size.height + up + down)
    task = task_for(values, kind="outpaint", size=size, picture=image)
    return msgspec.structs.replace(
        task, left=left, right=right, up=up, down=down, creativity=values.number("creativity")
    )


def _enlarge(values: Values, pictures: Mapping[str, Picture]) -> ImageTask:
    image = pictures["image"]
    size = Size(4 * image.size.width, 4 * image.size.height)
    return task_for(values, kind="enlarge", size=size, picture=image)


def _upscale(values: Values, pictures: Mapping[str, Picture]) -> ImageTask:
    image = pictures["image"]
    task = task_for(values, kind="upscale", size=scaled_to(image.size, 4 * MEGAPIXEL), picture=image)
    return msgspec.structs.replace(task, creativity=values.number("creativity"))


def _relight_rules(values: Values, pictures: Collection[str]) -> list[str]:
    problems = []
    if "background_prompt" not in values and "background_reference" not in pictures:
        problems.append("background_prompt: required unless background_reference is given")
    lit = "light_source_direction" in values or "light_reference" in pictures
    if "light_source_strength" in values and not lit:
        problems.append("light_source_strength: only allowed with light_source_direction or light_reference")
    return problems


def _image(limits: PictureLimits) -> PictureField:
    return PictureField("image", limits, required=True)


_MASK = PictureField("mask", MASK, about="White is changed, black is kept; without it the image's transparency counts.")

SERVICES: tuple[Service, ...] = (
    Service(
        "generate/sd3",
        "Stable Diffusion 3",
        "",
        "generate",
        (
            PROMPT,
            Choice(
                "mode",
                "Whether an image is the starting point.",
                allowed=("text-to-image", "image-to-image"),
                default="text-to-image",
            ),
            STRENGTH,
            RATIO,
            Choice("model", "Decides the price.", allowed=tuple(PUBLIC_MODELS), default=DEFAULT_MODEL),
            SEED,
            FORMAT,
            STYLE,
            NEGATIVE,
            Number("cfg_scale", "How closely the prompt is followed; the model's own if absent.", least=1, most=10),
        ),
        (PictureField("image", SD3_IMAGE, about="Starting point when mode is image-to-image."),),
        _sd3,
        _sd3_rules,
        ignores=_sd3_ignores,
    ),
    Service(
        "generate/ultra",
        "Stable Image Ultra",
        "ultra",
        "generate",
        (PROMPT, NEGATIVE, RATIO, SEED, FORMAT, STYLE, STRENGTH),
        (PictureField("image", ULTRA_IMAGE, about="Starting point; needs strength."),),
        _ultra,
        _ultra_rules,
    ),
    Service(
        "generate/core",
        "Stable Image Core",
        "core",
        "generate",
        (PROMPT, NEGATIVE, RATIO, SEED, FORMAT, STYLE),
        build=_core,
    ),
    Service(
        "edit/erase",
        "Erase",
        "erase",
        "edit",
        (Integer("grow_mask", "Pixels by which the mask is widened.", most=20, default=5), SEED, FORMAT),
        (_image(EDIT_IMAGE), _MASK),
        _painted_over("erase"),
        is_masked=True,
    ),
    Service(
        "edit/inpaint",
        "Inpaint",
        "inpaint",
        "edit",
        (
            PROMPT,
            NEGATIVE,
            Integer("grow_mask", "Pixels by which the mask is widened.", most=100, default=5),
            SEED,
            FORMAT,
            STYLE,
        ),
        (_image(EDIT_IMAGE), _MASK),
        _painted_over("inpaint"),
        is_masked=True,
    ),
    Service(
        "edit/outpaint",
        "Outpaint",
        "outpaint",
        "edit",
        (
            *(Integer(side, "Pixels to add.", most=2000, default=0) for side in ("left", "right", "up", "down")),
            Number("creativity", "How freely the margin is painted.", default=0.5),
            OPTIONAL_PROMPT,
            SEED,
            FORMAT,
            STYLE,
        ),
        (_image(SHAPED_IMAGE),),
        _outpaint,
        _outpaint_rules,
    ),
    Service(
        "edit/search-and-replace",
        "Search and replace",
        "search-and-replace",
        "edit",
        (
            PROMPT,
            Text("search_prompt", "What to replace.", required=True, least=1),
            NEGATIVE,
            SEARCH_GROW,
            SEED,
            FORMAT,
            STYLE,
        ),
        (_image(SHAPED_IMAGE),),
        missing=MISSING["edit/search-and-replace"],
    ),
    Service(
        "edit/search-and-recolor",
        "Search and recolour",
        "search-and-recolor",
        "edit",
        (
            PROMPT,
            Text("select_prompt", "What to recolour.", required=True, least=1),
            NEGATIVE,
            SEARCH_GROW,
            SEED,
            FORMAT,
            STYLE,
        ),
        (_image(SHAPED_IMAGE),),
        missing=MISSING["edit/search-and-recolor"],
    ),
    Service(
        "edit/remove-background",
        "Remove the background",
        "remove-background",
        "edit",
        (CUTOUT_FORMAT,),
        (_image(CUTOUT_IMAGE),),
        missing=MISSING["edit/remove-background"],
    ),
    Service(
        "edit/replace-background-and-relight",
        "Replace the background and relight",
        "replace-background-and-relight",
        "edit",
        (
            Text("background_prompt", "What the background shows.", least=1),
            Text("foreground_prompt", "What the subject is.", least=1),
            NEGATIVE,
            Number("preserve_original_subject", "How much of the subject stays as it is.", default=0.6),
            Number("original_background_depth", "How much of the old depth is kept.", default=0.5),
            Flag("keep_original_background", "Whether only the light changes."),
            Choice(
                "light_source_direction", "Where the light comes from.", allowed=("left", "right", "above", "below")
            ),
            Number("light_source_strength", "How strong the light is.", default=0.3),
            SEED,
            FORMAT,
        ),
        (
            PictureField("subject_image", SHAPED_IMAGE, required=True),
            PictureField("background_reference", SHAPED_IMAGE),
            PictureField("light_reference", SHAPED_IMAGE),
        ),
        rules=_relight_rules,
        missing=MISSING["edit/replace-background-and-relight"],
        is_async=True,
    ),
    Service(
        "control/sketch",
        "Sketch",
        "sketch",
        "edit",
        (PROMPT, CONTROL, NEGATIVE, SEED, FORMAT, STYLE),
        (_image(SHAPED_IMAGE),),
        missing=MISSING["control/sketch"],
    ),
    Service(
        "control/structure",
        "Structure",
        "structure",
        "edit",
        (PROMPT, CONTROL, NEGATIVE, SEED, FORMAT, STYLE),
        (_image(SHAPED_IMAGE),),
        missing=MISSING["control/structure"],
    ),
    Service(
        "control/style",
        "Style",
        "style",
        "edit",
        (
            PROMPT,
            RATIO,
            Number("fidelity", "How closely the style is followed.", default=0.5),
            NEGATIVE,
            SEED,
            FORMAT,
            STYLE,
        ),
        (_image(SHAPED_IMAGE),),
        missing=MISSING["control/style"],
    ),
    Service(
        "control/style-transfer",
        "Style transfer",
        "style-transfer",
        "edit",
        (
            OPTIONAL_PROMPT,
            NEGATIVE,
            Number("style_strength", "How strong the style is.", default=1),
            Number("composition_fidelity", "How much of the composition stays.", default=0.9),
            Number("change_strength", "How much may change.", least=0.1, default=0.9),
            SEED,
            FORMAT,
        ),
        (
            PictureField("init_image", SHAPED_IMAGE, required=True),
            PictureField("style_image", SHAPED_IMAGE, required=True),
        ),
        missing=MISSING["control/style-transfer"],
    ),
    Service(
        "upscale/fast",
        "Fast upscale",
        "upscale-fast",
        "upscale",
        (FORMAT,),
        (_image(FAST_IMAGE),),
        _enlarge,
    ),
    Service(
        "upscale/conservative",
        "Conservative upscale",
        "upscale-conservative",
        "upscale",
        (
            PROMPT,
            NEGATIVE,
            SEED,
            FORMAT,
            Number("creativity", "How much detail is painted anew.", least=0.2, most=0.5, default=0.35),
        ),
        (_image(SHAPED_IMAGE),),
        _upscale,
    ),
    Service(
        "upscale/creative",
        "Creative upscale",
        "upscale-creative",
        "upscale",
        (
            PROMPT,
            NEGATIVE,
            SEED,
            FORMAT,
            Number("creativity", "How much detail is painted anew.", least=0.1, most=0.5, default=0.3),
            STYLE,
        ),
        (_image(CREATIVE_IMAGE),),
        _upscale,
        is_async=True,
    ),
)
