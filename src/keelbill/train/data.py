"""Builds and opens the sprite pack: cut-out pictures of everyday things with their names. Knows no scenes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from PIL import Image

from keelbill.core.errors import AppError, InvalidInput, UnknownName
from keelbill.train.concepts import concepts
from keelbill.train.packages import EMOJIBASE, FLUENT_3D, FLUENT_FLAT, NOTO, TWEMOJI, Package, attribution, fetch
from keelbill.train.palette import Bytes, MainColour, main_colour

SPRITE_SIDE = 160
MARGIN = 4
LOOKS: dict[str, Package] = {"3d": FLUENT_3D, "flat": FLUENT_FLAT, "cartoon": NOTO, "sticker": TWEMOJI}
ARCHIVE_QUALITY = 90


class BadSprites(AppError):
    """A sprite pack that is missing, incomplete or inconsistent."""

    code = "bad_sprites"
    status = 422


@dataclass(frozen=True)
class Treatment:
    """What was done to a thing before it was stored; the default is nothing.

    Attributes:
        material: Name of a material ("gold"), or "".
        made_of: Name of a class of small things that it was built of ("fruit"), or "".
        dye: Colour of those small things, or "".
    """

    material: str = ""
    made_of: str = ""
    dye: str = ""


UNTREATED = Treatment()


@dataclass(frozen=True)
class SpriteInfo:
    """What is known about one sprite.

    Attributes:
        concept: Name of the thing, as in `concepts.by_name`.
        group: Kind of the thing.
        look: The drawing style: "3d", "flat", "cartoon" or "sticker".
        width: Visible width as a fraction of the sprite's side.
        height: Visible height as a fraction of the sprite's side; the visible part is centred.
        main: Dominant colour, or None for colourless things.
        keywords: Further words that lead to the thing.
        treatment: What was done to it.
    """

    concept: str
    group: str
    look: str
    width: float
    height: float
    main: MainColour | None
    keywords: tuple[str, ...] = ()
    treatment: Treatment = UNTREATED


class Sprites:
    """Pictures with straight alpha, shape ``(N, S, S, 4)``, and one `SpriteInfo` for each.

    Raises:
        BadSprites: Shapes and list do not fit.
    """

    def __init__(self, pixels: Bytes, infos: Sequence[SpriteInfo]) -> None:
        if pixels.ndim != 4 or pixels.shape[1] != pixels.shape[2] or pixels.shape[3] != 4 or pixels.dtype != np.uint8:
            raise BadSprites(f"Sprites have shape {pixels.shape} and type {pixels.dtype}, not uint8 (N, S, S, 4).")
        if len(pixels) != len(infos):
            raise BadSprites(f"The pack holds {len(pixels)} pictures but describes {len(infos)}.")
        self.pixels = pixels
        self.infos = tuple(infos)
        self._index = {(info.concept, info.look, info.treatment): i for i, info in enumerate(self.infos)}

    def __len__(self) -> int:
        return len(self.infos)

    def find(self, concept: str, look: str = "3d", treatment: Treatment = UNTREATED) -> int:
        """Return the row of a thing in a look, treated or not.

        Raises:
            UnknownName: The pack does not hold it.
        """
        try:
            return self._index[concept, look, treatment]
        except KeyError:
            words = " ".join(word for word in (treatment.material, treatment.dye, treatment.made_of, look) if word)
            raise UnknownName("sprite", f"{concept} ({words})", (f"{c} ({k})" for c, k, _ in self._index)) from None

    @classmethod
    def load(cls, folder: Path) -> Sprites:
        """Open a pack that `build_sprites` wrote; the pixels stay on disk until they are read.

        Raises:
            BadSprites: The folder does not hold a pack.
        """
        try:
            rows = json.loads((folder / "concepts.json").read_text(encoding="utf-8"))
            pixels = np.load(folder / "sprites.npy", mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise BadSprites(f"No sprite pack in {folder}.", hint="Build one with build_sprites(folder).") from error
        infos = []
        for row in rows:
            main = MainColour(**row["main"]) if row["main"] else None
            treatment = Treatment(**row["treatment"]) if "treatment" in row else UNTREATED
            infos.append(
                SpriteInfo(**{**row, "main": main, "keywords": tuple(row["keywords"]), "treatment": treatment})
            )
        return cls(pixels, infos)

    def save(self, folder: Path) -> None:
        """Write ``sprites.npy`` and ``concepts.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "sprites.npy", self.pixels, allow_pickle=False)
        (folder / "concepts.json").write_text(self._rows(), encoding="utf-8")

    def pack(self, archive: Path) -> None:
        """Write everything into one small archive, about 6 kB a sprite, to carry it to another machine.

        Colours lose a little there; outlines do not.
        """
        with zipfile.ZipFile(archive, "w") as target:
            target.writestr("concepts.json", self._rows())
            for i, sprite in enumerate(self.pixels):
                picture = io.BytesIO()
                Image.fromarray(np.ascontiguousarray(sprite)).save(picture, "WEBP", quality=ARCHIVE_QUALITY, method=4)
                target.writestr(f"{i:05}.webp", picture.getvalue())

    @classmethod
    def unpack(cls, archive: Path) -> Sprites:
        """Read an archive that `pack` wrote.

        Raises:
            BadSprites: It is missing, or no such archive.
        """
        try:
            with zipfile.ZipFile(archive) as source:
                rows = json.loads(source.read("concepts.json"))
                pictures = [Image.open(io.BytesIO(source.read(f"{i:05}.webp"))) for i in range(len(rows))]
                pixels = np.stack([np.asarray(picture.convert("RGBA")) for picture in pictures])
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise BadSprites(f"{archive} is not a sprite archive: {error}.") from error
        return cls(pixels, [_info(row) for row in rows])

    def _rows(self) -> str:
        return json.dumps([asdict(info) for info in self.infos], indent=1, ensure_ascii=False)


