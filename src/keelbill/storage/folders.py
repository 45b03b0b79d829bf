"""Finds weight files in the model folders of other programs. Knows their folder names, not what is in a file."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

SUFFIXES = (".safetensors", ".gguf")


class Place(StrEnum):
    """What a folder is meant for."""

    MODELS = "models"
    PARTS = "parts"
    LORAS = "LoRAs"


# Folder names below `models/`, in small letters: those of ComfyUI first, then those of the A1111 web UI and its forks.
FOLDERS: dict[str, Place] = {
    "checkpoints": Place.MODELS,
    "diffusion_models": Place.MODELS,
    "unet": Place.MODELS,
    "vae": Place.PARTS,
    "clip": Place.PARTS,
    "text_encoders": Place.PARTS,
    "loras": Place.LORAS,
    "stable-diffusion": Place.MODELS,
    "text_encoder": Place.PARTS,
    "lora": Place.LORAS,
}
MARKERS = ("checkpoints", "diffusion_models", "loras", "stable-diffusion", "lora")


def models_root(path: Path) -> Path | None:
    """Return the models folder of another program, if `path` is that or its parent."""
    for root in (path, path / "models"):
        if root.is_dir() and any(p.name.lower() in MARKERS for p in root.iterdir() if p.is_dir()):
            return root
    return None


def weight_files(root: Path) -> Iterator[tuple[Path, Place]]:
    """Yield the weight files below a models folder, with what their folder is meant for."""
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        place = FOLDERS.get(folder.name.lower())
        if place is None:
            continue
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield path, place
