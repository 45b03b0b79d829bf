"""What all picture services share: the values they take, the forms they send, and how a picture is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, Literal, cast

from keelbill.client.errors import BadRequestError, DeadlineExceededError
from keelbill.client.pictures import SUFFIXES, FinishReason, ImageSource, Picture, part_of
from keelbill.client.wire import JSON, PICTURES, Exchange, Part, Reply, Request

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

Values = Mapping[str, str | float | bool | None]
Images = Mapping[str, ImageSource | None]

BASE: Final = "/v2beta/stable-image"
POLL_S: Final = (2.0, 2.0, 3.0, 5.0, 10.0)
"""Waits between questions for a slow result; the last one repeats."""

_IN_PROGRESS: Final = 202


def picture(path: str, form: Values, images: Images, idempotency_key: str | None) -> Exchange[Picture]:
    """Ask a service for a picture and wait for it.

    Args:
        path: Of the service, below `BASE`.
        form: Values by field; those that are nothing are not sent.
        images: Pictures by field; likewise.
        idempotency_key: The caller's own name for the call, or nothing.

    Raises:
        BadRequestError: A value cannot be sent.
    """
    request = request_of(path, form, images, idempotency_key)
    return picture_of((yield request), request)


def slow_picture(
    path: str, form: Values, images: Images, idempotency_key: str | None, wait_s: float
) -> Exchange[Picture]:
    """Ask a service that answers with the id of a job, then ask for the result until it is there.

    Raises:
        DeadlineExceededError: It is not there after `wait_s` seconds of waiting.
    """
    request = request_of(path, form, images, idempotency_key, accept=JSON)
    accepted = yield request
    job_id = job_id_of(accepted)
    waited_s, asked = 0.0, 0
    while waited_s < wait_s:
        pause_s = min(POLL_S[min(asked, len(POLL_S) - 1)], wait_s - waited_s)
        reply = yield Request("GET", f"/v2beta/results/{job_id}", accept=PICTURES, wait_s=pause_s)
        if reply.status != _IN_PROGRESS:
            return picture_of(reply, request)
        waited_s, asked = waited_s + pause_s, asked + 1
    raise DeadlineExceededError(
        f"The picture is not ready after {wait_s:g} s.",
        hint=f"It is kept for a day: ask later with result({job_id!r}).",
    )


def result(job_id: str) -> Exchange[Picture | None]:
    """Return the picture of an earlier slow call, or nothing while it is being made.

    Args:
        job_id: As the message of a `DeadlineExceededError` named it.
    """
    reply = yield Request("GET", f"/v2beta/results/{_plain(job_id)}", accept=PICTURES)
    return None if reply.status == _IN_PROGRESS else picture_of(reply, None)


def job_id_of(reply: Reply) -> str:
    """Read the id of a job from the answer to its submission.

    Raises:
        UnexpectedAnswerError: There is none.
    """
    table = reply.json()
    found = table.get("id") if isinstance(table, dict) else None
    if not isinstance(found, str) or not (found.isascii() and found.isalnum()):
        raise reply.unexpected("holds no id of a job")
    return found


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
        is_replay=reply.headers.get("idempotent-replayed", "") == "true",
        request=request,
    )


def request_of(path: str, form: Values, images: Images, idempotency_key: str | None, accept: str = PICTURES) -> Request:
    """Return the request for a picture, with everything checked that can be checked here.

    Raises:
        BadRequestError: A value cannot be sent.
    """
    files: list[Part] = [part_of(name, source) for name, source in images.items() if source is not None]
    headers = {"idempotency-key": visible_key(idempotency_key)} if idempotency_key is not None else {}
    texts = {name: text_of(name, value) for name, value in form.items() if value is not None}
    return Request("POST", f"{BASE}/{path}", texts, files, accept=accept, headers=headers)


def text_of(name: str, value: str | float | bool) -> str:
    """Write a value as a form field's text; whole numbers carry no decimal point.

    Raises:
        BadRequestError: It is not a number, or text that cannot be sent.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise BadRequestError(f"{name}: must be valid Unicode text; it holds half of a surrogate pair.")
        return value
    if not math.isfinite(value):
        raise BadRequestError(f"{name}: must be a number, not {value}.")
    return str(int(value)) if value == int(value) else f"{value:.12f}".rstrip("0")


def visible_key(key: str) -> str:
    """Check an idempotency key and return it.

    Raises:
        BadRequestError: It cannot be sent.
    """
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
