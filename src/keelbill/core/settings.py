"""Settings, from the environment (``KEELBILL_*``) and ``settings.toml`` in the data folder. Knows no model."""

from __future__ import annotations

import os
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from keelbill.core.errors import InvalidInput


def default_home() -> Path:
    """Return the folder where Keelbill keeps its data, unless ``KEELBILL_HOME`` names another."""
    return Path(os.environ.get("KEELBILL_HOME") or platformdirs.user_data_dir("keelbill", appauthor=False))


class Settings(BaseSettings):
    """Everything that can be set. The environment wins over the file."""

    model_config = SettingsConfigDict(env_prefix="KEELBILL_", extra="ignore")

    home: Path = Field(default_factory=default_home, description="Folder for models, pictures and the database.")
    model: str = Field(default="keelbill-mini", description="The model that is used when none is named.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="Where networks run.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Precision of the networks."
    )
    threads: int = Field(default=0, ge=0, le=1024, description="CPU threads for the networks; 0 means one per core.")
    max_image_bytes: int = Field(default=10 * 2**20, gt=0, description="Largest input picture, in bytes.")
    hf_token: str = Field(default="", description="Access token for gated models.", repr=False)

    @cached_property
    def models_folder(self) -> Path:
        """The folder of downloaded models."""
        return self.home / "models"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments first, then the environment, then the file."""
        file = TomlConfigSettingsSource(settings_cls, toml_file=default_home() / "settings.toml")
        return init_settings, env_settings, file


def read_settings() -> Settings:
    """Read the settings; what is wrong with them is said in one sentence.

    Raises:
        InvalidInput: A setting has a value that is not allowed, or the file is not TOML.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"])
        reason = str(first["msg"]).replace("Input should be ", "")
        shown = "…" if "token" in name else first["input"]
        raise InvalidInput(
            f"setting {name}", shown, reason, hint=f"It comes from KEELBILL_{name.upper()} or settings.toml."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput("settings.toml", str(error), f"valid TOML, in {default_home()}") from error
