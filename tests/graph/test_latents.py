"""Latents: how large, of which batch, under which mask, and back to pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from keelbill.core.errors import InvalidInput
from keelbill.engine.vae import SD3VAE, VAEConfig
from keelbill.graph.tensors import latents
from keelbill.graph.tensors.handles import Coder
from support.graphbench import Shelf, Workbench, embedded, evaluate, node
from support.models import model, random_weights

MODEL = replace(model(), native_side=1024)
LARGE, SMALL = Coder(MODEL.autoencoder), Coder(embedded().autoencoder, 128)


@pytest.fixture
def bench() -> Workbench:
    return Workbench(Shelf({"m": MODEL}))


def picture(count: int, height: int, width: int, channels: int = 3) -> Tensor:
    return torch.rand(count, height, width, channels, generator=torch.Generator().manual_seed(1))


def numbers(*shape: int) -> Tensor:
    return torch.arange(float(torch.tensor(shape).prod())).reshape(shape)


def run(bench: Workbench, kind: str, **inputs: Any) -> Any:
    """Run one node whose tensors are literals."""
    values = {name: {"__value__": v} if isinstance(v, Tensor | dict) else v for name, v in inputs.items()}
    graph = {"1": node("CheckpointLoaderSimple", ckpt_name="m"), "2": node(kind, **values)}
    return evaluate(graph, "2", bench)


class TestEmpty:
    def test_sizes_and_channels(self, bench: Workbench) -> None:
        assert run(bench, "EmptySD3LatentImage", width=96, height=64, batch_size=2)["samples"].shape == (2, 16, 8, 12)
        assert run(bench, "EmptyLatentImage", width=96, height=64, batch_size=1)["samples"].shape == (1, 4, 8, 12)


class TestGrid:
    @pytest.mark.parametrize(
        ("native", "size", "expected"),
        [
            (1024, (1024, 1024), (128, 128)),
            (1024, (64, 1600), (8, 200)),
            (128, (512, 512), (16, 16)),
            (128, (1024, 1024), (16, 16)),
            (128, (96, 128), (12, 16)),
            (128, (1216, 832), (20, 14)),
            (128, (16, 16), (16, 16)),
            (128, (64, 4096), (2, 128)),
        ],
    )
    def test_small_models_keep_their_area(self, native: int, size: tuple[int, int], expected: tuple[int, int]) -> None:
        assert latents.grid(native, *size) == expected


class TestPixels:
    def test_centre_is_kept_and_transparency_dropped(self, bench: Workbench) -> None:
        pixels = picture(2, 69, 83, 4)
        latent = run(bench, "VAEEncode", pixels=pixels, vae=["1", 2])
        assert latent["samples"].shape == (2, 16, 8, 10)
        inside = MODEL.autoencoder.encode(pixels[:, 2:66, 1:81, :3].movedim(-1, 1))
        assert torch.allclose(latent["samples"], inside, atol=1e-5)

    def test_there_and_back(self, bench: Workbench) -> None:
        latent = run(bench, "VAEEncode", pixels=picture(2, 64, 80), vae=["1", 2])
        pixels = run(bench, "VAEDecode", samples=latent, vae=["1", 2])
        assert pixels.shape == (2, 64, 80, 3)
        assert torch.equal(pixels[0].movedim(-1, 0), MODEL.autoencoder.decode(latent["samples"][:1])[0])

    def test_picture_below_one_place(self) -> None:
        with pytest.raises(InvalidInput, match="at least 8 pixels"):
            latents.encode(LARGE, picture(1, 7, 40))

    def test_small_model_remembers_the_picture(self) -> None:
        latent = latents.encode(SMALL, picture(1, 200, 304))
        assert latent["pixels"] == (200, 304)
        assert latent["samples"].shape[-2:] == latents.grid(128, 200, 304)
        decoded = latents.decode(SMALL, latent, Shelf())
        assert decoded.shape == (1, 200, 304, 3)

    def test_tiles_are_nearly_the_whole(self) -> None:
        network = SD3VAE(VAEConfig(widths=(8, 8, 8, 8), groups=4)).eval().requires_grad_(False)
        random_weights(network)
        coder = Coder(network)
        pixels = picture(1, 128, 192)
        whole, tiled = latents.encode(coder, pixels), latents.encode(coder, pixels, tile=64, overlap=16)
        assert tiled["samples"].shape == whole["samples"].shape
        back = latents.decode(coder, whole, Shelf(), tile=64, overlap=64)
        assert back.shape == (1, 128, 192, 3)
        assert (back - latents.decode(coder, whole, Shelf())).abs().mean() < 0.25

    def test_tiles_of_an_autoencoder_that_needs_none(self, bench: Workbench) -> None:
        latent = run(
            bench, "VAEEncodeTiled",
            pixels=picture(1, 64, 64), vae=["1", 2], tile_size=64, overlap=32, temporal_size=64, temporal_overlap=8,
        )  # fmt: skip
        assert torch.equal(
            latent["samples"], run(bench, "VAEEncode", pixels=picture(1, 64, 64), vae=["1", 2])["samples"]
        )
        pixels = run(
            bench, "VAEDecodeTiled",
            samples=latent, vae=["1", 2], tile_size=64, overlap=32, temporal_size=64, temporal_overlap=8,
        )  # fmt: skip
        assert pixels.shape == (1, 64, 64, 3)

    def test_enlarging_in_smaller_tiles_when_memory_is_short(self) -> None:
        tried: list[int] = []

        class Short:
            def enlarge(self, pixels: Tensor, *, tile: int, step: Callable[[int, int], None]) -> Tensor:
                tried.append(tile)
                if tile > 128:
                    raise torch.OutOfMemoryError
                step(0, 1)
                return pixels.repeat_interleave(4, 1).repeat_interleave(4, 2)

        told: list[tuple[int, int]] = []
        large = latents.enlarged_by(Short(), picture(2, 8, 6, 4), lambda done, total: told.append((done, total)))  # type: ignore[arg-type]
        assert large.shape == (2, 32, 24, 3)
        assert tried == [512, 256, 128, 512, 256, 128]
        assert told == [(0, 2), (1, 2)]


class TestInpaint:
    MASK = torch.zeros(1, 64, 64)
    MASK[:, 24:40, 24:40] = 1

    def test_masked_part_is_grey_and_mask_grows(self, bench: Workbench) -> None:
        pixels = picture(1, 64, 64)
        latent = run(bench, "VAEEncodeForInpaint", pixels=pixels, vae=["1", 2], mask=self.MASK, grow_mask_by=6)
        grey = pixels * (1 - self.MASK[..., None]) + 0.5 * self.MASK[..., None]
        expected = latents.encode(LARGE, grey)["samples"]
        assert torch.allclose(latent["samples"], expected, atol=1e-5)
        grown = latent["noise_mask"][0, 0]
        assert grown[21:43, 21:43].all()
        assert grown.sum() == 22 * 22

    def test_mask_that_does_not_grow(self, bench: Workbench) -> None:
        latent = run(
            bench, "VAEEncodeForInpaint", pixels=picture(1, 64, 64), vae=["1", 2], mask=self.MASK, grow_mask_by=0
        )
        assert torch.equal(latent["noise_mask"][0, 0], self.MASK[0])

    def test_mask_of_another_size(self, bench: Workbench) -> None:
        latent = run(
            bench, "VAEEncodeForInpaint",
            pixels=picture(2, 128, 128), vae=["1", 2], mask=self.MASK, grow_mask_by=0,
        )  # fmt: skip
        assert latent["noise_mask"].shape == (1, 1, 128, 128)

    def test_conditioning_for_inpaint_models(self, bench: Workbench) -> None:
        prompt = [[torch.zeros(1, 2, 64), {"pooled_output": torch.zeros(1, 32)}]]
        graph = {
            "1": node("CheckpointLoaderSimple", ckpt_name="m"),
            "2": node(
                "InpaintModelConditioning",
                positive={"__value__": prompt}, negative={"__value__": prompt}, vae=["1", 2],
                pixels={"__value__": picture(1, 64, 64)}, mask={"__value__": self.MASK}, noise_mask=True,
            ),
        }  # fmt: skip
        latent = evaluate(graph, "2", bench, slot=2)
        assert torch.allclose(latent["samples"], latents.encode(LARGE, picture(1, 64, 64))["samples"])
        assert latent["noise_mask"].sum() == self.MASK.sum()
        told = evaluate(graph, "2", bench, slot=1)[0][1]
        assert not torch.allclose(told["concat_latent_image"], latent["samples"])
        graph["2"]["inputs"]["noise_mask"] = False
        assert "noise_mask" not in evaluate(graph, "2", bench, slot=2)

    @pytest.mark.parametrize("shape", [(64, 64), (1, 64, 64), (1, 1, 64, 64)])
    def test_masks_of_any_form(self, bench: Workbench, shape: tuple[int, ...]) -> None:
        latent = run(bench, "SetLatentNoiseMask", samples={"samples": numbers(1, 16, 8, 8)}, mask=torch.ones(shape))
        assert latent["noise_mask"].shape == (1, 1, 64, 64)
        mask = latents.mask_on_grid(latent)
        assert mask is not None
        assert torch.equal(mask, torch.ones(1, 1, 8, 8))


class TestScaling:
    @pytest.mark.parametrize("method", ["nearest-exact", "bilinear", "area", "bicubic", "bislerp"])
    def test_size_in_pixels(self, bench: Workbench, method: str) -> None:
        latent = run(
            bench, "LatentUpscale",
            samples={"samples": torch.ones(2, 16, 8, 8)}, upscale_method=method, width=128, height=96, crop="disabled",
        )  # fmt: skip
        assert latent["samples"].shape == (2, 16, 12, 16)
        assert torch.allclose(latent["samples"], torch.ones(1), atol=1e-5)

    @pytest.mark.parametrize(
        ("width", "height", "expected"),
        [(0, 0, (8, 12)), (192, 0, (16, 24)), (0, 32, (8, 8)), (16, 16, (8, 8))],
    )
    def test_nothing_and_the_least_size(
        self, bench: Workbench, width: int, height: int, expected: tuple[int, int]
    ) -> None:
        latent = run(
            bench, "LatentUpscale",
            samples={"samples": torch.ones(1, 16, 8, 12)}, upscale_method="area", width=width, height=height,
            crop="disabled",
        )  # fmt: skip
        assert latent["samples"].shape[-2:] == expected

    def test_centre_crop(self, bench: Workbench) -> None:
        columns = torch.arange(16.0).expand(1, 16, 8, 16)
        latent = run(
            bench, "LatentUpscale",
            samples={"samples": columns}, upscale_method="nearest-exact", width=64, height=64, crop="center",
        )  # fmt: skip
        assert latent["samples"][0, 0, 0].tolist() == [4, 5, 6, 7, 8, 9, 10, 11]

    def test_factor(self, bench: Workbench) -> None:
        latent = run(
            bench, "LatentUpscaleBy",
            samples={"samples": torch.ones(1, 16, 8, 12)}, upscale_method="bicubic", scale_by=1.5,
        )  # fmt: skip
        assert latent["samples"].shape[-2:] == (12, 18)

    def test_small_model_keeps_its_places(self) -> None:
        small: latents.Latent = {"samples": numbers(1, 16, 16, 16), "pixels": (512, 512)}
        larger = latents.upscaled_by(small, "bislerp", 2.0)
        assert larger["pixels"] == (1024, 1024)
        assert torch.equal(larger["samples"], small["samples"])
        wider = latents.upscaled(small, "bilinear", 1344, 768, crop=False)
        assert (wider["pixels"], wider["samples"].shape[-2:]) == ((768, 1344), (12, 22))

    def test_bislerp_keeps_lengths_where_lines_would_shrink_them(self) -> None:
        across = torch.zeros(1, 2, 1, 2)
        across[0, 0, 0, 0] = across[0, 1, 0, 1] = 1.0
        wide = latents.interpolated(across, "bislerp", 1, 8)
        assert torch.allclose(wide.norm(dim=1), torch.ones(1), atol=1e-5)
        straight = latents.interpolated(across, "bilinear", 1, 8)
        assert straight.norm(dim=1).min() < 0.8


class TestBatches:
    def test_repeat(self, bench: Workbench) -> None:
        latent = run(
            bench, "RepeatLatentBatch",
            samples={"samples": numbers(2, 1, 2, 2), "noise_mask": torch.ones(2, 1, 4, 4)}, amount=3,
        )  # fmt: skip
        assert latent["samples"][:, 0, 0, 0].tolist() == [0, 4, 0, 4, 0, 4]
        assert latent["noise_mask"].shape[0] == 6

    def test_some_of_a_batch_remember_their_places(self, bench: Workbench) -> None:
        latent = run(bench, "LatentFromBatch", samples={"samples": numbers(5, 1, 2, 2)}, batch_index=3, length=9)
        assert latent["samples"].shape[0] == 2
        assert latent["batch_index"] == [3, 4]

    def test_place_behind_the_end_is_the_last(self, bench: Workbench) -> None:
        latent = run(bench, "LatentFromBatch", samples={"samples": numbers(2, 1, 2, 2)}, batch_index=9, length=1)
        assert latent["batch_index"] == [1]


class TestComposite:
    def test_one_over_another(self, bench: Workbench) -> None:
        latent = run(
            bench, "LatentComposite",
            samples_to={"samples": torch.zeros(1, 16, 8, 8)}, samples_from={"samples": torch.ones(1, 16, 4, 4)},
            x=16, y=32, feather=0,
        )  # fmt: skip
        assert latent["samples"][0, 0].sum() == 16
        assert latent["samples"][0, 0, 4:8, 2:6].all()

    def test_what_sticks_out_is_cut_off(self, bench: Workbench) -> None:
        latent = run(
            bench, "LatentComposite",
            samples_to={"samples": torch.zeros(1, 16, 8, 8)}, samples_from={"samples": torch.ones(1, 16, 8, 8)},
            x=48, y=1000, feather=16,
        )  # fmt: skip
        assert not latent["samples"].any()

    def test_soft_edges_inside_only(self, bench: Workbench) -> None:
        latent = run(
            bench, "LatentComposite",
            samples_to={"samples": torch.zeros(1, 16, 8, 8)}, samples_from={"samples": torch.ones(1, 16, 8, 4)},
            x=32, y=0, feather=16,
        )  # fmt: skip
        assert latent["samples"][0, 0, 3].tolist() == [0, 0, 0, 0, 0.5, 1, 1, 1]
