"""LiteLLM's own provider for the Stability platform, unchanged but for the host and the key."""

from __future__ import annotations

import base64
import os
import warnings
from decimal import Decimal
from typing import Any

import pytest

from support.forms import cutout, png, size_of
from support.server import LiveServer

# It fetches a price list from the network when it is imported, unless told to use its own.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import litellm

# Warnings from inside other people's packages are not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore")


def made(answer: Any) -> tuple[int, int]:
    return size_of(base64.b64decode(answer.data[0].b64_json, validate=True))


@pytest.mark.parametrize(
    ("model", "size", "pixels", "price"),
    [
        ("stability/sd3.5-large", "1024x1024", (1024, 1024), "6.5"),
        ("stability/sd3", "1792x1024", (1344, 768), "6.5"),
        ("stability/stable-image-ultra", "1024x1792", (768, 1344), "8"),
        ("stability/stable-image-core", "1024x1024", (1536, 1536), "3"),
    ],
)
def test_generation(server: LiveServer, model: str, size: str, pixels: tuple[int, int], price: str) -> None:
    server.set_balance("10")
    answer = litellm.image_generation(
        model=model, prompt="an apple", size=size, api_base=server.url, api_key=server.key
    )
    assert made(answer) == pixels
    assert server.balance() == Decimal(10) - Decimal(price)


async def test_asynchronous_generation(server: LiveServer) -> None:
    server.set_balance("10")
    answer = await litellm.aimage_generation(
        model="stability/sd3.5-large", prompt="an apple", api_base=server.url, api_key=server.key
    )
    assert made(answer) == (1024, 1024)


def test_its_own_parameters(server: LiveServer) -> None:
    server.set_balance("10")
    answer = litellm.image_generation(
        model="stability/sd3.5-large",
        prompt="an apple",
        api_base=server.url,
        api_key=server.key,
        negative_prompt="people",
        aspect_ratio="21:9",
        seed=5,
        style_preset="anime",
    )
    assert made(answer) == (1536, 640)


def test_inpainting(server: LiveServer) -> None:
    server.set_balance("10")
    answer = litellm.image_edit(
        model="stability/inpaint",
        image=cutout(96, 64),
        prompt="an apple",
        api_base=server.url,
        api_key=server.key,
    )
    assert made(answer) == (96, 64)
    assert server.balance() == 5


def test_erasing_with_a_mask(server: LiveServer) -> None:
    server.set_balance("10")
    answer = litellm.image_edit(
        model="stability/erase",
        image=png(96, 64),
        mask=png(96, 64, mode="L", colour=255),
        prompt="",
        api_base=server.url,
        api_key=server.key,
    )
    assert made(answer) == (96, 64)


def test_a_wrong_key(server: LiveServer) -> None:
    with pytest.raises(Exception, match="authorization: invalid or missing header value") as caught:
        litellm.image_generation(
            model="stability/sd3.5-large", prompt="an apple", api_base=server.url, api_key="sk-wrong"
        )
    assert getattr(caught.value, "status_code", 0) == 401


def test_too_little_credit(server: LiveServer) -> None:
    server.set_balance("1")
    with pytest.raises(Exception, match=r"6\.5 needed"):
        litellm.image_generation(
            model="stability/sd3.5-large", prompt="an apple", api_base=server.url, api_key=server.key
        )


def test_a_filtered_picture(server: LiveServer) -> None:
    server.set_balance("10")
    with pytest.raises(Exception, match="filtered"):
        litellm.image_generation(
            model="stability/sd3.5-large", prompt=server.FILTER, api_base=server.url, api_key=server.key
        )
    assert server.balance() == 10
