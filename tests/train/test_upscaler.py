"""Training the upscaler: a short run beats the plain enlargement, resumes, and exports what the engine loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from keelbill.engine.autoencoder import SmallAutoencoder, SmallAutoencoderConfig
from keelbill.engine.upscale import UpscalerConfig, load_upscaler
from keelbill.train.autoencoder import Crops
from keelbill.train.upscaler import UpscalerRecipe, export_upscaler, gain_db, shrink, train_upscaler


def crops() -> Crops:
    """Hard-edged squares of chance, as objects on simple grounds."""
    rng = np.random.default_rng(0)
    objects = np.zeros((6, 64, 64, 4), np.uint8)
    for item in objects:
        item[8:56, 12:50, :3] = rng.integers(0, 256, 3)
        item[8:56, 12:50, 3] = 255
    return Crops(np.zeros((0, 64, 64, 4), np.uint8), objects, 64)


def test_shrinking_keeps_the_mean() -> None:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(2, 3, 32, 32)
    for _ in range(6):
        small = shrink(pixels, generator)
        assert small.shape == (2, 3, 8, 8)
        assert abs(float(small.mean() - pixels.mean())) < 0.02


def test_a_short_training_learns_edges(tmp_path: Path) -> None:
    autoencoder = SmallAutoencoder(SmallAutoencoderConfig(widths=(8, 8, 8))).eval()
    recipe = UpscalerRecipe(UpscalerConfig(16, 1), batch=8, peak=3e-3, warmup=5, decoded_share=0.0, average=0.9)
    lines: list[str] = []
    model = train_upscaler(crops(), autoencoder, tmp_path, budget_s=8, recipe=recipe, log=lines.append)
    generator = torch.Generator().manual_seed(2)
    pictures = [crops()(8, generator).float() / 255 for _ in range(3)]
    assert gain_db(model, pictures, generator) > 0.0

    train_upscaler(crops(), autoencoder, tmp_path, budget_s=8, recipe=recipe, log=lines.append)
    assert any("resumed" in line for line in lines)

    export_upscaler(tmp_path, tmp_path / "out")
    loaded, pixels = load_upscaler(tmp_path / "out"), pictures[0][0, :, :16, :16]
    assert float((loaded.enlarge(pixels) - model.enlarge(pixels)).abs().max()) < 5e-3
