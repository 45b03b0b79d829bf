"""The examples in the OpenAPI document: they work when they are pasted into a shell."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from keelbill.api.handbook.samples import example, sample
from keelbill.core.principal import DEFAULT_SCOPES
from support.browser import add_person, browser
from support.server import LiveServer

EXPECTED = {
    ("get", "/metrics"): 200,
    ("post", "/api/credits/vouchers"): 400,  # the code in the example is nobody's
    ("post", "/api/payments/stripe/webhook"): 400,  # nothing signs an example
    ("get", "/api/webhooks"): 404,  # they are off
    ("post", "/api/webhooks"): 404,
    ("post", "/api/gallery/changes"): 404,  # the picture in the example is nobody's
    ("post", "/api/gallery/archives"): 404,
    ("post", "/api/enlargements"): 400,
    ("post", "/api/edits"): 400,
    ("post", "/v1/workflows/run"): 400,  # the picture beside it carries no graph
    ("post", "/api/nodes/missing"): 400,
    ("get", "/api/moderation/trail"): 403,
    ("post", "/api/sign-up"): 403,  # strangers may not
    ("post", "/api/verify"): 400,  # tokens come from mails
    ("post", "/api/password/new"): 400,
    ("post", "/api/set-up"): 400,
    ("post", "/api/join"): 400,
    ("post", "/api/sign-in"): 401,
}
"""What an example answers that needs more than a key."""

FOR_ADMINISTRATORS = ("/api/admin/", "/api/treasury/")


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture and a mask, as the examples name them."""
    place = tmp_path_factory.mktemp("shell")
    Image.new("RGB", (256, 256), "teal").save(place / "picture.png")
    mask = Image.new("L", (256, 256))
    mask.paste(255, (64, 64, 192, 192))
    mask.save(place / "mask.png")
    for name in ("answer", "picture-out.png"):
        (place / name).touch()
    return place


def said(folder: Path) -> str:
    """Return the beginning of the newest answer."""
    newest = max((folder / name for name in ("answer", "picture-out.png")), key=lambda path: path.stat().st_mtime_ns)
    return repr(newest.read_bytes()[:300])


def paste(source: str, folder: Path, server: LiveServer, key: str = "") -> int:
    """Run an example as it stands and return the status that curl saw."""
    shell = shutil.which("bash")
    assert shell is not None
    aside = "" if "--output" in source else "--output answer"
    done = subprocess.run(
        [shell, "-euc", f"{source} --silent {aside} --write-out '%{{http_code}}'"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "KEELBILL_BASE_URL": server.url, "KEELBILL_API_KEY": key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{source}\n{done.stderr}"
    return int(done.stdout[-3:])


def test_every_example_works_when_it_is_pasted(server: LiveServer, folder: Path) -> None:
    server.set_balance("5000")
    server.platform.strangers.limit = 1_000_000
    document = server.client.get("/openapi.json").json()
    wrong, tried = [], 0
    key = server.new_key((*DEFAULT_SCOPES, "keys:write"))
    for method, path, operation in operations(document):
        source = operation["x-codeSamples"][0]["source"]
        variables = set(re.findall(r"\$([A-Z_]+)", source)) - {"KEELBILL_BASE_URL", "KEELBILL_API_KEY"}
        if variables or path.startswith("/proxy"):  # what only the reader knows; the same services under another name
            continue
        tried += 1
        status = paste(source, folder, server, key)
        needed = 403 if path.startswith(FOR_ADMINISTRATORS) else EXPECTED.get((method, path), 200)
        allowed = {needed, 200, 201, 202, 204, 501 if "501" in operation["responses"] else 200}
        if status not in allowed:
            wrong.append(f"{status} {method} {path}\n{source}\n{said(folder)}")
    assert not wrong, "\n\n".join(wrong)
    assert tried > 60


def test_an_example_with_a_picture_makes_one(server: LiveServer, folder: Path) -> None:
    server.set_balance("100")
    document = server.client.get("/openapi.json").json()
    source = document["paths"]["/v2beta/stable-image/generate/sd3"]["post"]["x-codeSamples"][0]["source"]
    assert paste(source, folder, server, server.new_key()) == 200
    made = Image.open(BytesIO((folder / "picture-out.png").read_bytes()))
    assert min(made.size) >= 64


def test_an_example_for_those_who_are_signed_in(server: LiveServer, folder: Path) -> None:
    add_person(server, "samples@example.org")
    with browser(server) as page:
        page.sign_in("samples@example.org")
        cookie = page.client.cookies["session"]
        token = page.token
    document = server.client.get("/openapi.json").json()
    source = document["paths"]["/api/sign-out/everywhere"]["post"]["x-codeSamples"][0]["source"]
    source = source.replace("$KEELBILL_SESSION", cookie).replace("$KEELBILL_CSRF_TOKEN", token)
    assert paste(source, folder, server) == 204


def test_quotes_survive_the_shell() -> None:
    schema = {"type": "object", "required": ["name"], "properties": {"name": {"examples": ["Ada's"]}}}
    content = {"application/json": {"schema": schema}}
    operation = {"requestBody": {"content": content}, "responses": {}}
    source = sample({"paths": {"/x": {"put": operation}}}, "/x", "put", cookie="session")
    body = source.split("--data ")[1]
    said = subprocess.run(["sh", "-c", f"printf %s {body}"], capture_output=True, text=True, check=True).stdout
    assert said == '{"name": "Ada\'s"}'


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "examples": ["a"], "default": "b"}, "a"),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "array", "minItems": 1, "items": {"enum": ["x", "y"]}}, ["x"]),
        ({"type": "array", "items": {"type": "string"}}, []),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, False),
        ({"$ref": "#/components/schemas/A"}, {"k": "v"}),
    ],
)
def test_values_that_fit(schema: dict[str, Any], value: object) -> None:
    document = {"components": {"schemas": {"A": {"type": "object", "properties": {"k": {"examples": ["v"]}}}}}}
    assert example(document, schema) == value
