"""The memory plan, as numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelbill.engine.config import MMDiTConfig
from keelbill.engine.memory import (
    GIB,
    OFFICIAL,
    SD3_MEDIUM,
    SD35_LARGE,
    SD35_LARGE_TURBO,
    SD35_MEDIUM,
    Measure,
    MemoryPlan,
    ModelParts,
    Precision,
    parts_of,
    plan,
    weight_bytes,
)

EMBEDDED = parts_of(
    "embedded",
    MMDiTConfig(depth=6, width=384, pos_side=64, context_dim=384, pooled_dim=384),
    encoders={"minilm": 22_700_000},
    autoencoder=2_400_000,
    text_tokens=56,
    native=128,
    steps=28,
    guided=True,
)


def on_card(parts: ModelParts, gib: float, host_gib: float = 32, side: int = 0) -> MemoryPlan:
    return plan(
        parts,
        device_bytes=int(gib * GIB),
        host_bytes=int(host_gib * GIB),
        precision=Precision.BFLOAT16,
        width=side,
        height=side,
    )


class TestDoesNotFit:
    def test_large_on_eight_gib_says_so(self) -> None:
        found = on_card(SD35_LARGE, 8)
        assert not found.fits
        assert found.sentence().startswith("does not fit: about ")

    def test_a_small_host_leaves_t5_out(self) -> None:
        found = on_card(SD3_MEDIUM, 8, host_gib=8)
        assert found.fits
        assert Measure.WITHOUT_T5 in found.measures
        assert found.quality_cost == "long prompts and lettering are followed less well"

    def test_a_small_host_and_a_small_card(self) -> None:
        assert not on_card(SD35_LARGE, 12, host_gib=4).fits

    def test_a_processor_with_too_little_memory(self) -> None:
        found = plan(
            SD35_LARGE, device_bytes=8 * GIB, host_bytes=8 * GIB, precision=Precision.FLOAT32, shared_memory=True
        )
        assert not found.fits


class TestFits:
    def test_sd3_medium_at_1024_on_eight_gib_without_loss(self) -> None:
        found = on_card(SD3_MEDIUM, 8, side=1024)
        assert found.fits
        assert found.quality_cost == ""
        assert found.peaks.highest < 7 * GIB
        assert Measure.T5_ON_HOST in found.measures

    def test_large_at_1024_on_24_gib_without_loss(self) -> None:
        found = on_card(SD35_LARGE, 24, side=1024)
        assert found.fits
        assert found.quality_cost == ""
        assert found.measures == (Measure.ONE_NETWORK_AT_A_TIME,)

    @pytest.mark.parametrize("parts", OFFICIAL)
    def test_everything_stays_on_a_large_card(self, parts: ModelParts) -> None:
        found = on_card(parts, 80)
        assert found.fits
        assert found.measures == ()
        assert found.peaks.highest > weight_bytes(parts, Precision.BFLOAT16)

    def test_the_embedded_model_on_any_processor(self) -> None:
        found = plan(EMBEDDED, device_bytes=GIB, host_bytes=GIB, precision=Precision.FLOAT32, shared_memory=True)
        assert found.fits
        assert found.measures == ()
        assert found.peaks.highest < 0.4 * GIB


class TestNumbers:
    def test_parameter_counts_are_the_published_ones(self) -> None:
        billions = [round(parts.transformer.parameters() / 1e9, 3) for parts in OFFICIAL]
        assert billions == [2.028, 2.243, 8.057, 8.057]

    def test_a_turbo_picture_costs_a_fourteenth(self) -> None:
        assert SD35_LARGE.flops(1024, 1024) / SD35_LARGE_TURBO.flops(1024, 1024) == pytest.approx(14)

    def test_float32_needs_twice_the_weights(self) -> None:
        ratio = weight_bytes(SD35_MEDIUM, Precision.FLOAT32) / weight_bytes(SD35_MEDIUM, Precision.BFLOAT16)
        assert 1.9 < ratio < 2  # the position table is float32 in both

    @given(
        parts=st.sampled_from([*OFFICIAL, EMBEDDED]),
        gib=st.floats(0.5, 100),
        more=st.floats(0, 50),
        side=st.integers(4, 128).map(lambda n: 16 * n),
    )
    def test_more_memory_never_costs_more_measures(self, parts: ModelParts, gib: float, more: float, side: int) -> None:
        small, large = on_card(parts, gib, side=side), on_card(parts, gib + more, side=side)
        assert large.fits or not small.fits
        if small.fits:
            assert large.peaks.highest >= small.peaks.highest or set(large.measures) <= set(small.measures)
            assert small.peaks.highest <= gib * GIB

    @given(side=st.integers(4, 127).map(lambda n: 16 * n))
    def test_larger_pictures_never_need_less(self, side: int) -> None:
        small, large = on_card(SD3_MEDIUM, 80, side=side), on_card(SD3_MEDIUM, 80, side=side + 16)
        assert large.peaks.highest >= small.peaks.highest
