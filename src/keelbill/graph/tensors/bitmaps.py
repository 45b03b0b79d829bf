"""Between the bytes of picture files and IMAGE tensors with shape (B, H, W, C). Knows no graph and no folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor

from keelbill.core.errors import InvalidInput
from keelbill.graph.tensors.masks import CHANNELS
from keelbill.imaging.decode import decode_frames
from keelbill.imaging.encode import encode_png

NO_MASK: Final = 64
"""Side of the empty mask of a picture without transparency, in pixels."""


def load(data: bytes, name: str) -> tuple[Tensor, Tensor]:
    """Read a picture file; an animated one gives a batch.

    Args:
        data: The whole file.
        name: For errors.

    Returns:
        Colours in [0, 1] with shape ``(B, H, W, 3)``, and a mask ``(B, H, W)`` that is 1 where nothing is to be
        seen; without transparency it is empty, of 64 by 64 pixels.

    Raises:
        BadImage: The file is no picture that is read.
    """
    frames = [frame.astype(np.float32) / 255 for frame in decode_frames(data, field=name)]
    colours = torch.from_numpy(np.stack([frame[..., :3] for frame in frames]))
    if all(frame.shape[2] == 3 for frame in frames):
        return colours, torch.zeros(len(frames), NO_MASK, NO_MASK)
    clear = [1 - frame[..., 3] if frame.shape[2] == 4 else np.zeros(frame.shape[:2], np.float32) for frame in frames]
    return colours, torch.from_numpy(np.stack(clear))


def load_channel(data: bytes, name: str, channel: str) -> Tensor:
    """Read one channel of a picture file as a mask; alpha is inverted, as `load` does."""
    colours, clear = load(data, name)
    return clear if channel == "alpha" else colours[..., CHANNELS.index(channel)]


def png(picture: Tensor, texts: Mapping[str, str], level: int) -> bytes:
    """Write a picture ``(H, W, 1, 3 or 4)`` as PNG with 8 bits.

    Args:
        picture: Values outside [0, 1] are cut off.
        texts: What it carries.
        level: Of compression, 0 to 9.
    """
    if picture.dim() != 3 or picture.shape[-1] not in (1, 3, 4):
        raise InvalidInput("picture shape", tuple(picture.shape), "(height, width, 1, 3 or 4)")
    whole = picture.nan_to_num().clamp(0, 1)
    levels = (whole * 255).round().to(torch.uint8).cpu().numpy()
    if levels.shape[-1] == 1:
        levels = np.repeat(levels, 3, axis=-1)
    return encode_png(np.ascontiguousarray(levels), texts, level)
