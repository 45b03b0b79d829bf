"""The picture services, each as the requests it makes and how their answers are read. Knows no connection.

Every function here is a method of both `Client` and `AsyncClient`. What is left out or nothing is not sent: the server
decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, Literal, cast

from keelbill.client.errors import BadRequestError, DeadlineExceededError
from keelbill.client.pictures import SUFFIXES, FinishReason, ImageSource, Picture, part_of
from keelbill.client.wire import PICTURES, Exchange, Part, Reply, Request

Model = Literal[
    "sd3.5-large",
    "sd3.5-large-turbo",
    "sd3.5-medium",
    "sd3.5-flash",
    "sd3",
    "sd3-large",
    "sd3-large-turbo",
    "sd3-turbo",
    "sd3-medium",
]
Ratio = Literal["21:9", "16:9", "3:2", "5:4", "1:1", "4:5", "2:3", "9:16", "9:21"]
OutputFormat = Literal["png", "jpeg", "webp"]
StylePreset = Literal[
    "3d-model",
    "analog-film",
    "anime",
    "cinematic",
    "comic-book",
    "digital-art",
    "enhance",
    "fantasy-art",
    "isometric",
    "line-art",
    "low-poly",
    "modeling-compound",
    "neon-punk",
    "origami",
    "photographic",
    "pixel-art",
    "tile-texture",
]

BASE: Final = "/v2beta/stable-image"
_IN_PROGRESS: Final = 202
_POLL_S: Final = (2.0, 2.0, 3.0, 5.0, 10.0)
"""Waits between questions for a slow result; the last one repeats."""


def generate(
    prompt: str,
    *,
    model: Model | str = "sd3.5-large",
    aspect_ratio: Ratio | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    cfg_scale: float | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    image: ImageSource | None = None,
    strength: float | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Make a picture from a prompt with a model of the SD3 family, or paint a given picture anew.

    Args:
        prompt: What to paint, 1 to 10,000 characters.
        model: Such as ``sd3.5-large``, ``sd3`` or ``sd3-turbo``.
        aspect_ratio: Width to height; ``1:1`` if left out. Has no effect with `image`.
        seed: 1 to 4294967294 for the same picture each time; 0 or nothing for a random one.
        negative_prompt: What to avoid, at most 10,000 characters.
        cfg_scale: How closely the prompt is followed, 1 to 10.
        style_preset: A look, such as ``photographic``.
        output_format: ``png`` if left out.
        image: A picture to start from; needs `strength`.
        strength: How much of `image` is painted anew, 0 to 1.
        idempotency_key: Your own name for this call: a second call of the same name gets the same picture and is not
            charged. Left out, each call has its own, and only its retries share it.
    """
    form = {
        "prompt": prompt,
        "model": model,
        "mode": "image-to-image" if image is not None else None,
        "aspect_ratio": aspect_ratio if image is None else None,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "cfg_scale": cfg_scale,
        "style_preset": style_preset,
        "output_format": output_format,
        "strength": strength,
    }
    return _picture("generate/sd3", form, {"image": image}, idempotency_key)


