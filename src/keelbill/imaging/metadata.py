"""The recipe that a picture carries: what made it, so that it can be made again. Knows no paths, keys or accounts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from keelbill.core.errors import AppError
from keelbill.core.types import MAX_SEED, MAX_SIDE
from keelbill.imaging.decode import MAX_BYTES, ImageFormat, open_header, sniff

KEY: Final = "keelbill"
FORMAT: Final = 1
MAX_RECIPE_BYTES: Final = 256 * 1024
MAX_EXIF_BYTES: Final = 65_500  # one JPEG segment holds 65,533 bytes, its marker included
MAX_STEPS: Final = 1000
MAX_PICTURE_SIDE: Final = 16_384  # of enlarged pictures; a model paints at most MAX_SIDE
_UNICODE = b"UNICODE\x00"


class BadRecipe(AppError):
    """A picture carries a recipe that cannot be read."""

    code = "bad_recipe"
    status = 400


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a picture's pixels, and what they were made with.

    Args:
        prompt: What was asked for.
        model: Name of the model; never a path.
        seed: 0 to 2**64 - 1.
        width: In pixels.
        height: In pixels.
        steps: Denoising steps, 1 to 1000.
        negative: What was not wanted.
        model_hash: SHA-256 of the weights, hexadecimal.
        index: Place of the picture among those of the same seed, from 0.
        cfg: Guidance scale.
        sampler: Name of the sampler.
        schedule: Name of the noise schedule.
        shift: Schedule shift.
        strength: How much of a given image was replaced, 0 to 1; 1 if there was none.
        image_hash: SHA-256 of the given image's file; empty if there was none.
        mask_hash: SHA-256 of the given mask's file; empty if there was none.
        device: Class of device, such as ``cpu`` or ``cuda``.
        dtype: Precision of the network, such as ``bfloat16``.
        versions: Versions of the libraries that decide pixels.
        engine: Name and version of the program.
        kind: What was done, such as ``inpaint``; empty for a whole picture.
        painted_prompt: What the model read, if that was another text: with a style's words.
        painted_width: In pixels, if the model painted at another size; 0 if not.
        painted_height: Likewise.
        enlarger: Name of the network that enlarged what was painted; empty if none did.
    """

    prompt: str
    model: str
    seed: int
    width: int
    height: int
    steps: int
    negative: str = ""
    model_hash: str = ""
    index: int = 0
    cfg: float = 1.0
    sampler: str = "euler"
    schedule: str = "reference"
    shift: float = 1.0
    strength: float = 1.0
    image_hash: str = ""
    mask_hash: str = ""
    device: str = ""
    dtype: str = ""
    versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    engine: str = ""
    kind: str = ""
    painted_prompt: str = ""
    painted_width: int = 0
    painted_height: int = 0
    enlarger: str = ""

    def to_json(self) -> str:
        """Write the recipe as one line of ASCII JSON."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["versions"] = dict(self.versions)
        return json.dumps({"format": FORMAT, **values}, ensure_ascii=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read a recipe strictly: known fields must have their type and range; unknown fields are passed over.

        Raises:
            BadRecipe: The text is too long, no JSON object, of a newer format, or has a missing or wrong field.
        """
        if len(text) > MAX_RECIPE_BYTES:
            raise BadRecipe(f"The recipe is longer than the {MAX_RECIPE_BYTES:,} characters that are allowed.")
        try:
            values = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise BadRecipe("The recipe is not valid JSON.") from error
        if not isinstance(values, dict):
            raise BadRecipe("The recipe is not a JSON object.")
        if values.get("format") != FORMAT:
            raise BadRecipe(f"The recipe has format {values.get('format')!r}; this version reads format {FORMAT}.")
        checked: dict[str, Any] = {name: _checked(name, values[name]) for name in _KNOWN if _present(name, values)}
        return cls(**checked)

    def to_text(self) -> str:
        """Write the recipe for people, in the `parameters` form that other programs read too."""
        lines = [_printable(self.prompt)]
        if self.negative:
            lines.append(f"Negative prompt: {_printable(self.negative)}")
        facts = {
            "Steps": self.steps,
            "Sampler": self.sampler,
            "Schedule type": self.schedule,
            "CFG scale": f"{self.cfg:g}",
            "Shift": f"{self.shift:g}",
            "Seed": self.seed,
            "Batch index": self.index or None,
            "Size": f"{self.width}x{self.height}",
            "Model hash": self.model_hash[:10],
            "Model": self.model,
            "Denoising strength": f"{self.strength:g}" if self.image_hash else None,
            "Version": self.engine,
        }
        lines.append(", ".join(f"{name}: {value}" for name, value in facts.items() if value not in (None, "")))
        return "\n".join(lines)


