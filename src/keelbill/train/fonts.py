"""Fetches open-licence fonts and opens them at any size. Does not know what is written with them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from fontTools.ttLib import TTFont
from PIL import ImageFont

from keelbill.core.errors import UnknownName
from keelbill.train.data import BadSprites
from keelbill.train.packages import Package, attribution, fetch

_USE = "lettering"

# Name -> package, and the weight that we take.
FONTS: dict[str, tuple[Package, int]] = {
    "poppins": (Package("@fontsource/poppins", "5.3.0", "OFL-1.1", "The Poppins Project Authors", _USE), 700),
    "oswald": (Package("@fontsource/oswald", "5.3.0", "OFL-1.1", "The Oswald Project Authors", _USE), 600),
    "fredoka": (Package("@fontsource/fredoka", "5.3.0", "OFL-1.1", "The Fredoka Project Authors", _USE), 600),
    "roboto-slab": (Package("@fontsource/roboto-slab", "5.3.0", "Apache-2.0", "Google", _USE), 700),
    "bangers": (Package("@fontsource/bangers", "5.3.0", "OFL-1.1", "The Bangers Project Authors", _USE), 400),
    "lobster": (Package("@fontsource/lobster", "5.3.0", "OFL-1.1", "The Lobster Project Authors", _USE), 400),
    "permanent-marker": (Package("@fontsource/permanent-marker", "5.3.0", "Apache-2.0", "Font Diner, Inc", _USE), 400),
    "press-start-2p": (
        Package("@fontsource/press-start-2p", "5.3.0", "OFL-1.1", "The Press Start 2P Project Authors", _USE),
        400,
    ),
}


class Fonts:
    """Opens the fonts of a folder that `build_fonts` wrote.

    Raises:
        BadSprites: The folder holds none.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = {path.stem: path for path in sorted(folder.glob("*.ttf"))}
        if not self._paths:
            raise BadSprites(f"No fonts in {folder}.", hint="Fetch them with build_fonts(folder).")
        self._open = lru_cache(maxsize=256)(ImageFont.truetype)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fonts, in alphabetical order."""
        return tuple(self._paths)

    def get(self, name: str, height: int) -> ImageFont.FreeTypeFont:
        """Open a font with letters of about `height` pixels.

        Raises:
            UnknownName: There is no such font.
        """
        if name not in self._paths:
            raise UnknownName("font", name, self._paths)
        return self._open(str(self._paths[name]), height)


def build_fonts(folder: Path, cache: Path | None = None, names: Sequence[str] = tuple(FONTS)) -> Fonts:
    """Download fonts, check their licences and write them as TrueType files.

    Args:
        folder: Where the files and ``ATTRIBUTION.md`` go.
        cache: Where archives are kept between runs; ``folder / "packages"`` when left out.
        names: Which of `FONTS` to take.

    Raises:
        UnknownName: A name is not in `FONTS`.
        DownloadFailed: A package could not be fetched.
        LicenceNotAllowed: A package has another licence than expected.
    """
    folder.mkdir(parents=True, exist_ok=True)
    used = []
    for name in names:
        if name not in FONTS:
            raise UnknownName("font", name, FONTS)
        package, weight = FONTS[name]
        root = fetch(package, cache or folder / "packages")
        font = TTFont(root / "files" / f"{name}-latin-{weight}-normal.woff2")
        font.flavor = None
        font.save(folder / f"{name}.ttf")
        used.append(package)
    (folder / "ATTRIBUTION.md").write_text(attribution(used), encoding="utf-8")
    return Fonts(folder)
