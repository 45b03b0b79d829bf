"""Model files under the names by which node graphs ask for them. Knows no tensors and no graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keelbill.core.errors import UnknownModel
from keelbill.storage.hub import BUILT_IN, EMBEDDED, Hub, Kind

FOLDERS: Final = (
    "checkpoints",
    "diffusion_models",
    "text_encoders",
    "vae",
    "loras",
    "controlnet",
    "upscale_models",
    "embeddings",
)
"""What graphs call the kinds of files; each is a folder below ``models/`` of the data folder."""

SUFFIX: Final = ".safetensors"
TURBO: Final = "keelbill-mini-turbo"
UPSCALER: Final = "keelbill-x4"

_WHOLE: Final = (
    "sd3_medium",
    "sd3_medium_incl_clips",
    "sd3_medium_incl_clips_t5xxlfp16",
    "sd3_medium_incl_clips_t5xxlfp8",
    "sd3.5_medium",
    "sd3.5_medium_incl_clips_t5xxlfp8scaled",
    "sd3.5_large",
    "sd3.5_large_fp8_scaled",
    "sd3.5_large_turbo",
    "sd3.5_large_turbo_fp8_scaled",
)
_PARTS: Final = {
    "text_encoders": (
        "clip_l",
        "clip_g",
        "t5xxl_fp16",
        "t5xxl_fp8_e4m3fn",
        "t5xxl_fp8_e4m3fn_scaled",
    ),
    "vae": ("sd3_vae", "sd3.5_vae"),
}
_UPSCALERS: Final = (
    "RealESRGAN_x4plus",
    "RealESRGAN_x4",
    "4x-UltraSharp",
    "4x-AnimeSharp",
    "4x_NMKD-Siax_200k",
    "4x_foolhardy_Remacri",
)
"""Well-known networks that enlarge by four, which is what ours does."""


@dataclass(frozen=True)
class Shelved:
    """What a name stands for: an installed model, or a file of its own.

    Attributes:
        model: Name of an installed model, "" if it is a file.
        path: Of the file; nothing for a model.
    """

    model: str = ""
    path: Path | None = None


class Shelves:
    """The model files of one data folder.

    While no other model is installed than those of the program, the published names of the SD3 family stand for
    these, so that workflows from elsewhere run as they come; so do the names of well-known upscalers while no upscaler
    is installed.

    Args:
        hub: The installed models.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def installed(self) -> frozenset[str]:
        """Return the names of the installed models."""
        return frozenset(model.name for model in self._hub.list(Kind.MODEL))

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; none in one that does not exist."""
        return list(self._shelf(folder))

    def find(self, folder: str, name: str) -> Shelved:
        """Return what a name stands for.

        Raises:
            UnknownModel: There is no such file.
        """
        shelf = self._shelf(folder)
        if folder in {"checkpoints", "diffusion_models"} and not name:
            return Shelved(EMBEDDED)
        found = shelf.get(name) or shelf.get(name + SUFFIX)
        if found is None:
            raise UnknownModel(f"file in {folder}", name, shelf)
        return found

    def _shelf(self, folder: str) -> dict[str, Shelved]:
        if folder not in FOLDERS:
            return {}
        shelf: dict[str, Shelved] = {}
        models = self._hub.list(Kind.MODEL)
        if folder in {"checkpoints", "diffusion_models", "text_encoders", "vae"}:
            shelf |= {model.name + SUFFIX: Shelved(model.name) for model in models}
        elif folder == "loras":
            shelf |= {lora.name + SUFFIX: Shelved(path=lora.path) for lora in self._hub.list(Kind.LORA)}
        elif folder == "upscale_models":
            shelf[UPSCALER + SUFFIX] = Shelved(UPSCALER)
        shelf |= self._files(folder)
        if folder == "upscale_models" and len(shelf) == 1:
            shelf |= {name + suffix: Shelved(UPSCALER) for name in _UPSCALERS for suffix in (SUFFIX, ".pth")}
        if all(model.name in BUILT_IN for model in models):
            for name in (*_WHOLE,) if folder in {"checkpoints", "diffusion_models"} else _PARTS.get(folder, ()):
                shelf.setdefault(name + SUFFIX, Shelved(TURBO if "turbo" in name and len(models) > 1 else EMBEDDED))
        return shelf

    def _files(self, folder: str) -> dict[str, Shelved]:
        root = self._hub.models_folder / folder
        if not root.is_dir():
            return {}
        inside = root.resolve()
        found = {}
        for path in sorted(root.rglob("*" + SUFFIX)):
            if path.is_file() and path.resolve().is_relative_to(inside):  # no link leads out
                found[path.relative_to(root).as_posix()] = Shelved(path=path)
        return found
