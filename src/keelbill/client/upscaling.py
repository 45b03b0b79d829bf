"""Larger pictures: the services of the upscale group. Knows no connection.

Every function here is a method of both `Client` and `AsyncClient`. What is left out or nothing is not sent: the server
decides.
"""

from __future__ import annotations

from keelbill.client.forms import OutputFormat, StylePreset, picture, slow_picture
from keelbill.client.pictures import ImageSource, Picture
from keelbill.client.wire import Exchange


def upscale_fast(
    image: ImageSource, *, output_format: OutputFormat | None = None, idempotency_key: str | None = None
) -> Exchange[Picture]:
    """Make each side of a picture four times as long, at once and without a prompt.

    Args:
        image: The picture, sides of 32 to 1536 pixels.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.
    """
    return picture("upscale/fast", {"output_format": output_format}, {"image": image}, idempotency_key)


def upscale_conservative(
    image: ImageSource,
    prompt: str,
    *,
    creativity: float | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Make a picture about four megapixels large and stay close to it.

    Args:
        image: The picture.
        prompt: What it shows.
        creativity: How freely, 0.2 to 0.5.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        negative_prompt: What to avoid.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.
    """
    form = {
        "prompt": prompt,
        "creativity": creativity,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "output_format": output_format,
    }
    return picture("upscale/conservative", form, {"image": image}, idempotency_key)


def upscale_creative(
    image: ImageSource,
    prompt: str,
    *,
    creativity: float | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    wait_s: float = 600.0,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Make a small picture large and invent detail; asks for the result until it is there.

    Args:
        image: The picture, at most 1,048,576 pixels.
        prompt: What it shows.
        creativity: How freely, 0.1 to 0.5.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        negative_prompt: What to avoid.
        style_preset: A look.
        output_format: ``png`` if left out.
        wait_s: Seconds to wait between questions in all.
        idempotency_key: See `generate`.

    Raises:
        DeadlineExceededError: It is not ready yet; the message holds the id for `result`.
    """
    form = {
        "prompt": prompt,
        "creativity": creativity,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "style_preset": style_preset,
        "output_format": output_format,
    }
    return slow_picture("upscale/creative", form, {"image": image}, idempotency_key, wait_s)
