"""The published models and services, and what of them is installed here. Knows no weights."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

DEFAULT_MODEL = "sd3.5-large"


@dataclass(frozen=True)
class PublicModel:
    """A model by the name that clients send; its price is the price list's item of the same name.

    Attributes:
        name: What clients send.
        runs: The published model behind the name.
        cfg: Guidance scale that the published model is used with by default.
        steps: Steps of a distilled model, or nothing for the model's own number.
        title: For lists.
    """

    name: str
    runs: str
    cfg: float
    steps: int | None = None
    title: str = ""

    @property
    def is_distilled(self) -> bool:
        """Whether it paints in few steps without guidance."""
        return self.steps is not None


PUBLIC_MODELS: dict[str, PublicModel] = {
    model.name: model
    for model in (
        PublicModel("sd3.5-large", "sd3.5-large", 4, title="Stable Diffusion 3.5 Large"),
        PublicModel("sd3.5-large-turbo", "sd3.5-large-turbo", 1, 4, "Stable Diffusion 3.5 Large Turbo"),
        PublicModel("sd3.5-medium", "sd3.5-medium", 4, title="Stable Diffusion 3.5 Medium"),
        PublicModel("sd3.5-flash", "sd3.5-flash", 1, 4, "Stable Diffusion 3.5 Flash"),
        PublicModel("sd3-large", "sd3.5-large", 4, title="Stable Diffusion 3 Large"),
        PublicModel("sd3", "sd3.5-large", 4, title="Stable Diffusion 3"),
        PublicModel("sd3-large-turbo", "sd3.5-large-turbo", 1, 4, "Stable Diffusion 3 Large Turbo"),
        PublicModel("sd3-turbo", "sd3.5-large-turbo", 1, 4, "Stable Diffusion 3 Turbo"),
        PublicModel("sd3-medium", "sd3.5-medium", 4, title="Stable Diffusion 3 Medium"),
    )
}


_NO_SEARCH = "This installation has no network that finds things in a picture by their name."
_NO_CUTOUT = "This installation has no network that tells a subject from its background."
_NO_LIGHT = "This installation has no network that relights a subject."
_NO_CONTROL = "This installation has no network that follows the lines of a picture."
_NO_STYLE = "This installation has no network that takes the style of a picture."
MISSING: dict[str, str] = {
    "edit/search-and-replace": _NO_SEARCH,
    "edit/search-and-recolor": _NO_SEARCH,
    "edit/remove-background": _NO_CUTOUT,
    "edit/replace-background-and-relight": _NO_LIGHT,
    "control/sketch": _NO_CONTROL,
    "control/structure": _NO_CONTROL,
    "control/style": _NO_STYLE,
    "control/style-transfer": _NO_STYLE,
}
"""Published services that no installed network can do, with a sentence that says what is missing."""


@dataclass(frozen=True)
class Engine:
    """The installed model that runs a request and how.

    Attributes:
        model: Its name, "" for the server's default.
        steps: Or nothing for the model's own number.
        cfg: Or nothing for the model's own scale.
    """

    model: str = ""
    steps: int | None = None
    cfg: float | None = None


def engine_for(public: PublicModel, *, installed: Collection[str], default: str) -> Engine:
    """Choose the installed model that stands for a published name.

    The published model itself comes first; a distilled name then takes the distilled form of the server's default
    model; everything else runs on the server's default model with that model's own steps and guidance, for which
    the published numbers would be wrong.

    Args:
        public: What the client asked for.
        installed: Names of installed models.
        default: Name of the server's default model.
    """
    for name in (public.name, public.runs):
        if name in installed:
            return Engine(name, public.steps, public.cfg)
    if public.is_distilled:
        for suffix in ("turbo", "flash"):
            if f"{default}-{suffix}" in installed:
                return Engine(f"{default}-{suffix}", public.steps, public.cfg)
    return Engine()
