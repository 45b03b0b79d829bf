"""Sampling nodes on a small random model of the published kind: noise, levels, masks, guidance, batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from keelbill.engine.batch import sample_alone
from keelbill.engine.guidance import Branch
from keelbill.engine.model import SamplingDefaults
from keelbill.engine.pipeline import GenerationRequest, Pipeline
from keelbill.engine.samplers import SAMPLERS
from keelbill.engine.schedules import SCHEDULES, sigmas, time_shift
from keelbill.graph.errors import NodeFailed
from keelbill.graph.nodes.sampling import SAMPLER_NAMES, SCHEDULER_NAMES
from support.graphbench import Shelf, Workbench, embedded, evaluate, node
from support.models import MEDIUM_SHAPED, model

MODEL = replace(model(MEDIUM_SHAPED), native_side=1024, defaults=SamplingDefaults(steps=4, cfg=3.0, shift=3.0))
MENU = """
    euler euler_cfg_pp euler_ancestral euler_ancestral_cfg_pp heun heunpp2 exp_heun_2_x0 exp_heun_2_x0_sde dpm_2
    dpm_2_ancestral lms dpm_fast dpm_adaptive dpmpp_2s_ancestral dpmpp_2s_ancestral_cfg_pp dpmpp_sde dpmpp_sde_gpu
    dpmpp_2m dpmpp_2m_cfg_pp dpmpp_2m_sde dpmpp_2m_sde_gpu dpmpp_2m_sde_heun dpmpp_2m_sde_heun_gpu dpmpp_3m_sde
    dpmpp_3m_sde_gpu ddpm lcm ipndm ipndm_v deis res_multistep res_multistep_cfg_pp res_multistep_ancestral
    res_multistep_ancestral_cfg_pp gradient_estimation gradient_estimation_cfg_pp er_sde seeds_2 seeds_3 sa_solver
    sa_solver_pece ddim uni_pc uni_pc_bh2
