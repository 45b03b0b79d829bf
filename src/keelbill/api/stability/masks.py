"""Turns black into white, for masks that say with black what is painted anew. Takes only pictures that were rebuilt."""

from __future__ import annotations

import dataclasses
import hashlib
from io import BytesIO

from PIL import Image, ImageOps

from keelbill.imaging.clean import CleanImage


def inverted(mask: CleanImage) -> CleanImage:
    """Return the negative of a mask, in grey and without transparency."""
    with Image.open(BytesIO(mask.png), formats=["PNG"]) as image:
        negative = ImageOps.invert(image.convert("L"))
    out = BytesIO()
    negative.save(out, "PNG", compress_level=1)
    png = out.getvalue()
    return dataclasses.replace(mask, png=png, has_alpha=False, sha256=hashlib.sha256(png).hexdigest())
