"""The small BERT against an independent implementation, 8-bit rows, pooling and the character branch."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import Tensor

from keelbill.core.errors import BadWeights
from keelbill.engine.minilm import (
    CharacterEncoder,
    MiniLM,
    MiniLMConfig,
    dequantise_rows,
    pool,
    quantise_rows,
)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def small_bert(width: int = 64, depth: int = 2) -> MiniLM:
    config = MiniLMConfig(vocabulary=50, positions=32, width=width, depth=depth, mlp=96)
    return MiniLM(config).eval().requires_grad_(False)


def test_parity_with_transformers_bert() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=96,
        max_position_embeddings=32,
        hidden_act="gelu",
    )
    reference = transformers.BertModel(config).eval()
    ours = MiniLM.from_tensors(reference.state_dict())
    ids = torch.randint(0, 50, (3, 12))
    mask = torch.arange(12) < torch.tensor([[12], [5], [2]])

    with torch.no_grad():
        expected = reference(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        found = ours(ids, mask)

    torch.testing.assert_close(found[mask], expected[mask], rtol=0, atol=1e-5)


def test_sizes_are_read_off_the_tensors() -> None:
    assert MiniLMConfig.from_tensors(small_bert(depth=3).state_dict()).depth == 3


def test_another_networks_tensors_are_refused() -> None:
    with pytest.raises(BadWeights, match="word_embeddings"):
        MiniLM.from_tensors({"x_embedder.proj.weight": torch.zeros(2, 2)})


def test_missing_tensor_is_named() -> None:
    tensors = small_bert().state_dict()
    del tensors["encoder.layer.1.output.dense.bias"]
    with pytest.raises(BadWeights, match=r"layer\.1\.output\.dense\.bias"):
        MiniLM.from_tensors(tensors)


def test_wrong_shape_is_named() -> None:
    tensors: dict[str, Tensor] = dict(small_bert().state_dict())
    tensors["encoder.layer.0.output.dense.bias"] = torch.zeros(3)
    with pytest.raises(BadWeights, match=r"LayerNorm|dense\.bias"):
        MiniLM.from_tensors(tensors)


def test_eight_bit_rows_keep_the_direction_of_every_token() -> None:
    plain = small_bert()
    packed = MiniLM.from_tensors(quantise_rows(plain.state_dict()))
    ids, mask = torch.randint(0, 50, (4, 16)), torch.ones(4, 16, dtype=torch.bool)

    cosine = torch.cosine_similarity(plain(ids, mask), packed(ids, mask), dim=-1)

    assert float(cosine.min()) > 0.999


def test_eight_bit_rows_round_to_half_a_step() -> None:
    rows = torch.randn(7, 33) * torch.logspace(-6, 2, 7)[:, None]
    packed = quantise_rows({"w": rows})
    assert packed["w"].dtype is torch.int8
    error = (dequantise_rows(packed)["w"] - rows).abs()
    steps = packed["w.row_scale"].float()[:, None]
    assert bool((error <= steps * 0.57).all())  # half a step, and what rounding the scale to fp16 clips at the ends


def test_a_row_of_zeros_stays_zero() -> None:
    restored = dequantise_rows(quantise_rows({"w": torch.zeros(2, 4)}))
    assert torch.equal(restored["w"], torch.zeros(2, 4))


def test_int8_without_scale_is_refused() -> None:
    with pytest.raises(BadWeights, match="row_scale"):
        dequantise_rows({"w": torch.zeros(2, 2, dtype=torch.int8)})


def test_pooled_vector_has_a_fixed_length_and_ignores_unused_places() -> None:
    hidden = torch.randn(1, 5, 384)
    mask = torch.tensor([[True, True, True, False, False]])
    pooled = pool(hidden, mask)
    assert float(pooled.norm()) == pytest.approx(sqrt(384) / 2)
    hidden[:, 3:] = 99.0
    assert torch.equal(pool(hidden, mask), pooled)


def test_pooled_vector_of_nothing_is_zero() -> None:
    assert torch.equal(pool(torch.randn(1, 4, 8), torch.zeros(1, 4, dtype=torch.bool)), torch.zeros(1, 8))


class TestCharacterEncoder:
    def test_same_seed_gives_the_same_codes(self) -> None:
        ids = torch.tensor([[2, 0, 0], [3, 1, 0]])
        assert torch.equal(CharacterEncoder.seeded(16, 3)(ids), CharacterEncoder.seeded(16, 3)(ids))

    def test_character_place_and_word_all_count(self) -> None:
        a, b, c, d = CharacterEncoder.seeded(16)(torch.tensor([[2, 0, 0], [3, 0, 0], [2, 1, 0], [2, 0, 1]]))
        assert not any(torch.equal(a, other) for other in (b, c, d))

    def test_round_trip_through_tensors(self) -> None:
        encoder = CharacterEncoder.seeded(16)
        again = CharacterEncoder.from_tensors(encoder.state_dict())
        ids = torch.randint(0, 20, (7, 3))
        assert torch.equal(encoder(ids), again(ids))

    def test_missing_table_is_named(self) -> None:
        with pytest.raises(BadWeights, match="character"):
            CharacterEncoder.from_tensors({"word.weight": torch.zeros(8, 8)})
