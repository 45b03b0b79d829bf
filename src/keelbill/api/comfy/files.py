"""Pictures of the account: shown, uploaded, masked. Knows HTTP and pictures' formats, no graph."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from PIL import Image
from starlette.responses import Response
from starlette.routing import BaseRoute

from keelbill.api.comfy.chunks import texts_of, with_texts
from keelbill.api.comfy.door import Call, both, one, reply
from keelbill.api.forms import FORM_OVERHEAD_BYTES, Form, read_form
from keelbill.core.errors import InvalidRequest
from keelbill.imaging.decode import open_header
from keelbill.workspace.names import AREAS, Area, Place, annotated, place_of

if TYPE_CHECKING:
    from keelbill.workspace.schemas import StoredFile

INLINE: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
CACHING: Final = {"cache-control": "private, no-cache", "vary": "cookie, authorization"}
MAX_SHOWN_BYTES: Final = 128 * 2**20
MAX_SHOWN_PIXELS: Final = 2**27
KEPT_TEXTS: Final = ("workflow", "prompt", "parameters")
"""What a picture keeps of an upload besides its pixels."""

_PICTURE_FIELDS: Final = ("image", "type", "subfolder", "overwrite", "original_ref")


class Files:
    """The routes."""

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            *both("/view", self.view),
            *both("/upload/image", self.upload, "POST", reads="upload"),
            *both("/upload/mask", self.upload_mask, "POST", reads="upload"),
            one("/internal/files/{area}", self.names),
            one("/api/internal/files/{area}", self.names),
        ]

    async def view(self, call: Call) -> Response:
        """Send a file, or another form of a picture."""
        call.forgive()
        asked = call.query
        if not asked.get("filename"):
            raise InvalidRequest("filename: required")
        place = _place(asked["filename"], asked.get("subfolder", ""), asked.get("type") or "output")
        stored, content = await call.platform.workspace.content(call.account, place)
        if stored.media_type not in INLINE:
            return _sent(content, "application/octet-stream", stored.name, attached=True)
        if preview := asked.get("preview"):
            kind, quality = _preview_of(preview)
            content = await _drawn(content, lambda image: _preview(image, kind, quality))
            return _sent(content, f"image/{kind}", stored.name)
        channel = asked.get("channel", "")
        if channel == "rgb":
            return _sent(await _drawn(content, lambda image: _png(image.convert("RGB"))), "image/png", stored.name)
        if channel == "a":
            return _sent(await _drawn(content, _alpha), "image/png", stored.name)
        return _sent(content, stored.media_type, stored.name)

    async def names(self, call: Call) -> Response:
        """Return the names of files, newest first."""
        area = _area(call.path("area"))
        found = await call.platform.workspace.newest(call.account, area)
        return reply([f"{each.path} [{area}]" if area != "input" else each.path for each in found])

    async def upload(self, call: Call) -> Response:
        """Keep a picture."""
        form = await _form(call)
        place, content = await _received(call, form)
        return await _keep(call, form, place, content)

    async def upload_mask(self, call: Call) -> Response:
        """Keep a picture that has the colours of one that is there already and the transparency of the upload."""
        form = await _form(call)
        place, mask = await _received(call, form)
        original = _original(form)
        _, content = await call.platform.workspace.content(call.account, original)
        texts = texts_of(content, KEPT_TEXTS)
        merged = await asyncio.to_thread(_merge, content, mask)
        return await _keep(call, form, place, with_texts(merged, texts))


def _place(name: str, folder: str, area: str) -> Place:
    plain, chosen = annotated(name, _area(area))
    return place_of(chosen, plain, folder)


def _area(name: str) -> Area:
    for area in AREAS:
        if area == name:
            return area
    raise InvalidRequest(f"type: must be one of {', '.join(AREAS)}")


async def _form(call: Call) -> Form:
    limit = call.platform.settings.max_image_bytes + FORM_OVERHEAD_BYTES
    return await read_form(call.request, max_bytes=limit, known=_PICTURE_FIELDS)


async def _received(call: Call, form: Form) -> tuple[Place, bytes]:
    """Return where an upload shall be, and its picture made anew from its pixels."""
    upload = form.files.get("image")
    if upload is None:
        raise InvalidRequest("image: required, as a file with a name")
    area = form.fields.get("type", "input")
    place = place_of(_area(area), upload.filename, form.fields.get("subfolder", ""), field="image")
    await call.platform.workspace.require_room(call.account)
    content = await upload.read()
    clean = await call.platform.decoder.decode(content)
    return place, with_texts(clean.png, texts_of(content, KEPT_TEXTS))


async def _keep(call: Call, form: Form, place: Place, png: bytes) -> Response:
    workspace = call.platform.workspace
    width, height = open_header(png, max_bytes=MAX_SHOWN_BYTES, max_pixels=MAX_SHOWN_PIXELS).size
    mark = sha256(png).hexdigest()
    kept = await workspace.keep(png, "image/png", width=width, height=height, made_by=mark)
    is_written_over = form.fields.get("overwrite", "").lower() in {"true", "1"}
    stored = await workspace.upload(call.account, place, kept, overwrite=is_written_over)
    return reply(shown(stored))


def shown(stored: StoredFile) -> dict[str, str]:
    """Return a file as the editor names it after an upload."""
    return {"name": stored.name, "subfolder": stored.folder, "type": stored.area}


def _original(form: Form) -> Place:
    try:
        given: Any = json.loads(form.fields.get("original_ref", ""))
        return _place(str(given["filename"]), str(given.get("subfolder") or ""), str(given.get("type") or "output"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidRequest("original_ref: must be a JSON object with filename, subfolder and type") from error


def _sent(content: bytes, media_type: str, name: str, *, attached: bool = False) -> Response:
    ascii_name = name.encode("ascii", "replace").decode().replace("?", "_").replace('"', "'")
    disposition = f'filename="{ascii_name}"'
    if ascii_name != name:
        disposition += f"; filename*=UTF-8''{quote(name, safe='')}"
    headers = {"content-disposition": f"attachment; {disposition}" if attached else disposition, **CACHING}
    return Response(content, media_type=media_type, headers={**headers, "x-content-type-options": "nosniff"})


def _preview_of(text: str) -> tuple[str, int]:
    kind, _, quality = text.partition(";")
    if kind not in {"webp", "jpeg"}:
        raise InvalidRequest("preview: must be webp or jpeg, perhaps with a quality such as webp;90")
    given = int(quality) if quality.isascii() and quality.isdecimal() and len(quality) < 4 else 90
    return kind, min(max(given, 1), 100)


async def _drawn(content: bytes, draw: Callable[[Image.Image], bytes]) -> bytes:
    def work() -> bytes:
        with open_header(content, max_bytes=MAX_SHOWN_BYTES, max_pixels=MAX_SHOWN_PIXELS) as image:
            return draw(image)

    return await asyncio.to_thread(work)


def _preview(image: Image.Image, kind: str, quality: int) -> bytes:
    shown = image.convert("RGB" if kind == "jpeg" or not image.has_transparency_data else "RGBA")
    out = BytesIO()
    shown.save(out, kind, quality=quality)
    return out.getvalue()


def _alpha(image: Image.Image) -> bytes:
    """Return a picture whose transparency is the image's and that has no colours."""
    alpha = image.convert("RGBA").getchannel("A")
    only = Image.new("RGBA", image.size)
    only.putalpha(alpha)
    return _png(only)


def _merge(original: bytes, mask: bytes) -> bytes:
    with (
        open_header(original, max_bytes=MAX_SHOWN_BYTES, max_pixels=MAX_SHOWN_PIXELS) as colours,
        open_header(mask, max_bytes=MAX_SHOWN_BYTES, max_pixels=MAX_SHOWN_PIXELS) as given,
    ):
        alpha = given.convert("RGBA").getchannel("A").resize(colours.size)
        merged = colours.convert("RGB").convert("RGBA")
        merged.putalpha(alpha)
        return _png(merged)


def _png(image: Image.Image) -> bytes:
    out = BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()
