"""The route that enlarges a picture of the own gallery four times. Knows HTTP, no pixels."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Header
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.deps import CanGenerate, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, Body, JsonRoute
from keelbill.api.native.job_bodies import SubmittedJob
from keelbill.api.native.jobs import UNFILTERED, idempotency
from keelbill.api.visits import visit_of
from keelbill.core.errors import InvalidRequest
from keelbill.gallery.errors import NoSuchPicture
from keelbill.jobs.schemas import ImageRequest
from keelbill.serving.messages import ImageTask

FACTOR: Final = 4
MAX_SIDE: Final = 1536
MAX_PIXELS: Final = 2**20
ITEM: Final = "upscale-fast"

router = APIRouter(prefix="/api/enlargements", tags=["Jobs"], route_class=JsonRoute, responses=ERRORS)


class NewEnlargement(Body):
    """A picture to be enlarged."""

    image_id: str = Field(pattern="^[0-9a-f]{32}$", description="A picture of the own gallery.")
    output_format: Literal["png", "jpeg", "webp"] = "png"


@router.post("", status_code=202, openapi_extra=WITH_CREDENTIAL)
async def enlarge(
    request: Request,
    response: Response,
    caller: CanGenerate,
    body: NewEnlargement,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> SubmittedJob:
    """Ask for a picture of the own gallery at four times its width and height; it becomes a picture of its own.

    The picture may have at most 1,048,576 pixels and sides of at most 1536.
    """
    platform, visit = platform_of(request), visit_of(request)
    try:
        picture = await platform.gallery.get(caller.org_id, body.image_id)
    except NoSuchPicture as error:
        raise InvalidRequest("image_id: there is no such picture in your gallery") from error
    if max(picture.width, picture.height) > MAX_SIDE or picture.width * picture.height > MAX_PIXELS:
        raise InvalidRequest(
            f"image_id: the picture has {picture.width}x{picture.height} pixels; "
            f"at most {MAX_PIXELS:,} and {MAX_SIDE} on a side can be enlarged"
        )
    settings = platform.settings
    task = ImageTask(
        kind="enlarge",
        prompt=picture.prompt,
        recipe_prompt=picture.prompt,
        image=picture.blob_ref,
        width=FACTOR * picture.width,
        height=FACTOR * picture.height,
        seed=picture.seed,
        output_format=body.output_format,
        filter_above=settings.filter_above if settings.moderation == "on" else UNFILTERED,
    )
    price = platform.ledger.prices.price(ITEM)
    asked = ImageRequest(
        service=ITEM,
        task=task,
        front="native",
        route="/api/enlargements",
        requested_model="",
        request_id=visit.request_id,
        price=price,
        deadline_s=settings.request_deadline_s,
        is_async=True,
    )
    ticket = await platform.jobs.submit(caller, asked, idempotency(idempotency_key, "/api/enlargements", body))
    visit.job_id = ticket.job_id
    visit.credits_micro = 0 if ticket.replayed else price
    if ticket.replayed:
        response.headers["idempotent-replayed"] = "true"
    response.headers["location"] = f"/api/jobs/{ticket.job_id}"
    return SubmittedJob(id=ticket.job_id)
