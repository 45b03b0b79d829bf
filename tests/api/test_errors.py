"""One error, three dialects."""

from __future__ import annotations

import json

import pytest

from keelbill.api.errors import RequestProblem, family_of, render
from keelbill.core.errors import (
    AppError,
    BadImage,
    Cancelled,
    Conflict,
    ContentRefused,
    GenerationFailed,
    InvalidRequest,
    NotFound,
    OutOfMemory,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
    Unauthorized,
    Unavailable,
    UnknownModel,
)

V2 = "/v2beta/stable-image/generate/sd3"
V1 = "/v1/generation/stable-diffusion-v1-6/text-to-image"
OPENAI = "/v1/images/generations"


def body(error: AppError, path: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(render(error, path, "ab" * 16).body)
    return found


@pytest.mark.parametrize(
    ("path", "family"),
    [
        (V2, "v2beta"),
        ("/proxy/stability/v2beta/stable-image/edit/erase", "v2beta"),
        ("/api/jobs", "v2beta"),
        ("/nothing", "v2beta"),
        (V1, "v1"),
        ("/v1/user/balance", "v1"),
        (OPENAI, "openai"),
        ("/v1/models", "openai"),
        ("/v1/models/sd3", "openai"),
    ],
)
def test_family(path: str, family: str) -> None:
    assert family_of(path) == family


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (InvalidRequest("prompt: required"), 400, "bad_request"),
        (BadImage("image: cannot be read"), 400, "bad_request"),
        (Unauthorized(), 401, "unauthorized"),
        (PaymentRequired("credits: 6.5 are needed"), 402, "payment_required"),
        (ContentRefused("prompt: refused"), 403, "content_moderation"),
        (PermissionDenied("no"), 403, "permission_denied"),
        (NotFound("no"), 404, "not_found"),
        (UnknownModel("model", "x", []), 404, "not_found"),
        (Conflict("busy", retry_after_s=3), 409, "conflict"),
        (Cancelled("stopped"), 409, "conflict"),
        (RateLimited("slow down", retry_after_s=4), 429, "rate_limit_exceeded"),
        (GenerationFailed("failed"), 500, "internal_error"),
        (OutOfMemory("too much"), 500, "internal_error"),
        (Unavailable("full", retry_after_s=7), 503, "service_unavailable"),
        (RequestProblem(405, "no", allow="GET"), 405, "method_not_allowed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, AppError) else None,
)
def test_status_and_name(error: AppError, status: int, name: str) -> None:
    rendered = render(error, V2, "ab" * 16)
    found = json.loads(rendered.body)
    assert (rendered.status, found["name"]) == (status, name)
    assert found["id"] == "ab" * 16
    assert found["errors"]


def test_every_problem_is_listed() -> None:
    assert body(InvalidRequest("prompt: required", "seed: must be whole"), V2)["errors"] == [
        "prompt: required",
        "seed: must be whole",
    ]


def test_legacy_shape() -> None:
    assert body(InvalidRequest("a: b", "c: d"), V1) == {"id": "ab" * 16, "name": "bad_request", "message": "a: b; c: d"}


def test_sentences_and_fields_stay_apart_in_one_text() -> None:
    assert body(InvalidRequest("It is late.", "a: b", "c: d"), V1)["message"] == "It is late. a: b; c: d"


def test_legacy_out_of_credits() -> None:
    rendered = render(PaymentRequired("credits: too few"), V1, "ab" * 16)
    assert (rendered.status, json.loads(rendered.body)["name"]) == (429, "insufficient_balance")


def test_legacy_names_of_its_own() -> None:
    error = InvalidRequest("samples: must be 1")
    error.code = "invalid_samples"
    assert body(error, V1)["name"] == "invalid_samples"
    assert body(error, V2)["name"] == "bad_request"
    assert body(GenerationFailed("failed"), V1)["name"] == "server_error"


def test_openai_shape() -> None:
    assert body(InvalidRequest("size: must be WxH"), OPENAI) == {
        "error": {
            "message": "size: must be WxH",
            "type": "invalid_request_error",
            "param": "size",
            "code": "bad_request",
        }
    }


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (Unauthorized(), "authentication_error", "unauthorized"),
        (PaymentRequired("credits: x"), "insufficient_quota", "insufficient_quota"),
        (RateLimited("x"), "rate_limit_error", "rate_limit_exceeded"),
        (Unavailable("x"), "server_error", "service_unavailable"),
    ],
)
def test_openai_types(error: AppError, kind: str, code: str) -> None:
    found = body(error, OPENAI)["error"]
    assert isinstance(found, dict)
    assert (found["type"], found["code"], found["param"]) == (kind, code, None)


def test_headers_that_belong_to_a_status() -> None:
    assert dict(render(Unauthorized(), V2, "1").headers)[b"www-authenticate"].startswith(b"Bearer")
    assert dict(render(RateLimited("x", retry_after_s=4), V2, "1").headers)[b"retry-after"] == b"4"
    assert dict(render(Unavailable("x", retry_after_s=7), V1, "1").headers)[b"retry-after"] == b"7"
    assert dict(render(RequestProblem(405, "x", allow="GET, POST"), V2, "1").headers)[b"allow"] == b"GET, POST"


def test_hint_of_a_refused_key_is_an_entry_of_its_own() -> None:
    assert body(Unauthorized(hint="Do this."), V2)["errors"] == [
        "authorization: invalid or missing header value",
        "Do this.",
    ]


def test_answers_are_ascii() -> None:
    assert render(InvalidRequest("prompt: \u202e\ud800 ä"), V2, "1").body.isascii()
