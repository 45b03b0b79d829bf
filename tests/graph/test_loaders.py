"""Loader nodes: installed models by name, and files of their own that are recognised by their tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from keelbill.core.errors import UnknownModel
from keelbill.engine.batch import sample_alone
from keelbill.engine.clip import CLIPConfig, CLIPText
from keelbill.engine.model import Model
from keelbill.engine.naming import Part, to_folder
from keelbill.engine.pipeline import GenerationRequest, Pipeline
from keelbill.engine.t5 import T5Config, T5Encoder
from keelbill.engine.vae import SD3VAE, VAEConfig
from keelbill.graph.cache import Cache, size_of
from keelbill.graph.errors import NodeFailed
from keelbill.graph.nodes.loaders import CLIP_TYPES
from keelbill.graph.tensors.handles import ClipHandle, ModelHandle, VaeHandle
from support.graphbench import Shelf, Workbench, embedded, evaluate, node
from support.models import LARGE_SHAPED, model, random_weights, transformer

MODEL = replace(model(), native_side=1024)
WEIGHTS = {name: tensor.clone() for name, tensor in transformer(LARGE_SHAPED, seed=3).state_dict().items()}
LETTERS = ["<pad>", "</s>", "<unk>", "\u2581", "a", "b", "c", "\u2581a", "\u2581red", "\u2581car"]


def weights(network: torch.nn.Module, seed: int = 0, prefix: str = "") -> dict[str, Tensor]:
    random_weights(network, seed)
    return {prefix + name: tensor.clone() for name, tensor in network.state_dict().items()}


def files() -> dict[tuple[str, str], dict[str, Tensor]]:
    clip_l = CLIPText(CLIPConfig(width=64, depth=2, mlp=64))
    clip_g = CLIPText(CLIPConfig(width=128, depth=2, mlp=64, projection=128, quick_gelu=False))
    t5 = T5Encoder(T5Config(width=256, depth=1, heads=2, head_dim=16, mlp=64, vocabulary=len(LETTERS)))
    vae = SD3VAE(VAEConfig(widths=(32, 32, 32, 32), groups=32))
    return {
        ("diffusion_models", "plain.safetensors"): WEIGHTS,
        ("diffusion_models", "prefixed.safetensors"): {"model.diffusion_model." + k: t for k, t in WEIGHTS.items()},
        ("diffusion_models", "folder.safetensors"): to_folder(Part.TRANSFORMER, WEIGHTS),
        ("diffusion_models", "vae.safetensors"): weights(vae),
        ("vae", "own.safetensors"): weights(vae),
        ("text_encoders", "own_clip_l.safetensors"): weights(clip_l, 1),
        ("text_encoders", "own_clip_g.safetensors"): weights(clip_g, 2),
        ("text_encoders", "c.safetensors"): weights(t5, 3),
        ("loras", "lora.safetensors"): lora(),
        ("loras", "both.safetensors"): lora()
        | {
            "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.ones(1, 64),
            "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": torch.ones(64, 1),
        },
        ("loras", "other.safetensors"): {"lora_unet_down_blocks_0.lora_down.weight": torch.ones(1, 8)},
    }


def lora() -> dict[str, Tensor]:
    width = LARGE_SHAPED.width
    name = "lora_unet_joint_blocks_0_x_block_attn_qkv"
    generator = torch.Generator().manual_seed(5)
    return {
        f"{name}.lora_down.weight": 0.2 * torch.randn(2, width, generator=generator),
        f"{name}.lora_up.weight": 0.2 * torch.randn(3 * width, 2, generator=generator),
    }


def unigram() -> str:
    tokenizer = Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(LETTERS)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return str(tokenizer.to_str())


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    return Shelf(
        {"m": MODEL, "mini": embedded()},
        {
            ("diffusion_models", "mini.safetensors"): embedded(),
            ("text_encoders", "clip_l.safetensors"): embedded(),
            ("vae", "sd3_vae.safetensors"): embedded(),
        },
        files(),
        {"c.safetensors": unigram()},
    )


@pytest.fixture
def bench(shelf: Shelf) -> Workbench:
    return Workbench(shelf)


def load(bench: Workbench, kind: str, slot: int = 0, **inputs: Any) -> Any:
    return evaluate({"1": node(kind, **inputs)}, "1", bench, slot=slot)


class TestCheckpoints:
    def test_three_parts_of_one_model(self, bench: Workbench) -> None:
        parts = [load(bench, "CheckpointLoaderSimple", slot, ckpt_name="m") for slot in range(3)]
        assert [type(part) for part in parts] == [ModelHandle, ClipHandle, VaeHandle]
        assert parts[0].open(bench.models).transformer is MODEL.transformer

    def test_handle_of_an_installed_model_keeps_no_network(self, bench: Workbench) -> None:
        assert size_of(load(bench, "CheckpointLoaderSimple", ckpt_name="m")) < 1000

    def test_model_that_is_not_there(self, bench: Workbench) -> None:
        with pytest.raises(NodeFailed) as failed:
            load(bench, "CheckpointLoaderSimple", ckpt_name="nothing")
        assert isinstance(failed.value.cause, UnknownModel)


class TestParts:
    @pytest.mark.parametrize("name", ["plain", "prefixed", "folder"])
    def test_transformer_of_its_own(self, bench: Workbench, name: str) -> None:
        handle = load(bench, "UNETLoader", unet_name=f"{name}.safetensors", weight_dtype="fp8_e4m3fn")
        painter = handle.open(bench.models)
        assert painter.transformer.config == LARGE_SHAPED
        assert (painter.shift, painter.native_side) == (3.0, 1024)
        got = painter.transformer.state_dict()
        assert all(torch.equal(got[key], tensor) for key, tensor in WEIGHTS.items())
        assert size_of(handle) > sum(tensor.nbytes for tensor in WEIGHTS.values())

    def test_file_of_another_part(self, bench: Workbench) -> None:
        with pytest.raises(NodeFailed, match="holds no transformer of the SD3 family"):
            load(bench, "UNETLoader", unet_name="vae.safetensors", weight_dtype="default")

    def test_autoencoder_of_its_own(self, bench: Workbench) -> None:
        coder = load(bench, "VAELoader", vae_name="own.safetensors").open(bench.models)
        assert coder.autoencoder.encode(torch.rand(1, 3, 16, 16)).shape == (1, 16, 2, 2)

    def test_names_that_stand_for_the_programs_own_model(self, bench: Workbench) -> None:
        model, clip, vae = (
            load(bench, "UNETLoader", unet_name="mini.safetensors", weight_dtype="default"),
            load(bench, "CLIPLoader", clip_name="clip_l.safetensors", type="sd3"),
            load(bench, "VAELoader", vae_name="sd3_vae.safetensors"),
        )
        assert model.open(bench.models).transformer is embedded().transformer
        assert clip.open(bench.models) is embedded().text
        assert vae.open(bench.models).native_side == 128


class TestTextEncoders:
    def test_order_of_files_is_free(self, bench: Workbench) -> None:
        names = ["c.safetensors", "own_clip_g.safetensors", "own_clip_l.safetensors"]
        handle = load(bench, "TripleCLIPLoader", clip_name1=names[0], clip_name2=names[1], clip_name3=names[2])
        encoder = handle.open(bench.models)
        assert set(encoder.networks) == {Part.CLIP_L, Part.CLIP_G, Part.T5}
        conditioning = encoder.encode(["a red car"])[0]
        assert (conditioning.context.shape, conditioning.pooled.shape) == ((154, 256), (192,))
        assert size_of(handle) > 64 * 49408 * 4

    def test_what_is_missing_is_silent(self, bench: Workbench) -> None:
        handle = load(
            bench,
            "DualCLIPLoader",
            clip_name1="own_clip_g.safetensors",
            clip_name2="own_clip_l.safetensors",
            type="sd3",
            device="cpu",
        )
        conditioning = handle.open(bench.models).encode(["a car"])[0]
        assert conditioning.context.shape == (154, 4096)
        assert not conditioning.context[77:].any()

    @pytest.mark.parametrize("kind", ["sd3", "stable_diffusion"])
    def test_types_that_run(self, bench: Workbench, kind: str) -> None:
        assert (
            load(bench, "CLIPLoader", clip_name="own_clip_l.safetensors", type=kind).open(bench.models).clip_g is None
        )

    @pytest.mark.parametrize("kind", [each for each in CLIP_TYPES if each not in ("sd3", "stable_diffusion")])
    def test_types_of_other_models(self, bench: Workbench, kind: str) -> None:
        with pytest.raises(NodeFailed, match="are not supported; use sd3"):
            load(bench, "CLIPLoader", clip_name="own_clip_l.safetensors", type=kind)

    def test_the_same_encoder_twice(self, bench: Workbench) -> None:
        with pytest.raises(NodeFailed, match="is the second file with the clip_l"):
            load(
                bench,
                "DualCLIPLoader",
                clip_name1="own_clip_l.safetensors",
                clip_name2="own_clip_l.safetensors",
                type="sd3",
            )


class TestLoras:
    def graph(self, strength: float, name: str = "lora.safetensors") -> dict[str, Any]:
        return {
            "1": node("CheckpointLoaderSimple", ckpt_name="m"),
            "2": node("LoraLoaderModelOnly", model=["1", 0], lora_name=name, strength_model=strength),
            "3": node("CLIPTextEncode", text="a cat", clip=["1", 1]),
            "4": node("EmptySD3LatentImage", width=64, height=64, batch_size=1),
            "5": node(
                "KSampler", model=["2", 0], seed=1, steps=2, cfg=1.0, sampler_name="euler", scheduler="simple",
                positive=["3", 0], negative=["3", 0], latent_image=["4", 0], denoise=1.0,
            ),
        }  # fmt: skip

    def test_picture_changes_with_the_strength(self, bench: Workbench) -> None:
        plain, weak, strong = (evaluate(self.graph(s), "5", bench)["samples"] for s in (0.0, 0.5, 1.0))
        assert 0 < (weak - plain).abs().mean() < (strong - plain).abs().mean()

    def test_same_as_merged_weights(self, bench: Workbench) -> None:
        got = evaluate(self.graph(1.0), "5", bench)["samples"]
        tensors = lora()
        down, up = (tensors[f"lora_unet_joint_blocks_0_x_block_attn_qkv.lora_{end}.weight"] for end in ("down", "up"))
        network = transformer(LARGE_SHAPED)
        with torch.no_grad():
            network.blocks()[0].x_block.attn.qkv.weight.add_(up @ down)
        merged: Model = replace(MODEL, transformer=network)
        request = GenerationRequest(
            "a cat", width=64, height=64, seed=1, steps=2, cfg=1.0, schedule="simple", shift=1.0
        )
        expected = sample_alone(network, Pipeline(merged).prepare(request))
        assert torch.allclose(got[0], MODEL.latents.to_raw(expected), atol=1e-4)

    def test_two_loras_add_up(self, bench: Workbench) -> None:
        twice = self.graph(0.5)
        twice["6"] = node("LoraLoaderModelOnly", model=["2", 0], lora_name="lora.safetensors", strength_model=0.5)
        twice["5"]["inputs"]["model"] = ["6", 0]
        once = evaluate(self.graph(1.0), "5", bench)["samples"]
        assert torch.allclose(evaluate(twice, "5", bench)["samples"], once, atol=1e-5)

    def test_part_for_the_text_encoder(self, bench: Workbench) -> None:
        graph = {
            "1": node("CheckpointLoaderSimple", ckpt_name="m"),
            "2": node("CLIPLoader", clip_name="own_clip_l.safetensors", type="sd3"),
            "3": node(
                "LoraLoader", model=["1", 0], clip=["2", 0], lora_name="both.safetensors",
                strength_model=1.0, strength_clip=0.3,
            ),
            "4": node("CLIPTextEncode", text="a cat", clip=["3", 1]),
            "5": node("CLIPTextEncode", text="a cat", clip=["2", 0]),
        }  # fmt: skip
        changed, plain = evaluate(graph, "4", bench), evaluate(graph, "5", bench)
        assert not torch.equal(changed[0][0], plain[0][0])
        assert evaluate(graph, "3", bench).update() is not None

    def test_part_for_the_text_encoder_is_left_out_for_a_model_alone(self, bench: Workbench) -> None:
        whole = evaluate(self.graph(1.0, "both.safetensors"), "5", bench)["samples"]
        assert torch.equal(whole, evaluate(self.graph(1.0), "5", bench)["samples"])

    def test_lora_of_another_family(self, bench: Workbench) -> None:
        with pytest.raises(NodeFailed, match="fit nothing in the model"):
            evaluate(self.graph(1.0, "other.safetensors"), "5", bench)

    def test_changing_the_strength_keeps_what_comes_before(self, bench: Workbench) -> None:
        cache = Cache()
        evaluate(self.graph(0.5), "5", bench, cache=cache)
        count = cache.count
        evaluate(self.graph(0.6), "5", bench, cache=cache)
        assert cache.count - count == 3  # the LoRA, the sampler and what keeps the result here


def test_upscaler_that_is_not_there(bench: Workbench) -> None:
    with pytest.raises(NodeFailed, match="keelbill-x4"):
        load(bench, "UpscaleModelLoader", model_name="other.safetensors")
