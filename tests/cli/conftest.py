"""The command line as a person meets it: exit code, standard output and standard error."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from keelbill.cli import _pictures
from keelbill.cli.main import main
from keelbill.engine.model import Model
from support.commandline import Outcome, Run, write_picture
from support.models import model


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with an empty data folder and no settings from outside."""
    for name in [name for name in os.environ if name.startswith("KEELBILL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEELBILL_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def go(*arguments: str) -> Outcome:
        code = 0
        try:
            main(arguments)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return go


@pytest.fixture(scope="session")
def tiny() -> Model:
    """A small random model whose own size is 64x64."""
    return model()


@pytest.fixture
def loaded(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every name be the small random model; returns the names that were asked for."""
    asked: list[str] = []

    def load(name: str, dtype: str | None = None) -> Model:
        asked.append(name)
        return tiny

    monkeypatch.setattr(_pictures, "load", load)
    return asked


@pytest.fixture
def unloadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if a model is loaded."""

    def load(name: str, dtype: str | None = None) -> Model:
        raise AssertionError(f"{name} was loaded before the input was checked")

    monkeypatch.setattr(_pictures, "load", load)


@pytest.fixture
def photo() -> Path:
    """A picture to start from: 96 wide, 64 high, in the working folder."""
    return write_picture("photo.png", np.linspace(0, 255, 96 * 64 * 3).reshape(64, 96, 3))
