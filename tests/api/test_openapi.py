"""The whole API as it describes itself: odd requests of every kind, with and without a key, and no surprises.

What the description cannot say is not asked: which bytes are a picture, which fields need each other, and that an
idempotency key belongs to one request. So requests that fit the description may still be refused.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keelbill.api.stability.services import SERVICES
from support.server import LiveServer


@pytest.fixture
def open_server(start_server: Callable[..., LiveServer]) -> LiveServer:
    """A server where credits never run out and strangers may ask as often as they like."""
    live = start_server(billing="unlimited")
    live.platform.strangers.limit = 1_000_000
    return live


def explore(live: LiveServer, folder: Path, *options: str) -> None:
    """Let schemathesis send its requests; whatever it finds is in the failure's message."""
    command = [
        str(Path(sys.executable).with_name("st")),
        "run",
        f"{live.url}/openapi.json",
        *("--phases", "examples,coverage,fuzzing"),
        *("--exclude-checks", "positive_data_acceptance"),
        "--generation-deterministic",
        *("--continue-on-failure", "--no-color", "--warnings", "off"),
        *options,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def document_of(live: LiveServer) -> dict[str, Any]:
    found: dict[str, Any] = live.client.get("/openapi.json").json()
    return found


@pytest.mark.slow
def test_with_a_key(open_server: LiveServer, tmp_path: Path) -> None:
    key = ("--header", f"Authorization: Bearer {open_server.new_key()}")
    twice = ("--exclude-path-regex", "^/proxy")  # the same handlers under another name
    explore(open_server, tmp_path, *key, *twice, "--max-examples", "3", "--max-time", "45")


@pytest.mark.slow
def test_without_a_key(open_server: LiveServer, tmp_path: Path) -> None:
    explore(open_server, tmp_path, "--max-examples", "2", "--max-time", "30")


class TestDocument:
    def test_every_service_is_there_twice(self, server: LiveServer) -> None:
        paths = document_of(server)["paths"]
        for service in SERVICES:
            assert "post" in paths[f"/v2beta/stable-image/{service.path}"]
            assert "post" in paths[f"/proxy/stability/v2beta/stable-image/{service.path}"]

    def test_names_of_operations_are_unique(self, server: LiveServer) -> None:
        paths = document_of(server)["paths"]
        names = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
        assert len(set(names)) == len(names)

    def test_every_paid_route_tells_its_errors(self, server: LiveServer) -> None:
        for path, methods in document_of(server)["paths"].items():
            if "post" in methods and path.startswith(("/v2beta", "/proxy", "/v1/generation", "/v1/images")):
                assert {"200", "400", "401", "403", "404", "413", "429", "500", "503"} <= set(
                    methods["post"]["responses"]
                )

    def test_what_is_missing_is_documented(self, server: LiveServer) -> None:
        paths = document_of(server)["paths"]
        for service in SERVICES:
            responses = paths[f"/v2beta/stable-image/{service.path}"]["post"]["responses"]
            assert ("501" in responses) == bool(service.missing)

    def test_keys_are_described(self, server: LiveServer) -> None:
        schemes = document_of(server)["components"]["securitySchemes"]
        assert {scheme["type"] for scheme in schemes.values()} == {"http", "apiKey"}
