"""The embedded model's text encoder, and a memory for any encoder. Knows nothing of transformers, pictures or files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock

import torch
from torch import Tensor

from keelbill.core.errors import InvalidInput
from keelbill.engine.conditioning import Conditioning
from keelbill.engine.minilm import CharacterEncoder, MiniLM, pool, quantise_rows
from keelbill.engine.model import TextEncoder
from keelbill.engine.tokenize import FileTokenizer, character_ids, weighted_ids

WORD_PLACES = 32
_CHARACTERS = "characters."


class MiniLMTextEncoder:
    """The embedded model's encoder: word tokens for meaning, then character tokens for spelling.

    The context has one token for each word piece (with start and end, at most 32) and one for each character that the
    prompt quotes (at most 24): between 2 and 56 in all, and nothing for places that are not used.

    Args:
        network: The word network.
        tokenizer: Its WordPiece tokeniser.
        characters: The character branch; without one nothing is spelled.
    """

    def __init__(self, network: MiniLM, tokenizer: FileTokenizer, characters: CharacterEncoder | None = None) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.characters = characters
        self._start, self._end = tokenizer.id_of("[CLS]"), tokenizer.id_of("[SEP]")

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], tokenizer_json: str) -> MiniLMTextEncoder:
        """Build the encoder.

        Args:
            tensors: What `pack` returned, or a plain BERT state dict.
            tokenizer_json: Content of the tokeniser's file.

        Raises:
            BadWeights: Tensors or tokeniser do not fit.
        """
        spelling = {k.removeprefix(_CHARACTERS): v for k, v in tensors.items() if k.startswith(_CHARACTERS)}
        network = MiniLM.from_tensors({k: v for k, v in tensors.items() if not k.startswith(_CHARACTERS)})
        characters = CharacterEncoder.from_tensors(spelling) if spelling else None
        return cls(network, FileTokenizer(tokenizer_json), characters)

    def pack(self) -> dict[str, Tensor]:
        """Return the tensors to store: 8-bit rows for the word network, fp16 for the character branch."""
        packed = quantise_rows(self.network.state_dict())
        if self.characters is not None:
            packed |= {_CHARACTERS + k: v.half() for k, v in self.characters.state_dict().items()}
        return {k: v.cpu().contiguous() for k, v in packed.items()}

    def to(self, device: torch.device | str) -> MiniLMTextEncoder:
        """Move the networks to a device and return self."""
        self.network.to(device)
        if self.characters is not None:
            self.characters.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the word network lies."""
        return self.network.embeddings.word_embeddings.weight.device

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> list[Conditioning]:
        """Encode each prompt on its own, so that a result never depends on its neighbours.

        Returns:
            For each prompt a context with shape ``(L, width)`` and a pooled vector with shape ``(width,)``, fp32.
        """
        return [self.encode_batch([prompt])[0] for prompt in prompts]

    @torch.no_grad()
    def encode_batch(self, prompts: Sequence[str]) -> list[Conditioning]:
        """Encode all prompts in one go, for training; faster, but the last bits depend on the neighbours."""
        pieces = [weighted_ids(self.tokenizer, prompt) for prompt in prompts]
        rows = [[self._start, *ids[: WORD_PLACES - 2], self._end] for ids, _ in pieces]
        length = max(map(len, rows), default=2)
        ids = torch.tensor([row + [0] * (length - len(row)) for row in rows], dtype=torch.long, device=self.device)
        mask = torch.tensor([[i < len(row) for i in range(length)] for row in rows], device=self.device)
        hidden = self.network(ids, mask)
        pooled = pool(hidden, mask)
        found = []
        for i, (prompt, row, (_, weights)) in enumerate(zip(prompts, rows, pieces, strict=True)):
            words = hidden[i, : len(row)]
            if any(weight != 1 for weight in weights):
                words = self._move(words, [1.0, *weights[: WORD_PLACES - 2], 1.0])
            found.append(Conditioning(torch.cat((words, self._spell(prompt, words))), pooled[i].clone()))
        return found

    def _spell(self, prompt: str, words: Tensor) -> Tensor:
        quoted = character_ids(prompt) if self.characters is not None else []
        if self.characters is None or not quoted:
            return words[:0]
        return torch.as_tensor(self.characters(torch.tensor(quoted, device=words.device)))

    def _move(self, words: Tensor, weights: list[float]) -> Tensor:
        """Move each token away from, or towards, the middle of an empty prompt's tokens."""
        neutral = self.encode_batch([""])[0].context.mean(0)
        further = torch.tensor(weights, device=words.device).unsqueeze(-1) - 1
        return words + (words - neutral) * further


class CachedTextEncoder:
    """Remembers what prompts became; the least recently used ones are forgotten first. Safe to share between threads.

    Args:
        encoder: Who encodes what is not remembered.
        identity: What the result depends on besides the text: hash of the weights, length and dtype.
        limit_bytes: How much memory the remembered tensors may take.

    Raises:
        InvalidInput: `limit_bytes` is negative.
    """

    def __init__(self, encoder: TextEncoder, identity: str, limit_bytes: int = 256 * 2**20) -> None:
        if limit_bytes < 0:
            raise InvalidInput("limit_bytes", limit_bytes, "0 or more")
        self.encoder = encoder
        self.identity = identity
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self._entries: OrderedDict[tuple[str, str], Conditioning] = OrderedDict()
        self._lock = Lock()

    def encode(self, prompts: Sequence[str]) -> list[Conditioning]:
        """Return each prompt's conditioning, encoded now or before; do not write to the tensors."""
        return [self._one(prompt) for prompt in prompts]

    def forget(self) -> None:
        """Drop everything remembered."""
        with self._lock:
            self._entries.clear()
            self.size_bytes = 0

    def _one(self, prompt: str) -> Conditioning:
        key = (self.identity, prompt)
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        found = self.encoder.encode([prompt])[0]
        with self._lock:
            if key not in self._entries:
                self._entries[key] = found
                self.size_bytes += _size_bytes(found)
            while self.size_bytes > self.limit_bytes:
                self.size_bytes -= _size_bytes(self._entries.popitem(last=False)[1])
        return found


def _size_bytes(conditioning: Conditioning) -> int:
    return sum(t.numel() * t.element_size() for t in (conditioning.context, conditioning.pooled))