"""
"""All samplers that graphs may name, in the order of menus."""


@pytest.fixture
def bench() -> Workbench:
    return Workbench(Shelf({"m": MODEL, "mini": embedded()}))


def graph(latent: Any = None, **changes: Any) -> dict[str, Any]:
    sampler = {
        "model": ["1", 0],
        "seed": 5,
        "steps": 3,
        "cfg": 3.0,
        "sampler_name": "euler",
        "scheduler": "simple",
        "positive": ["2", 0],
        "negative": ["3", 0],
        "latent_image": ["4", 0],
        "denoise": 1.0,
    }
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name="m"),
        "2": node("CLIPTextEncode", text="a cat", clip=["1", 1]),
        "3": node("CLIPTextEncode", text="", clip=["1", 1]),
        "4": latent or node("EmptySD3LatentImage", width=96, height=64, batch_size=1),
        "5": node("KSampler", **(sampler | changes)),
    }


def given(samples: Tensor, **more: Any) -> dict[str, Any]:
    """A latent as a literal of a node that hands it on."""
    return node("RepeatLatentBatch", samples={"__value__": {"samples": samples, **more}}, amount=1)


def random_latent(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def samples(bench: Workbench, what: dict[str, Any], target: str = "5", slot: int = 0) -> Tensor:
    found: Tensor = evaluate(what, target, bench, slot=slot)["samples"]
    return found


class TestLists:
    def test_only_samplers_that_work_in_the_usual_order(self) -> None:
        assert list(SAMPLER_NAMES) == [name for name in MENU.split() if name in SAMPLERS]
        assert {"lcm", "ddim", "uni_pc", "dpmpp_2m", "dpmpp_sde", "lms", "heun"} <= set(SAMPLER_NAMES)

    def test_every_scheduler_is_there_and_our_own_stay_hidden(self) -> None:
        assert all(name in SCHEDULES for name in SCHEDULER_NAMES)
        assert set(SCHEDULES.names()) - set(SCHEDULER_NAMES) == {"reference", "trailing"}


class TestNoise:
    def test_graph_and_pipeline_paint_the_same(self, bench: Workbench) -> None:
        request = GenerationRequest(
            "a cat", width=96, height=64, seed=5, steps=3, cfg=3.0, schedule="simple", sampler="euler_ancestral"
        )
        expected = sample_alone(MODEL.transformer, Pipeline(MODEL).prepare(request))
        got = samples(bench, graph(sampler_name="euler_ancestral"))
        assert torch.equal(got[0], MODEL.latents.to_raw(expected))

    def test_one_draw_for_the_whole_batch(self, bench: Workbench) -> None:
        samples(bench, graph(node("EmptySD3LatentImage", width=96, height=64, batch_size=3), seed=2**64 - 1))
        drawn = torch.randn(3, 16, 8, 12, generator=torch.Generator().manual_seed(2**64 - 1))
        assert all(torch.equal(s.x, drawn[i]) for i, s in enumerate(bench.samplings))

    def test_member_of_a_batch_can_be_painted_alone(self, bench: Workbench) -> None:
        whole = graph(sampler_name="dpmpp_2m_sde")
        whole["4"] = node("EmptySD3LatentImage", width=96, height=64, batch_size=4)
        whole["6"] = node("LatentFromBatch", samples=["4", 0], batch_index=0, length=4)
        whole["5"]["inputs"]["latent_image"] = ["6", 0]
        together = samples(bench, whole)
        whole["6"] = node("LatentFromBatch", samples=["4", 0], batch_index=2, length=1)
        assert torch.equal(samples(bench, whole)[0], together[2])

    def test_copies_of_a_chosen_latent_get_other_noise(self, bench: Workbench) -> None:
        what = graph(node("EmptySD3LatentImage", width=64, height=64, batch_size=2))
        what["6"] = node("LatentFromBatch", samples=["4", 0], batch_index=1, length=1)
        what["7"] = node("RepeatLatentBatch", samples=["6", 0], amount=3)
        what["5"]["inputs"]["latent_image"] = ["7", 0]
        assert evaluate(what, "7", bench)["batch_index"] == [1, 2, 3]
        got = samples(bench, what)
        assert not torch.equal(got[0], got[1])

    def test_picture_in_a_crowd_is_the_same_to_the_last_bit(self, bench: Workbench) -> None:
        alone = samples(bench, graph(sampler_name="euler_ancestral"))
        bench.neighbours = [
            Pipeline(MODEL).prepare(GenerationRequest("a dog", seed=i, steps=2 + i, width=64, height=64 + 16 * i))
            for i in range(3)
        ]
        assert torch.equal(samples(bench, graph(sampler_name="euler_ancestral")), alone)

    def test_four_empty_channels_become_sixteen(self, bench: Workbench) -> None:
        narrow = graph(node("EmptyLatentImage", width=96, height=64, batch_size=1))
        assert torch.equal(samples(bench, narrow), samples(bench, graph()))


class TestLevels:
    @pytest.mark.parametrize("schedule", SCHEDULER_NAMES)
    def test_schedules_of_the_graph_are_the_engines(self, bench: Workbench, schedule: str) -> None:
        what = graph()
        what["6"] = node("BasicScheduler", model=["1", 0], scheduler=schedule, steps=6, denoise=1.0)
        assert torch.equal(evaluate(what, "6", bench), sigmas(schedule, 6, 3.0))

    def test_denoise_keeps_the_end_of_a_longer_run(self, bench: Workbench) -> None:
        what = graph()
        what["6"] = node("BasicScheduler", model=["1", 0], scheduler="simple", steps=3, denoise=0.4)
        assert torch.equal(evaluate(what, "6", bench), sigmas("simple", 7, 3.0)[-4:])

    def test_nothing_to_denoise_leaves_the_latent(self, bench: Workbench) -> None:
        start = random_latent(1, 16, 8, 8)
        assert torch.equal(samples(bench, graph(given(start), denoise=0.0)), start)

    def test_shift_of_the_graph(self, bench: Workbench) -> None:
        what = graph(model=["6", 0])
        what["6"] = node("ModelSamplingSD3", model=["1", 0], shift=1.5)
        samples(bench, what)
        assert list(bench.samplings[0].sigmas) == pytest.approx(
            [time_shift(u, 1.5) for u in (1.0, 667 / 1000, 334 / 1000, 0.0)], abs=1e-3
        )

    def test_shift_of_zero(self, bench: Workbench) -> None:
        what = graph(model=["6", 0])
        what["6"] = node("ModelSamplingSD3", model=["1", 0], shift=0.0)
        with pytest.raises(NodeFailed, match="shift must be above 0"):
            samples(bench, what)

    def test_first_level_out_of_range(self, bench: Workbench) -> None:
        what = custom()
        what["20"] = node("SetFirstSigma", sigmas=["10", 0], sigma=136.0)
        what["13"]["inputs"]["sigmas"] = ["20", 0]
        with pytest.raises(NodeFailed, match="numbers from 0 to 1"):
            samples(bench, what, "13")

    def test_latent_is_mixed_with_noise(self, bench: Workbench) -> None:
        start = random_latent(1, 16, 8, 8)
        samples(bench, graph(given(start), denoise=0.5))
        sampling = bench.samplings[0]
        noise = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(5))
        level = sampling.sigmas[0]
        assert 0 < level < 1
        assert torch.allclose(sampling.x, (level * noise + (1 - level) * MODEL.latents.to_model(start))[0])


def custom(**changes: Any) -> dict[str, Any]:
    return graph() | {
        "10": node("BasicScheduler", model=["1", 0], scheduler="simple", steps=3, denoise=1.0),
        "11": node("KSamplerSelect", sampler_name=changes.pop("sampler_name", "euler")),
        "12": node("RandomNoise", noise_seed=5),
        "13": node(
            "SamplerCustomAdvanced",
            **(
                {
                    "noise": ["12", 0],
                    "guider": ["14", 0],
                    "sampler": ["11", 0],
                    "sigmas": ["10", 0],
                    "latent_image": ["4", 0],
                }
                | changes
            ),
        ),
        "14": node("CFGGuider", model=["1", 0], positive=["2", 0], negative=["3", 0], cfg=3.0),
    }


class TestPieces:
    def test_pieces_paint_what_the_whole_paints(self, bench: Workbench) -> None:
        assert torch.equal(samples(bench, custom(), "13"), samples(bench, graph()))

    def test_sampler_custom(self, bench: Workbench) -> None:
        what = custom()
        what["15"] = node(
            "SamplerCustom", model=["1", 0], add_noise=True, noise_seed=5, cfg=3.0, positive=["2", 0],
            negative=["3", 0], sampler=["11", 0], sigmas=["10", 0], latent_image=["4", 0],
        )  # fmt: skip
        assert torch.equal(samples(bench, what, "15"), samples(bench, graph()))

    def test_guider_of_one_prompt(self, bench: Workbench) -> None:
        what = custom()
        what["14"] = node("BasicGuider", model=["1", 0], conditioning=["2", 0])
        assert torch.equal(samples(bench, what, "13"), samples(bench, graph(cfg=1.0)))

    def test_last_estimate_ends_where_the_run_ends(self, bench: Workbench) -> None:
        what = custom()
        end, estimate = samples(bench, what, "13"), samples(bench, what, "13", slot=1)
        assert torch.allclose(end, estimate, atol=1e-5)

    def test_last_estimate_of_half_a_run_is_clean(self, bench: Workbench) -> None:
        what = custom(sigmas=["16", 0])
        what["16"] = node("SplitSigmas", sigmas=["10", 0], step=2)
        what["17"] = node("SplitSigmas", sigmas=["16", 0], step=1)
        level = evaluate(what, "16", bench)[-1]
        end, estimate = samples(bench, what, "13"), samples(bench, what, "13", slot=1)
        assert level > 0
        assert not torch.allclose(end, estimate, atol=1e-2)

    def test_run_in_two_halves_equals_the_whole(self, bench: Workbench) -> None:
        what = custom(sigmas=["16", 0])
        what["16"] = node("SplitSigmas", sigmas=["10", 0], step=1)
        what["18"] = node("DisableNoise")
        what["19"] = node(
            "SamplerCustomAdvanced", noise=["18", 0], guider=["14", 0], sampler=["11", 0], sigmas=["16", 1],
            latent_image=["13", 0],
        )  # fmt: skip
        assert torch.allclose(samples(bench, what, "19"), samples(bench, graph()), atol=1e-4)


class TestAdvanced:
    def part(self, latent: str, start: int, end: int, *, noise: bool, leftover: bool) -> dict[str, Any]:
        return node(
            "KSamplerAdvanced",
            model=["1", 0], add_noise="enable" if noise else "disable", noise_seed=5, steps=4, cfg=3.0,
            sampler_name="euler", scheduler="simple", positive=["2", 0], negative=["3", 0], latent_image=[latent, 0],
            start_at_step=start, end_at_step=end, return_with_leftover_noise="enable" if leftover else "disable",
        )  # fmt: skip

    def test_two_parts_equal_the_whole(self, bench: Workbench) -> None:
        what = graph(steps=4)
        what["6"] = self.part("4", 0, 2, noise=True, leftover=True)
        what["7"] = self.part("6", 2, 10000, noise=False, leftover=False)
        assert torch.allclose(samples(bench, what, "7"), samples(bench, what), atol=1e-4)

    def test_all_steps_equal_the_plain_sampler(self, bench: Workbench) -> None:
        what = graph(steps=4)
        what["6"] = self.part("4", 0, 10000, noise=True, leftover=False)
        assert torch.equal(samples(bench, what, "6"), samples(bench, what))

    def test_end_without_leftover_noise_is_forced_to_zero(self, bench: Workbench) -> None:
        what = graph()
        what["6"] = self.part("4", 0, 2, noise=True, leftover=False)
        samples(bench, what, "6")
        assert list(bench.samplings[0].sigmas) == pytest.approx([1.0, time_shift(0.75, 3.0), 0.0], abs=1e-6)

    def test_part_behind_the_end_changes_nothing(self, bench: Workbench) -> None:
        what = graph()
        what["6"] = self.part("4", 9, 12, noise=True, leftover=False)
        assert not samples(bench, what, "6").any()


class TestMasks:
    def masked(self, mask: Tensor, **changes: Any) -> dict[str, Any]:
        what = graph(given(random_latent(1, 16, 8, 12)), latent_image=["6", 0], **changes)
        what["6"] = node("SetLatentNoiseMask", samples=["4", 0], mask={"__value__": mask})
        return what

    def test_what_is_not_masked_stays(self, bench: Workbench) -> None:
        mask = torch.zeros(1, 64, 96)
        mask[:, :, 48:] = 1
        got = samples(bench, self.masked(mask))
        start = random_latent(1, 16, 8, 12)
        assert torch.allclose(got[..., :6], start[..., :6], atol=1e-5)
        assert not torch.allclose(got[..., 6:], start[..., 6:], atol=0.1)

    def test_one_mask_for_a_whole_batch(self, bench: Workbench) -> None:
        what = self.masked(torch.ones(64, 96))
        what["4"] = given(random_latent(2, 16, 8, 12))
        assert samples(bench, what).shape == (2, 16, 8, 12)
        assert all(s.repaint is not None and s.repaint.mask.shape == (1, 8, 12) for s in bench.samplings)

    def test_differential_diffusion_releases_light_places_first(self, bench: Workbench) -> None:
        ramp = torch.linspace(0.05, 0.95, 96).expand(1, 64, 96)
        what = self.masked(ramp, model=["7", 0])
        what["7"] = node("DifferentialDiffusion", model=["1", 0])
        got = samples(bench, what)
        repaint = bench.samplings[0].repaint
        assert repaint is not None
        assert repaint.release is not None
        assert repaint.release.strength == 1.0
        gap = (got - random_latent(1, 16, 8, 12)).abs().mean(dim=(0, 1, 2))
        assert gap[:3].mean() < gap[-3:].mean()
        what["7"] = node("DifferentialDiffusion", model=["1", 0], strength=0.0)
        assert torch.equal(samples(bench, what), samples(bench, self.masked(ramp)))

    def test_picture_of_odd_size(self, bench: Workbench) -> None:
        got = samples(bench, graph(given(random_latent(1, 16, 7, 11)), denoise=0.7))
        assert got.shape == (1, 16, 7, 11)


class TestGuidance:
    def test_negative_prompt_is_left_out_at_one(self, bench: Workbench) -> None:
        samples(bench, graph(cfg=1.0))
        assert set(bench.samplings[0].conditionings) == {Branch.POSITIVE}

    def test_strength_below_one_mixes(self, bench: Workbench) -> None:
        half = samples(bench, graph(cfg=0.0))
        other = graph(cfg=1.0)
        other["5"]["inputs"]["positive"] = ["3", 0]
        assert torch.allclose(half, samples(bench, other), atol=1e-5)

    @pytest.mark.parametrize(
        "extra",
        [
            {"kind": "RescaleCFG", "multiplier": 0.7},
            {
                "kind": "SkipLayerGuidanceSD3", "layers": "1, two 2", "scale": 3.0, "start_percent": 0.0,
                "end_percent": 0.9,
            },
            {
                "kind": "SkipLayerGuidanceDiT", "double_layers": "1", "single_layers": "", "scale": 3.0,
                "start_percent": 0.0, "end_percent": 0.9, "rescaling_scale": 0.5,
            },
        ],
    )  # fmt: skip
    def test_guidance_nodes_change_the_picture(self, bench: Workbench, extra: dict[str, Any]) -> None:
        values = dict(extra)
        what = graph(model=["6", 0])
        what["6"] = node(values.pop("kind"), model=["1", 0], **values)
        got = samples(bench, what)
        assert torch.isfinite(got).all()
        assert not torch.equal(got, samples(bench, graph()))

    def test_blocks_that_the_model_does_not_have_are_ignored(self, bench: Workbench) -> None:
        what = graph(model=["6", 0])
        what["6"] = node(
            "SkipLayerGuidanceSD3", model=["1", 0], layers="7, 8, 9", scale=3.0, start_percent=0.01, end_percent=0.15
        )
        assert torch.equal(samples(bench, what), samples(bench, graph()))

    def test_skip_layer_guidance_acts_between_its_percents(self, bench: Workbench) -> None:
        what = graph(model=["6", 0])
        what["6"] = node(
            "SkipLayerGuidanceSD3", model=["1", 0], layers="1", scale=2.0, start_percent=0.2, end_percent=0.6
        )
        samples(bench, what)
        guidance = bench.samplings[0].guidance
        low, high = time_shift(0.4, 3.0), time_shift(0.8, 3.0)
        acts = [Branch.SKIP in guidance.branches(s, 0, 3) for s in (1.0, high, (low + high) / 2, low, low - 0.01)]
        assert acts == [False, True, True, True, False]


class TestOtherModels:
    def test_prompt_of_another_models_text_encoder(self, bench: Workbench) -> None:
        what = graph()
        what["9"] = node("CheckpointLoaderSimple", ckpt_name="mini")
        what["2"]["inputs"]["clip"] = ["9", 1]
        with pytest.raises(NodeFailed, match="encoded with the CLIP of the model"):
            samples(bench, what)

    def test_latent_of_another_models_autoencoder(self, bench: Workbench) -> None:
        with pytest.raises(NodeFailed, match="encoded with the VAE of the model"):
            samples(bench, graph(given(random_latent(1, 16, 8, 8), pixels=(256, 256))))
        what = graph(given(random_latent(1, 16, 8, 8)))
        what["1"] = node("CheckpointLoaderSimple", ckpt_name="mini")
        with pytest.raises(NodeFailed, match="encoded with the VAE of the model"):
            samples(bench, what)

    def test_latent_of_other_channels(self, bench: Workbench) -> None:
        with pytest.raises(NodeFailed, match="latent channels 4"):
            samples(bench, graph(given(random_latent(1, 4, 8, 8))))
