"""Checks what a person asked for on the command line, before any network is loaded. Imports no torch."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from hashlib import sha256
from os import W_OK, access
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keelbill.core.errors import InvalidInput, UnknownName
from keelbill.core.types import MAX_SEED, AspectRatio, Size, random_seed, seed
from keelbill.imaging import masks
from keelbill.imaging.decode import ImageFormat, decode, read_bounded
from keelbill.imaging.metadata import MAX_EXIF_BYTES, MAX_STEPS, Recipe, exif_bytes
from keelbill.imaging.resize import cover, flatten, size_for_ratio, stretch

Pixels = NDArray[np.uint8]
Mask = NDArray[np.float32]

MULTIPLE: Final = 16  # autoencoder factor 8 times patch 2, in every member of the family
MAX_PROMPT: Final = 10_000
MAX_COUNT: Final = 100
MAX_CFG: Final = 100.0
DEFAULT_STRENGTH: Final = 0.7
_SPARE_EXIF: Final = 4096  # room for what is known only after the model is loaded: its hash and the versions


@dataclass(frozen=True)
class Source:
    """A picture to start from.

    Args:
        pixels: With shape ``(H, W, 3)``.
        mask: 1 where `pixels` are repainted, with shape ``(H, W)``; nothing means everywhere.
        strength: How much is painted anew, 0 to 1.
        image_hash: SHA-256 of the picture's file.
        mask_hash: SHA-256 of the mask's file; empty without one.
        kind: What a recipe calls the work, if `pixels` are not the file's own.
    """

    pixels: Pixels
    mask: Mask | None
    strength: float
    image_hash: str
    mask_hash: str = ""
    kind: str = ""

    def fitted(self, size: Size) -> tuple[Pixels, Mask | None]:
        """Return picture and mask cut and scaled to `size`."""
        return cover(self.pixels, size), None if self.mask is None else masks.fit(self.mask, size)


@dataclass(frozen=True)
class Order:
    """Checked wishes; nothing means the model's own default.

    Args:
        prompt: What to paint.
        negative: What to avoid.
        model: Name or path of the model.
        shape: Size, or aspect ratio at the model's own number of pixels.
        seed: Of the first picture; the next has the next seed.
        count: How many pictures.
        steps: Denoising steps.
        cfg: Guidance scale.
        sampler: Name of the sampler.
        schedule: Name of the schedule.
        shift: Schedule shift.
        source: Picture to start from.
        dtype: Precision of the networks.
        loras: Files and strengths of adapters.
    """

    prompt: str
    negative: str
    model: str
    shape: Size | AspectRatio | None
    seed: int
    count: int = 1
    steps: int | None = None
    cfg: float | None = None
    sampler: str | None = None
    schedule: str | None = None
    shift: float | None = None
    source: Source | None = None
    dtype: str | None = None
    loras: tuple[tuple[Path, float], ...] = ()

    def size(self, native_side: int) -> Size:
        """Return the picture's size for a model whose usual square has sides of `native_side` pixels."""
        area = native_side**2
        if isinstance(self.shape, Size):
            return self.shape
        if isinstance(self.shape, AspectRatio):
            if native_side == 1024:
                return self.shape.size
            width, height = self.shape.value.split(":")
            return size_for_ratio(int(width), int(height), area, MULTIPLE)
        if self.source:
            rows, columns = self.source.pixels.shape[:2]
            kept = Size(columns, rows)
            fits = columns % MULTIPLE == rows % MULTIPLE == 0 and 0.5 * area <= rows * columns <= 1.06 * area
            return kept if fits else size_for_ratio(columns, rows, area, MULTIPLE)
        return Size(native_side, native_side)


def check_text(field: str, text: str, *, empty: bool = False) -> str:
    """Check a prompt: its length, and that it is text.

    Raises:
        InvalidInput: It is empty where it must not be, too long, or holds what is no character.
    """
    if not (empty or text.strip()):
        raise InvalidInput(field, text, f"a text of 1 to {MAX_PROMPT:,} characters")
    if len(text) > MAX_PROMPT:
        raise InvalidInput(field, f"of {len(text):,} characters", f"a text of at most {MAX_PROMPT:,} characters")
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(field, text, "valid Unicode text without NUL")
    return text


def check_shape(size: str | None, ratio: str | None) -> Size | AspectRatio | None:
    """Read a size or an aspect ratio.

    Raises:
        InvalidInput: Both are given, or the size is malformed or not a multiple of 16.
        UnknownName: There is no such aspect ratio.
    """
    if size is not None and ratio is not None:
        raise InvalidInput("aspect_ratio", ratio, "left out when size is given")
    if size is not None:
        wanted = Size.parse(size)
        wanted.require_multiple(MULTIPLE)
        return wanted
    if ratio is None:
        return None
    if ratio not in [known.value for known in AspectRatio]:
        raise UnknownName("aspect_ratio", ratio, [known.value for known in AspectRatio])
    return AspectRatio(ratio)


