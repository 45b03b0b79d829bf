"""Calls to another image service: form, polling, refusals in words, and a key that nobody repeats."""

from __future__ import annotations

import json

import httpx
import pytest

from keelbill.core.errors import (
    AppError,
    ContentRefused,
    GenerationFailed,
    InvalidRequest,
    PaymentRequired,
    Unauthorized,
)
from keelbill.serving import image_service
from keelbill.serving.image_service import ImageService
from keelbill.serving.messages import ImageTask, JobSpec

KEY = "sk-canary-0123456789"


def service(*answers: httpx.Response, seen: list[httpx.Request] | None = None) -> ImageService:
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        if seen is not None:
            seen.append(request)
        return left.pop(0)

    return ImageService("https://images.test/", KEY, httpx.MockTransport(answer))


def test_a_form_goes_out_and_a_picture_comes_back() -> None:
    seen: list[httpx.Request] = []
    call = service(httpx.Response(200, content=b"\x89PNG"), seen=seen)
    assert call("generate/sd3", {"prompt": "a cat"}, {"image": b"pixels"}) == b"\x89PNG"
    (request,) = seen
    assert str(request.url) == "https://images.test/v2beta/stable-image/generate/sd3"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"].startswith("multipart/form-data")
    assert b'name="prompt"\r\n\r\na cat' in request.content
    assert b'name="image"; filename="image.png"' in request.content


def test_a_form_without_pictures_is_a_form_all_the_same() -> None:
    seen: list[httpx.Request] = []
    service(httpx.Response(200, content=b"\x89PNG"), seen=seen)("generate/core", {"prompt": "x"}, {})
    assert seen[0].headers["content-type"].startswith("multipart/form-data")


def test_results_are_polled_where_the_service_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_service, "POLL_S", 0.0)
    seen: list[httpx.Request] = []
    call = service(
        httpx.Response(200, json={"id": "abc"}),
        httpx.Response(202, json={"status": "in-progress"}),
        httpx.Response(200, content=b"\x89PNG"),
        seen=seen,
    )
    assert call("upscale/creative", {}, {"image": b"x"}) == b"\x89PNG"
    assert [request.url.path for request in seen[1:]] == ["/v2beta/results/abc"] * 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (402, PaymentRequired),
        (403, ContentRefused),
        (413, InvalidRequest),
        (429, GenerationFailed),
        (500, GenerationFailed),
        (302, GenerationFailed),
    ],
)
def test_refusals_are_told_without_the_key(status: int, kind: type[AppError]) -> None:
    body = json.dumps({"errors": [f"the key {KEY} is odd"]})
    with pytest.raises(kind) as refusal:
        service(httpx.Response(status, text=body, headers={"location": "https://elsewhere.test"}))("x", {}, {})
    assert KEY not in str(refusal.value)


def test_no_key_is_said_before_anything_is_sent() -> None:
    with pytest.raises(Unauthorized, match=r"no key for https://images\.test"):
        ImageService("https://images.test", "")("generate/sd3", {}, {})


def test_too_long_an_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_service, "MAX_BYTES", 100)
    with pytest.raises(GenerationFailed, match="more than 100 bytes"):
        service(httpx.Response(200, content=b"x" * 101))("generate/sd3", {}, {})


def test_an_unreachable_service_is_told() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"no route with {KEY}")

    with pytest.raises(GenerationFailed, match="cannot be reached: ConnectError") as failure:
        ImageService("https://images.test", KEY, httpx.MockTransport(refuse))("generate/sd3", {}, {})
    assert KEY not in str(failure.value)


def test_a_job_never_shows_its_key() -> None:
    assert KEY not in repr(JobSpec(job_id="j", org_id="o", task=ImageTask(), secret=KEY))
