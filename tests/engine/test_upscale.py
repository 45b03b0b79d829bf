"""The x4 upscaler: shapes, tiles, weights and what the shipped one is worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from keelbill.core.errors import BadWeights, InvalidInput
from keelbill.engine.upscale import Upscaler, UpscalerConfig, build_upscaler, load_upscaler, plain


def random_upscaler(width: int = 8, blocks: int = 2) -> Upscaler:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = Upscaler(UpscalerConfig(width, blocks))
        torch.nn.init.normal_(model.conv_out.weight, std=0.05)
    return model.eval()


def disc(side: int) -> torch.Tensor:
    """A sharp red disc with a blue bar on white, drawn large and averaged, in [0, 1] with shape (3, side, side)."""
    picture = Image.new("RGB", (4 * side, 4 * side), "white")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((0.6 * side, 0.6 * side, 3.4 * side, 3.4 * side), fill=(200, 30, 40))
    pen.line((0.8 * side, 3.2 * side, 3.2 * side, 0.8 * side), fill=(20, 40, 200), width=side // 3)
    small = picture.resize((side, side), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1).float() / 255


def test_untrained_is_bicubic() -> None:
    pixels = torch.rand(1, 3, 9, 7)
    assert torch.equal(Upscaler()(pixels), plain(pixels))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 31), (40, 24)])
def test_four_times_the_sides(height: int, width: int) -> None:
    out = random_upscaler().enlarge(torch.rand(3, height, width))
    assert out.shape == (3, 4 * height, 4 * width)
    assert 0 <= float(out.min()) <= float(out.max()) <= 1


def test_tiles_leave_no_seams() -> None:
    model, pixels = random_upscaler(), torch.rand(3, 50, 70)
    whole, tiled = model.enlarge(pixels, tile=128), model.enlarge(pixels, tile=16)
    assert float((whole - tiled).abs().max()) < 1e-5


def test_same_picture_same_bits() -> None:
    model, pixels = random_upscaler(), torch.rand(3, 33, 21)
    assert torch.equal(model.enlarge(pixels), model.enlarge(pixels.clone()))


def test_wrong_shape_is_named() -> None:
    with pytest.raises(InvalidInput, match="pixels"):
        random_upscaler().enlarge(torch.rand(1, 3, 8, 8))


def test_sizes_come_from_the_tensors() -> None:
    model = random_upscaler(12, 3)
    again = build_upscaler(model.state_dict())
    assert again.config == UpscalerConfig(12, 3)
    pixels = torch.rand(3, 8, 8)
    assert torch.equal(model.enlarge(pixels), again.enlarge(pixels))


def test_other_weights_are_refused() -> None:
    with pytest.raises(BadWeights, match="not an upscaler"):
        build_upscaler({"conv_in.weight": torch.zeros(8, 3, 3, 3)})
    tensors = random_upscaler().state_dict()
    tensors["extra"] = torch.zeros(1)
    with pytest.raises(BadWeights, match="extra"):
        build_upscaler(tensors)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="no upscaler"):
        load_upscaler(tmp_path)
    save_file(random_upscaler().state_dict(), tmp_path / "upscaler.safetensors")
    assert load_upscaler(tmp_path).config.width == 8


def test_the_shipped_one_beats_bicubic_on_edges() -> None:
    sharp = disc(192)
    small = torch.nn.functional.interpolate(sharp[None], (48, 48), mode="area")
    better = (load_upscaler().enlarge(small[0]) - sharp).square().mean()
    worse = (plain(small)[0].clamp(0, 1) - sharp).square().mean()
    assert float(better) < 0.7 * float(worse)