def ultra(
    prompt: str,
    *,
    aspect_ratio: Ratio | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    image: ImageSource | None = None,
    strength: float | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Make a picture with the best model of the server.

    Args:
        prompt: What to paint, 1 to 10,000 characters.
        aspect_ratio: Width to height; ``1:1`` if left out.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        negative_prompt: What to avoid.
        style_preset: A look.
        output_format: ``png`` if left out.
        image: A picture to start from; needs `strength`.
        strength: How much of `image` is painted anew, 0 to 1.
        idempotency_key: See `generate`.
    """
    form = {
        "prompt": prompt,
        "aspect_ratio": aspect_ratio,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "style_preset": style_preset,
        "output_format": output_format,
        "strength": strength,
    }
    return _picture("generate/ultra", form, {"image": image}, idempotency_key)


def core(
    prompt: str,
    *,
    aspect_ratio: Ratio | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Make a picture quickly and cheaply, at 1.5 megapixels and more.

    Args:
        prompt: What to paint, 1 to 10,000 characters.
        aspect_ratio: Width to height; ``1:1`` if left out.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        negative_prompt: What to avoid.
        style_preset: A look.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.
    """
    form = {
        "prompt": prompt,
        "aspect_ratio": aspect_ratio,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "style_preset": style_preset,
        "output_format": output_format,
    }
    return _picture("generate/core", form, {}, idempotency_key)


def inpaint(
    image: ImageSource,
    prompt: str,
    *,
    mask: ImageSource | None = None,
    grow_mask: int | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Paint a part of a picture anew.

    Args:
        image: The picture. Without `mask` its transparent part is painted anew.
        prompt: What the finished picture shows there.
        mask: White where to paint, black where to keep; grey is between.
        grow_mask: Pixels by which the mask is widened with a soft edge, 0 to 100.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        negative_prompt: What to avoid.
        style_preset: A look.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.
    """
    form = {
        "prompt": prompt,
        "grow_mask": grow_mask,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "style_preset": style_preset,
        "output_format": output_format,
    }
    return _picture("edit/inpaint", form, {"image": image, "mask": mask}, idempotency_key)


def erase(
    image: ImageSource,
    *,
    mask: ImageSource | None = None,
    grow_mask: int | None = None,
    seed: int | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Take something out of a picture and fill the place from its surroundings.

    Args:
        image: The picture. Without `mask` its transparent part is filled.
        mask: White where to erase.
        grow_mask: Pixels by which the mask is widened with a soft edge, 0 to 20.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.
    """
    form = {"grow_mask": grow_mask, "seed": seed, "output_format": output_format}
    return _picture("edit/erase", form, {"image": image, "mask": mask}, idempotency_key)


def outpaint(
    image: ImageSource,
    *,
    left: int = 0,
    right: int = 0,
    up: int = 0,
    down: int = 0,
    prompt: str | None = None,
    creativity: float | None = None,
    seed: int | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Make a picture larger by painting what is beyond its edges.

    Args:
        image: The picture.
        left: Pixels to add on the left, 0 to 2000; at least one of the four must be above 0.
        right: Likewise.
        up: Likewise.
        down: Likewise.
        prompt: What the whole picture shows.
        creativity: How freely, 0 to 1.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        style_preset: A look.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.
    """
    form = {
        "left": left or None,
        "right": right or None,
        "up": up or None,
        "down": down or None,
        "prompt": prompt,
        "creativity": creativity,
        "seed": seed,
        "style_preset": style_preset,
        "output_format": output_format,
    }
    return _picture("edit/outpaint", form, {"image": image}, idempotency_key)


def upscale_fast(
    image: ImageSource, *, output_format: OutputFormat | None = None, idempotency_key: str | None = None
) -> Exchange[Picture]:
    """Make each side of a picture four times as long, at once and without a prompt.

    Args:
        image: The picture, sides of 32 to 1536 pixels.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.
    """
    return _picture("upscale/fast", {"output_format": output_format}, {"image": image}, idempotency_key)


def upscale_conservative(
    image: ImageSource,
    prompt: str,
    *,
    creativity: float | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Make a picture about four megapixels large and stay close to it.

    Args:
        image: The picture.
        prompt: What it shows.
        creativity: How freely, 0.2 to 0.5.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        negative_prompt: What to avoid.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.
    """
    form = {
        "prompt": prompt,
        "creativity": creativity,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "output_format": output_format,
    }
    return _picture("upscale/conservative", form, {"image": image}, idempotency_key)


def upscale_creative(
    image: ImageSource,
    prompt: str,
    *,
    creativity: float | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    wait_s: float = 600.0,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Make a small picture large and invent detail; asks for the result until it is there.

    Args:
        image: The picture, at most 1,048,576 pixels.
        prompt: What it shows.
        creativity: How freely, 0.1 to 0.5.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        negative_prompt: What to avoid.
        style_preset: A look.
        output_format: ``png`` if left out.
        wait_s: Seconds to wait between questions in all.
        idempotency_key: See `generate`.

    Raises:
        DeadlineExceededError: It is not ready yet; the message holds the id for `result`.
    """
    form = {
        "prompt": prompt,
        "creativity": creativity,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "style_preset": style_preset,
        "output_format": output_format,
    }
    request = _request("upscale/creative", form, {"image": image}, idempotency_key, accept="application/json")
    accepted = yield request
    table = accepted.json()
    found = table.get("id") if isinstance(table, dict) else None
    if not isinstance(found, str) or not found.isalnum():
        raise accepted.unexpected("holds no id of a job")
    waited_s, asked = 0.0, 0
    while waited_s < wait_s:
        pause_s = min(_POLL_S[min(asked, len(_POLL_S) - 1)], wait_s - waited_s)
        reply = yield Request("GET", f"/v2beta/results/{found}", accept=PICTURES, wait_s=pause_s)
        if reply.status != _IN_PROGRESS:
            return picture_of(reply, request)
        waited_s, asked = waited_s + pause_s, asked + 1
    raise DeadlineExceededError(
        f"The picture is not ready after {wait_s:g} s.", hint=f"It is kept for a day: ask later with result({found!r})."
    )


def result(job_id: str) -> Exchange[Picture | None]:
    """Return the picture of an earlier slow call, or nothing while it is being made.

    Args:
        job_id: As the message of `upscale_creative` named it.
    """
    reply = yield Request("GET", f"/v2beta/results/{_plain(job_id)}", accept=PICTURES)
    return None if reply.status == _IN_PROGRESS else picture_of(reply, None)


def picture_of(reply: Reply, request: Request | None) -> Picture:
    """Read an answer that is a picture.

    Raises:
        UnexpectedAnswerError: It is none.
    """
    if reply.media_type not in SUFFIXES or not reply.body:
        raise reply.unexpected("is no picture")
    reason = reply.headers.get("finish-reason", "SUCCESS")
    seed = reply.headers.get("seed", "")
    return Picture(
        data=reply.body,
        media_type=reply.media_type,
        seed=int(seed) if seed.isdecimal() else None,
        finish_reason=cast("FinishReason", reason if reason == "CONTENT_FILTERED" else "SUCCESS"),
        model=request.form.get("model", "") if request else "",
        request_id=reply.request_id,
        credits_charged=_credits(reply.headers.get("x-credits-charged", "")),
        request=request,
    )


def _picture(
    path: str,
    form: Mapping[str, str | float | None],
    images: Mapping[str, ImageSource | None],
    idempotency_key: str | None,
) -> Exchange[Picture]:
    request = _request(path, form, images, idempotency_key)
    return picture_of((yield request), request)


def _request(
    path: str,
    form: Mapping[str, str | float | None],
    images: Mapping[str, ImageSource | None],
    idempotency_key: str | None,
    accept: str = PICTURES,
) -> Request:
    files: list[Part] = [part_of(name, source) for name, source in images.items() if source is not None]
    headers = {"idempotency-key": _visible(idempotency_key)} if idempotency_key is not None else {}
    texts = {name: text_of(name, value) for name, value in form.items() if value is not None}
    return Request("POST", f"{BASE}/{path}", texts, files, accept=accept, headers=headers)


def text_of(name: str, value: str | float) -> str:
    """Write a value as a form field's text; whole numbers carry no decimal point.

    Raises:
        BadRequestError: It is not a number, or text that cannot be sent.
    """
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise BadRequestError(f"{name}: must be valid Unicode text; it holds half of a surrogate pair.")
        return value
    if not math.isfinite(value):
        raise BadRequestError(f"{name}: must be a number, not {value}.")
    return str(int(value)) if value == int(value) else f"{value:.12f}".rstrip("0")


def _visible(key: str) -> str:
    if not (1 <= len(key) <= 255 and key.isascii() and key.isprintable() and " " not in key):
        raise BadRequestError("idempotency_key: must be 1 to 255 visible ASCII characters.")
    return key


def _plain(job_id: str) -> str:
    if not (job_id.isascii() and job_id.isalnum()):
        raise BadRequestError(f"job_id: {job_id!r} must be letters and digits.")
    return job_id


def _credits(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None
