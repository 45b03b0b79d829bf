"""Renders one error in the shape that the caller's route family expects. Knows no service and never shows a traceback.

Four families of clients read errors differently: the current API wants ``{"id", "name", "errors"}``, the legacy one
``{"id", "name", "message"}``, the OpenAI-style routes ``{"error": {…}}``, and graphs ``{"error", "node_errors"}``.
Everything else is ours and uses the first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from keelbill.core.errors import AppError
from keelbill.graph.errors import GraphInvalid

Family = Literal["v2beta", "v1", "openai", "graph"]
Headers = list[tuple[bytes, bytes]]

_STATUSES = {499: 409, 502: 503, 507: 500}
"""Statuses that are not ours to send: a cancelled job, a model that cannot be fetched, too little memory."""

_NAMES = {
    400: "bad_request",
    401: "unauthorized",
    402: "payment_required",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    413: "payload_too_large",
    414: "uri_too_long",
    415: "unsupported_media_type",
    422: "unprocessable_entity",
    429: "rate_limit_exceeded",
    431: "headers_too_large",
    500: "internal_error",
    501: "not_implemented",
    503: "service_unavailable",
}
_OWN_NAMES = frozenset(_NAMES.values()) | {"content_moderation", "invalid_language", "public_figure"}
_V1_OWN_NAMES = _OWN_NAMES | {
    "invalid_samples",
    "invalid_height_or_width",
    "invalid_file_size",
    "invalid_mime_type",
    "invalid_image_dimensions",
    "invalid_mask_image",
    "invalid_prompts",
    "invalid_pixel_count",
}
_OPENAI_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}
_GRAPH_TYPES = {401: "unauthorized", 402: "insufficient_balance", 429: "rate_limited", 503: "server_busy"}
_FIELD = re.compile(r"([A-Za-z_][A-Za-z0-9_.\[\]-]{0,99}): ")


class RequestProblem(AppError):
    """A request that HTTP itself, not a service, refuses: wrong method, too slow, too long.

    Args:
        status: Of the answer.
        message: One sentence.
        allow: Methods that the path offers, for a 405.
    """

    def __init__(self, status: int, message: str, *, allow: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = _NAMES.get(status, "bad_request")
        self.allow = allow


@dataclass(frozen=True)
class Rendered:
    """An error as it goes on the wire.

    Attributes:
        status: HTTP status.
        headers: Including content type and length.
        body: JSON.
    """

    status: int
    headers: Headers
    body: bytes


def family_of(path: str) -> Family:
    """Return which family of clients a path serves."""
    if path.startswith(("/v1/images/", "/v1/models")):
        return "openai"
    if path.startswith("/v1/workflows/"):
        return "v2beta"  # a route of our own
    if path.startswith("/comfy/"):
        return "graph"
    return "v1" if path.startswith("/v1/") else "v2beta"


def status_and_name(error: AppError, family: Family) -> tuple[int, str]:
    """Return an error's HTTP status and its stable name in a family."""
    status = _STATUSES.get(error.status, error.status)
    known = _V1_OWN_NAMES if family == "v1" else _OWN_NAMES
    name = error.code if error.code in known and status == error.status else _NAMES.get(status, "bad_request")
    if family == "v1":
        if name == "payment_required":
            return 429, "insufficient_balance"
        if name == "internal_error":
            return status, "server_error"
    return status, name


def render(error: AppError, path: str, request_id: str) -> Rendered:
    """Turn an error into the answer that clients of a path understand.

    Args:
        error: What went wrong.
        path: Of the request.
        request_id: Becomes the body's ``id``.
    """
    family = family_of(path)
    status, name = status_and_name(error, family)
    problems = [problem for problem in error.problems if problem] or [name.replace("_", " ")]
    if error.hint and status == 401:
        problems.append(error.hint)  # clients compare the first entry
    elif error.hint:
        problems[-1] = f"{problems[-1]} {error.hint}"
    message = _in_one(problems)
    body: dict[str, object]
    if family == "openai":
        field = _FIELD.match(problems[0])
        kind = _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        body = {
            "error": {
                "message": message,
                "type": kind,
                "param": field[1] if field and status == 400 else None,
                "code": "insufficient_quota" if status == 402 else name,
            }
        }
    elif isinstance(error, GraphInvalid) and family == "graph":
        body = error.body()
    elif family == "graph":
        kind = _GRAPH_TYPES.get(status, error.code if status < 500 else name)
        told = {"type": kind, "message": message, "details": "", "extra_info": {}}
        body = {"error": told, "node_errors": {}}
    elif family == "v1":
        body = {"id": request_id, "name": name, "message": message}
    else:
        body = {"id": request_id, "name": name, "errors": problems}
    content = json.dumps(body, ensure_ascii=True).encode()
    return Rendered(status, _headers(error, status, len(content)), content)


def _in_one(problems: Sequence[str]) -> str:
    """Return all problems as one text, for clients that expect one sentence."""
    told = "".join(f"{problem}{'' if problem.endswith(('.', '!', '?')) else ';'} " for problem in problems[:-1])
    return told + problems[-1]


def _headers(error: AppError, status: int, length: int) -> Headers:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(length).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="keelbill"'))
    if retry := getattr(error, "retry_after_s", 0):
        headers.append((b"retry-after", str(int(retry)).encode()))
    if allow := getattr(error, "allow", ""):
        headers.append((b"allow", allow.encode()))
    return headers