def build_sprites(
    folder: Path, looks: Sequence[str] = ("3d",), cache: Path | None = None, *, everyday: bool = False
) -> Sprites:
    """Download the pinned packages, check their licences and write the sprite pack.

    Args:
        folder: Where ``sprites.npy``, ``concepts.json`` and ``ATTRIBUTION.md`` go.
        looks: Drawing styles to include, of `LOOKS`.
        cache: Where archives are kept between runs; ``folder / "packages"`` when left out.
        everyday: Take only the things that people ask for first.

    Returns:
        The pack.

    Raises:
        InvalidInput: A look is unknown.
        DownloadFailed: A package could not be fetched.
        LicenceNotAllowed: A package has another licence than expected.
    """
    for look in looks:
        if look not in LOOKS:
            raise InvalidInput("look", look, "one of " + ", ".join(LOOKS))
    cache = cache or folder / "packages"
    keywords = _keywords(fetch(EMOJIBASE, cache))
    used = [EMOJIBASE, *(LOOKS[look] for look in looks)]
    pixels: list[Bytes] = []
    infos: list[SpriteInfo] = []
    for look in looks:
        pictures = _pictures(fetch(LOOKS[look], cache))
        for concept in concepts():
            if concept.code not in pictures or (everyday and not concept.everyday):
                continue
            sprite, width, height = fit(pictures[concept.code]())
            pixels.append(sprite)
            words = keywords.get(concept.code, ())
            infos.append(SpriteInfo(concept.name, concept.group, look, width, height, main_colour(sprite), words))
    sprites = Sprites(np.stack(pixels), infos)
    sprites.save(folder)
    (folder / "ATTRIBUTION.md").write_text(attribution(used), encoding="utf-8")
    return sprites


