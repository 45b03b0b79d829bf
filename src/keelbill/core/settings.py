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

    host: str = Field(default="127.0.0.1", description="Address that the server listens on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port that the server listens on; 0 picks a free one.")
    public_url: str = Field(default="", description="Address under which users reach the server; else host and port.")
    allowed_hosts: str = Field(default="", description="More host names that requests may name, separated by commas.")
    allowed_origins: str = Field(default="", description="Web origins that may call the API, separated by commas.")
    setup_networks: str = Field(
        default="", description="CIDR blocks from which a new server may be set up besides this machine, with commas."
    )
    trust_proxy: bool = Field(default=False, description="Whether X-Forwarded-For of a local proxy is believed.")
    database_url: str = Field(default="", description="postgresql://… ; else a SQLite file in the data folder.")
    operator_token: str = Field(default="", description="Token for /metrics from other machines.", repr=False)
    log_format: Literal["text", "json"] = Field(default="json", description="How the server logs.")
    log_prompts: bool = Field(default=False, description="Whether prompts may appear in logs.")

    rate_limit: int = Field(default=150, ge=1, le=100_000, description="Requests per window and account.")
    rate_window_s: float = Field(default=10.0, gt=0, le=3600, description="Length of the window in seconds.")
    max_body_bytes: int = Field(default=10 * 2**20, gt=0, description="Largest request body, in bytes.")
    max_account_jobs: int = Field(default=16, ge=1, description="Jobs of one account that wait or run at a time.")
    max_queued_jobs: int = Field(default=2000, ge=1, description="Jobs that wait in all.")
    request_deadline_s: float = Field(default=120.0, gt=0, le=3600, description="Longest a request waits and runs.")
    drain_s: float = Field(default=30.0, ge=0, le=600, description="How long running jobs may finish at shutdown.")
    min_free_disk_bytes: int = Field(default=512 * 2**20, ge=0, description="Free disk below which no job is taken.")
    workers: int = Field(default=1, ge=1, le=64, description="Worker processes; else one per accelerator, or one.")
    devices: str = Field(
        default="", description="Devices of the workers in turn, such as cuda:0,cuda:1; else all that are found."
    )
    cluster: str = Field(
        default="", description="Ray cluster whose machines paint: auto, local, ray://… or host:port; else this one."
    )
    scripted_engine: bool = Field(default=False, description="Paint flat test pictures without a model.")

    graph_port: int = Field(
        default=0, ge=0, le=65535, description="Port at whose root the graph editor is, besides /comfy/; 0 is none."
    )
    workspace_bytes: int = Field(
        default=5 * 2**30, gt=0, description="What the files of one member for the graph editor may take, in bytes."
    )
    image_service: str = Field(
        default="", description="Address of the image service that API nodes of graphs call; else this server paints."
    )
    image_service_key: str = Field(
        default="", description="Key for that service, for accounts that have stored none.", repr=False
    )

    node_packs: str = Field(
        default="", description="Packs of nodes that are enabled, as NAME==VERSION#SHA256, separated by commas."
    )

    billing: Literal["credits", "unlimited"] = Field(
        default="credits", description="Whether credits run out, or are recorded only."
    )
    free_credits: str = Field(default="25", description="Credits of a new account.")
    charge_filtered: bool = Field(default=False, description="Whether pictures that were blurred are charged.")
    require_verification: bool = Field(default=False, description="Whether free credits wait for a verified address.")
    open_registration: bool = Field(default=False, description="Whether strangers may sign up.")
    stripe_secret_key: str = Field(default="", description="Secret key of Stripe; else cards are off.", repr=False)
    stripe_webhook_secret: str = Field(default="", description="Signing secret of Stripe's webhook.", repr=False)
    stripe_api_base: str = Field(default="", description="Address of Stripe's API, if not the usual one.")

    smtp_url: str = Field(default="", description="smtp://user:password@host:port ; else mail is logged.", repr=False)
    mail_from: str = Field(default="keelbill@localhost", description="Sender of mail.")
    google_client_id: str = Field(default="", description="For sign-in with Google.")
    google_client_secret: str = Field(default="", description="For sign-in with Google.", repr=False)
    oidc_issuer: str = Field(default="", description="Issuer of another OpenID Connect provider.")
    oidc_name: str = Field(default="Single sign-on", description="Its name on the button.")
    oidc_client_id: str = Field(default="", description="Client id there.")
    oidc_client_secret: str = Field(default="", description="Client secret there.", repr=False)

    moderation: Literal["on", "off"] = Field(default="on", description="Whether prompts and pictures are judged.")
    filter_above: float = Field(default=0.8, ge=0, le=1.01, description="Classifier score from which to blur.")
    retention_days: int = Field(default=0, ge=0, description="Days that pictures are kept; 0 is for ever.")
    webhooks: bool = Field(default=False, description="Whether users may register addresses that are called.")
    webhook_private_targets: bool = Field(
        default=False, description="Whether webhooks may call private addresses and plain HTTP."
    )

    @cached_property
    def blobs_folder(self) -> Path:
        """The folder of pictures."""
        return self.home / "blobs"

    @cached_property
    def database(self) -> str:
        """URL of the database."""
        return self.database_url or f"sqlite:///{self.home / 'keelbill.db'}"

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
        shown = "…" if any(word in name for word in ("token", "secret", "url")) else first["input"]
        raise InvalidInput(
            f"setting {name}", shown, reason, hint=f"It comes from KEELBILL_{name.upper()} or settings.toml."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput("settings.toml", str(error), f"valid TOML, in {default_home()}") from error
