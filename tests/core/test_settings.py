"""Settings from the environment and the file; wrong ones first."""

from __future__ import annotations

from pathlib import Path

import pytest

from keelbill.core.errors import InvalidInput
from keelbill.core.settings import read_settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MODEL", "DEVICE", "DTYPE", "THREADS", "MAX_IMAGE_BYTES", "HF_TOKEN"):
        monkeypatch.delenv(f"KEELBILL_{name}", raising=False)
    monkeypatch.setenv("KEELBILL_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "DEVICE",
            "tpu",
            "setting device 'tpu' is not allowed; setting device must be 'auto', 'cpu', 'cuda' or 'mps'.",
        ),
        ("THREADS", "-1", "setting threads '-1' is not allowed; setting threads must be greater than or equal to 0."),
        ("THREADS", "two", "must be a valid integer"),
    ],
)
def test_a_value_that_is_not_allowed(monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str) -> None:
    monkeypatch.setenv(f"KEELBILL_{name}", value)
    with pytest.raises(InvalidInput) as caught:
        read_settings()
    assert sentence in str(caught.value)
    assert str(caught.value).endswith(f"It comes from KEELBILL_{name} or settings.toml.")


def test_a_file_that_is_no_toml(home: Path) -> None:
    (home / "settings.toml").write_text("model = ")
    with pytest.raises(InvalidInput, match=r"settings\.toml .* must be valid TOML"):
        read_settings()


def test_the_environment_wins_over_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "settings.toml").write_text('model = "one"\nthreads = 3\n')
    monkeypatch.setenv("KEELBILL_MODEL", "two")
    found = read_settings()
    assert (found.model, found.threads, found.home) == ("two", 3, home)


def test_the_token_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEELBILL_HF_TOKEN", "hf_secret")
    assert "hf_secret" not in repr(read_settings())
