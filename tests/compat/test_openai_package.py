"""OpenAI's own package, unchanged but for the host and the key."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import httpx
import openai
import pytest

from support.forms import cutout, format_of, size_of
from support.server import LiveServer


@pytest.fixture
def client(server: LiveServer) -> Iterator[openai.OpenAI]:
    server.set_balance("100")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


def test_generate(client: openai.OpenAI) -> None:
    made = client.images.generate(model="sd3.5-large", prompt="an apple", size="1536x1024", n=2)
    assert made.data is not None
    assert [size_of(base64.b64decode(image.b64_json or "")) for image in made.data] == [(1216, 832)] * 2


def test_generate_with_that_packages_own_model(client: openai.OpenAI) -> None:
    made = client.images.generate(
        model="gpt-image-1",
        prompt="an apple",
        background="transparent",
        moderation="low",
        output_format="webp",
        quality="high",
        user="somebody",
    )
    assert made.data is not None
    assert format_of(base64.b64decode(made.data[0].b64_json or "")) == "WEBP"


def test_links(client: openai.OpenAI) -> None:
    made = client.images.generate(prompt="an apple", response_format="url")
    assert made.data is not None
    assert format_of(httpx.get(made.data[0].url or "").content) == "PNG"


def test_edit(client: openai.OpenAI) -> None:
    one = client.images.edit(image=("i.png", cutout(96, 64)), prompt="an apple")
    several = client.images.edit(
        image=[("i.png", cutout(96, 64)), ("j.png", cutout(64, 64))], mask=("m.png", cutout(96, 64)), prompt="an apple"
    )
    for made in (one, several):
        assert made.data is not None
        assert size_of(base64.b64decode(made.data[0].b64_json or "")) == (96, 64)


def test_models(client: openai.OpenAI) -> None:
    assert "sd3.5-large" in [model.id for model in client.models.list()]
    assert client.models.retrieve("sd3").owned_by == "keelbill"


def test_errors(client: openai.OpenAI, server: LiveServer) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.images.generate(prompt="an apple", n=11)
    assert (bad.value.param, bad.value.code) == ("n", "bad_request")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sk-wrong").images.generate(prompt="an apple")
    server.set_balance("1")
    with pytest.raises(openai.APIStatusError) as poor:
        client.images.generate(prompt="an apple")
    assert (poor.value.status_code, poor.value.code) == (402, "insufficient_quota")
