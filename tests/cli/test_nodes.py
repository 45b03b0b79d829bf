"""``keelbill nodes``: what there is, and packs that are turned on and off in the settings file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.commandline import Run
from support.packs import EXAMPLE_NAME, example, site

__all__ = ["example", "site"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder."""
    monkeypatch.setenv("KEELBILL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KEELBILL_NODE_PACKS", raising=False)
    return tmp_path / "home"


def test_list(run: Run, home: Path) -> None:
    done = run("nodes", "list", "--category", "sampling")
    assert "sampling/KSampler" in done.out.splitlines()
    assert "loaders/" not in done.out


def test_search(run: Run, home: Path) -> None:
    assert "loaders/CheckpointLoaderSimple" in run("nodes", "search", "checkpoint").out
    assert "text 'no such thing'" in run("nodes", "search", "no such thing").sentence


def test_info(run: Run, home: Path) -> None:
    told = run("nodes", "info", "EmptySD3LatentImage").out
    assert "  in   width: INT = 1024 [16..16384]" in told
    assert "  out  LATENT: LATENT" in told
    assert "Did you mean 'KSampler'" in run("nodes", "info", "KSampl").sentence


def test_pack_is_enabled_and_disabled(run: Run, home: Path, example: Path) -> None:
    home.mkdir()
    (home / "settings.toml").write_text('# mine\nhost = "127.0.0.1"\n')
    assert f"{EXAMPLE_NAME} 0.1.0  off" in run("nodes", "packs").out
    assert "server starts again" in run("nodes", "enable", EXAMPLE_NAME).out
    written = (home / "settings.toml").read_text()
    assert written.startswith(f'node_packs = "{EXAMPLE_NAME}==0.1.0#')
    assert written.endswith('# mine\nhost = "127.0.0.1"\n')
    assert f"{EXAMPLE_NAME} 0.1.0  enabled" in run("nodes", "packs").out
    assert f"example/Example Vignette  ({EXAMPLE_NAME})" in run("nodes", "list").out
    run("nodes", "disable", EXAMPLE_NAME)
    assert 'node_packs = ""' in (home / "settings.toml").read_text()
    assert "must be enabled" in run("nodes", "disable", EXAMPLE_NAME).sentence


def test_enabling_again_takes_the_files_as_they_are_now(run: Run, home: Path, example: Path) -> None:
    run("nodes", "enable", EXAMPLE_NAME)
    first = (home / "settings.toml").read_text()
    (example / "keelbill_example_nodes" / "__init__.py").write_text('"""Changed."""\n')
    assert f"{EXAMPLE_NAME} 0.1.0  changed" in run("nodes", "packs").out
    assert "other files" in run("nodes", "list").sentence
    run("nodes", "enable", EXAMPLE_NAME)
    second = (home / "settings.toml").read_text()
    assert first != second
    assert second.count("node_packs") == 1


def test_environment_decides(run: Run, home: Path, example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEELBILL_NODE_PACKS", f"{EXAMPLE_NAME}==0.1.0#{'0' * 64}")
    assert "wins over settings.toml" in run("nodes", "enable", EXAMPLE_NAME).sentence


def test_unknown_pack(run: Run, home: Path) -> None:
    assert "pack 'nowhere'" in run("nodes", "enable", "nowhere").sentence


def test_missing(run: Run, home: Path, tmp_path: Path) -> None:
    graph = {"1": {"class_type": "Example Vignette", "inputs": {}}, "2": {"class_type": "KSampler", "inputs": {}}}
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(graph))
    done = run("nodes", "missing", str(file))
    assert done.code == 1
    assert done.out.startswith("Example Vignette (node 1): pip install ./examples/node-pack && ")
    del graph["1"]
    file.write_text(json.dumps(graph))
    assert run("nodes", "missing", str(file)).out == "All nodes are there.\n"


@pytest.mark.parametrize("content", ["no JSON", "[]"])
def test_missing_of_no_workflow(run: Run, home: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "graph.json").write_text(content)
    assert "workflow" in run("nodes", "missing", str(tmp_path / "graph.json")).sentence
