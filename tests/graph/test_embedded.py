"""Graphs as they are published, with the models that ship with the program."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from keelbill.engine.esrgan import CompactNet
from keelbill.engine.pipeline import GenerationRequest, Pipeline
from keelbill.graph.nodes.sampling import SAMPLER_NAMES
from support.graphbench import Shelf, Workbench, embedded, evaluate, node
from support.models import random_weights

NAME = "sd3.5_large.safetensors"


@pytest.fixture
def bench() -> Workbench:
    return Workbench(Shelf({NAME: embedded(), "turbo": embedded("keelbill-mini-turbo")}))


def text_to_image(width: int = 512, height: int = 512, *, model: str = NAME, **changes: Any) -> dict[str, Any]:
    sampler = {
        "model": ["1", 0],
        "seed": 7,
        "steps": 3,
        "cfg": 3.5,
        "sampler_name": "euler",
        "scheduler": "sgm_uniform",
        "positive": ["2", 0],
        "negative": ["3", 0],
        "latent_image": ["4", 0],
        "denoise": 1.0,
    }
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name=model),
        "2": node("CLIPTextEncode", text="a red house", clip=["1", 1]),
        "3": node("CLIPTextEncode", text="", clip=["1", 1]),
        "4": node("EmptySD3LatentImage", width=width, height=height, batch_size=1),
        "5": node("KSampler", **(sampler | changes)),
        "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
    }


def scene(width: int = 256, height: int = 256) -> Tensor:
    ramp = torch.linspace(0, 1, width).expand(height, width)
    return torch.stack([ramp, ramp.flip(1), torch.full_like(ramp, 0.3)], dim=-1)[None]


@pytest.mark.parametrize(("width", "height"), [(512, 512), (832, 1216), (1024, 1024)])
def test_picture_has_the_size_that_the_graph_asks_for(bench: Workbench, width: int, height: int) -> None:
    pixels = evaluate(text_to_image(width, height, steps=2), "6", bench)
    assert pixels.shape == (1, height, width, 3)
    assert 0 <= pixels.min() < pixels.max() <= 1


def test_model_paints_at_its_own_size(bench: Workbench) -> None:
    evaluate(text_to_image(1024, 1024, steps=1), "5", bench)
    assert bench.samplings[0].x.shape == (16, 16, 16)
    evaluate(text_to_image(1344, 768, steps=1), "5", bench)
    height, width = bench.samplings[1].x.shape[1:]
    assert (height % 2, width % 2) == (0, 0)
    assert height * width <= 16 * 16 * 1.1
    assert width / height == pytest.approx(1344 / 768, rel=0.1)


def test_graph_and_pipeline_paint_the_same(bench: Workbench) -> None:
    latent = evaluate(text_to_image(512, 512, scheduler="simple"), "5", bench)
    model = embedded()
    pipeline = Pipeline(model)
    request = GenerationRequest(
        "a red house", width=128, height=128, seed=7, steps=3, cfg=3.5, schedule="simple", shift=1.0
    )
    expected = pipeline.prepare(request)
    assert torch.equal(bench.samplings[0].x, expected.x)
    plain = bench.sample(model.transformer, [expected])[0]
    assert torch.equal(latent["samples"][0], model.latents.to_raw(plain))


def test_turbo(bench: Workbench) -> None:
    graph = text_to_image(512, 512, model="turbo", cfg=1.0, steps=4, scheduler="simple")
    pixels = evaluate(graph, "6", bench)
    assert pixels.shape == (1, 512, 512, 3)
    assert all(len(sampling.conditionings) == 1 for sampling in bench.samplings)


def test_image_to_image_stays_near_the_picture(bench: Workbench) -> None:
    def changed(denoise: float) -> float:
        graph = text_to_image(denoise=denoise, latent_image=["8", 0])
        graph["8"] = node("VAEEncode", pixels={"__value__": scene(384, 256)}, vae=["1", 2])
        pixels = evaluate(graph, "6", bench)
        assert pixels.shape == (1, 256, 384, 3)
        return float((pixels - scene(384, 256)).abs().mean())

    little, much = changed(0.2), changed(1.0)
    assert little < 0.1
    assert little < much


def test_inpaint_keeps_what_is_not_masked(bench: Workbench) -> None:
    mask = torch.zeros(1, 512, 512)
    mask[:, :, 256:] = 1
    graph = text_to_image(latent_image=["9", 0], cfg=3.0)
    graph["8"] = node("VAEEncode", pixels={"__value__": scene(512, 512)}, vae=["1", 2])
    graph["9"] = node("SetLatentNoiseMask", samples=["8", 0], mask={"__value__": mask})
    before, after = evaluate(graph, "8", bench)["samples"], evaluate(graph, "5", bench)["samples"]
    assert torch.allclose(after[..., :8], before[..., :8], atol=1e-5)
    assert (after[..., 8:] - before[..., 8:]).abs().mean() > 0.05
    assert evaluate(graph, "6", bench).shape == (1, 512, 512, 3)


def test_inpaint_from_nothing(bench: Workbench) -> None:
    mask = torch.zeros(1, 256, 256)
    mask[:, 64:192, 64:192] = 1
    graph = text_to_image(latent_image=["8", 0])
    graph["8"] = node(
        "VAEEncodeForInpaint",
        pixels={"__value__": scene()}, vae=["1", 2], mask={"__value__": mask}, grow_mask_by=6,
    )  # fmt: skip
    assert evaluate(graph, "6", bench).shape == (1, 256, 256, 3)
    assert evaluate(graph, "8", bench)["noise_mask"].sum() > mask.sum()


@pytest.mark.parametrize("method", ["nearest-exact", "bislerp"])
def test_two_passes(bench: Workbench, method: str) -> None:
    graph = text_to_image(512, 512, steps=2)
    first = graph["5"]["inputs"]
    graph["7"] = node("LatentUpscale", samples=["5", 0], upscale_method=method, width=768, height=1024, crop="disabled")
    graph["8"] = node("KSampler", **{**first, "latent_image": ["7", 0], "denoise": 0.5, "seed": 8})
    graph["9"] = node("VAEDecode", samples=["8", 0], vae=["1", 2])
    assert evaluate(graph, "9", bench).shape == (1, 1024, 768, 3)


def test_enlarging_by_a_network(bench: Workbench) -> None:
    graph = {
        "1": node("UpscaleModelLoader", model_name="keelbill-x4.safetensors"),
        "2": node("ImageUpscaleWithModel", upscale_model=["1", 0], image={"__value__": scene(40, 24)}),
    }
    pixels = evaluate(graph, "2", bench)
    assert pixels.shape == (1, 96, 160, 3)
    assert (pixels[0, ::4, ::4] - scene(40, 24)[0]).abs().mean() < 0.05
    assert bench.steps == [(0, 1)]


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_enlarging_by_a_network_from_a_file(factor: int) -> None:
    network = CompactNet(1, 8, factor)
    random_weights(network, 4)
    bench = Workbench(Shelf(files={("upscale_models", "own.safetensors"): dict(network.state_dict())}))
    graph = {
        "1": node("UpscaleModelLoader", model_name="own.safetensors"),
        "2": node(
            "ImageUpscaleWithModel", upscale_model=["1", 0], image={"__value__": scene(250, 100).repeat(2, 1, 1, 1)}
        ),
    }
    pixels = evaluate(graph, "2", bench)
    assert pixels.shape == (2, 100 * factor, 250 * factor, 3)
    assert bench.steps == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_official_graph_of_three_phases(bench: Workbench) -> None:
    """The published basic graph of SD3 Medium: the negative prompt counts only at the start."""
    graph = text_to_image(model=NAME)
    graph["10"] = node("ModelSamplingSD3", model=["1", 0], shift=3.0)
    graph["11"] = node("ConditioningZeroOut", conditioning=["3", 0])
    graph["12"] = node("ConditioningSetTimestepRange", conditioning=["11", 0], start=0.1, end=1.0)
    graph["13"] = node("ConditioningSetTimestepRange", conditioning=["3", 0], start=0.0, end=0.1)
    graph["14"] = node("ConditioningCombine", conditioning_1=["12", 0], conditioning_2=["13", 0])
    graph["5"]["inputs"] |= {"model": ["10", 0], "negative": ["14", 0], "sampler_name": "dpmpp_2m"}
    assert evaluate(graph, "6", bench).shape == (1, 512, 512, 3)
    assert len(bench.samplings[0].conditionings) == 2


def test_no_prompt_is_what_the_model_has_learnt_it_to_be(bench: Workbench) -> None:
    """Zeros are no prompt for SD3; this model learnt with an empty one."""
    graph = text_to_image(model=NAME)
    graph["10"] = node("ConditioningZeroOut", conditioning=["3", 0])
    graph["11"] = node("CLIPTextEncode", clip=["1", 1], text="")
    ((tokens, options),) = evaluate(graph, "10", bench)
    ((empty, of_empty),) = evaluate(graph, "11", bench)
    assert torch.equal(tokens, empty)
    assert torch.equal(options["pooled_output"], of_empty["pooled_output"])
    assert tokens.any()


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_every_sampler_on_the_list_paints(bench: Workbench, sampler: str) -> None:
    graph = text_to_image(128, 128, sampler_name=sampler, scheduler="simple", steps=4)
    samples = evaluate(graph, "5", bench)["samples"]
    assert torch.isfinite(samples).all()
    assert 0.05 < samples.std() < 3
