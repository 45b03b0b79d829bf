"""Packs of nodes as an installer leaves them, without an installer."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from keelbill.graph import registry

EXAMPLE = Path(__file__).parents[2] / "examples" / "node-pack"
EXAMPLE_NAME = "keelbill-example-nodes"
EXAMPLE_WEB = "keelbill_example_nodes.web"
EXAMPLE_NODES = {
    "Example Vignette": "keelbill_example_nodes.vignette:Vignette",
    "Example Word Count": "keelbill_example_nodes.words:WordCount",
}


def install(
    folder: Path,
    name: str,
    version: str,
    nodes: Mapping[str, str],
    sources: Path | None = None,
    web: str = "",
    **modules: str,
) -> Path:
    """Put a distribution into a folder of Python's search path.

    Args:
        folder: The folder.
        name: Of the distribution.
        version: Likewise.
        nodes: Where the class of each node is, by class key.
        sources: A package to copy, if any.
        web: Folder of the package with files for the graph editor, as a module's name.
        modules: Sources of single modules, by their names.

    Returns:
        The folder of its metadata.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    if sources is not None:
        shutil.copytree(sources, folder / sources.name, ignore=shutil.ignore_patterns("__pycache__"))
        files += [path.relative_to(folder).as_posix() for path in (folder / sources.name).rglob("*") if path.is_file()]
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
        files.append(f"{module}.py")
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    points = "".join(f"{key} = {value}\n" for key, value in nodes.items())
    scripts = f"[keelbill.web]\nfiles = {web}\n" if web else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: A pack.\n")
    (info / "entry_points.txt").write_text(f"[keelbill.nodes]\n{points}{scripts}")
    files += [f"{info.name}/{each}" for each in ("METADATA", "entry_points.txt", "RECORD")]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    return info


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for packs that Python searches; what was imported from it and registered is forgotten afterwards."""
    registry.load_builtin()
    nodes, modules = dict(registry._NODES), set(sys.modules)
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    registry._NODES.clear()
    registry._NODES.update(nodes)
    for name in set(sys.modules) - modules:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def example(site: Path) -> Path:
    """The example pack, installed and not enabled; the folder that it is in."""
    install(site, EXAMPLE_NAME, "0.1.0", EXAMPLE_NODES, EXAMPLE / "src" / "keelbill_example_nodes", EXAMPLE_WEB)
    return site
