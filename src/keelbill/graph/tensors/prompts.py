"""CONDITIONING: encoded prompts and where and when they count. Knows no noise and no sampler.

It is a list of pairs: tokens with shape ``(1, L, width)``, and a dictionary with ``pooled_output`` and what nodes
added: ``strength``, ``start_percent``, ``end_percent``, ``area`` (height, width, y, x in places of 8 pixels), ``mask``,
``mask_strength``, ``set_area_to_bounds``, ``controls``. Where zeros are not what a model knows as no prompt,
``nothing`` has what is, as tokens and summary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from keelbill.core.errors import InvalidInput, NotInstalled
from keelbill.engine.conditioning import Box, Conditioning, Prompt, Share
from keelbill.engine.inversion import read_word
from keelbill.engine.naming import Part
from keelbill.engine.sd3text import SD3TextEncoder
from keelbill.engine.text import CachedTextEncoder
from keelbill.engine.tokenize import mentioned
from keelbill.graph.tensors.handles import ClipHandle, Painter, sigma_at
from keelbill.graph.tensors.latents import PLACE, mask_planes

if TYPE_CHECKING:
    from keelbill.engine.control import Control
    from keelbill.engine.model import TextEncoder
    from keelbill.graph.context import Models

MAX_PROMPTS: Final = 32
"""Prompts that are followed at once; the model works once more for each of them."""

MAX_TOKENS: Final = 8192
SOFT_EDGE: Final = 8
"""Places over which a prompt for an area fades towards its neighbours."""

Entries = list[list[Any]]


# ------------------------------------------------------------ text


def encode(clip: ClipHandle, models: Models, text: str) -> Entries:
    """Encode a prompt.

    Raises:
        UnknownModel: It mentions an embedding that is not installed.
        NotInstalled: The encoder cannot do what the graph asks of it.
    """
    encoder = clip.open(models)
    words = _words(encoder, models, text)
    if not clip.loras and clip.stop is None and not words:
        knows_zeros = isinstance(plain_encoder(encoder), SD3TextEncoder)
        return entries(encoder.encode([text])[0], None if knows_zeros else encoder.encode([""])[0])
    reader = _published(encoder, "be changed").changed(clip.loras, clip.stop)
    return entries(reader.encode_parts(text, text, text, words))


def encode_parts(
    clip: ClipHandle, models: Models, clip_l: str, clip_g: str, t5xxl: str, *, pads_empty: bool
) -> Entries:
    """Encode a prompt that says something different to each encoder.

    Args:
        clip: Who reads. An encoder that has only one network reads the first text that says something, T5's first.
        models: Where it is.
        clip_l: For CLIP-L.
        clip_g: For bigG.
        t5xxl: For T5.
        pads_empty: Whether an empty text is encoded; otherwise it contributes nothing.
    """
    encoder = plain_encoder(clip.open(models))
    words = _words(encoder, models, clip_l, clip_g, t5xxl)
    if not isinstance(encoder, SD3TextEncoder):
        said = next((text for text in (t5xxl, clip_g, clip_l) if text.strip()), "")
        return encode(clip, models, said)
    if clip.loras or clip.stop is not None:
        encoder = encoder.changed(clip.loras, clip.stop)
    texts = tuple(text if text or pads_empty else None for text in (clip_l, clip_g, t5xxl))
    said_l, said_g, said_t5 = (clip_l, clip_g, t5xxl) if not any(text is not None for text in texts) else texts
    return entries(encoder.encode_parts(said_l, said_g, said_t5, words))


def _words(encoder: TextEncoder, models: Models, *texts: str) -> dict[str, dict[Part, Tensor]]:
    """Return what ``embedding:name`` stands for in texts, by name.

    Raises:
        UnknownModel: One is not installed.
        BadWeights: One was made for another model.
        InvalidInput: They are more than a prompt can hold.
        NotInstalled: The encoder has no place for them.
    """
    names = [name for text in texts for name in mentioned(text)]
    if not names:
        return {}
    reader = _published(encoder, "read embeddings")
    words = {
        name: read_word(models.tensors("embeddings", name), reader.widths(), name=name) for name in dict.fromkeys(names)
    }
    count = sum(max(map(len, words[name].values())) for name in names)
    if count > MAX_TOKENS:
        raise InvalidInput("tokens of embeddings in a prompt", count, f"at most {MAX_TOKENS:,}")
    return words


def plain_encoder(encoder: TextEncoder) -> TextEncoder:
    """Return an encoder without its memory."""
    return encoder.encoder if isinstance(encoder, CachedTextEncoder) else encoder


def _published(encoder: TextEncoder, what: str) -> SD3TextEncoder:
    inner = plain_encoder(encoder)
    if not isinstance(inner, SD3TextEncoder):
        raise NotInstalled(f"The text encoder of this model cannot {what}; it has no CLIP layers.")
    return inner


def entries(conditioning: Conditioning, nothing: Conditioning | None = None) -> Entries:
    """Return a prompt as CONDITIONING.

    Args:
        conditioning: The prompt.
        nothing: What the model was trained to take for no prompt; without it, zeros.
    """
    tokens, pooled = _as_batch(conditioning)
    more = {} if nothing is None else {"nothing": _as_batch(nothing)}
    return [[tokens, {"pooled_output": pooled, **more}]]


def _as_batch(conditioning: Conditioning) -> tuple[Tensor, Tensor]:
    return conditioning.context.float().cpu()[None], conditioning.pooled.float().cpu()[None]


# ------------------------------------------------------------ arithmetic


def changed(conditioning: Entries, **values: Any) -> Entries:
    """Return all prompts with some values set."""
    return [[tokens, {**options, **values}] for tokens, options in conditioning]


def zeroed(conditioning: Entries) -> Entries:
    """Return prompts that say nothing at all.

    Tokens and summary are zeros, as SD3 has learnt them; a model that never saw zeros gets what it knows instead.
    """
    return [_zeroed(tokens, options) for tokens, options in conditioning]


def _zeroed(tokens: Tensor, options: Mapping[str, Any]) -> list[Any]:
    pooled = options.get("pooled_output")
    nothing = options.get("nothing")
    if nothing is not None:
        return [nothing[0], {**options, "pooled_output": nothing[1]}]
    more = {} if pooled is None else {"pooled_output": torch.zeros_like(pooled)}
    return [torch.zeros_like(tokens), {**options, **more}]


def together(first: Entries, second: Entries) -> Entries:
    """Return two lists of prompts as one.

    Raises:
        InvalidInput: They become too many; nodes in a row could double them again and again.
    """
    count = len(first) + len(second)
    if count > MAX_PROMPTS:
        raise InvalidInput("prompts at once", count, f"at most {MAX_PROMPTS}")
    return [*first, *second]


def joined(to: Entries, source: Entries) -> Entries:
    """Return prompts with the tokens of another one behind their own.

    Raises:
        InvalidInput: One becomes too long, as by nodes in a row that double it.
    """
    more = source[0][0].shape[1]
    for tokens, _ in to:
        if tokens.shape[1] + more > MAX_TOKENS:
            raise InvalidInput("tokens of a prompt", tokens.shape[1] + more, f"at most {MAX_TOKENS:,}")
    return [[torch.cat([tokens, source[0][0]], dim=1), dict(options)] for tokens, options in to]


def averaged(to: Entries, source: Entries, part: float) -> Entries:
    """Return prompts between themselves (`part` 1) and another one (`part` 0); the shorter is filled with zeros."""
    other, other_options = source[0]
    found: Entries = []
    for tokens, options in to:
        count = tokens.shape[1]
        fitted = F.pad(other[:, :count], (0, 0, 0, max(0, count - other.shape[1])))
        values = dict(options)
        pooled, other_pooled = options.get("pooled_output"), other_options.get("pooled_output")
        if pooled is not None and other_pooled is not None:
            values["pooled_output"] = pooled * part + other_pooled * (1 - part)
        elif pooled is None and other_pooled is not None:
            values["pooled_output"] = other_pooled
        found.append([tokens * part + fitted * (1 - part), values])
    return found


# ------------------------------------------------------------ for the sampler


def prompt_of(
    conditioning: Sequence[Sequence[Any]],
    painter: Painter,
    picture: tuple[int, int],
    grid: tuple[int, int],
    control: Callable[[Any], Control] | None = None,
) -> Prompt:
    """Return what a branch of guidance follows.

    Args:
        conditioning: The prompts.
        painter: Who paints.
        picture: Height and width of the picture in pixels.
        grid: Height and width of the latent.
        control: Makes what the sampler takes of each of a prompt's ``controls``; without it they are left out.

    Raises:
        InvalidInput: A prompt was encoded for another kind of model, or there is none.
    """
    if not conditioning:
        raise InvalidInput("conditioning", "an empty list", "at least one encoded prompt")
    shares = tuple(_share(tokens, options, painter, picture, grid) for tokens, options in conditioning)
    if control is not None:
        uses = [options.get("controls", ()) for _, options in conditioning]
        shares = tuple(
            replace(share, controls=tuple(control(use) for use in each))
            for share, each in zip(shares, uses, strict=True)
        )
    first = shares[0]
    is_plain = first.box is None and first.weight is None and first.interval == (0.0, 1.0) and not first.controls
    return first.conditioning if len(shares) == 1 and is_plain else shares


def _share(
    tokens: Tensor, options: Mapping[str, Any], painter: Painter, picture: tuple[int, int], grid: tuple[int, int]
) -> Share:
    config = painter.transformer.config
    if tokens.shape[-1] != config.context_dim:
        raise InvalidInput(
            "conditioning", f"tokens of {tokens.shape[-1]} channels", f"encoded with the CLIP of the model "
            f"({config.context_dim} channels)",
        )  # fmt: skip
    pooled = options.get("pooled_output")
    pooled = torch.zeros(config.pooled_dim) if pooled is None else pooled[0]
    if pooled.shape[-1] != config.pooled_dim:
        raise InvalidInput("pooled_output", f"{pooled.shape[-1]} channels", f"of {config.pooled_dim} channels")
    start, end = options.get("start_percent", 0.0), options.get("end_percent", 1.0)
    box, weight = _place(options, picture, grid)
    return Share(
        Conditioning(tokens[0], pooled),
        strength=float(options.get("strength", 1.0)),
        interval=(sigma_at(end, painter.shift), sigma_at(start, painter.shift)),
        box=box,
        weight=weight,
    )


def _place(
    options: Mapping[str, Any], picture: tuple[int, int], grid: tuple[int, int]
) -> tuple[Box | None, Tensor | None]:
    """Return where a prompt is evaluated, and how much it counts at each place."""
    box, weight = None, None
    area = options.get("area")
    if area is not None:
        box = _box(area, picture, grid)
        weight = _fading(box, grid)
    mask = options.get("mask")
    if mask is not None:
        planes = mask_planes(mask)[:1]
        if planes.shape[-2:] != grid:
            planes = F.interpolate(planes, grid, mode="bilinear")
        painted = planes[0] * float(options.get("mask_strength", 1.0))
        if options.get("set_area_to_bounds") and box is None:
            box = _bounds(painted[0])
        weight = painted if weight is None else weight * painted
    return box, weight


def _box(area: Sequence[int], picture: tuple[int, int], grid: tuple[int, int]) -> Box:
    height, width, y, x = (PLACE * int(value) for value in area)
    down, across = grid[0] / picture[0], grid[1] / picture[1]
    top, left = min(round(y * down), grid[0] - 1), min(round(x * across), grid[1] - 1)
    bottom, right = min(round((y + height) * down), grid[0]), min(round((x + width) * across), grid[1])
    return Box(top, left, max(bottom, top + 1), max(right, left + 1))


def _fading(box: Box, grid: tuple[int, int]) -> Tensor:
    """Return weights of 1 inside a box that fall towards those of its edges that lie inside the picture."""
    weight = torch.ones(1, *grid)
    rows, columns = torch.arange(grid[0]), torch.arange(grid[1])
    ramp = min(SOFT_EDGE, (box.bottom - box.top) // 2, (box.right - box.left) // 2)
    if ramp < 2:
        return weight

    def fade(distance: Tensor) -> Tensor:
        return ((distance + 1) / ramp).clamp(0, 1)

    if box.top > 0:
        weight = weight * fade(rows - box.top)[:, None]
    if box.bottom < grid[0]:
        weight = weight * fade(box.bottom - 1 - rows)[:, None]
    if box.left > 0:
        weight = weight * fade(columns - box.left)
    if box.right < grid[1]:
        weight = weight * fade(box.right - 1 - columns)
    return weight


def _bounds(mask: Tensor) -> Box | None:
    """Return the smallest box around what is not 0."""
    rows, columns = torch.nonzero(mask.amax(1)).flatten(), torch.nonzero(mask.amax(0)).flatten()
    if not len(rows):
        return None
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
