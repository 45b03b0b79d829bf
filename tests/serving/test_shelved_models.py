"""Model files as the nodes of a graph get them in a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file

from keelbill.core.errors import BadWeights, UnknownModel
from keelbill.engine.esrgan import CompactNet
from keelbill.engine.upscale import Upscaler
from keelbill.serving.bench import Loop, ShelvedModels
from keelbill.storage.hub import Hub
from keelbill.storage.shelves import Shelves
from support.models import random_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "models" / "upscale_models"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def models(tmp_path: Path) -> ShelvedModels:
    no_loop = cast("Loop", cast("Any", None))
    return ShelvedModels(no_loop, Shelves(Hub(tmp_path)))


def test_our_own_upscaler(models: ShelvedModels, folder: Path) -> None:
    assert isinstance(models.upscaler("keelbill-x4.safetensors"), Upscaler)
    assert isinstance(models.upscaler("4x-UltraSharp.pth"), Upscaler)
    assert not list(folder.iterdir())


def test_an_upscaler_from_a_file(models: ShelvedModels, folder: Path) -> None:
    network = CompactNet(2, 8, 2)
    random_weights(network)
    (folder / "mine").mkdir()
    save_file(network.state_dict(), folder / "mine" / "x2.safetensors")
    upscaler = models.upscaler("mine/x2.safetensors")
    assert upscaler.enlarge(torch.rand(3, 8, 6), tile=64).shape == (3, 16, 12)


def test_a_file_that_is_no_upscaler(models: ShelvedModels, folder: Path) -> None:
    save_file({"x": torch.zeros(3)}, folder / "other.safetensors")
    with pytest.raises(BadWeights, match="no enlarging network of a kind that is known here"):
        models.upscaler("other.safetensors")


def test_a_broken_file(models: ShelvedModels, folder: Path) -> None:
    (folder / "broken.safetensors").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(BadWeights):
        models.upscaler("broken.safetensors")


def test_a_file_that_is_not_there(models: ShelvedModels, folder: Path) -> None:
    assert folder.is_dir()
    with pytest.raises(UnknownModel):
        models.upscaler("../../secret.safetensors")
