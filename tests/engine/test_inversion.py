"""Words that text encoders were taught after their training."""

from __future__ import annotations

import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from keelbill.core.errors import BadWeights
from keelbill.engine.clip import END_TOKEN, CLIPConfig, CLIPText
from keelbill.engine.inversion import MAX_ROWS, TaughtTokens, embedded, read_word
from keelbill.engine.naming import Part
from keelbill.engine.sd3text import CLIPPart, SD3TextEncoder, T5Part
from keelbill.engine.t5 import T5Config, T5Encoder
from keelbill.engine.tokenize import FileTokenizer, clip_chunks, clip_segmenter, mentioned, parted, weighted_ids

WIDTHS = {Part.CLIP_L: 64, Part.CLIP_G: 128, Part.T5: 256}
LETTERS = ["<pad>", "</s>", "<unk>", "\u2581", "\u2581a", "\u2581red", "\u2581car", "\u2581cat"]


def unigram() -> FileTokenizer:
    tokenizer = Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(LETTERS)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return FileTokenizer(json.dumps(json.loads(tokenizer.to_str())))


@pytest.fixture(scope="module")
def encoder() -> SD3TextEncoder:
    torch.manual_seed(0)
    clip_l = CLIPText(CLIPConfig(width=64, depth=3, mlp=96))
    clip_g = CLIPText(CLIPConfig(width=128, depth=3, mlp=96, projection=128, quick_gelu=False))
    t5 = T5Encoder(T5Config(width=256, depth=2, heads=4, head_dim=16, mlp=64, vocabulary=len(LETTERS)))
    for network in (clip_l, clip_g, t5):
        network.eval().requires_grad_(False)
    return SD3TextEncoder(
        CLIPPart(clip_l, END_TOKEN), CLIPPart(clip_g, 0), T5Part(t5, unigram()), context_dim=256, pooled_dim=192
    )


@pytest.fixture(scope="module")
def copied(encoder: SD3TextEncoder) -> dict[Part, Tensor]:
    """A taught word that is the same to every encoder as "red car"."""
    assert encoder.clip_l is not None
    assert encoder.clip_g is not None
    assert encoder.t5 is not None
    pieces = clip_segmenter()("red car")
    tables = [each.network.text_model.embeddings.token_embedding.weight for each in (encoder.clip_l, encoder.clip_g)]
    return {
        Part.CLIP_L: tables[0][pieces],
        Part.CLIP_G: tables[1][pieces],
        Part.T5: encoder.t5.network.shared.weight[encoder.t5.segment("red car")],
    }


def encode(encoder: SD3TextEncoder, prompt: str, **words: dict[Part, Tensor]) -> Tensor:
    return encoder.encode_parts(prompt, prompt, prompt, words).context


class TestMentions:
    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("a photo of embedding:my_cat", ["my_cat"]),
            ("embedding:a, embedding:b;embedding:c", ["a", "b", "c"]),
            ("(embedding:toys/cat-v2.1)", ["toys/cat-v2.1"]),
            ("It is embedding:cat.", ["cat"]),
            ("embedding:cat embedding:cat", ["cat", "cat"]),
            ("an embedding: a drawing", []),
            ("myembedding:cat", []),
            ("embedding:", []),
            ("embedding:...", []),
        ],
    )
    def test_names(self, text: str, names: list[str]) -> None:
        assert mentioned(text) == names

    def test_unknown_names_stay_text(self) -> None:
        pieces = list(parted("a embedding:x of embedding:y.", {"y": range(10, 12)}))
        assert pieces == ["a embedding:x of", range(10, 12), "."]

    def test_weight_of_a_taught_word(self) -> None:
        ids, weights = weighted_ids(unigram(), "a (embedding:x:1.5) car", {"x": range(50, 52)})
        assert [(i, w) for i, w in zip(ids, weights, strict=True) if i >= 50] == [(50, 1.5), (51, 1.5)]

    def test_word_that_does_not_fit_goes_into_the_next_chunk(self) -> None:
        chunks = clip_chunks("cat " * 73 + "embedding:x", taught={"x": range(60000, 60003)})
        assert [len(chunk) for chunk in chunks] == [73, 3]

    def test_long_word_is_cut(self) -> None:
        chunks = clip_chunks("cat " * 73 + "embedding:x", taught={"x": range(60000, 60010)})
        assert [len(chunk) for chunk in chunks] == [75, 8]


