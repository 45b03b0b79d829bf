"""Pictures from words: the three services of the generate group. Knows no connection.

Every function here is a method of both `Client` and `AsyncClient`. What is left out or nothing is not sent: the server
decides.
"""

from __future__ import annotations

from keelbill.client.forms import Model, OutputFormat, Ratio, StylePreset, picture
from keelbill.client.pictures import ImageSource, Picture
from keelbill.client.wire import Exchange


def generate(
    prompt: str,
    *,
    model: Model | str = "sd3.5-large",
    aspect_ratio: Ratio | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    cfg_scale: float | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    image: ImageSource | None = None,
    strength: float | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Make a picture from a prompt with a model of the SD3 family, or paint a given picture anew.

    Args:
        prompt: What to paint, 1 to 10,000 characters.
        model: Such as ``sd3.5-large``, ``sd3`` or ``sd3-turbo``.
        aspect_ratio: Width to height; ``1:1`` if left out. Has no effect with `image`.
        seed: 1 to 4294967294 for the same picture each time; 0 or nothing for a random one.
        negative_prompt: What to avoid, at most 10,000 characters.
        cfg_scale: How closely the prompt is followed, 1 to 10.
        style_preset: A look, such as ``photographic``.
        output_format: ``png`` if left out.
        image: A picture to start from; needs `strength`.
        strength: How much of `image` is painted anew, 0 to 1.
        idempotency_key: Your own name for this call: a second call of the same name gets the same picture and is not
            charged. Left out, each call has its own, and only its retries share it.
    """
    form = {
        "prompt": prompt,
        "model": model,
        "mode": "image-to-image" if image is not None else None,
        "aspect_ratio": aspect_ratio if image is None else None,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "cfg_scale": cfg_scale,
        "style_preset": style_preset,
        "output_format": output_format,
        "strength": strength,
    }
    return picture("generate/sd3", form, {"image": image}, idempotency_key)


def ultra(
    prompt: str,
    *,
    aspect_ratio: Ratio | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    image: ImageSource | None = None,
    strength: float | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Make a picture with the best model of the server.

    Args:
        prompt: What to paint, 1 to 10,000 characters.
        aspect_ratio: Width to height; ``1:1`` if left out.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        negative_prompt: What to avoid.
        style_preset: A look.
        output_format: ``png`` if left out.
        image: A picture to start from; needs `strength`.
        strength: How much of `image` is painted anew, 0 to 1.
        idempotency_key: See `generate`.
    """
    form = {
        "prompt": prompt,
        "aspect_ratio": aspect_ratio,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "style_preset": style_preset,
        "output_format": output_format,
        "strength": strength,
    }
    return picture("generate/ultra", form, {"image": image}, idempotency_key)


def core(
    prompt: str,
    *,
    aspect_ratio: Ratio | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Make a picture quickly and cheaply, at 1.5 megapixels and more.

    Args:
        prompt: What to paint, 1 to 10,000 characters.
        aspect_ratio: Width to height; ``1:1`` if left out.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        negative_prompt: What to avoid.
        style_preset: A look.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.
    """
    form = {
        "prompt": prompt,
        "aspect_ratio": aspect_ratio,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "style_preset": style_preset,
        "output_format": output_format,
    }
    return picture("generate/core", form, {}, idempotency_key)
