"""Masks that clients mean but do not send as workers read them. Takes only pictures that were rebuilt."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageOps

from keelbill.imaging.clean import CleanImage


def inverted(mask: CleanImage) -> CleanImage:
    """Return the negative of a mask, in grey and without transparency."""
    with Image.open(BytesIO(mask.png), formats=["PNG"]) as image:
        negative = ImageOps.invert(image.convert("L"))
    return _mask_of(negative)


def white_where_transparent(mask: CleanImage) -> CleanImage:
    """Return a mask that is white where a picture is transparent."""
    with Image.open(BytesIO(mask.png), formats=["PNG"]) as image:
        white = ImageOps.invert(image.convert("RGBA").getchannel("A"))
    return _mask_of(white)


def is_opaque(picture: CleanImage) -> bool:
    """Whether no part of a picture is transparent, so that its transparency cannot say what to change."""
    if not picture.has_alpha:
        return True
    with Image.open(BytesIO(picture.png), formats=["PNG"]) as image:
        return image.convert("RGBA").getchannel("A").getextrema()[0] == 255


def _mask_of(image: Image.Image) -> CleanImage:
    out = BytesIO()
    image.save(out, "PNG", compress_level=1)
    png = out.getvalue()
    return CleanImage(png, image.width, image.height, has_alpha=False)
