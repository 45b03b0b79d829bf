"""Files that enabled packs bring to the graph editor: scripts, styles, pictures. Imports nothing of a pack.

A pack names a folder of its package as an entry point of the group ``keelbill.web``. The files are read once, after the
pack's hash was checked, so that what is sent is what was enabled.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Final

from keelbill.graph.packs import PackRefused, enabled_distribution, parse, plain

WEB_GROUP: Final = "keelbill.web"
MAX_BYTES: Final = 16 * 2**20
"""Of all files of a pack, which are kept in memory."""

KINDS: Final = frozenset(
    {".js", ".mjs", ".css", ".json", ".png", ".webp", ".jpg", ".svg", ".woff2", ".map", ".txt", ".md"}
)


def web_files(setting: str) -> Mapping[str, bytes]:
    """Return the files of all enabled packs by their names, ``PACK/PATH``.

    Args:
        setting: Which packs are enabled.

    Raises:
        InvalidInput: The setting cannot be read.
        PackRefused: A pack is missing, was changed, or brings too much or a file that editors do not load.
    """
    found: dict[str, bytes] = {}
    for entry in parse(setting):
        distribution = enabled_distribution(entry)
        mine = {f"{plain(entry.name)}/{name}": path.read_bytes() for name, path in _files(distribution, entry.name)}
        if sum(map(len, mine.values())) > MAX_BYTES:
            raise PackRefused(
                f"The files that the pack {entry.name} brings to the editor exceed {MAX_BYTES >> 20} MiB."
            )
        found |= mine
    return found


def _files(distribution: metadata.Distribution, pack: str) -> list[tuple[str, Path]]:
    found = []
    folders = [
        PurePosixPath(point.value.replace(".", "/")) for point in distribution.entry_points.select(group=WEB_GROUP)
    ]
    for file in sorted(distribution.files or (), key=lambda each: each.as_posix()):
        inside = [folder for folder in folders if file.is_relative_to(folder)]
        if not inside or file.suffix in {".py", ".pyc"}:
            continue
        if ".." in file.parts or file.suffix not in KINDS:
            raise PackRefused(
                f"The pack {pack} brings {file.name!r} to the editor, which loads {', '.join(sorted(KINDS))}."
            )
        found.append((file.relative_to(inside[0]).as_posix(), Path(str(distribution.locate_file(file)))))
    return found
