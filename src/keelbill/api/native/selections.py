"""Routes for what is done to many pictures at once: marked, tagged, deleted, packed. Knows HTTP, no rules."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from keelbill.api.deps import CanGenerate, CanReadHistory, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, Body, JsonRoute, View
from keelbill.gallery.selections import MOST
from keelbill.gallery.tags import MAX_TAGS

PictureIds = Annotated[list[Annotated[str, Field(pattern="^[0-9a-f]{32}$")]], Field(min_length=1, max_length=MOST)]

_ZIP: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A ZIP file of the pictures and of recipes.json, which holds what was asked for.",
        "content": {"application/zip": {}},
    }
}

router = APIRouter(prefix="/api/gallery", tags=["Gallery"], route_class=JsonRoute, responses=ERRORS)


class Selected(Body):
    """Some pictures."""

    picture_ids: PictureIds


class SelectionChange(Selected):
    """What to change about some pictures; what is left out stays."""

    favourite: bool | None = None
    add_tags: list[str] = Field(default=[], max_length=MAX_TAGS)
    remove_tags: list[str] = Field(default=[], max_length=MAX_TAGS)


class Deleted(View):
    """How many pictures were deleted."""

    deleted: int


@router.post("/changes", status_code=204, response_class=Response, openapi_extra=WITH_CREDENTIAL)
async def change_pictures(request: Request, caller: CanGenerate, body: SelectionChange) -> None:
    """Mark pictures as favourites, give them tags or take tags away: all of them, or none."""
    await platform_of(request).gallery.selections.change(
        caller.org_id,
        body.picture_ids,
        favourite=body.favourite,
        add_tags=body.add_tags,
        remove_tags=body.remove_tags,
    )


@router.post("/deletions", openapi_extra=WITH_CREDENTIAL)
async def delete_pictures(request: Request, caller: CanGenerate, body: Selected) -> Deleted:
    """Delete pictures and the words that asked for them; those that are gone already are passed over."""
    gallery = platform_of(request).gallery
    deleted = await gallery.selections.delete(caller.org_id, body.picture_ids)
    await gallery.purge()
    return Deleted(deleted=deleted)


@router.post("/archives", responses=_ZIP, openapi_extra=WITH_CREDENTIAL)
async def pack_pictures(request: Request, caller: CanReadHistory, body: Selected) -> StreamingResponse:
    """Return pictures as one ZIP file, with the recipes of all of them."""
    content = await platform_of(request).gallery.selections.archive(caller.org_id, body.picture_ids)
    headers = {"content-disposition": 'attachment; filename="pictures.zip"', "cache-control": "no-store"}
    return StreamingResponse(content, headers=headers, media_type="application/zip")
