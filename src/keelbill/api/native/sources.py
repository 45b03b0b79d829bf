"""Finds the picture that a request names: one of the gallery, or an upload. Knows no HTTP and no pixels."""

from __future__ import annotations

from dataclasses import dataclass

from keelbill.api.platform import Platform
from keelbill.core.errors import InvalidRequest
from keelbill.core.principal import Principal
from keelbill.core.types import Size
from keelbill.gallery.errors import NoSuchPicture, NoSuchUpload


@dataclass(frozen=True)
class Source:
    """A picture to start from.

    Attributes:
        ref: Where its bytes are.
        size: In pixels.
        has_alpha: Whether a part is known to be transparent.
    """

    ref: str
    size: Size
    has_alpha: bool = False


async def find_source(platform: Platform, caller: Principal, field: str, picture_id: str) -> Source:
    """Find a picture of the caller's by the id that a request names.

    Args:
        platform: All services.
        caller: Whose picture it must be.
        field: Name of the member, for the error.
        picture_id: Of a picture of the gallery, or of an upload.

    Raises:
        InvalidRequest: It is neither.
    """
    try:
        kept = await platform.gallery.uploads.get(caller.org_id, picture_id)
    except NoSuchUpload:
        pass
    else:
        return Source(kept.blob_ref, Size(kept.width, kept.height), kept.has_alpha)
    try:
        picture = await platform.gallery.get(caller.org_id, picture_id)
    except NoSuchPicture as error:
        raise InvalidRequest(f"{field}: there is no such picture in your gallery") from error
    return Source(picture.blob_ref, Size(picture.width, picture.height))
