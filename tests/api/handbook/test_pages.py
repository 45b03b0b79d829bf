"""The page at ``/docs`` as it comes over the wire."""

from __future__ import annotations

import re
from typing import Any

from keelbill.api.handbook.page import page
from support.server import LiveServer


def test_the_page_asks_for_nothing_elsewhere_and_runs_nothing(server: LiveServer) -> None:
    answer = server.client.get("/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "'unsafe" not in answer.headers["content-security-policy"]
    named = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert all(address.startswith(("/", "#")) and not address.startswith("//") for address in named)
    assert "<script" not in answer.text
    assert "style=" not in answer.text
    assert {server.client.get(address).status_code for address in named if address.startswith("/")} <= {200, 307}


def test_every_operation_is_on_it_once(server: LiveServer) -> None:
    text = server.client.get("/docs").text
    paths = server.client.get("/openapi.json").json()["paths"]
    expected = [
        operation["operationId"]
        for path, item in paths.items()
        for operation in item.values()
        if not path.startswith("/proxy/")
    ]
    shown = re.findall(r'<details id="([^"]+)">', text)
    assert sorted(shown) == sorted(expected)
    assert len(shown) > 100


def test_links_to_groups_lead_somewhere(server: LiveServer) -> None:
    text = server.client.get("/docs").text
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_it_is_packed_for_those_who_unpack(server: LiveServer) -> None:
    packed = server.client.get("/docs", headers={"accept-encoding": "gzip"})
    plain = server.client.get("/docs", headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text


def document(**operation: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": "look", "responses": {}} | operation
    return {"info": {"title": "T", "version": "1"}, "paths": {"/x": {"get": made}}}


def test_what_it_quotes_is_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>"
    found = page(
        document(
            summary=evil,
            description=evil,
            tags=[evil],
            parameters=[{"name": evil, "in": "query", "description": evil, "schema": {"default": evil}}],
        ),
        server='http://"><script>',
        style="/s",
    )
    assert "<img" not in found
    assert "<script>" not in found
    assert "&lt;img src=x onerror=alert(1)&gt;" in found


def test_code_in_a_description() -> None:
    found = page(document(description="Say `a` or ``b``.\n\nThen rest."), server="", style="/s")
    assert "<p>Say <code>a</code> or <code>b</code>.</p>\n<p>Then rest.</p>" in found


def test_limits_of_a_field_are_said() -> None:
    seed = {"type": "integer", "minimum": 0, "maximum": 9, "default": 3, "description": "Of chance."}
    body = {"content": {"application/json": {"schema": {"required": ["seed"], "properties": {"seed": seed}}}}}
    found = page(document(requestBody=body), server="", style="/s")
    assert "<code>seed (required)</code>" in found
    assert "integer, from 0, up to 9, default 3" in found
    assert "Of chance." in found
