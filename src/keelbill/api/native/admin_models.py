"""Routes for the server's administrators: models that are here, and those that can be fetched. Knows HTTP, no rules."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.deps import Staff, actor_of, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, Body, JsonRoute, View
from keelbill.api.platform import Platform
from keelbill.core.errors import Conflict
from keelbill.storage.catalogue import CATALOGUE, T5Choice
from keelbill.storage.hub import Hub
from keelbill.storage.pulls import Pull

router = APIRouter(prefix="/api/admin/models", tags=["Administration"], route_class=JsonRoute, responses=ERRORS)

ModelName = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9._-]{0,63}$")]


class PullView(View):
    """How far a model is."""

    name: str
    state: Literal["running", "done", "failed", "stopped"]
    file: str
    file_number: int
    files: int
    expected_bytes: int = Field(description="Roughly.")
    arrived_bytes: int
    problem: str

    @classmethod
    def of(cls, pull: Pull) -> PullView:
        """Return a pull as JSON."""
        return cls(**vars(pull))


class ModelView(View):
    """A model or adapter that is here, or one that can be fetched."""

    name: str
    title: str
    kind: Literal["model", "lora"]
    state: Literal["installed", "missing", "available"] = Field(description="missing: listed, but its files are gone.")
    origin: str = Field(description="built-in, downloaded or added; empty for what is not here.")
    family: str
    licence: str
    size_bytes: int = Field(description="On disk; for what is not here, roughly.")
    is_default: bool
    is_loaded: bool = Field(description="Whether a worker has it in memory.")


class ModelList(View):
    """All models, and what is being fetched."""

    models: list[ModelView]
    pulls: list[PullView]


class Wanted(Body):
    """Which copy of the large text encoder to fetch along."""

    t5: T5Choice = "fp16"


@router.get("", openapi_extra=WITH_CREDENTIAL)
async def list_models(request: Request, caller: Staff) -> ModelList:
    """List models that are here or can be fetched. For administrators of the server."""
    return await asyncio.to_thread(_listed, platform_of(request))


@router.post("/{name}/pull", status_code=202, openapi_extra=WITH_CREDENTIAL)
async def pull_model(request: Request, caller: Staff, name: ModelName, body: Wanted) -> PullView:
    """Begin to fetch a model, or continue an interrupted download; the list says how far it is."""
    platform, actor = platform_of(request), actor_of(request, caller)
    begun = platform.pulls.start(name, t5=body.t5)
    await platform.db.write(lambda c: platform.accounts.audit.add(c, actor, "model.pull", name, after={"t5": body.t5}))
    return PullView.of(begun)


@router.delete("/{name}/pull", status_code=204, response_class=Response, openapi_extra=WITH_CREDENTIAL)
async def stop_pull(request: Request, caller: Staff, name: ModelName) -> None:
    """Let a download end before its next file; what has arrived is kept."""
    platform_of(request).pulls.stop(name)


@router.delete("/{name}", status_code=204, response_class=Response, openapi_extra=WITH_CREDENTIAL)
async def remove_model(request: Request, caller: Staff, name: ModelName) -> None:
    """Forget a model; its files are deleted only if they were fetched by this server."""
    platform, actor = platform_of(request), actor_of(request, caller)
    if name == platform.settings.model:
        raise Conflict(f"model: {name} is the default of this server; choose another in the settings first.")
    await asyncio.to_thread(Hub.from_settings(platform.settings).remove, name)
    await platform.db.write(lambda c: platform.accounts.audit.add(c, actor, "model.remove", name))


def _listed(platform: Platform) -> ModelList:
    installed = Hub.from_settings(platform.settings).list()
    loaded = {name for worker in platform.gateway.workers() for name in worker.models}
    default, known = platform.settings.model, {item.name for item in installed}
    here = [
        ModelView(
            name=item.name,
            title=CATALOGUE.get(item.name).title if item.name in CATALOGUE else item.name,
            kind=item.kind.value,
            state="installed" if item.is_there else "missing",
            origin=item.origin.value,
            family=item.family,
            licence=item.licence,
            size_bytes=item.size_bytes,
            is_default=item.name == default,
            is_loaded=item.name in loaded,
        )
        for item in installed
    ]
    available = [
        ModelView(
            name=name,
            title=CATALOGUE.get(name).title,
            kind="model",
            state="available",
            origin="",
            family="",
            licence=CATALOGUE.get(name).licence,
            size_bytes=CATALOGUE.get(name).expected_bytes("fp16"),
            is_default=False,
            is_loaded=False,
        )
        for name in CATALOGUE
        if name not in known
    ]
    return ModelList(models=[*here, *available], pulls=[PullView.of(pull) for pull in platform.pulls.all()])
