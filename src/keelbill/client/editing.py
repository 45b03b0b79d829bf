"""Changes of a picture that is there: the services of the edit group. Knows no connection.

Every function here is a method of both `Client` and `AsyncClient`. What is left out or nothing is not sent: the server
decides.
"""

from __future__ import annotations

from typing import Literal

from keelbill.client.forms import OutputFormat, StylePreset, picture, slow_picture
from keelbill.client.pictures import ImageSource, Picture
from keelbill.client.wire import Exchange


def inpaint(
    image: ImageSource,
    prompt: str,
    *,
    mask: ImageSource | None = None,
    grow_mask: int | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Paint a part of a picture anew.

    Args:
        image: The picture. Without `mask` its transparent part is painted anew.
        prompt: What the finished picture shows there.
        mask: White where to paint, black where to keep; grey is between.
        grow_mask: Pixels by which the mask is widened with a soft edge, 0 to 100.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        negative_prompt: What to avoid.
        style_preset: A look.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.
    """
    form = {
        "prompt": prompt,
        "grow_mask": grow_mask,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "style_preset": style_preset,
        "output_format": output_format,
    }
    return picture("edit/inpaint", form, {"image": image, "mask": mask}, idempotency_key)


def erase(
    image: ImageSource,
    *,
    mask: ImageSource | None = None,
    grow_mask: int | None = None,
    seed: int | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Take something out of a picture and fill the place from its surroundings.

    Args:
        image: The picture. Without `mask` its transparent part is filled.
        mask: White where to erase.
        grow_mask: Pixels by which the mask is widened with a soft edge, 0 to 20.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.
    """
    form = {"grow_mask": grow_mask, "seed": seed, "output_format": output_format}
    return picture("edit/erase", form, {"image": image, "mask": mask}, idempotency_key)


def outpaint(
    image: ImageSource,
    *,
    left: int = 0,
    right: int = 0,
    up: int = 0,
    down: int = 0,
    prompt: str | None = None,
    creativity: float | None = None,
    seed: int | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Make a picture larger by painting what is beyond its edges.

    Args:
        image: The picture.
        left: Pixels to add on the left, 0 to 2000; at least one of the four must be above 0.
        right: Likewise.
        up: Likewise.
        down: Likewise.
        prompt: What the whole picture shows.
        creativity: How freely, 0 to 1.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        style_preset: A look.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.
    """
    form = {
        "left": left or None,
        "right": right or None,
        "up": up or None,
        "down": down or None,
        "prompt": prompt,
        "creativity": creativity,
        "seed": seed,
        "style_preset": style_preset,
        "output_format": output_format,
    }
    return picture("edit/outpaint", form, {"image": image}, idempotency_key)


def search_and_replace(
    image: ImageSource,
    prompt: str,
    search_prompt: str,
    *,
    grow_mask: int | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Find something in a picture by its description and put something else there.

    Args:
        image: The picture.
        prompt: What to put there.
        search_prompt: What to find, in a few words.
        grow_mask: Pixels by which the found place is widened, 0 to 20.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        negative_prompt: What to avoid.
        style_preset: A look.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.

    Raises:
        NotInstalledError: The server has no network that finds things.
    """
    form = {
        "prompt": prompt,
        "search_prompt": search_prompt,
        "grow_mask": grow_mask,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "style_preset": style_preset,
        "output_format": output_format,
    }
    return picture("edit/search-and-replace", form, {"image": image}, idempotency_key)


def search_and_recolor(
    image: ImageSource,
    prompt: str,
    select_prompt: str,
    *,
    grow_mask: int | None = None,
    seed: int | None = None,
    negative_prompt: str | None = None,
    style_preset: StylePreset | None = None,
    output_format: OutputFormat | None = None,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Find something in a picture by its description and give it other colours.

    Args:
        image: The picture.
        prompt: The colours, such as ``a yellow jacket``.
        select_prompt: What to find, in a few words.
        grow_mask: Pixels by which the found place is widened, 0 to 20.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        negative_prompt: What to avoid.
        style_preset: A look.
        output_format: ``png`` if left out.
        idempotency_key: See `generate`.

    Raises:
        NotInstalledError: The server has no network that finds things.
    """
    form = {
        "prompt": prompt,
        "select_prompt": select_prompt,
        "grow_mask": grow_mask,
        "seed": seed,
        "negative_prompt": negative_prompt,
        "style_preset": style_preset,
        "output_format": output_format,
    }
    return picture("edit/search-and-recolor", form, {"image": image}, idempotency_key)


def remove_background(
    image: ImageSource, *, output_format: Literal["png", "webp"] | None = None, idempotency_key: str | None = None
) -> Exchange[Picture]:
    """Make everything but the foremost thing transparent.

    Args:
        image: The picture, at most 4,194,304 pixels.
        output_format: ``png`` if left out; JPEG knows no transparency.
        idempotency_key: See `generate`.

    Raises:
        NotInstalledError: The server has no network that finds things.
    """
    return picture("edit/remove-background", {"output_format": output_format}, {"image": image}, idempotency_key)


def replace_background(
    subject_image: ImageSource,
    background_prompt: str | None = None,
    *,
    background_reference: ImageSource | None = None,
    foreground_prompt: str | None = None,
    negative_prompt: str | None = None,
    preserve_original_subject: float | None = None,
    original_background_depth: float | None = None,
    keep_original_background: bool | None = None,
    light_source_direction: Literal["left", "right", "above", "below"] | None = None,
    light_reference: ImageSource | None = None,
    light_source_strength: float | None = None,
    seed: int | None = None,
    output_format: OutputFormat | None = None,
    wait_s: float = 600.0,
    idempotency_key: str | None = None,
) -> Exchange[Picture]:
    """Put the foremost thing before another background and light it to fit; asks until the result is there.

    Args:
        subject_image: The picture of the thing.
        background_prompt: What is to be behind it; this or `background_reference` is needed.
        background_reference: A picture that looks like the background.
        foreground_prompt: What the thing is.
        negative_prompt: What to avoid.
        preserve_original_subject: How closely the thing stays as it is, 0 to 1.
        original_background_depth: How closely the depth of the old background is kept, 0 to 1.
        keep_original_background: Whether only the light changes.
        light_source_direction: Where the light comes from.
        light_reference: A picture that is lit as wished.
        light_source_strength: Of the light, 0 to 1; only with one of the two above.
        seed: 1 to 4294967294; 0 or nothing for a random one.
        output_format: ``png`` if left out.
        wait_s: Seconds to wait between questions in all.
        idempotency_key: See `generate`.

    Raises:
        DeadlineExceededError: It is not ready yet; the message holds the id for `result`.
        NotInstalledError: The server has no network that finds things.
    """
    form = {
        "background_prompt": background_prompt,
        "foreground_prompt": foreground_prompt,
        "negative_prompt": negative_prompt,
        "preserve_original_subject": preserve_original_subject,
        "original_background_depth": original_background_depth,
        "keep_original_background": keep_original_background,
        "light_source_direction": light_source_direction,
        "light_source_strength": light_source_strength,
        "seed": seed,
        "output_format": output_format,
    }
    images = {
        "subject_image": subject_image,
        "background_reference": background_reference,
        "light_reference": light_reference,
    }
    return slow_picture("edit/replace-background-and-relight", form, images, idempotency_key, wait_s)