_REQUIRED: Final = frozenset({"prompt", "model", "seed", "width", "height", "steps"})
_INTEGERS: Final = {
    "seed": (0, MAX_SEED),
    "width": (1, MAX_PICTURE_SIDE),
    "height": (1, MAX_PICTURE_SIDE),
    "painted_width": (0, MAX_SIDE),
    "painted_height": (0, MAX_SIDE),
    "steps": (1, MAX_STEPS),
    "index": (0, 2**32),
}
_NUMBERS: Final = {"cfg": (0.0, 1000.0), "shift": (0.0, 1000.0), "strength": (0.0, 1.0)}
_KNOWN: Final = tuple(item.name for item in fields(Recipe))


def png_info(recipe: Recipe) -> PngInfo:
    """Put a recipe into PNG text chunks: `keelbill` for programs, `parameters` for people."""
    info = PngInfo()
    info.add_text(KEY, recipe.to_json())
    info.add_text("parameters", recipe.to_text())
    return info


def exif_bytes(recipe: Recipe, *, max_bytes: int | None = None) -> bytes:
    """Put a recipe into an EXIF block: image description for programs, user comment for people.

    Args:
        recipe: What to write.
        max_bytes: Longest block, or no bound. The text for people is left out if it does not fit.

    Raises:
        BadRecipe: Even the short form is longer than `max_bytes`.
    """
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = f"{KEY}:{recipe.to_json()}"
    exif[ExifTags.Base.Software] = recipe.engine.encode("ascii", "replace").decode()
    short = exif.tobytes()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _UNICODE + recipe.to_text().encode("utf-16-be")
    full = exif.tobytes()
    if max_bytes is None or len(full) <= max_bytes:
        return full
    if len(short) <= max_bytes:
        return short
    raise BadRecipe(
        f"The recipe takes {len(short):,} bytes and a JPEG file holds {max_bytes:,}; "
        "use png or webp, or a shorter prompt."
    )


def read(data: bytes, *, field: str = "image", max_bytes: int = MAX_BYTES) -> Recipe | None:
    """Read the recipe that a PNG, JPEG or WebP picture carries, without decoding its pixels.

    Returns:
        The recipe, or nothing if the picture carries none.

    Raises:
        BadImage: The bytes are no picture.
        BadRecipe: There is a recipe, and it cannot be read.
    """
    image = open_header(data, field=field, max_bytes=max_bytes)
    if sniff(data) is ImageFormat.PNG:
        text = image.info.get(KEY)
        return Recipe.from_json(text) if isinstance(text, str) else None
    exif = Image.Exif()
    block = image.info.get("exif")
    try:
        if isinstance(block, bytes):
            exif.load(block)
        described = exif.get(ExifTags.Base.ImageDescription)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError):
        return None  # a damaged EXIF block of another program holds no recipe of ours
    if not isinstance(described, str) or not described.startswith(f"{KEY}:"):
        return None
    return Recipe.from_json(described.removeprefix(f"{KEY}:"))


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _present(name: str, values: Mapping[str, Any]) -> bool:
    if name in values:
        return True
    if name in _REQUIRED:
        raise BadRecipe(f"The recipe has no {name}.")
    return False


def _checked(name: str, value: object) -> object:
    if name in _INTEGERS:
        low, high = _INTEGERS[name]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BadRecipe(f"The recipe's {name} is not a whole number from {low} to {high}.")
        return value
    if name in _NUMBERS:
        least, most = _NUMBERS[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise BadRecipe(f"The recipe's {name} is not a number from {least:g} to {most:g}.")
        return float(value)
    if name == "versions":
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise BadRecipe("The recipe's versions are not a table of texts.")
        return MappingProxyType(value)
    if not isinstance(value, str):
        raise BadRecipe(f"The recipe's {name} is not a text.")
    return value


def _printable(text: str) -> str:
    """Replace what a text chunk cannot hold: control characters and halves of surrogate pairs."""
    kept = "".join(character if character >= " " or character == "\n" else " " for character in text)
    return kept.encode("utf-8", "replace").decode()
