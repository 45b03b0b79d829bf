"""Reads the studio's files and names them by their content. Knows no HTTP and no routes.

All files lie under one folder whose name is a hash of all of them. Modules import each other by relative paths, so a
page always gets modules of one version, and browsers may keep each file for ever. What a page cannot start without is
named in its head, so that browsers fetch all of it at once; the style sheets come as one file.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from posixpath import dirname, join, normpath
from typing import Final

_TYPES: Final = {
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "webp": "image/webp",
    "png": "image/png",
    "webmanifest": "application/manifest+json",
}
_PACKED: Final = frozenset({"js", "css", "svg"})
_PAGE: Final = "index.html"
_MAIN: Final = "js/main.js"
_PAGES: Final = "js/pages.js"
_STYLES: Final = "css/studio.css"
_STYLE: Final = re.compile(r'<link rel="stylesheet" href="\{base\}/(css/[^"]+)">\n')
_LAZY: Final = re.compile(r'^  \{ path: "([^"]+)".*\bimport\("\./([^"]+)"\)', re.MULTILINE)
_IMPORT: Final = re.compile(
    r"""^(?:import|export)[\s{*][^;'"()=]*?from\s*["'](\.[^"']+)["']|\bfrom["'](\.[^"']+)["']""", re.MULTILINE
)


@dataclass(frozen=True)
class File:
    """One file.

    Attributes:
        content: Its bytes.
        packed: The same, compressed with gzip; empty where that does not pay.
        media_type: For the header.
    """

    content: bytes
    packed: bytes
    media_type: str


class Files:
    """The studio's files, read once.

    Args:
        folder: Where they are; the package's own folder if none is given.

    Attributes:
        digest: Hash of all of them, 16 hex digits.
        page: The HTML of every address whose own code comes with the studio.
    """

    def __init__(self, folder: Traversable | None = None) -> None:
        folder = folder or resources.files(__package__).joinpath("assets")
        read = dict(sorted(_walk(folder)))
        page = read.pop(_PAGE).decode()
        total = hashlib.sha256(page.encode())
        for path, content in read.items():
            total.update(f"\0{path}\0{len(content)}\0".encode() + content)
        self.digest = total.hexdigest()[:16]
        page, read[_STYLES] = _one_sheet(page, read)
        self._files = {path: _file(path, content) for path, content in read.items() if _ending(path) in _TYPES}
        main = self.needed_by(_MAIN)
        self.page = self._page(page, main)
        own = _LAZY.findall(read.get(_PAGES, b"").decode())
        self._pages = {
            _pattern(address): self._page(page, [*main, *(p for p in self.needed_by(f"js/{module}") if p not in main)])
            for address, module in own
        }

    def page_at(self, address: str) -> bytes:
        """Return the HTML of an address, given as the pattern of its route; it names the modules of that page too."""
        return self._pages.get(_pattern(address), self.page)

    def _page(self, page: str, modules: list[str]) -> bytes:
        needed = "".join(f'<link rel="modulepreload" href="{{base}}/{path}">\n' for path in modules)
        return page.replace("<!-- modules -->\n", needed).replace("{base}", f"/studio/{self.digest}").encode()

    def get(self, path: str) -> File | None:
        """Return a file by its path, or nothing."""
        return self._files.get(path)

    def paths(self) -> tuple[str, ...]:
        """Return the paths of all files that are served."""
        return tuple(self._files)

    def needed_by(self, path: str) -> list[str]:
        """Return a module and all modules that it cannot start without, so that browsers fetch them at once.

        Raises:
            FileNotFoundError: A module imports a file that does not exist.
        """
        found: list[str] = []
        waiting = [path]
        while waiting:
            here = waiting.pop()
            if here in found:
                continue
            if here not in self._files:
                raise FileNotFoundError(f"the studio has no {here}")
            found.append(here)
            names = (one or other for one, other in _IMPORT.findall(self._files[here].content.decode()))
            waiting += [normpath(join(dirname(here), name)) for name in names]
        return found


def _one_sheet(page: str, read: dict[str, bytes]) -> tuple[str, bytes]:
    """Put the style sheets of a page together, in their order, and name the whole in their place."""
    paths = _STYLE.findall(page)
    whole = b"\n".join(read[path] for path in paths)
    link = f'<link rel="stylesheet" href="{{base}}/{_STYLES}">\n' if paths else ""
    return _STYLE.sub("", page).replace("<!-- modules -->\n", f"{link}<!-- modules -->\n"), whole


def _pattern(address: str) -> str:
    """Return an address with its parts unnamed; the router of the page writes ``:id``, the server ``{id}``."""
    return re.sub(r":\w+|\{\w+\}", "*", address)


def _walk(folder: Traversable, inside: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{inside}{entry.name}/")
        else:
            yield f"{inside}{entry.name}", entry.read_bytes()


def _file(path: str, content: bytes) -> File:
    ending = _ending(path)
    packed = gzip.compress(content, 9, mtime=0) if ending in _PACKED else b""
    return File(content, packed, _TYPES[ending])


def _ending(path: str) -> str:
    return path.rpartition(".")[2]