def check_numbers(*, steps: int | None, cfg: float | None, count: int, shift: float | None = None) -> None:
    """Check the numbers that have a fixed range.

    Raises:
        InvalidInput: One of them is out of its range.
    """
    if steps is not None and not 1 <= steps <= MAX_STEPS:
        raise InvalidInput("steps", steps, f"a whole number from 1 to {MAX_STEPS}")
    if cfg is not None and not 0 <= cfg <= MAX_CFG:
        raise InvalidInput("cfg", cfg, f"from 0 to {MAX_CFG:g}")
    if shift is not None and not 0 < shift <= 100:
        raise InvalidInput("shift", shift, "above 0 and at most 100")
    if not 1 <= count <= MAX_COUNT:
        raise InvalidInput("n", count, f"from 1 to {MAX_COUNT} pictures")


def check_seed(value: int | None, count: int) -> int:
    """Return the first seed, drawn if none is given; all `count` seeds must be valid.

    Raises:
        InvalidInput: One of them is out of range.
    """
    first = random_seed() if value is None else seed(value)
    if first + count - 1 > MAX_SEED:
        raise InvalidInput("seed", first, f"at most {MAX_SEED - count + 1} for {count} pictures")
    return first


def check_source(image: Path | None, mask: Path | None, strength: float | None, *, max_bytes: int) -> Source | None:
    """Read the picture to start from and its mask.

    Raises:
        BadImage: One of the files is no picture within the bounds.
        InvalidInput: Strength is out of range, or strength or mask come without a picture.
    """
    if strength is not None and not 0 <= strength <= 1:
        raise InvalidInput("strength", strength, "from 0 to 1")
    if image is None:
        for field, value in (("strength", strength), ("mask", mask)):
            if value is not None:
                raise InvalidInput(field, str(value), "given together with image")
        return None
    data = read_bounded(image, max_bytes=max_bytes)
    pixels = flatten(decode(data, max_bytes=max_bytes))
    painted, mask_hash = None, ""
    if mask is not None:
        mask_data = read_bounded(mask, field="mask", max_bytes=max_bytes)
        shown = decode(mask_data, field="mask", max_bytes=max_bytes)
        painted = masks.from_brightness(stretch(shown, Size(pixels.shape[1], pixels.shape[0])))
        mask_hash = sha256(mask_data).hexdigest()
    if strength is None:
        strength = DEFAULT_STRENGTH if mask is None else 1.0
    return Source(pixels, painted, strength, sha256(data).hexdigest(), mask_hash)


def check_format(wanted: str | None, output: Path | None) -> ImageFormat:
    """Choose the picture format: as asked for, else by the output's name, else PNG.

    Raises:
        UnknownName: There is no such format.
        InvalidInput: The format and the output's name disagree.
    """
    known = [kind.value for kind in ImageFormat]
    named = output.suffix.lower().removeprefix(".").replace("jpg", "jpeg") if output and not output.is_dir() else ""
    if wanted is not None and wanted.lower().replace("jpg", "jpeg") not in known:
        raise UnknownName("format", wanted, known)
    kind = ImageFormat(wanted.lower().replace("jpg", "jpeg")) if wanted else None
    if named and named not in known:
        raise InvalidInput("output", str(output), "a file name that ends in .png, .jpg or .webp")
    if kind and named and named != kind:
        raise InvalidInput("format", wanted, f"{named}, because the output is named {output}")
    return kind or (ImageFormat(named) if named else ImageFormat.PNG)


def check_output(output: Path | None) -> None:
    """Check that the folder of the output is there and can be written to.

    Raises:
        InvalidInput: It is not.
    """
    folder = Path() if output is None else output if output.is_dir() else output.parent
    if not folder.is_dir():
        raise InvalidInput("output", str(output), "in a folder that exists")
    if not access(folder, W_OK):
        raise InvalidInput("output", str(output or folder.resolve().name), "in a folder that can be written to")


def check_recipe_fits(kind: ImageFormat, prompt: str, negative: str) -> None:
    """Check that a picture of this format can carry its recipe.

    Raises:
        BadRecipe: It cannot; only JPEG has so little room.
    """
    if kind is ImageFormat.JPEG:
        trial = Recipe(prompt=prompt, negative=negative, model="", seed=MAX_SEED, width=1, height=1, steps=1)
        exif_bytes(trial, max_bytes=MAX_EXIF_BYTES - _SPARE_EXIF)


def slug(prompt: str, longest: int = 48) -> str:
    """Turn a prompt into a part of a file name: lower-case letters and digits of any script, joined by hyphens."""
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFC", prompt).lower())
    short = ""
    for word in words:
        longer = f"{short}-{word}" if short else word[:longest]
        if len(longer.encode()) > 2 * longest or len(longer) > longest:
            break
        short = longer
    return short or "picture"
