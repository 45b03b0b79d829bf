"""Names of model files in graphs: own models, dropped files, published names, and links that lead out."""

from __future__ import annotations

from pathlib import Path

import pytest

from keelbill.core.errors import UnknownModel
from keelbill.storage.hub import Hub
from keelbill.storage.shelves import FOLDERS, Shelves


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path)


def test_own_models_stand_in_every_folder_of_parts(hub: Hub) -> None:
    shelves = Shelves(hub)
    for folder in ("checkpoints", "diffusion_models", "text_encoders", "vae"):
        assert shelves.names(folder)[0] == "keelbill-mini.safetensors"
        assert shelves.find(folder, "keelbill-mini").model == "keelbill-mini"


@pytest.mark.parametrize(
    ("folder", "name", "model"),
    [
        ("checkpoints", "sd3.5_large.safetensors", "keelbill-mini"),
        ("checkpoints", "sd3.5_large_turbo.safetensors", "keelbill-mini-turbo"),
        ("checkpoints", "", "keelbill-mini"),
        ("text_encoders", "clip_g.safetensors", "keelbill-mini"),
        ("vae", "sd3_vae.safetensors", "keelbill-mini"),
        ("upscale_models", "keelbill-x4.safetensors", "keelbill-x4"),
        ("upscale_models", "4x-UltraSharp.pth", "keelbill-x4"),
        ("upscale_models", "RealESRGAN_x4plus.safetensors", "keelbill-x4"),
    ],
)
def test_published_names_while_nothing_else_is_installed(hub: Hub, folder: str, name: str, model: str) -> None:
    assert Shelves(hub).find(folder, name).model == model


def test_published_names_are_gone_once_a_model_is_installed(hub: Hub, tmp_path: Path) -> None:
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(b"x")
    hub.add("mine", weights)
    shelves = Shelves(hub)
    assert "mine.safetensors" in shelves.names("checkpoints")
    with pytest.raises(UnknownModel, match=r"sd3\.5_large"):
        shelves.find("checkpoints", "sd3.5_large.safetensors")


def test_names_of_upscalers_are_gone_once_one_is_installed(hub: Hub) -> None:
    folder = hub.models_folder / "upscale_models"
    folder.mkdir(parents=True)
    (folder / "mine.safetensors").write_bytes(b"x")
    assert Shelves(hub).names("upscale_models") == ["keelbill-x4.safetensors", "mine.safetensors"]


def test_dropped_files_are_found_and_links_out_are_not(hub: Hub, tmp_path: Path) -> None:
    folder = hub.models_folder / "loras" / "styles"
    folder.mkdir(parents=True)
    (folder / "ink.safetensors").write_bytes(b"x")
    (folder / "pickle.pt").write_bytes(b"x")
    secret = tmp_path / "secret.safetensors"
    secret.write_bytes(b"x")
    (folder / "out.safetensors").symlink_to(secret)
    shelves = Shelves(hub)
    assert shelves.names("loras") == ["styles/ink.safetensors"]
    assert shelves.find("loras", "styles/ink.safetensors").path == folder / "ink.safetensors"
    with pytest.raises(UnknownModel):
        shelves.find("loras", "../../secret.safetensors")


def test_unknown_folders_are_empty(hub: Hub) -> None:
    assert Shelves(hub).names("../etc") == []
    assert all(isinstance(Shelves(hub).names(folder), list) for folder in FOLDERS)
