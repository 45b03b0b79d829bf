"""SD3's three text encoders and how their outputs become one context. Knows tensors and tokens, not transformers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from keelbill.core.errors import BadWeights, InvalidInput
from keelbill.engine.clip import END_TOKEN, CLIPConfig, CLIPText
from keelbill.engine.components import Component, Components
from keelbill.engine.conditioning import Conditioning
from keelbill.engine.inversion import TaughtTokens, Vocabulary
from keelbill.engine.lora import Lora, LowRank, merge_into
from keelbill.engine.naming import Part
from keelbill.engine.t5 import T5Config, T5Encoder
from keelbill.engine.tokenize import FileTokenizer, Segmenter, clip_chunks, weighted_ids
from keelbill.engine.weights import load_into

T5Length = Literal["min77", 256, 512]

CLIP_LENGTH: Final = 77
START_TOKEN: Final = 49406
T5_END: Final = 1
T5_PAD: Final = 0
T5_MAX_LENGTH: Final = 512
TOKENIZER_FILES: Final = ("tokenizer_3/tokenizer.json", "t5_tokenizer.json", "tokenizer.json")

_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(frozen=True)
class CLIPPart:
    """A CLIP network and how its chunks are filled up.

    Args:
        network: The network.
        pad: Token of unused places: 49407 for CLIP-L, 0 for bigG.
        stop: Layer whose states are used, counted from the last one, -1.
    """

    network: CLIPText
    pad: int
    stop: int = -2

    def encode(
        self, chunks: Sequence[Sequence[tuple[int, float]]], taught: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode each chunk on its own.

        Args:
            chunks: Tokens with weights.
            taught: Rows for tokens beyond the vocabulary.

        Returns:
            Hidden states with shape ``(77 * chunks, width)`` and the first chunk's pooled state, both fp32.
        """
        found = [self._run([token for token, _ in chunk], taught) for chunk in chunks]
        hidden = torch.cat([states for states, _ in found])
        weights = [w for chunk in chunks for w in _filled([weight for _, weight in chunk])]
        if any(weight != 1 for weight in weights):
            hidden = _move(hidden, self._run([])[0].repeat(len(chunks), 1), weights)
        return hidden, found[0][1]

    def _run(self, tokens: Sequence[int], taught: Tensor | None = None) -> tuple[Tensor, Tensor]:
        ids = [START_TOKEN, *tokens, END_TOKEN]
        ids += [self.pad] * (CLIP_LENGTH - len(ids))
        device = self.network.text_model.final_layer_norm.weight.device
        hidden, pooled = self.network(torch.tensor([ids], device=device), self.stop, taught)
        return hidden[0].float(), pooled[0].float()


@dataclass(frozen=True)
class T5Part:
    """The T5 network, its tokeniser and how long its output is.

    Args:
        network: The network.
        segment: Its tokeniser.
        length: ``"min77"`` grows with the prompt from 77 to 512 tokens; a number pads and cuts to just that.
    """

    network: T5Encoder
    segment: Segmenter
    length: T5Length = "min77"

    def encode(self, prompt: str, taught: TaughtTokens | None = None) -> Tensor:
        """Return hidden states with shape ``(L, width)`` in fp32."""
        tokens, weights = weighted_ids(self.segment, prompt, taught.ids if taught else None)
        longest = T5_MAX_LENGTH if self.length == "min77" else self.length
        tokens, weights = tokens[: longest - 1], weights[: longest - 1]
        length = max(CLIP_LENGTH, len(tokens) + 1) if self.length == "min77" else self.length
        hidden = self._run(tokens, length, taught.rows if taught else None)
        if any(weight != 1 for weight in weights):
            hidden = _move(hidden, self._run([], length), [*weights, *[1.0] * (length - len(weights))])
        return hidden

    def _run(self, tokens: Sequence[int], length: int, taught: Tensor | None = None) -> Tensor:
        ids = [*tokens, T5_END, *[T5_PAD] * (length - len(tokens) - 1)]
        states: Tensor = self.network(torch.tensor([ids], device=self.network.shared.weight.device), taught)
        return states[0].float()


