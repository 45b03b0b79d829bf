"""Contact sheets: many small pictures with a line of text under each. Knows nothing of models or scenes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keelbill.core.errors import InvalidInput
from keelbill.train.palette import Bytes

_LINE = 12
_GAP = 6


def contact_sheet(images: Sequence[Bytes], captions: Sequence[str], path: Path, columns: int = 8) -> None:
    """Write pictures with their captions as one picture file.

    Args:
        images: Pictures of one size, each uint8 ``(H, W, 3)``.
        captions: One text for each picture; at most three lines are shown.
        path: Target file; the suffix chooses the format (``.png``, ``.webp``).
        columns: Pictures in a row, at least 1.

    Raises:
        InvalidInput: There are no pictures, counts differ, or `columns` is below 1.
    """
    if not images or len(images) != len(captions):
        raise InvalidInput("captions", len(captions), f"one for each of {len(images)} pictures, at least one")
    if columns < 1:
        raise InvalidInput("columns", columns, "1 or more")
    height, width = images[0].shape[:2]
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    letters = max(8, width * 10 // 56)
    texts = [textwrap.wrap(caption, letters)[:3] for caption in captions]
    label = _LINE * max((len(text) for text in texts), default=0) + _GAP
    font = ImageFont.load_default(size=10)
    sheet = Image.new("RGB", (columns * (width + _GAP) + _GAP, rows * (height + label) + _GAP), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for i, (image, text) in enumerate(zip(images, texts, strict=True)):
        x, y = _GAP + i % columns * (width + _GAP), _GAP + i // columns * (height + label)
        sheet.paste(Image.fromarray(np.ascontiguousarray(image)), (x, y))
        for j, line in enumerate(text):
            draw.text((x, y + height + j * _LINE), line, font=font, fill=(30, 30, 36))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".webp":
        sheet.save(path, quality=82, method=6)
    else:
        sheet.save(path, optimize=True)