def sharp_pictures(looks: Sequence[str], cache: Path, side: int = 256, every: int = 1) -> Bytes:
    """Return the cut-out pictures of looks as large and sharp as their packages hold them, for the upscaler.

    Args:
        looks: Drawing styles, of `LOOKS`.
        cache: Where the packages lie, or are fetched to.
        side: Of the squares in pixels.
        every: Take each n-th thing only, another one for every look.

    Returns:
        Pixels with straight alpha and shape ``(N, side, side, 4)``.
    """
    pixels = []
    for offset, look in enumerate(looks):
        pictures = _pictures(fetch(LOOKS[look], cache))
        wanted = [concept.code for concept in concepts() if concept.code in pictures][offset % every :: every]
        pixels += [fit(pictures[code](), side)[0] for code in wanted]
    return np.stack(pixels)


def fit(picture: Image.Image, side: int = SPRITE_SIDE) -> tuple[Bytes, float, float]:
    """Crop a cut-out picture to what is visible and centre it in a square.

    Args:
        picture: Any picture with an alpha channel.
        side: Side of the square in pixels.

    Returns:
        Pixels ``(side, side, 4)`` with straight alpha, visible width and visible height as fractions of the side.

    Raises:
        BadSprites: Nothing is visible.
    """
    rgba = picture.convert("RGBA")
    box = rgba.getchannel("A").point(lambda v: 255 if v > 8 else 0).getbbox()
    if box is None:
        raise BadSprites("A sprite is fully transparent.")
    rgba = rgba.crop(box)
    scale = (side - 2 * MARGIN) / max(rgba.size)
    size = (max(1, round(rgba.width * scale)), max(1, round(rgba.height * scale)))
    rgba = rgba.resize(size, Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (side, side))
    square.paste(rgba, ((side - size[0]) // 2, (side - size[1]) // 2))
    return np.asarray(square), size[0] / side, size[1] / side


def plain_code(code: str) -> str:
    """Return a code point sequence in lower case without the variation selector, as the concept table has it."""
    return code.lower().replace("_", "-").replace("-fe0f", "")


def _keywords(package: Path) -> dict[str, tuple[str, ...]]:
    rows: Iterable[dict[str, object]] = json.loads((package / "en" / "data.json").read_text(encoding="utf-8"))
    words = {}
    for row in rows:
        tags = row.get("tags")
        words[plain_code(str(row["hexcode"]))] = tuple(str(tag) for tag in tags) if isinstance(tags, list) else ()
    return words


def _info(row: dict[str, Any]) -> SpriteInfo:
    main = MainColour(**row["main"]) if row["main"] else None
    treatment = Treatment(**row.get("treatment", {}))
    return SpriteInfo(**{**row, "main": main, "keywords": tuple(row["keywords"]), "treatment": treatment})


def _pictures(package: Path) -> dict[str, Callable[[], Image.Image]]:
    """Return how to open each picture of a package, by code point: bitmap files, or one file of vector drawings."""
    if not (package / "icons.json").is_file():
        paths = sorted((package / "assets").glob("*.webp"))
        return {plain_code(path.stem): partial(Image.open, path) for path in paths}
    icons = json.loads((package / "icons.json").read_text(encoding="utf-8"))
    names = json.loads((package / "chars.json").read_text(encoding="utf-8"))
    drawings = {plain_code(code): icons["icons"].get(name) for code, name in names.items()}
    side = icons.get("width", 16)
    return {code: partial(_rasterise, icon, side) for code, icon in drawings.items() if icon}


def _rasterise(icon: dict[str, Any], side: int) -> Image.Image:
    box = (icon.get("left", 0), icon.get("top", 0), icon.get("width", side), icon.get("height", side))
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{" ".join(str(number) for number in box)}">{icon["body"]}</svg>'
    )
    drawn = resvg_py.svg_to_bytes(svg_string=svg, width=2 * SPRITE_SIDE, height=2 * SPRITE_SIDE)
    return Image.open(io.BytesIO(bytes(drawn)))
