"""Routes for finished pictures: listed, searched, fetched, marked, sorted, deleted. Knows HTTP, no rules."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.deps import CanGenerate, CanReadHistory, platform_of
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, Body, JsonRoute, View
from keelbill.api.native.job_bodies import credits_text
from keelbill.api.visits import visit_of
from keelbill.gallery.archive import ENDINGS
from keelbill.gallery.facets import source_of
from keelbill.gallery.schemas import MAX_PAGE, PAGE, Album, Filter, Picture, Source
from keelbill.imaging.thumbnails import MEDIA_TYPE

_FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The file.", "content": {k: {} for k in ("image/png", "image/jpeg", "image/webp")}}
}
_SMALL: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "A WebP of at most 320 pixels each way.", "content": {MEDIA_TYPE: {}}}
}
_PRIVATE: Final = {"cache-control": "private, max-age=31536000, immutable", "x-content-type-options": "nosniff"}

router = APIRouter(prefix="/api/gallery", tags=["Gallery"], route_class=JsonRoute, responses=ERRORS)


class PictureView(View):
    """A picture of the history."""

    id: str
    job_id: str
    user_id: str
    prompt: str
    negative_prompt: str
    model: str = Field(description="That made it.")
    requested_model: str = Field(description="As the request named it.")
    kind: str
    service: str
    seed: int
    width: int
    height: int
    media_type: str
    size_bytes: int
    filtered: bool
    price: str = Field(description="Credits that were taken.", examples=["6.5"])
    favourite: bool
    key_id: str = Field(description="The API key with which it was asked for; empty for the studio.")
    source: Source
    tags: list[str] = Field(description="Only filled where one picture is asked for.")
    created_ms: int

    @classmethod
    def of(cls, picture: Picture) -> PictureView:
        """Return a picture as JSON."""
        shown = {name: getattr(picture, name) for name in cls.model_fields if hasattr(picture, name)}
        changed = {
            "negative_prompt": picture.negative,
            "price": credits_text(picture.price),
            "source": source_of(picture.kind, picture.key_id),
            "tags": [*picture.tags],
        }
        return cls(**{**shown, **changed})


class PicturePage(View):
    """Some pictures, newest first."""

    pictures: list[PictureView]
    next_cursor: str = Field(description="Continues the list as `cursor`; empty at its end.")


class PictureChange(Body):
    """What to change about a picture; what is left out stays."""

    favourite: bool | None = None
    tags: list[str] | None = Field(default=None, max_length=32, description="Replace all tags.")


class RecipeView(View):
    """What was asked for, with everything that decides the pixels."""

    recipe: dict[str, Any]


class Count(View):
    """A value and how many pictures have it."""

    value: str
    pictures: int


class FacetsView(View):
    """How many pictures there are of each kind, the most frequent first."""

    total: int
    models: list[Count]
    sizes: list[Count] = Field(description="Such as 1024x768.")
    keys: list[Count] = Field(description="Ids of API keys.")
    sources: list[Count]


class TagView(View):
    """A tag."""

    tag: str
    pictures: int


class AlbumName(Body):
    """An album's name."""

    name: str = Field(min_length=1, max_length=200, examples=["Lighthouses"])


class AlbumPictures(Body):
    """Pictures to put into an album or take out of it."""

    picture_ids: list[Annotated[str, Field(pattern="^[0-9a-f]{32}$")]] = Field(min_length=1, max_length=200)


class AlbumView(View):
    """An album."""

    id: str
    name: str
    pictures: int
    created_ms: int

    @classmethod
    def of(cls, album: Album) -> AlbumView:
        """Return an album as JSON."""
        return cls(**vars(album))


@router.get("", openapi_extra=WITH_CREDENTIAL)
async def list_pictures(
    request: Request,
    caller: CanReadHistory,
    text: Annotated[str, Query(max_length=1000, description="Words of the prompts; the last may be unfinished.")] = "",
    model: Annotated[str, Query(max_length=128)] = "",
    kind: Annotated[str, Query(max_length=16)] = "",
    favourite: bool | None = None,
    album: Annotated[str, Query(max_length=32)] = "",
    tag: Annotated[str, Query(max_length=64)] = "",
    member: Annotated[str, Query(max_length=32)] = "",
    size: Annotated[str, Query(pattern="^([0-9]{1,5}x[0-9]{1,5})?$", description="Such as 1024x768.")] = "",
    key: Annotated[str, Query(max_length=32, description="Id of an API key.")] = "",
    source: Source | None = None,
    from_ms: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
    until_ms: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
    cursor: Annotated[str, Query(max_length=32)] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
) -> PicturePage:
    """List or search the account's pictures, newest first."""
    wanted = Filter(
        text, model, kind, favourite, album, tag, from_ms, until_ms, member, _pixels(size), key, source or ""
    )
    page = await platform_of(request).gallery.page(caller.org_id, wanted, cursor, limit)
    return PicturePage(pictures=[PictureView.of(found) for found in page.pictures], next_cursor=page.next_cursor)


@router.get("/facets", openapi_extra=WITH_CREDENTIAL)
async def count_facets(request: Request, caller: CanReadHistory) -> FacetsView:
    """Count the account's pictures by what the list can be filtered by."""
    found = vars(await platform_of(request).gallery.facets(caller.org_id))
    counted = {name: [Count(value=v, pictures=n) for v, n in found[name]] for name in found if name != "total"}
    return FacetsView(total=found["total"], **counted)


