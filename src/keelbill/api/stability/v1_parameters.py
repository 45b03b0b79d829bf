"""What the v1 routes take: engines, prompts with weights, sizes, samplers. Knows neither HTTP nor jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keelbill.api.stability.fields import Choice, Integer, Number, Parameter, Text, Values, read_form, read_json
from keelbill.core.errors import InvalidRequest
from keelbill.core.sizes import MEGAPIXEL, scaled_to
from keelbill.core.types import Size
from keelbill.prompting.presets import PRESETS

MAX_V1_SEED = 2**32 - 1
MAX_UPSCALED_PIXELS = 4_194_304


class V1Invalid(InvalidRequest):
    """A v1 request that cannot be used, with v1's own name for the first problem.

    Args:
        code: Such as ``invalid_prompts``.
        problems: One sentence each.
    """

    def __init__(self, code: str, *problems: str) -> None:
        super().__init__(*problems)
        self.code = code


@dataclass(frozen=True)
class V1Engine:
    """An engine by the name that v1 clients send; whichever model is installed stands for it.

    Attributes:
        id: Of the path.
        name: For people.
        description: For people.
        least_pixels: Width times height of a picture.
        most_pixels: Likewise.
    """

    id: str
    name: str
    description: str
    least_pixels: int = 65_536
    most_pixels: int = MEGAPIXEL

    def check_pixels(self, size: Size) -> str:
        """Return what is wrong with the number of pixels, or "" if nothing is."""
        pixels = size.width * size.height
        if self.least_pixels <= pixels <= self.most_pixels:
            return ""
        span = f"from {self.least_pixels:,} to {self.most_pixels:,} pixels"
        return f"height and width: must make {span} for {self.id}, not {size} = {pixels:,}"


V1_ENGINES: dict[str, V1Engine] = {
    engine.id: engine
    for engine in (
        V1Engine("stable-diffusion-v1-5", "Stable Diffusion v1.5", "Answered by this server's default model."),
        V1Engine("stable-diffusion-v1-6", "Stable Diffusion v1.6", "Answered by this server's default model."),
        V1Engine(
            "stable-diffusion-xl-1024-v1-0",
            "Stable Diffusion XL v1.0",
            "Answered by this server's default model.",
            least_pixels=262_144,
        ),
        V1Engine("stable-inpainting-512-v2-0", "Stable Inpainting v2.0", "Answered by this server's default model."),
        V1Engine("esrgan-v1-x2plus", "Real-ESRGAN x2", "Answered by this server's upscaler."),
    )
}

# The engine's name of each sampler; "" leaves the choice to the model. DDPM adds noise in each step, as the ancestral
# form of Euler's method does.
SAMPLERS: dict[str, str] = {
    "DDIM": "ddim",
    "DDPM": "euler_ancestral",
    "K_DPMPP_2M": "dpmpp_2m",
    "K_DPMPP_2S_ANCESTRAL": "dpmpp_2s_ancestral",
    "K_DPM_2": "dpm_2",
    "K_DPM_2_ANCESTRAL": "dpm_2_ancestral",
    "K_EULER": "euler",
    "K_EULER_ANCESTRAL": "euler_ancestral",
    "K_HEUN": "heun",
    "K_LMS": "lms",
}

_GUIDANCE = ("NONE", "FAST_BLUE", "FAST_GREEN", "SIMPLE", "SLOW", "SLOWER", "SLOWEST")

_SHARED: tuple[Parameter, ...] = (
    Number("cfg_scale", "How closely the prompt is followed; the model's own if absent.", least=0, most=35),
    Choice("sampler", "How noise becomes a picture; the model's own if absent.", allowed=tuple(SAMPLERS)),
    Integer("samples", "How many pictures; each costs.", least=1, most=10, default=1),
    Integer("seed", "Decides the noise; 0 picks one at random.", least=0, most=MAX_V1_SEED, default=0),
    Integer("steps", "The model's own number if absent; above 30 they cost more.", least=10, most=150),
    Choice("clip_guidance_preset", "Accepted, without effect.", allowed=_GUIDANCE, default="NONE"),
    Choice("style_preset", "A style that is put around the prompt.", allowed=PRESETS),
)
TEXT_TO_IMAGE: tuple[Parameter, ...] = (
    Integer("height", "In pixels.", least=128, most=4096, default=512, multiple=64),
    Integer("width", "In pixels.", least=128, most=4096, default=512, multiple=64),
    *_SHARED,
)
IMAGE_TO_IMAGE: tuple[Parameter, ...] = (
    Choice(
        "init_image_mode",
        "How the strength is given.",
        allowed=("IMAGE_STRENGTH", "STEP_SCHEDULE"),
        default="IMAGE_STRENGTH",
    ),
    Number("image_strength", "How much of the image is kept.", default=0.35),
    Number("step_schedule_start", "Part of the steps that are painted.", default=0.65),
    Number("step_schedule_end", "Accepted, without effect."),
    *_SHARED,
)
MASKING: tuple[Parameter, ...] = (
    Choice(
        "mask_source",
        "Which pixels are painted anew.",
        required=True,
        allowed=("MASK_IMAGE_WHITE", "MASK_IMAGE_BLACK", "INIT_IMAGE_ALPHA"),
    ),
    *_SHARED,
)
UPSCALE: tuple[Parameter, ...] = (
    Integer("width", "Of the finished picture, in pixels; give this or height.", least=512, most=4096),
    Integer("height", "Likewise.", least=512, most=4096),
)

_CODES = {
    "samples": "invalid_samples",
    "height": "invalid_height_or_width",
    "width": "invalid_height_or_width",
    "text_prompts": "invalid_prompts",
    "height and width": "invalid_pixel_count",
    "mask_image": "invalid_mask_image",
}


def refuse(problems: Sequence[str]) -> None:
    """End a request that has problems.

    Raises:
        V1Invalid: There are some; its code is that of the first.
    """
    if problems:
        raise V1Invalid(_CODES.get(problems[0].partition(":")[0], "bad_request"), *problems)


@dataclass
class Prompts:
    """The weighted texts of a request.

    Attributes:
        positive: What to paint.
        negative: What to avoid: the texts with a weight below 0.
    """

    positive: list[str] = field(default_factory=list)
    negative: list[str] = field(default_factory=list)

    @property
    def prompt(self) -> str:
        """What to paint, as one text."""
        return ", ".join(self.positive)

    @property
    def negative_prompt(self) -> str:
        """What to avoid, as one text."""
        return ", ".join(self.negative)


_TEXT = Text("text", required=True, least=1, most=2000)
_WEIGHT = Number("weight", "Below 0 means that the text says what to avoid.", least=-100, most=100, default=1)
PROMPT_PARAMETERS: tuple[Parameter, ...] = (_TEXT, _WEIGHT)
_PROMPT_FIELD = re.compile(r"text_prompts\[([0-9]{1,6})\]\[(text|weight)\]")


def prompts_from_json(value: object) -> tuple[Prompts, list[str]]:
    """Read the ``text_prompts`` of a JSON body.

    Returns:
        The prompts, and a sentence for each problem.
    """
    if value is None:
        return Prompts(), ["text_prompts: required"]
    if not isinstance(value, list):
        return Prompts(), ["text_prompts: must be a list of objects with text and weight"]
    prompts, problems = Prompts(), []
    for index, item in enumerate(value):
        if isinstance(item, dict):
            values, found = read_json(PROMPT_PARAMETERS, item)
            problems += _add(prompts, values, found, index)
        else:
            problems.append(f"text_prompts: item {index} must be an object with text and weight")
    return prompts, problems or _without_text(prompts)


def prompts_from_form(fields: Mapping[str, str]) -> tuple[Prompts, list[str]]:
    """Read fields such as ``text_prompts[0][text]``; their numbers need not be consecutive.

    Returns:
        The prompts, and a sentence for each problem.
    """
    items: dict[int, dict[str, str]] = {}
    for name, text in fields.items():
        if found := _PROMPT_FIELD.fullmatch(name):
            items.setdefault(int(found[1]), {})[found[2]] = text
    if not items:
        return Prompts(), ["text_prompts: required"]
    prompts, problems = Prompts(), []
    for index in sorted(items):
        values, found_problems = read_form(PROMPT_PARAMETERS, items[index])
        problems += _add(prompts, values, found_problems, index)
    return prompts, problems or _without_text(prompts)


def _add(prompts: Prompts, values: Values, problems: Sequence[str], index: int) -> list[str]:
    if problems:
        return [f"text_prompts: item {index}, {problem}" for problem in problems]
    weight = values.number("weight")
    if weight:
        (prompts.positive if weight > 0 else prompts.negative).append(values.text("text"))
    return []


def _without_text(prompts: Prompts) -> list[str]:
    return [] if prompts.positive else ["text_prompts: at least one must have a weight above 0"]


def strength_of(values: Values) -> float:
    """Return how much of an image is painted anew; v1 says how much is kept, or from where on steps are made."""
    if values.text("init_image_mode") == "STEP_SCHEDULE":
        return values.number("step_schedule_start") or 0.0
    return round(1 - (values.number("image_strength") or 0.0), 9)


def repainted_size(size: Size) -> Size:
    """Return the size of a picture that is made from an input: the input's, within a megapixel, in steps of 64."""
    return scaled_to(size, min(MEGAPIXEL, size.width * size.height), step=64)


def upscaled_size(values: Values, size: Size) -> Size:
    """Return the size of an upscaled picture.

    Args:
        values: Of the request.
        size: Of the input.

    Raises:
        V1Invalid: Both sides are given, or the result would be too large or smaller than the input.
    """
    width, height = values.integer("width"), values.integer("height")
    if width and height:
        raise V1Invalid("invalid_height_or_width", "width: only one of width and height may be given")
    if width:
        wanted = Size(width, max(1, round(size.height * width / size.width)))
    elif height:
        wanted = Size(max(1, round(size.width * height / size.height)), height)
    else:
        wanted = Size(2 * size.width, 2 * size.height)
    if wanted.width < size.width or wanted.height < size.height:
        raise V1Invalid("invalid_height_or_width", f"width: must not make the picture smaller than {size}")
    if wanted.width * wanted.height > MAX_UPSCALED_PIXELS:
        raise V1Invalid(
            "invalid_pixel_count",
            f"height and width: must make at most {MAX_UPSCALED_PIXELS:,} pixels, not {wanted}",
        )
    return wanted
