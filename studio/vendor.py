"""Fetches the studio's libraries from the npm registry and checks what lies in the tree. Knows no page.

    python studio/vendor.py           check the files against vendored.json, without network
    python studio/vendor.py --fetch   fetch the packages again and write the files and vendored.json

A browser resolves no bare names such as "preact" without an import map, and an import map would be inline script. So
the names are replaced by paths; nothing else is changed. ``npm`` checks each package against the registry's hash.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
ASSETS: Final = ROOT / "src/keelbill/studio/assets/vendor"
TESTS: Final = ROOT / "tests/e2e/vendor"


@dataclass(frozen=True)
class Package:
    """One npm package.

    Attributes:
        name: In the registry.
        version: Exactly.
        licence: SPDX name, compared with what the package says.
        files: From its path in the package to its name here.
        icons: Names of icons, apart by spaces, that become one file of symbols.
        place: Folder here.
    """

    name: str
    version: str
    licence: str
    files: tuple[tuple[str, str], ...] = ()
    icons: str = ""
    place: Path = ASSETS


ICONS: Final = """
activity arrow-left arrow-right blend book-open brush check chevron-down chevron-left chevron-right circle-alert
    circle-question-mark circle-x code columns-2 command contrast copy credit-card dices download ellipsis eraser
    expand external-link eye eye-off file-code-2 file-up folder gauge hand heart image image-plus image-up images info
    key keyboard languages lasso layers list-filter lock lock-open log-out maximize menu minus monitor moon move
    notebook-pen palette pencil plus redo-2 refresh-cw rotate-ccw scaling scan-search search settings share-2
    shield-check shuffle sliders-horizontal sparkles square-check square-dashed star sun tag terminal ticket trash-2
    triangle-alert undo-2 upload user users wallet wand wand-sparkles webhook workflow x zap zoom-in
"""
PACKAGES: Final = (
    Package(
        "preact",
        "11.2.0",
        "MIT",
        (("dist/preact.mjs", "preact.js"), ("hooks/dist/hooks.mjs", "preact-hooks.js"), ("LICENSE", "LICENCE.preact")),
    ),
    Package("htm", "3.1.1", "Apache-2.0", (("dist/htm.module.js", "htm.js"), ("LICENSE", "LICENCE.htm"))),
    Package(
        "@preact/signals",
        "2.11.4",
        "MIT",
        (("dist/signals.module.js", "signals.js"), ("LICENSE", "LICENCE.signals")),
    ),
    Package(
        "@preact/signals-core",
        "1.14.5",
        "MIT",
        (("dist/signals-core.module.js", "signals-core.js"), ("LICENSE", "LICENCE.signals-core")),
    ),
    Package("konva", "10.9.1", "MIT", (("konva.min.js", "konva.js"), ("LICENSE", "LICENCE.konva"))),
    Package("lucide-static", "1.62.0", "ISC", (("LICENSE", "LICENCE.lucide"),), icons=ICONS),
    Package(
        "axe-core",
        "4.14.1",
        "MPL-2.0",
        (("axe.min.js", "axe.min.js"), ("LICENSE", "LICENCE.axe-core")),
        place=TESTS,
    ),
)
PATHS: Final = {
    "preact": "./preact.js",
    "preact/hooks": "./preact-hooks.js",
    "@preact/signals-core": "./signals-core.js",
}
_IMPORT: Final = re.compile(r"""(from\s*|import\s*)(["'])([^"'./][^"']*)\2""")
_SHAPES: Final = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)


class Wrong(Exception):
    """A file or a package is not what it should be."""


def fetch() -> None:
    """Write every file and both lists anew.

    Raises:
        Wrong: A package has another licence than was agreed, or lacks a file.
    """
    entries: dict[Path, list[dict[str, object]]] = {ASSETS: [], TESTS: []}
    for package in PACKAGES:
        package.place.mkdir(parents=True, exist_ok=True)
        entries[package.place].append(_take(package))
    for place, found in entries.items():
        (place / "vendored.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _take(package: Package) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        wanted = f"{package.name}@{package.version}"
        command = ["npm", "pack", wanted, "--silent", "--pack-destination", folder]
        subprocess.run(command, check=True, timeout=300, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as opened:
            contents = {member.name.partition("/")[2]: member for member in opened if member.isfile()}

            def read(path: str) -> str:
                if path not in contents or (handle := opened.extractfile(contents[path])) is None:
                    raise Wrong(f"{wanted} has no {path}")
                return handle.read().decode()

            licence = json.loads(read("package.json")).get("license")
            if licence != package.licence:
                raise Wrong(f"{wanted} has the licence {licence}, not {package.licence}")
            made = {name: _adapted(package, read(path), path) for path, name in package.files}
            if package.icons:
                made["icons.svg"] = _sprite({name: read(f"icons/{name}.svg") for name in package.icons.split()})
        for name, text in made.items():
            (package.place / name).write_text(text, encoding="utf-8", newline="\n")
        return {
            "name": package.name,
            "version": package.version,
            "licence": package.licence,
            "package_sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
            "files": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in made.items()},
        }


def _adapted(package: Package, text: str, path: str) -> str:
    if package.place != ASSETS or not path.endswith((".js", ".mjs")):
        return text
    text = re.sub(r"\n?//# sourceMappingURL=\S+\s*$", "\n", text)
    if not path.endswith((".mjs", ".module.js")):
        return text  # a plain script imports nothing
    return _IMPORT.sub(lambda found: f"{found[1]}{found[2]}{PATHS[found[3]]}{found[2]}", text)


def _sprite(icons: dict[str, str]) -> str:
    symbols = []
    for name, text in icons.items():
        found = _SHAPES.search(text)
        if not found:
            raise Wrong(f"the icon {name} is not an SVG picture")
        shapes = re.sub(r"\s*\n\s*", "", found[1])
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{shapes}</symbol>')
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"


def check() -> int:
    """Compare every vendored file with its list, and return how many there are.

    Raises:
        Wrong: A file was changed, is missing, or is not listed.
    """
    count = 0
    for place in (ASSETS, TESTS):
        listed = {"vendored.json"}
        for entry in json.loads((place / "vendored.json").read_text(encoding="utf-8")):
            for name, digest in entry["files"].items():
                listed.add(name)
                path = place / name
                if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                    raise Wrong(f"{path} is not the file of {entry['name']} {entry['version']}")
                count += 1
        for path in place.iterdir():
            if path.is_file() and path.name not in listed:
                raise Wrong(f"{path} is in no vendored.json")
    return count


def main() -> None:
    """Fetch or check."""
    parser = argparse.ArgumentParser(description="Fetch or check the studio's libraries.")
    parser.add_argument("--fetch", action="store_true", help="fetch everything from the npm registry")
    if parser.parse_args().fetch:
        fetch()
    try:
        sys.stdout.write(f"{check()} files are as they were fetched.\n")
    except Wrong as wrong:
        sys.exit(str(wrong))


if __name__ == "__main__":
    main()
