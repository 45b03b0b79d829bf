"""Routes for pictures that people bring along: uploaded once, then named by jobs. Knows HTTP, no pixels.

A file is rebuilt from nothing but its pixels, in a process of its own, before anything else looks at it.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from keelbill.api.deps import CanGenerate, platform_of
from keelbill.api.forms import read_form
from keelbill.api.native.bodies import ERRORS, WITH_CREDENTIAL, View
from keelbill.core.errors import InvalidRequest
from keelbill.gallery.uploads import Upload

MAX_SIDE: Final = 16_384
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "additionalProperties": False,
                    "properties": {
                        "image": {"type": "string", "format": "binary", "description": "PNG, JPEG or WebP."}
                    },
                }
            }
        },
    }
}
_FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The picture as it was rebuilt.", "content": {"image/png": {}}}
}

router = APIRouter(prefix="/api/uploads", tags=["Uploads"], responses=ERRORS)


class UploadView(View):
    """A picture that was uploaded."""

    id: str = Field(examples=["01a204ec7c0b70e3ab1290cd8a4b04b3"])
    width: int = Field(description="In pixels, upright.")
    height: int
    expires_ms: int = Field(description="Until when jobs may name it, in milliseconds since 1970.")

    @classmethod
    def of(cls, upload: Upload) -> UploadView:
        """Return an upload as JSON."""
        return cls(id=upload.id, width=upload.width, height=upload.height, expires_ms=upload.expires_ms)


@router.post("", status_code=201, openapi_extra=WITH_CREDENTIAL | _BODY)
async def upload_picture(request: Request, caller: CanGenerate) -> UploadView:
    """Upload a picture to start from, or a mask. It is kept for a day and costs nothing.

    PNG, JPEG or WebP of at most 9,437,184 pixels. What the file says about itself is not kept.
    """
    platform = platform_of(request)
    form = await read_form(
        request, max_bytes=platform.settings.max_body_bytes, known={"image"}, unknown="refuse", repeated_files=()
    )
    if "image" not in form.files:
        raise InvalidRequest("image: required, as a file")
    clean = await platform.decoder.decode(await form.files["image"].read(), max_side=MAX_SIDE)
    kept = await platform.gallery.uploads.keep(
        caller.org_id, clean.png, clean.width, clean.height, has_alpha=clean.has_alpha
    )
    return UploadView.of(kept)


@router.get("/{upload_id}/image", responses=_FILE, openapi_extra=WITH_CREDENTIAL)
async def get_upload(request: Request, caller: CanGenerate, upload_id: str) -> Response:
    """Return an uploaded picture."""
    content = await platform_of(request).gallery.uploads.content(caller.org_id, upload_id)
    headers = {"cache-control": "private, max-age=3600", "content-disposition": 'inline; filename="input.png"'}
    return Response(content, headers=headers, media_type="image/png")