class TestReading:
    def test_file_of_all_three(self) -> None:
        word = read_word(
            {"clip_l": torch.ones(2, 64), "clip_g": torch.ones(128), "t5xxl": torch.ones(3, 256)}, WIDTHS, name="x"
        )
        assert {part: tuple(rows.shape) for part, rows in word.items()} == {
            Part.CLIP_L: (2, 64), Part.CLIP_G: (1, 128), Part.T5: (3, 256),
        }  # fmt: skip

    @pytest.mark.parametrize(("width", "part"), [(64, Part.CLIP_L), (128, Part.CLIP_G), (256, Part.T5)])
    def test_single_tensor_goes_by_its_width(self, width: int, part: Part) -> None:
        assert list(read_word({"emb_params": torch.ones(2, width, dtype=torch.float16)}, WIDTHS, name="x")) == [part]

    def test_what_other_encoders_were_taught_is_left_out(self) -> None:
        word = read_word({"clip_l": torch.ones(1, 64), "clip_g": torch.ones(1, 128)}, {Part.CLIP_L: 64}, name="x")
        assert list(word) == [Part.CLIP_L]

    def test_made_for_another_model(self) -> None:
        with pytest.raises(BadWeights, match="embedding x was made for another model"):
            read_word({"emb_params": torch.ones(2, 100)}, WIDTHS, name="x")

    @pytest.mark.parametrize(
        ("rows", "what"),
        [
            (torch.ones(2, 63), "1 to 512 rows of 64"),
            (torch.ones(0, 64), "1 to 512 rows of 64"),
            (torch.ones(MAX_ROWS + 1, 64), "1 to 512 rows of 64"),
            (torch.ones(1, 1, 64), "1 to 512 rows of 64"),
            (torch.full((1, 64), float("nan")), "not numbers"),
            (torch.ones(1, 64, dtype=torch.int32), "not numbers"),
        ],
    )
    def test_damaged(self, rows: Tensor, what: str) -> None:
        with pytest.raises(BadWeights, match=what):
            read_word({"clip_l": rows}, WIDTHS, name="x")


class TestEncoding:
    def test_taught_copy_of_a_word_reads_as_that_word(
        self, encoder: SD3TextEncoder, copied: dict[Part, Tensor]
    ) -> None:
        plain = encoder.encode(["a red car"])[0]
        taught = encoder.encode_parts("a embedding:x", "a embedding:x", "a embedding:x", {"x": copied})
        assert torch.equal(taught.context, plain.context)
        assert torch.equal(taught.pooled, plain.pooled)

    def test_weights_count_for_taught_words(self, encoder: SD3TextEncoder, copied: dict[Part, Tensor]) -> None:
        weighted = encode(encoder, "a (embedding:x:1.4)", x=copied)
        assert torch.equal(weighted, encode(encoder, "a (red car:1.4)"))
        assert not torch.equal(weighted, encode(encoder, "a embedding:x", x=copied))

    def test_encoder_that_was_not_taught_reads_nothing(
        self, encoder: SD3TextEncoder, copied: dict[Part, Tensor]
    ) -> None:
        only_l = {Part.CLIP_L: copied[Part.CLIP_L]}
        context = encode(encoder, "a embedding:x", x=only_l)
        assert torch.equal(context[:77, :64], encode(encoder, "a red car")[:77, :64])
        assert torch.equal(context[:77, 64:192], encode(encoder, "a")[:77, 64:192])

    def test_two_words(self, encoder: SD3TextEncoder, copied: dict[Part, Tensor]) -> None:
        other = {part: rows.flip(0) for part, rows in copied.items()}
        both = encode(encoder, "embedding:x embedding:y", x=copied, y=other)
        assert torch.equal(both, encode(encoder, "red car car red"))

    def test_numbers_beyond_the_vocabulary(self) -> None:
        table, rows = torch.arange(6.0).view(3, 2), torch.tensor([[10.0, 11.0], [12.0, 13.0]])
        found = embedded(torch.tensor([[0, 4, 2, 3]]), table, rows)
        assert found.tolist() == [[[0, 1], [12, 13], [4, 5], [10, 11]]]

    def test_numbers_of_words(self) -> None:
        words = {"x": {Part.CLIP_L: torch.ones(2, 4)}, "y": {Part.CLIP_G: torch.ones(1, 4)}, "z": {}}
        taught = TaughtTokens(words, Part.CLIP_L, 100)
        assert taught.ids == {"x": range(100, 102), "y": range(102, 102), "z": range(102, 102)}
        assert taught.rows is not None
        assert taught.rows.shape == (2, 4)
        assert TaughtTokens({}, Part.CLIP_L, 100).rows is None
