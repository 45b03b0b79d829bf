"""ControlNet nodes on small random networks: what they see, when they act, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from keelbill.engine.control import ControlConfig, ControlNet
from keelbill.engine.guidance import Branch
from keelbill.engine.schedules import time_shift
from keelbill.graph.cache import size_of
from keelbill.graph.errors import NodeFailed
from support.graphbench import Shelf, Workbench, embedded, evaluate, node
from support.models import LARGE_SHAPED, model, random_weights

MODEL = replace(model(), native_side=1024)
SIZES = ControlConfig(2, LARGE_SHAPED.width, LARGE_SHAPED.pooled_dim, 16)


def weights(config: ControlConfig) -> dict[str, Tensor]:
    network = ControlNet(config)
    random_weights(network)
    return {name: 0.5 * tensor for name, tensor in network.state_dict().items()}


FILES = {
    ("controlnet", "plain"): weights(SIZES),
    ("controlnet", "joint"): weights(replace(SIZES, context_dim=LARGE_SHAPED.context_dim, in_channels=16, pos_side=24)),
    ("controlnet", "inpaint"): weights(
        replace(SIZES, context_dim=LARGE_SHAPED.context_dim, in_channels=16, pos_side=24, hint_channels=17)
    ),
    ("controlnet", "other"): weights(replace(SIZES, width=128)),
    ("controlnet", "none"): {"weight": torch.zeros(2, 2)},
}


@pytest.fixture
def bench() -> Workbench:
    return Workbench(Shelf({"m": MODEL, "mini": embedded()}, files=FILES))


def picture(seed: int, height: int = 64, width: int = 96) -> Tensor:
    return torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(seed))


def graph(apply: dict[str, Any] | None, *, net: str = "plain", count: int = 1) -> dict[str, Any]:
    steered = apply is not None
    what = {
        "1": node("CheckpointLoaderSimple", ckpt_name="m"),
        "2": node("CLIPTextEncode", text="a cat", clip=["1", 1]),
        "3": node("CLIPTextEncode", text="", clip=["1", 1]),
        "4": node("EmptySD3LatentImage", width=96, height=64, batch_size=count),
        "5": node(
            "KSampler", model=["1", 0], seed=5, steps=3, cfg=3.0, sampler_name="euler", scheduler="simple",
            positive=["7", 0] if steered else ["2", 0], negative=["7", 1] if steered else ["3", 0],
            latent_image=["4", 0], denoise=1.0,
        ),
        "6": node("ControlNetLoader", control_net_name=net),
    }  # fmt: skip
    return what | ({"7": apply} if apply is not None else {})


def advanced(kind: str = "ControlNetApplyAdvanced", *, image: Tensor | None = None, **changes: Any) -> dict[str, Any]:
    inputs = {
        "positive": ["2", 0],
        "negative": ["3", 0],
        "control_net": ["6", 0],
        "image": {"__value__": picture(1) if image is None else image},
        "strength": 1.0,
        "start_percent": 0.0,
        "end_percent": 1.0,
        "vae": ["1", 2],
    }
    return node(kind, **{name: value for name, value in (inputs | changes).items() if value is not None})


def samples(bench: Workbench, what: dict[str, Any]) -> Tensor:
    found: Tensor = evaluate(what, "5", bench)["samples"]
    return found


@pytest.mark.parametrize("net", ["plain", "joint"])
@pytest.mark.parametrize("kind", ["ControlNetApplyAdvanced", "ControlNetApplySD3"])
def test_picture_steers(bench: Workbench, net: str, kind: str) -> None:
    free = samples(bench, graph(None))
    one = samples(bench, graph(advanced(kind), net=net))
    other = samples(bench, graph(advanced(kind, image=picture(2)), net=net))
    assert not torch.equal(one, free)
    assert not torch.equal(one, other)


def test_network_sees_latents_of_the_resized_picture(bench: Workbench) -> None:
    samples(bench, graph(advanced(image=picture(1, 40, 200))))
    (share,) = bench.samplings[0].conditionings[Branch.NEGATIVE]  # type: ignore[misc]
    assert share.controls[0].hint.shape == (16, 8, 12)
    exact = MODEL.latents.to_model(MODEL.autoencoder.encode(picture(1).movedim(-1, 1)))[0]
    samples(bench, graph(advanced()))
    (share,) = bench.samplings[1].conditionings[Branch.POSITIVE]  # type: ignore[misc]
    assert torch.allclose(share.controls[0].hint, exact, atol=1e-5)


def test_percent_of_the_run(bench: Workbench) -> None:
    samples(bench, graph(advanced(start_percent=0.2, end_percent=0.7)))
    (share,) = bench.samplings[0].conditionings[Branch.POSITIVE]  # type: ignore[misc]
    shift = MODEL.defaults.shift
    assert share.controls[0].interval == pytest.approx((time_shift(0.3, shift), time_shift(0.8, shift)))


def test_strength_zero_passes_through(bench: Workbench) -> None:
    assert torch.equal(samples(bench, graph(advanced(strength=0.0))), samples(bench, graph(None)))


def test_chain(bench: Workbench) -> None:
    what = graph(advanced(image=picture(2), positive=["8", 0], negative=["8", 1]))
    what["8"] = advanced()
    samples(bench, what)
    (share,) = bench.samplings[0].conditionings[Branch.POSITIVE]  # type: ignore[misc]
    assert len(share.controls) == 2


def test_one_picture_for_each_latent_of_a_batch(bench: Workbench) -> None:
    pictures = torch.cat([picture(1), picture(2)])
    together = samples(bench, graph(advanced(image=pictures), count=3))
    alone = samples(bench, graph(advanced(image=picture(2)), count=3))
    assert torch.equal(together[1], alone[1])
    assert not torch.equal(together[0], alone[0])
    assert not torch.equal(together[2], alone[2])


class TestInpaint:
    MASK = torch.zeros(1, 64, 96)
    MASK[:, :, 48:] = 1

    def test_hole_is_black_and_the_mask_is_told(self, bench: Workbench) -> None:
        apply = advanced("ControlNetInpaintingAliMamaApply", mask={"__value__": self.MASK})
        samples(bench, graph(apply, net="inpaint"))
        (share,) = bench.samplings[0].conditionings[Branch.POSITIVE]  # type: ignore[misc]
        hint = share.controls[0].hint
        assert hint.shape == (17, 8, 12)
        assert hint[16, 0].tolist() == [1.0] * 6 + [0.0] * 6
        black = picture(1) * (1 - self.MASK[..., None])
        expected = MODEL.latents.to_model(MODEL.autoencoder.encode(black.movedim(-1, 1)))[0]
        assert torch.allclose(hint[:16], expected, atol=1e-5)

    def test_network_without_a_mask_channel(self, bench: Workbench) -> None:
        apply = advanced("ControlNetInpaintingAliMamaApply", mask={"__value__": self.MASK})
        samples(bench, graph(apply))
        (share,) = bench.samplings[0].conditionings[Branch.POSITIVE]  # type: ignore[misc]
        assert share.controls[0].hint.shape[0] == 16

    def test_mask_that_is_missing(self, bench: Workbench) -> None:
        with pytest.raises(NodeFailed, match="of 17 channels"):
            samples(bench, graph(advanced(), net="inpaint"))


class TestRefusals:
    def test_no_vae(self, bench: Workbench) -> None:
        with pytest.raises(NodeFailed, match="sees the picture as latents") as failed:
            samples(bench, graph(advanced(vae=None)))
        assert failed.value.node_type == "ControlNetApplyAdvanced"

    def test_old_node_without_a_vae(self, bench: Workbench) -> None:
        what = graph(None)
        what["7"] = node(
            "ControlNetApply",
            conditioning=["2", 0],
            control_net=["6", 0],
            image={"__value__": picture(1)},
            strength=1.0,
        )
        what["5"]["inputs"]["positive"] = ["7", 0]
        with pytest.raises(NodeFailed, match="sees the picture as latents"):
            samples(bench, what)

    def test_made_for_another_model(self, bench: Workbench) -> None:
        with pytest.raises(NodeFailed, match="made for the model, whose transformer has width 192"):
            samples(bench, graph(advanced(), net="other"))
        mini = graph(advanced())
        mini["1"] = node("CheckpointLoaderSimple", ckpt_name="mini")
        with pytest.raises(NodeFailed, match="ControlNet"):
            samples(bench, mini)

    def test_no_controlnet(self, bench: Workbench) -> None:
        with pytest.raises(NodeFailed, match="not a ControlNet of the SD3 family"):
            evaluate(graph(advanced(), net="none"), "6", bench)


def test_handle_counts_its_network(bench: Workbench) -> None:
    handle = evaluate(graph(None, net="joint"), "6", bench)
    assert size_of(handle) > sum(tensor.nbytes for tensor in FILES["controlnet", "joint"].values())


def test_perturbed_attention(bench: Workbench) -> None:
    what = graph(None)
    what["8"] = node("PerturbedAttentionGuidance", model=["1", 0], scale=3.0)
    what["5"]["inputs"]["model"] = ["8", 0]
    perturbed = samples(bench, what)
    assert torch.isfinite(perturbed).all()
    assert not torch.equal(perturbed, samples(bench, graph(None)))
