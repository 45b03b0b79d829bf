"""``keelbill train``: what it refuses before any work is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from keelbill.cli.train import parse_budget
from keelbill.core.errors import InvalidInput
from support.commandline import Run


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("25m", 1500), ("1.5h", 5400), (" 2M ", 120)])
def test_budget_is_read(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "25", "0m", "-5m", "m", "1d"])
def test_malformed_budget(text: str) -> None:
    with pytest.raises(InvalidInput, match="budget"):
        parse_budget(text)


def test_budget_of_zero_ends_with_one_line(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    sentence = run("train", "embedded", "--budget", "0m", "--out", str(out)).sentence
    assert sentence.startswith("budget '0m' is not allowed")
    assert not out.exists()


def test_photographs_that_are_not_there(run: Run, tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    assert "photographs" in run("train", "embedded", "--out", str(tmp_path / "run"), "--photographs", missing).sentence


def test_evaluating_an_unknown_model(run: Run) -> None:
    assert "model 'nothing'" in run("train", "evaluate", "--model", "nothing").sentence
