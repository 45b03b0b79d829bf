"""Which names of files are taken, and how numbered names are made. Knows no tables.

Names are keys in a database, so none of them can reach a disk. They are refused all the same when they try: whoever
sends such a name is mistaken or means harm, and other programs may write our files to disks of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, cast

from keelbill.workspace.errors import BadName

Area = Literal["input", "output", "temp", "userdata"]

AREAS: Final = ("input", "output", "temp")
MAX_NAME: Final = 200
MAX_PATH: Final = 500
MAX_DEPTH: Final = 12

_DRIVE: Final = re.compile(r"[A-Za-z]:")
_MARKED: Final = re.compile(r"(.*?) *\[(input|output|temp)\]", re.DOTALL)
_ENDINGS: Final = {
    "image/png": ".png",
    "image/webp": ".webp",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "application/json": ".json",
    "text/plain": ".txt",
}


@dataclass(frozen=True)
class Place:
    """Where a file is.

    Attributes:
        area: Which of the account's trees.
        folder: Names joined by slashes, "" for the top.
        name: The file's own.
    """

    area: Area
    folder: str
    name: str

    @property
    def path(self) -> str:
        """Folder and name."""
        return f"{self.folder}/{self.name}" if self.folder else self.name


def folder_of(text: str, field: str = "subfolder") -> str:
    """Check a folder's path and return it without slashes around it.

    Raises:
        BadName: It is absolute, leaves the tree, or has characters that no name has.
    """
    if not text:
        return ""
    _refuse_paths(text, field)
    parts = [part for part in text.split("/") if part]
    for part in parts:
        _check_part(part, text, field)
    if len(parts) > MAX_DEPTH or len(text) > MAX_PATH:
        raise BadName(field, text, f"at most {MAX_DEPTH} folders deep and {MAX_PATH} characters long")
    return "/".join(parts)


def place_of(area: Area, path: str, folder: str = "", field: str = "filename") -> Place:
    """Check a file's path inside a folder.

    Args:
        area: Which tree.
        path: The name, perhaps with folders before it.
        folder: Further folders before these.
        field: What the name is called in errors.

    Raises:
        BadName: See `folder_of`; or the name is empty.
    """
    _refuse_paths(path, field)
    above, _, name = path.rpartition("/")
    _check_part(name, path, field)
    inside = "/".join(part for part in (folder_of(folder), folder_of(above, field)) if part)
    if len(inside) + len(name) >= MAX_PATH:
        raise BadName(field, path, f"at most {MAX_PATH} characters long with its folders")
    return Place(area, inside, name)


def annotated(name: str, area: Area) -> tuple[str, Area]:
    """Split ``cat.png [output]`` into name and area; a name without such an end has the area that is given."""
    found = _MARKED.fullmatch(name)
    return (found[1], cast(Area, found[2])) if found else (name, area)


def numbered(stem: str, number: int, media_type: str) -> str:
    """Return the name of an output, such as ``castle_00001_.png``."""
    return f"{stem}_{number:05}_{_ENDINGS.get(media_type, '.bin')}"


def beside(name: str, number: int) -> str:
    """Return another name for a file whose own is taken: ``cat (1).png``."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem} ({number}).{ending}" if dot and stem else f"{name} ({number})"


def _refuse_paths(text: str, field: str) -> None:
    if text.startswith("/") or _DRIVE.match(text):
        raise BadName(field, text, "a relative name, without a slash or a drive before it")
    if "\\" in text:
        raise BadName(field, text, "written with slashes, without backslashes")


def _check_part(part: str, whole: str, field: str) -> None:
    if not part or part in {".", ".."}:
        raise BadName(field, whole, "a name inside the account's own folders, without '..'")
    if len(part) > MAX_NAME:
        raise BadName(field, whole, f"made of names of at most {MAX_NAME} characters")
    if not part.isprintable() or any("\ud800" <= letter <= "\udfff" for letter in part):
        raise BadName(field, whole, "made of printable characters")
