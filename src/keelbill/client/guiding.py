"""Pictures that follow another picture: the services of the control group. Knows no connection.

Every function here is a method of both `Client` and `AsyncClient`. What is left out or nothing is not sent: the server
decides.
"""

from __future__ import annotations

from keelbill.client.forms import OutputFormat, Ratio, StylePreset, picture
from keelbill.client.pictures import ImageSource, Picture
from keelbill.client.wire import Exchange


def sketch(
    image: ImageSource,
    prompt: str,
    *,
    control_strength: float | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Paint a drawing out.

    Args:
        image: A drawing; its lines are followed.
        prompt: What to paint.
        control_strength: How closely `image` is followed, 0 to 1.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        negative_prompt: What to avoid.
        style_preset: A look.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.

    Raises:
        NotInstalledError: The server has no network for it.
    """
    form = {
        "prompt": prompt,
        "control_strength": control_strength,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "style_preset": style_preset,
        "output_format": output_format,
    }
    return picture("control/sketch", form, {"image": image}, idempotency_key)


def structure(
    image: ImageSource,
    prompt: str,
    *,
    control_strength: float | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Paint something else in the shapes of a picture.

    Args:
        image: A picture; its shapes are kept.
        prompt: What to paint.
        control_strength: How closely `image` is followed, 0 to 1.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        negative_prompt: What to avoid.
        style_preset: A look.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.

    Raises:
        NotInstalledError: The server has no network for it.
    """
    form = {
        "prompt": prompt,
        "control_strength": control_strength,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "style_preset": style_preset,
        "output_format": output_format,
    }
    return picture("control/structure", form, {"image": image}, idempotency_key)


def style(
    image: ImageSource,
    prompt: str,
    *,
    aspect_ratio: Ratio | None = None,
    fidelity: float | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Paint something new in the manner of a picture.

    Args:
        image: The picture whose manner is taken.
        prompt: What to paint.
        aspect_ratio: Width to height; ``1:1`` if left out.
        fidelity: How closely the manner is followed, 0 to 1.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        negative_prompt: What to avoid.
        style_preset: A look.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.
    """
    form = {
        "prompt": prompt,
        "aspect_ratio": aspect_ratio,
        "fidelity": fidelity,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "style_preset": style_preset,
        "output_format": output_format,
    }
    return picture("control/style", form, {"image": image}, idempotency_key)


def style_transfer(
    init_image: ImageSource,
    style_image: ImageSource,
    *,
    prompt: str | None = None,
    negative_prompt: str | None = None,
    style_strength: float | None = None,
    composition_fidelity: float | None = None,
    change_strength: float | None = None,
    seed: int | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Give one picture the manner of another.

    Args:
        init_image: The picture that is changed.
        style_image: The picture whose manner is taken.
        prompt: What the result shows.
        negative_prompt: What to avoid.
        style_strength: How much of the manner is taken, 0 to 1.
        composition_fidelity: How closely the arrangement is kept, 0 to 1.
        change_strength: How much may change, 0.1 to 1.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.
    """
    form = {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "style_strength": style_strength,
        "composition_fidelity": composition_fidelity,
        "change_strength": change_strength,
        "seed": seed,
        "output_format": output_format,
    }
    images = {"init_image": init_image, "style_image": style_image}
    return picture("control/style-transfer", form, images, idempotency_key)
