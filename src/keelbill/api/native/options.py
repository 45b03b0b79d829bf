"""The route that tells a page what this server offers: models, styles, sizes, ways to sign in. Knows no account."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request

from keelbill import __version__
from keelbill.api.deps import platform_of
from keelbill.api.native.bodies import ERRORS, OPEN, JsonRoute, View
from keelbill.api.native.job_bodies import MAX_STEPS, credits_text
from keelbill.api.native.jobs import OWN_MODEL_ITEM, STEPS_INCLUDED, installed_models
from keelbill.api.platform import Platform
from keelbill.core.types import AspectRatio
from keelbill.prompting.presets import PRESETS
from keelbill.storage.published import DEFAULT_MODEL, PUBLIC_MODELS, engine_for

EDITS: Final = ("inpaint", "erase", "outpaint")

router = APIRouter(prefix="/api", tags=["Options"], route_class=JsonRoute, responses=ERRORS)


class ModelOption(View):
    """A model that may be asked for."""

    name: str
    title: str
    runs_on: str = Field(description="The installed model that answers to this name.")
    price: str = Field(description="Credits for a picture.", examples=["6.5"])
    is_distilled: bool = Field(description="Whether it paints in few steps without guidance.")


class RatioOption(View):
    """A published shape of pictures."""

    name: str = Field(examples=["16:9"])
    width: int
    height: int


class Options(View):
    """What this server offers to everybody."""

    version: str
    open_registration: bool = Field(description="Whether strangers may sign up.")
    providers: dict[str, str] = Field(description="Other ways to sign in: the word for the address, the name to show.")
    sells_credits: bool = Field(description="Whether credits can be bought by card.")
    default_model: str
    models: list[ModelOption]
    aspect_ratios: list[RatioOption]
    style_presets: list[str]
    enlarge_price: str = Field(description="Credits for enlarging a picture four times.")
    edit_prices: dict[str, str] = Field(description="Credits for each kind of change of a part of a picture.")
    steps_included: int = Field(description="More steps cost more, in proportion.")
    max_steps: int


@router.get("/options", openapi_extra=OPEN)
async def options(request: Request) -> Options:
    """Return what this server offers, for pages that let people choose."""
    platform = platform_of(request)
    installed = await installed_models(request)
    return Options(
        version=__version__,
        open_registration=platform.settings.open_registration,
        providers=platform.identity.sign_in.buttons(),
        sells_credits=platform.cashier is not None,
        default_model=DEFAULT_MODEL,
        models=_models(platform, installed),
        aspect_ratios=[RatioOption(name=r.value, width=r.size.width, height=r.size.height) for r in AspectRatio],
        style_presets=list(PRESETS),
        enlarge_price=credits_text(platform.ledger.prices.price("upscale-fast")),
        edit_prices={kind: credits_text(platform.ledger.prices.price(kind)) for kind in EDITS},
        steps_included=STEPS_INCLUDED,
        max_steps=MAX_STEPS,
    )


def _models(platform: Platform, installed: frozenset[str]) -> list[ModelOption]:
    default, price = platform.settings.model, platform.ledger.prices.price
    shown = [
        ModelOption(
            name=public.name,
            title=public.title,
            runs_on=engine_for(public, installed=installed, default=default).model or default,
            price=credits_text(price(public.name)),
            is_distilled=public.is_distilled,
        )
        for public in PUBLIC_MODELS.values()
    ]
    own_price = credits_text(price(OWN_MODEL_ITEM))
    shown += [
        ModelOption(name=name, title=name, runs_on=name, price=own_price, is_distilled=False)
        for name in sorted(installed - set(PUBLIC_MODELS))
    ]
    return shown