class SD3TextEncoder:
    """Turns prompts into SD3's context: CLIP tokens side by side, then T5 tokens.

    An encoder that is absent contributes zeros, as the model has seen in training.

    Args:
        clip_l: CLIP-L, or nothing.
        clip_g: OpenCLIP bigG, or nothing.
        t5: T5-XXL, or nothing.
        context_dim: Width of the context tokens; 4096 in released models.
        pooled_dim: Width of the pooled vector; 2048 in released models.

    Raises:
        BadWeights: There is no encoder at all, or one does not fit the transformer's widths.

    References:
        | Scaling Rectified Flow Transformers for High-Resolution Image Synthesis (Esser et al., 2024)
    """

    def __init__(
        self,
        clip_l: CLIPPart | None,
        clip_g: CLIPPart | None,
        t5: T5Part | None,
        context_dim: int = 4096,
        pooled_dim: int = 2048,
    ) -> None:
        if clip_l is None and clip_g is None and t5 is None:
            raise BadWeights(
                "The model has no text encoder.", hint="Add the files of CLIP-L, CLIP-G or T5-XXL, best all three."
            )
        self.clip_l = clip_l
        self.clip_g = clip_g
        self.t5 = t5
        self.context_dim = context_dim
        self.pooled_dim = pooled_dim
        width_g = (clip_g.network.config.projection or clip_g.network.config.width) if clip_g else None
        self._width_l = clip_l.network.config.width if clip_l else pooled_dim - (width_g or pooled_dim)
        width_g = pooled_dim - self._width_l if width_g is None else width_g
        if self._width_l + width_g != pooled_dim or self._width_l < 0:
            raise BadWeights(
                f"The CLIP encoders give {self._width_l} + {width_g} pooled channels; {pooled_dim} are needed."
            )
        if t5 is not None and t5.network.config.width != context_dim:
            raise BadWeights(f"T5 is {t5.network.config.width} wide; the transformer's context is {context_dim} wide.")
        hidden_g = clip_g.network.config.width if clip_g else 0
        if self._width_l + hidden_g > context_dim:
            raise BadWeights(
                f"CLIP tokens of {self._width_l} + {hidden_g} channels do not fit a context of {context_dim}."
            )

    def encode(self, prompts: Sequence[str]) -> list[Conditioning]:
        """Encode each prompt on its own.

        Returns:
            For each prompt a context with shape ``(77 k + L, context_dim)``, where `k` is the number of CLIP chunks and
            `L` T5's length, and a pooled vector with shape ``(pooled_dim,)``; both fp32.
        """
        return [self.encode_parts(prompt, prompt, prompt) for prompt in prompts]

    @property
    def networks(self) -> dict[Part, nn.Module]:
        """The networks that are there."""
        found = {Part.CLIP_L: self.clip_l, Part.CLIP_G: self.clip_g, Part.T5: self.t5}
        return {part: each.network for part, each in found.items() if each is not None}

    def changed(self, loras: Sequence[tuple[Lora, float]], stop: int | None = None) -> SD3TextEncoder:
        """Return an encoder with changed weights; what is not changed is shared, and this one stays as it is.

        Args:
            loras: Changes with strengths, in order.
            stop: Layer of the CLIP networks whose states are used; nothing means as before.
        """

        def clip(part: Part, before: CLIPPart | None) -> CLIPPart | None:
            if before is None:
                return None
            network = _changed(before.network, [(lora.get(part, {}), strength) for lora, strength in loras])
            return CLIPPart(network, before.pad, before.stop if stop is None else stop)

        t5 = self.t5
        if t5 is not None:
            network = _changed(t5.network, [(lora.get(Part.T5, {}), strength) for lora, strength in loras])
            t5 = T5Part(network, t5.segment, t5.length)
        clip_l, clip_g = clip(Part.CLIP_L, self.clip_l), clip(Part.CLIP_G, self.clip_g)
        return SD3TextEncoder(clip_l, clip_g, t5, self.context_dim, self.pooled_dim)

    def widths(self) -> dict[Part, int]:
        """Return how wide the rows are that each encoder takes for a token."""
        parts = {Part.CLIP_L: self.clip_l, Part.CLIP_G: self.clip_g, Part.T5: self.t5}
        return {part: each.network.config.width for part, each in parts.items() if each is not None}

    @torch.no_grad()
    def encode_parts(
        self, clip_l: str | None, clip_g: str | None, t5: str | None, words: Vocabulary | None = None
    ) -> Conditioning:
        """Encode one prompt that says something different to each encoder.

        Args:
            clip_l: What CLIP-L reads; nothing leaves it out, as if it were absent.
            clip_g: What bigG reads; likewise. Without both there are no CLIP tokens.
            t5: What T5 reads; nothing leaves out its tokens.
            words: What ``embedding:name`` stands for, by name; for an encoder that was not taught a word it stands for
                nothing.
        """
        taught_l, taught_g = _taught(words, Part.CLIP_L, self.clip_l), _taught(words, Part.CLIP_G, self.clip_g)
        chunks_l = clip_chunks(clip_l or "", taught=taught_l.ids)
        chunks_g = clip_chunks(clip_g or "", taught=taught_g.ids)
        part_l = self.clip_l if clip_l is not None else None
        part_g = self.clip_g if clip_g is not None else None
        count = max(len(chunks_l) if part_l else 1, len(chunks_g) if part_g else 1)
        hidden_l, pooled_l = self._clip(part_l, chunks_l, count, self._width_l, taught_l.rows)
        hidden_g, pooled_g = self._clip(part_g, chunks_g, count, self.pooled_dim - self._width_l, taught_g.rows)
        hidden = torch.cat((hidden_l.to(hidden_g.device), hidden_g), dim=1)[:, : self.context_dim]
        hidden = F.pad(hidden, (0, self.context_dim - hidden.shape[1]))
        if self.t5 is not None and t5 is not None:
            states = self.t5.encode(t5, _taught(words, Part.T5, self.t5))
        else:
            states = hidden.new_zeros(CLIP_LENGTH, self.context_dim)
        device = states.device
        pooled = torch.cat((pooled_l.to(device), pooled_g.to(device)))
        kept = [hidden.to(device)] if clip_l is not None or clip_g is not None else []
        kept += [states] if t5 is not None or not kept else []
        return Conditioning(torch.cat(kept), pooled)

    @staticmethod
    def _clip(
        part: CLIPPart | None, chunks: list[list[tuple[int, float]]], count: int, width: int, taught: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if part is None:
            return torch.zeros(count * CLIP_LENGTH, width), torch.zeros(width)
        return part.encode(chunks + [[]] * (count - len(chunks)), taught)


def _taught(words: Vocabulary | None, part: Part, reader: CLIPPart | T5Part | None) -> TaughtTokens:
    """Return the taught words as an encoder sees them; for one that is absent they stand for nothing."""
    return TaughtTokens(words or {}, part, reader.network.config.vocabulary if reader else 0)


def _changed(network: _Network, changes: Sequence[tuple[Mapping[str, LowRank], float]]) -> _Network:
    """Return a copy of a network with low-rank changes; weights that none of them touches are shared."""
    touched = {name + ".weight" for layers, _ in changes for name in layers}
    if not touched:
        return network
    kept: dict[int, object] = {id(p): p for name, p in network.named_parameters() if name not in touched}
    copied = copy.deepcopy(network, kept)
    for layers, strength in changes:
        merge_into(copied, layers, strength)
    return copied


def _filled(weights: Sequence[float]) -> list[float]:
    """Return the weights of a chunk's 77 places; start, end and padding are plain."""
    return [1.0, *weights, *[1.0] * (CLIP_LENGTH - 1 - len(weights))]


def _move(hidden: Tensor, empty: Tensor, weights: Sequence[float]) -> Tensor:
    """Move each token along its line through the empty prompt's token at the same place."""
    further = torch.tensor(weights, device=hidden.device).unsqueeze(-1) - 1
    return hidden + (hidden - empty) * further


def load_text_encoder(
    components: Components,
    context_dim: int,
    pooled_dim: int,
    *,
    device: str | torch.device = "cpu",
    t5_length: T5Length = "min77",
) -> SD3TextEncoder:
    """Load the text encoders that a model has.

    CLIP runs in fp32 on a CPU and in fp16 elsewhere; T5 in bf16, because fp16 overflows in it.

    Args:
        components: What was found of the model.
        context_dim: Width of the transformer's context.
        pooled_dim: Width of the transformer's pooled vector.
        device: Where the encoders run.
        t5_length: As for `T5Part`.

    Raises:
        BadWeights: There is no encoder, one is damaged, or T5 has no tokeniser.
        InvalidInput: `t5_length` is none of the three.
    """
    if t5_length not in ("min77", 256, 512):
        raise InvalidInput("t5_length", t5_length, '"min77", 256 or 512')
    clip_dtype = torch.float32 if torch.device(device).type == "cpu" else torch.float16

    def clip(component: Component | None, pad: int) -> CLIPPart | None:
        if component is None:
            return None
        config = CLIPConfig.from_tensors(component.shapes)
        return CLIPPart(_load(lambda: CLIPText(config), component, clip_dtype, device), pad)

    t5 = None
    if components.t5 is not None:
        segment = FileTokenizer(_t5_tokenizer(components, components.t5).read_text(encoding="utf-8"))
        config = T5Config.from_tensors(components.t5.shapes)
        t5 = T5Part(_load(lambda: T5Encoder(config), components.t5, torch.bfloat16, device), segment, t5_length)
    clip_l, clip_g = clip(components.clip_l, END_TOKEN), clip(components.clip_g, 0)
    return SD3TextEncoder(clip_l, clip_g, t5, context_dim, pooled_dim)


def _load(
    make: Callable[[], _Network], component: Component, dtype: torch.dtype, device: str | torch.device
) -> _Network:
    with torch.device("meta"):
        network = make().to(dtype)
    load_into(network, component.tensors(dtype), f"text encoder {component.part.value}")
    return network.to(device).eval().requires_grad_(False)


def _t5_tokenizer(components: Components, t5: Component) -> Path:
    """Return the tokeniser's file: in the model's folder, or beside T5's own file.

    Raises:
        BadWeights: There is none; the message says where to put it.
    """
    folder = components.tokenizer_folder(Part.T5)
    if folder is not None and (folder / "tokenizer.json").is_file():
        return folder / "tokenizer.json"
    for place in (t5.path.parent, t5.path.parent.parent):
        for name in TOKENIZER_FILES:
            if (place / name).is_file():
                return place / name
    raise BadWeights(
        f"The text encoder T5-XXL in {t5.path.name} has no tokeniser.",
        hint=f"Put the tokenizer.json of T5 v1.1 at {t5.path.parent / TOKENIZER_FILES[0]}, or leave T5 out.",
    )