@router.get("/tags", openapi_extra=WITH_CREDENTIAL)
async def list_tags(request: Request, caller: CanReadHistory) -> list[TagView]:
    """List the account's tags."""
    found = await platform_of(request).gallery.tags(caller.org_id)
    return [TagView(tag=tag, pictures=count) for tag, count in found]


@router.get("/albums", openapi_extra=WITH_CREDENTIAL)
async def list_albums(request: Request, caller: CanReadHistory) -> list[AlbumView]:
    """List the account's albums by name."""
    return [AlbumView.of(found) for found in await platform_of(request).gallery.albums(caller.org_id)]


@router.post("/albums", status_code=201, openapi_extra=WITH_CREDENTIAL)
async def add_album(request: Request, caller: CanGenerate, body: AlbumName) -> AlbumView:
    """Make an empty album."""
    return AlbumView.of(await platform_of(request).gallery.add_album(caller.org_id, body.name))


@router.patch("/albums/{album_id}", status_code=204, response_class=Response, openapi_extra=WITH_CREDENTIAL)
async def rename_album(request: Request, caller: CanGenerate, album_id: str, body: AlbumName) -> None:
    """Give an album another name."""
    await platform_of(request).gallery.rename_album(caller.org_id, album_id, body.name)


@router.delete("/albums/{album_id}", status_code=204, response_class=Response, openapi_extra=WITH_CREDENTIAL)
async def remove_album(request: Request, caller: CanGenerate, album_id: str) -> None:
    """Remove an album; its pictures stay."""
    await platform_of(request).gallery.remove_album(caller.org_id, album_id)


@router.post("/albums/{album_id}/pictures", status_code=204, response_class=Response, openapi_extra=WITH_CREDENTIAL)
async def put_into_album(request: Request, caller: CanGenerate, album_id: str, body: AlbumPictures) -> None:
    """Add pictures to an album."""
    await platform_of(request).gallery.put_into_album(caller.org_id, album_id, body.picture_ids)


@router.delete(
    "/albums/{album_id}/pictures/{picture_id}", status_code=204, response_class=Response, openapi_extra=WITH_CREDENTIAL
)
async def take_from_album(request: Request, caller: CanGenerate, album_id: str, picture_id: str) -> None:
    """Take a picture out of an album."""
    await platform_of(request).gallery.take_from_album(caller.org_id, album_id, [picture_id])


@router.get("/{picture_id}", openapi_extra=WITH_CREDENTIAL)
async def get_picture(request: Request, caller: CanReadHistory, picture_id: str) -> PictureView:
    """Return one picture with its tags."""
    return PictureView.of(await platform_of(request).gallery.get(caller.org_id, picture_id))


@router.get("/{picture_id}/recipe", openapi_extra=WITH_CREDENTIAL)
async def get_recipe(request: Request, caller: CanReadHistory, picture_id: str) -> RecipeView:
    """Return everything that was asked for, so that the picture can be made again."""
    picture = await platform_of(request).gallery.get(caller.org_id, picture_id)
    recipe = json.loads(picture.recipe or "{}")
    return RecipeView(recipe=recipe | {"model": picture.model, "seed": picture.seed})


@router.get("/{picture_id}/image", responses=_FILE, openapi_extra=WITH_CREDENTIAL)
async def get_picture_file(request: Request, caller: CanReadHistory, picture_id: str) -> Response:
    """Return the picture's file, with its recipe inside."""
    picture, content = await platform_of(request).gallery.content(caller.org_id, picture_id)
    name = f"{picture.id}.{ENDINGS.get(picture.media_type, 'bin')}"
    headers = {**_PRIVATE, "content-disposition": f'inline; filename="{name}"'}
    return Response(content, headers=headers, media_type=picture.media_type)


@router.get("/{picture_id}/thumbnail", responses=_SMALL, openapi_extra=WITH_CREDENTIAL)
async def get_thumbnail(request: Request, caller: CanReadHistory, picture_id: str) -> Response:
    """Return a small form of the picture, for lists. A page of the gallery shows a hundred; they do not count."""
    if strike := visit_of(request).strike:
        platform_of(request).limiter.give_back(strike)
    content = await platform_of(request).gallery.thumbnail(caller.org_id, picture_id)
    return Response(content, headers={**_PRIVATE, "content-disposition": "inline"}, media_type=MEDIA_TYPE)


@router.patch("/{picture_id}", openapi_extra=WITH_CREDENTIAL)
async def change_picture(request: Request, caller: CanGenerate, picture_id: str, body: PictureChange) -> PictureView:
    """Mark a picture as a favourite, or replace its tags."""
    gallery = platform_of(request).gallery
    if body.tags is not None:
        await gallery.set_tags(caller.org_id, picture_id, body.tags)
    if body.favourite is not None:
        await gallery.mark(caller.org_id, picture_id, body.favourite)
    return PictureView.of(await gallery.get(caller.org_id, picture_id))


@router.delete("/{picture_id}", status_code=204, response_class=Response, openapi_extra=WITH_CREDENTIAL)
async def delete_picture(request: Request, caller: CanGenerate, picture_id: str) -> None:
    """Delete a picture and the words that asked for it."""
    await platform_of(request).gallery.delete(caller.org_id, picture_id)


def _pixels(size: str) -> tuple[int, int] | None:
    width, _, height = size.partition("x")
    return (int(width), int(height)) if size else None
