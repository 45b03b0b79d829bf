"""Text encoders as the engine sees them: prompts in, conditioning out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import sqrt

import pytest
import torch

from keelbill.core.errors import BadWeights, InvalidInput
from keelbill.engine.components import find_components
from keelbill.engine.conditioning import Conditioning
from keelbill.engine.minilm import CharacterEncoder, MiniLM, MiniLMConfig
from keelbill.engine.naming import Part
from keelbill.engine.text import CachedTextEncoder, MiniLMTextEncoder
from keelbill.engine.tokenize import FileTokenizer
from keelbill.models import embedded_folder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "car", "sign", "say", "##s", '"', "open", "!"]


def word_piece() -> str:
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": True,
                "strip_accents": None,
                "lowercase": True,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": None,
            "decoder": None,
            "model": {
                "type": "WordPiece",
                "unk_token": "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": {word: i for i, word in enumerate(WORDS)},
            },
        }
    )


@pytest.fixture(scope="module")
def encoder() -> MiniLMTextEncoder:
    torch.manual_seed(0)
    config = MiniLMConfig(vocabulary=len(WORDS), positions=32, width=64, depth=2, mlp=96)
    network = MiniLM(config).eval().requires_grad_(False)
    return MiniLMTextEncoder(network, FileTokenizer(word_piece()), CharacterEncoder.seeded(64))


class TestMiniLMTextEncoder:
    def test_one_token_for_each_word_piece(self, encoder: MiniLMTextEncoder) -> None:
        (found,) = encoder.encode(["A red car"])
        assert found.context.shape == (5, 64)
        assert found.pooled.shape == (64,)
        assert float(found.pooled.norm()) == pytest.approx(sqrt(64) / 2)

    def test_empty_prompt_has_start_and_end(self, encoder: MiniLMTextEncoder) -> None:
        assert encoder.encode([""])[0].context.shape == (2, 64)

    def test_quoted_letters_are_appended_with_their_case(self, encoder: MiniLMTextEncoder) -> None:
        upper, lower = encoder.encode(['a sign says "OPEN"', 'a sign says "open"'])
        words = 2 + len(["a", "sign", "say", "##s", '"', "open", '"'])
        assert upper.context.shape == (words + 4, 64)
        assert torch.equal(upper.context[:words], lower.context[:words])
        assert not torch.equal(upper.context[words:], lower.context[words:])

    def test_long_prompt_is_cut_at_56_tokens(self, encoder: MiniLMTextEncoder) -> None:
        (found,) = encoder.encode(["car " * 100 + '"' + "x" * 100 + '"'])
        assert found.context.shape == (32 + 24, 64)

    def test_result_does_not_depend_on_neighbours(self, encoder: MiniLMTextEncoder) -> None:
        alone = encoder.encode(["a car"])[0]
        together = encoder.encode(["a red red red sign", "a car", ""])[1]
        assert torch.equal(alone.context, together.context)
        assert torch.equal(alone.pooled, together.pooled)

    def test_batch_for_training_agrees_with_each_alone(self, encoder: MiniLMTextEncoder) -> None:
        prompts = ["a red car", 'a sign says "open"', ""]
        for alone, batched in zip(encoder.encode(prompts), encoder.encode_batch(prompts), strict=True):
            torch.testing.assert_close(alone.context, batched.context, atol=1e-5, rtol=0)
            torch.testing.assert_close(alone.pooled, batched.pooled, atol=1e-5, rtol=0)

    def test_weight_one_changes_nothing_and_others_move_only_their_tokens(self, encoder: MiniLMTextEncoder) -> None:
        plain, same, stronger = encoder.encode(["a red car", "a (red:1.0) car", "a (red:1.5) car"])
        assert torch.equal(plain.context, same.context)
        moved = (plain.context != stronger.context).any(1)
        assert moved.tolist() == [False, False, True, False, False]

    def test_stored_and_loaded_again(self, encoder: MiniLMTextEncoder) -> None:
        again = MiniLMTextEncoder.from_tensors(encoder.pack(), word_piece())
        first, second = encoder.encode(['a sign says "open"'])[0], again.encode(['a sign says "open"'])[0]
        assert float(torch.cosine_similarity(first.context, second.context, dim=-1).min()) > 0.999

    def test_without_character_weights_nothing_is_spelled(self, encoder: MiniLMTextEncoder) -> None:
        tensors = {k: v for k, v in encoder.pack().items() if not k.startswith("characters.")}
        assert MiniLMTextEncoder.from_tensors(tensors, word_piece()).encode(['"a"'])[0].context.shape == (5, 64)

    def test_tokeniser_of_another_family_is_refused(self, encoder: MiniLMTextEncoder) -> None:
        with pytest.raises(BadWeights, match="CLS"):
            MiniLMTextEncoder(encoder.network, FileTokenizer(word_piece().replace("[CLS]", "[BEGIN]")))


def test_shipped_encoder_puts_unseen_words_near_known_ones() -> None:
    folder = embedded_folder()
    tokenizer = (folder / "tokenizer.json").read_text(encoding="utf-8")
    shipped = MiniLMTextEncoder.from_tensors(find_components(folder).require(Part.MINILM).tensors(), tokenizer)
    car, automobile, banana = (found.pooled for found in shipped.encode(["car", "automobile", "banana"]))
    assert float(torch.dot(car, automobile)) > float(torch.dot(banana, automobile)) + 0.2 * 384 / 4


class Counting:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, prompts: Sequence[str]) -> list[Conditioning]:
        self.asked += prompts
        return [Conditioning(torch.zeros(2, 3), torch.zeros(2)) for _ in prompts]  # 32 bytes


class TestCachedTextEncoder:
    def test_second_time_is_free(self) -> None:
        inner = Counting()
        cached = CachedTextEncoder(inner, "weights-1 fp32")
        first = cached.encode(["a", "b"])
        assert cached.encode(["b", "a"]) == [first[1], first[0]]
        assert inner.asked == ["a", "b"]

    def test_least_recently_used_is_forgotten(self) -> None:
        inner = Counting()
        cached = CachedTextEncoder(inner, "x", limit_bytes=64)
        cached.encode(["a", "b", "a", "c", "a", "b"])
        assert inner.asked == ["a", "b", "c", "b"]
        assert cached.size_bytes == 64

    def test_larger_than_the_limit_is_still_answered(self) -> None:
        cached = CachedTextEncoder(Counting(), "x", limit_bytes=0)
        assert len(cached.encode(["a"])) == 1
        assert cached.size_bytes == 0

    def test_forget(self) -> None:
        inner = Counting()
        cached = CachedTextEncoder(inner, "x")
        cached.encode(["a"])
        cached.forget()
        cached.encode(["a"])
        assert inner.asked == ["a", "a"]

    def test_negative_limit(self) -> None:
        with pytest.raises(InvalidInput, match="limit_bytes"):
            CachedTextEncoder(Counting(), "x", limit_bytes=-1)
