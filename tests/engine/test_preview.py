"""Quick colours: the fitted linear map and the tiny decoder."""

from __future__ import annotations

import pytest
import torch

from keelbill.core.errors import InvalidInput
from keelbill.engine.preview import LinearPreview, TinyDecoder


class TestLinearPreview:
    def test_fit_finds_the_map_that_made_the_pictures(self) -> None:
        generator = torch.Generator().manual_seed(1)
        latents = torch.randn(2, 16, 8, 8, generator=generator)
        truth = LinearPreview(torch.randn(16, 3, generator=generator) * 0.02, torch.full((3,), 0.5))
        pixels = truth(latents).repeat_interleave(8, -1).repeat_interleave(8, -2)
        found = LinearPreview.fit(latents, pixels)
        torch.testing.assert_close(found.matrix, truth.matrix, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.bias, truth.bias, atol=1e-5, rtol=0)

    def test_fit_with_a_constant_channel(self) -> None:
        latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        latents[:, 2] = 0
        assert bool(torch.isfinite(LinearPreview.fit(latents, torch.rand(1, 3, 64, 64)).matrix).all())

    def test_colours_stay_in_range(self) -> None:
        rgb = LinearPreview(torch.ones(4, 3) * 99, torch.zeros(3))(torch.randn(4, 5, 6))
        assert rgb.shape == (3, 5, 6)
        assert float(rgb.min()) >= 0
        assert float(rgb.max()) <= 1

    def test_too_few_places(self) -> None:
        with pytest.raises(InvalidInput, match="places"):
            LinearPreview.fit(torch.zeros(1, 16, 2, 2), torch.zeros(1, 3, 16, 16))

    def test_wrong_shape(self) -> None:
        with pytest.raises(InvalidInput, match=r"\(C, 3\)"):
            LinearPreview(torch.zeros(3, 16), torch.zeros(3))


class TestTinyDecoder:
    @torch.no_grad()
    def test_size_and_range(self) -> None:
        pixels = TinyDecoder()(torch.randn(1, 16, 2, 3, generator=torch.Generator().manual_seed(0)))
        assert pixels.shape == (1, 3, 16, 24)
        assert float(pixels.min()) >= 0
        assert float(pixels.max()) <= 1

    def test_number_of_parameters_is_the_published_one(self) -> None:
        assert sum(p.numel() for p in TinyDecoder().parameters()) == 1_229_443
