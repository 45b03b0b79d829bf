"""The official models and where they come from. Knows no hashes: those are learnt from the source at download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from keelbill.core.registry import Registry

GB = 1_000_000_000
T5Choice = Literal["fp16", "fp8", "none"]
T5_CHOICES: tuple[T5Choice, ...] = ("fp16", "fp8", "none")

COMMUNITY_LICENCE = "Stability AI Community License"
T5_FILES = {
    "fp16": "text_encoders/t5xxl_fp16.safetensors",
    "fp8": "text_encoders/t5xxl_fp8_e4m3fn.safetensors",
}


@dataclass(frozen=True)
class Wanted:
    """Files that a model needs from one repository.

    Args:
        repo: ``owner/name``.
        files: Names that must be there.
        folders: Folders of which every small text or json file is taken.
    """

    repo: str
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class CatalogueEntry:
    """A model that can be fetched.

    Args:
        name: What people type.
        title: What people call it.
        repo: ``owner/name`` of its main repository.
        weights: The file with the transformer and the autoencoder.
        licence: Short name of the licence that its owner sets.
        about_bytes: Roughly what the transformer and autoencoder need on disk.
        tokenizer_repo: Where the tokenizers are, if not in `repo`.
    """

    name: str
    title: str
    repo: str
    weights: str
    about_bytes: int
    licence: str = COMMUNITY_LICENCE
    tokenizer_repo: str = ""

    def wanted(self, t5: T5Choice) -> tuple[Wanted, ...]:
        """Return what to fetch.

        Args:
            t5: Which copy of the T5 text encoder; without one, long prompts and lettering suffer.
        """
        files = [self.weights, "text_encoders/clip_l.safetensors", "text_encoders/clip_g.safetensors"]
        folders = ["tokenizer", "tokenizer_2"]
        if t5 != "none":
            files.append(T5_FILES[t5])
            folders.append("tokenizer_3")
        if not self.tokenizer_repo:
            return (Wanted(self.repo, tuple(files), tuple(folders)),)
        return Wanted(self.repo, tuple(files)), Wanted(self.tokenizer_repo, folders=tuple(folders))

    def expected_bytes(self, t5: T5Choice) -> int:
        """Return roughly what the download needs on disk."""
        encoders = {"fp16": 9.8, "fp8": 4.9, "none": 0.0}[t5] + 1.64
        return self.about_bytes + int(encoders * GB)


CATALOGUE: Registry[CatalogueEntry] = Registry("model")

for _entry in (
    CatalogueEntry(
        name="sd3-medium",
        title="Stable Diffusion 3 Medium",
        repo="stabilityai/stable-diffusion-3-medium",
        weights="sd3_medium.safetensors",
        about_bytes=int(4.3 * GB),
        tokenizer_repo="stabilityai/stable-diffusion-3-medium-diffusers",
    ),
    CatalogueEntry(
        name="sd3.5-medium",
        title="Stable Diffusion 3.5 Medium",
        repo="stabilityai/stable-diffusion-3.5-medium",
        weights="sd3.5_medium.safetensors",
        about_bytes=int(5.1 * GB),
    ),
    CatalogueEntry(
        name="sd3.5-large",
        title="Stable Diffusion 3.5 Large",
        repo="stabilityai/stable-diffusion-3.5-large",
        weights="sd3.5_large.safetensors",
        about_bytes=int(16.5 * GB),
    ),
    CatalogueEntry(
        name="sd3.5-large-turbo",
        title="Stable Diffusion 3.5 Large Turbo",
        repo="stabilityai/stable-diffusion-3.5-large-turbo",
        weights="sd3.5_large_turbo.safetensors",
        about_bytes=int(16.5 * GB),
    ),
):
    CATALOGUE.register(_entry.name)(_entry)
