"""Calls another server's image API for nodes that ask for it. Knows no node, and says its key to nobody else."""

from __future__ import annotations

import json
import time
from typing import Final

import httpx

from keelbill.core.errors import ContentRefused, GenerationFailed, InvalidRequest, PaymentRequired, Unauthorized
from keelbill.serving.offline import network_allowed

PREFIX: Final = "/v2beta/stable-image/"
RESULTS: Final = "/v2beta/results/"
TIMEOUT_S: Final = 180.0
POLL_S: Final = 2.0
MAX_BYTES: Final = 64 * 2**20


class ImageService:
    """An image service with a key.

    Args:
        base_url: Such as ``https://host``.
        key: Sent as a bearer token.
        transport: How requests travel; for tests.
    """

    def __init__(self, base_url: str, key: str, transport: httpx.BaseTransport | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._transport = transport

    def __call__(self, route: str, fields: dict[str, str], files: dict[str, bytes]) -> bytes:
        """Have a picture made.

        Args:
            route: Such as ``generate/sd3``.
            fields: Of the form.
            files: Pictures of the form.

        Returns:
            The finished file.

        Raises:
            Unauthorized: There is no key, or the service does not take it.
            PaymentRequired: The account there has no credits left.
            ContentRefused: The service objects to the prompt.
            InvalidRequest: The service does not take the request.
            GenerationFailed: It cannot be reached, or made no picture.
        """
        if not self._key:
            raise Unauthorized(
                f"There is no key for {self._base_url}.", hint="Store one in your account, or ask an administrator."
            )
        form = {name: (None, value.encode()) for name, value in fields.items()} | {
            name: (f"{name}.png", content, "image/png") for name, content in files.items()
        }
        headers = {"authorization": f"Bearer {self._key}", "accept": "image/*", "stability-client-id": "keelbill"}
        until_s = time.monotonic() + TIMEOUT_S
        with (
            network_allowed(),
            httpx.Client(
                base_url=self._base_url,
                headers=headers,
                timeout=TIMEOUT_S,
                transport=self._transport,
                follow_redirects=False,
            ) as http,
        ):
            status, content = _ask(http, "POST", PREFIX + route, form)
            if status == 200 and content.startswith(b"{"):  # a service that has its results polled
                address = RESULTS + str(_facts(content).get("id", ""))
                status = 202
                while status == 202 and time.monotonic() < until_s:
                    time.sleep(POLL_S)
                    status, content = _ask(http, "GET", address)
        if status != 200:
            raise self._refusal(status, content)
        return content

    def _refusal(self, status: int, content: bytes) -> Exception:
        facts = _facts(content)
        told = facts.get("errors")
        said = "; ".join(str(each) for each in told)[:300] if isinstance(told, list) else f"status {status}"
        said = said.replace(self._key, "…")
        if status == 401:
            return Unauthorized(f"{self._base_url} does not take the key.")
        if status == 402:
            return PaymentRequired(f"The account at {self._base_url} has no credits left: {said}.")
        if status == 403:
            return ContentRefused(f"{self._base_url} refused: {said}.")
        if status in (400, 413, 422):
            return InvalidRequest(f"{self._base_url} does not take the request: {said}")
        return GenerationFailed(f"{self._base_url} made no picture: {said}.")


def _ask(
    http: httpx.Client,
    method: str,
    address: str,
    form: dict[str, tuple[None, bytes] | tuple[str, bytes, str]] | None = None,
) -> tuple[int, bytes]:
    try:
        with http.stream(method, address, files=form) as answer:
            content = b""
            for part in answer.iter_bytes():
                content += part
                if len(content) > MAX_BYTES:
                    raise GenerationFailed(f"{http.base_url} answered more than {MAX_BYTES:,} bytes.")
            return answer.status_code, content
    except httpx.HTTPError as error:
        raise GenerationFailed(f"{http.base_url} cannot be reached: {type(error).__name__}.") from error


def _facts(content: bytes) -> dict[str, object]:
    try:
        facts = json.loads(content)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}
