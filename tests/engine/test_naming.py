"""Finding a model's parts: every layout of one model gives the same tensors to the last bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from keelbill.core.errors import BadWeights, UnsafeFile
from keelbill.engine.components import Components, find_components
from keelbill.engine.config import MMDiTConfig
from keelbill.engine.mmdit import MMDiT
from keelbill.engine.naming import PREFIXES, Part, find_parts, guess_family, to_folder
from keelbill.engine.weights import load_into
from support.models import VARIANTS, random_weights

Tensors = dict[str, Tensor]


def official_transformer(variant: str = "3.5-medium") -> Tensors:
    network = MMDiT(VARIANTS[variant])
    random_weights(network, 7)
    return {n: t.detach().clone() for n, t in network.state_dict().items()}


def randomise(network: nn.Module, seed: int) -> Tensors:
    random_weights(network, seed)
    return {n: t.detach().clone().contiguous() for n, t in network.state_dict().items()}


def folder_transformer(variant: str) -> nn.Module:
    """The reference implementation's network with the same sizes."""
    from diffusers import SD3Transformer2DModel

    config = VARIANTS[variant]
    network: nn.Module = SD3Transformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=config.depth,
        attention_head_dim=64,
        num_attention_heads=config.heads,
        joint_attention_dim=config.context_dim,
        caption_projection_dim=config.width,
        pooled_projection_dim=config.pooled_dim,
        pos_embed_max_size=config.pos_side,
        qk_norm="rms_norm" if config.qk_norm else None,
        dual_attention_layers=config.dual_blocks,
    )
    return network


def folder_vae() -> nn.Module:
    from diffusers import AutoencoderKL

    network: nn.Module = AutoencoderKL(
        block_out_channels=(32, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=16,
        norm_num_groups=8,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    return network


def clip(width: int, *, projection: bool) -> Tensors:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=60,
        hidden_size=width,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        projection_dim=8,
    )
    tensors = randomise(CLIPTextModelWithProjection(config), width)
    return tensors if projection else {n: t for n, t in tensors.items() if not n.startswith("text_projection")}


def t5() -> Tensors:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu"
    )
    tensors = randomise(T5EncoderModel(config), 3)
    tensors.pop("encoder.embed_tokens.weight", None)
    return tensors


@pytest.fixture(scope="module")
def model() -> dict[Part, Tensors]:
    """One small model with all parts, in official names."""
    vae = randomise(folder_vae(), 2)
    names = find_parts({n: tuple(t.shape) for n, t in vae.items()})[Part.VAE]
    return {
        Part.TRANSFORMER: official_transformer(),
        Part.VAE: {name: source.build(vae.__getitem__) for name, source in names.items()},
        Part.CLIP_L: clip(768, projection=False),
        Part.CLIP_G: clip(1280, projection=True),
        Part.T5: t5(),
    }


def save(tensors: Mapping[str, Tensor], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({n: t.contiguous() for n, t in tensors.items()}, path)
    return path


def prefixed(model: Mapping[Part, Tensors], *parts: Part) -> Tensors:
    return {PREFIXES[part][0] + name: tensor for part in parts for name, tensor in model[part].items()}


def save_shards(tensors: Tensors, folder: Path, stem: str) -> None:
    names = list(tensors)
    pieces = [names[i::3] for i in range(3)]
    weight_map = {}
    for i, piece in enumerate(pieces):
        file = f"{stem}-{i + 1:05d}-of-00003.safetensors"
        save({n: tensors[n] for n in piece}, folder / file)
        weight_map.update(dict.fromkeys(piece, file))
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


ALL = tuple(PREFIXES)
SUBFOLDERS = {
    Part.TRANSFORMER: "transformer/diffusion_pytorch_model",
    Part.VAE: "vae/diffusion_pytorch_model",
    Part.CLIP_L: "text_encoder/model",
    Part.CLIP_G: "text_encoder_2/model",
    Part.T5: "text_encoder_3/model",
}


def official_file(model: dict[Part, Tensors], folder: Path) -> Path:
    return save(prefixed(model, *ALL), folder / "sd3_incl_encoders.safetensors")


def subfolders(model: dict[Part, Tensors], folder: Path) -> Path:
    for part, place in SUBFOLDERS.items():
        save(to_folder(part, model[part]), folder / "m" / f"{place}.safetensors")
    (folder / "m" / "model_index.json").write_text("{}")
    return folder / "m"


def sharded_subfolders(model: dict[Part, Tensors], folder: Path) -> Path:
    for part, place in SUBFOLDERS.items():
        sub, stem = place.split("/")
        save_shards(to_folder(part, model[part]), folder / "m" / sub, stem)
    return folder / "m"


def half_named_subfolders(model: dict[Part, Tensors], folder: Path) -> Path:
    """The plain files lie beside variants of other precision."""
    for part, place in SUBFOLDERS.items():
        tensors = to_folder(part, model[part])
        save(tensors, folder / "m" / f"{place}.safetensors")
        save({n: t.half() for n, t in tensors.items()}, folder / "m" / f"{place}.fp16.safetensors")
    return folder / "m"


def separate_files(model: dict[Part, Tensors], folder: Path) -> Path:
    for part, tensors in model.items():
        save(tensors, folder / "m" / f"{part.value}_file.safetensors")
    return folder / "m"


def official_with_encoders_beside(model: dict[Part, Tensors], folder: Path) -> Path:
    save(prefixed(model, Part.TRANSFORMER, Part.VAE), folder / "m" / "sd3.5.safetensors")
    for part in (Part.CLIP_L, Part.CLIP_G, Part.T5):
        save(model[part], folder / "m" / "text_encoders" / f"{part.value}.safetensors")
    return folder / "m"


def prefixed_separate_files(model: dict[Part, Tensors], folder: Path) -> Path:
    for part in model:
        save(prefixed(model, part), folder / "m" / f"{part.value}.safetensors")
    return folder / "m"


def newer_subfolders(model: dict[Part, Tensors], folder: Path) -> Path:
    """Newer libraries save a CLIP encoder without the name of its trunk."""
    for part, place in SUBFOLDERS.items():
        tensors = {n.removeprefix("text_model."): t for n, t in to_folder(part, model[part]).items()}
        save(tensors, folder / "m" / f"{place}.safetensors")
    return folder / "m"


LAYOUTS: list[Callable[[dict[Part, Tensors], Path], Path]] = [
    official_file,
    subfolders,
    sharded_subfolders,
    half_named_subfolders,
    newer_subfolders,
    separate_files,
    official_with_encoders_beside,
    prefixed_separate_files,
]


class TestLayouts:
    @pytest.mark.parametrize("write", LAYOUTS, ids=lambda f: f.__name__)
    def test_same_bits(self, model: dict[Part, Tensors], tmp_path: Path, write: Callable[..., Path]) -> None:
        components = find_components(write(model, tmp_path))
        assert set(components.parts) == set(model)
        for part, tensors in model.items():
            found = components.require(part)
            read = found.tensors()
            assert set(read) == set(tensors)
            for name, tensor in tensors.items():
                assert found.shapes[name] == tuple(tensor.shape)
                assert torch.equal(read[name], tensor), name

    def test_file_and_extras(self, model: dict[Part, Tensors], tmp_path: Path) -> None:
        main = save(prefixed(model, Part.TRANSFORMER, Part.VAE), tmp_path / "main.safetensors")
        extras = [save(model[p], tmp_path / f"{p}.safetensors") for p in (Part.CLIP_L, Part.CLIP_G, Part.T5)]
        assert set(find_components(main, extras).parts) == set(model)

    def test_what_the_path_holds_wins_over_extras(self, model: dict[Part, Tensors], tmp_path: Path) -> None:
        main = save(prefixed(model, Part.TRANSFORMER, Part.VAE), tmp_path / "main.safetensors")
        other = save(model[Part.VAE], tmp_path / "other.safetensors")
        vae = find_components(main, [other]).vae
        assert vae is not None
        assert vae.path == main

    def test_a_lora_beside_the_model_is_left_out(self, model: dict[Part, Tensors], tmp_path: Path) -> None:
        folder = separate_files(model, tmp_path)
        save({"transformer.proj_out.lora_A.weight": torch.ones(1, 2)}, folder / "lora.safetensors")
        assert set(find_components(folder).parts) == set(model)

    def test_t5_with_two_names_for_its_table(self, model: dict[Part, Tensors], tmp_path: Path) -> None:
        table = model[Part.T5]["shared.weight"]
        both = {**model[Part.T5], "encoder.embed_tokens.weight": table.clone()}
        only = {n: t for n, t in both.items() if n != "shared.weight"}
        for tensors in (both, only):
            t5 = find_components(save(tensors, tmp_path / "t5.safetensors")).t5
            assert t5 is not None
            assert set(t5.shapes) == set(model[Part.T5])

    def test_clip_extras_are_dropped(self, model: dict[Part, Tensors], tmp_path: Path) -> None:
        tensors = {**model[Part.CLIP_L], "logit_scale": torch.ones(()), "text_projection.weight": torch.eye(768)}
        found = find_components(save(tensors, tmp_path / "a.safetensors")).clip_l
        assert found is not None
        assert set(found.shapes) == set(model[Part.CLIP_L])

    def test_tokenizers_are_found_beside_the_weights(self, model: dict[Part, Tensors], tmp_path: Path) -> None:
        folder = subfolders(model, tmp_path)
        (folder / "tokenizer_3").mkdir()
        components = find_components(folder)
        assert components.tokenizer_folder(Part.T5) == folder / "tokenizer_3"
        assert components.tokenizer_folder(Part.CLIP_L) is None
        assert components.tokenizer_folder(Part.VAE) is None


class TestTransformerNames:
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_round_trip(self, variant: str) -> None:
        official = official_transformer(variant)
        folder = to_folder(Part.TRANSFORMER, official)
        sources = find_parts({n: tuple(t.shape) for n, t in folder.items()})[Part.TRANSFORMER]
        assert set(sources) == set(official)
        assert sorted(n for s in sources.values() for n in s.names) == sorted(folder)
        for name, source in sources.items():
            assert torch.equal(source.build(folder.__getitem__), official[name]), name

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_names_and_shapes_are_those_of_the_reference_network(self, variant: str) -> None:
        folder = to_folder(Part.TRANSFORMER, official_transformer(variant))
        reference = folder_transformer(variant).state_dict()
        assert {n: tuple(t.shape) for n, t in folder.items()} == {n: tuple(t.shape) for n, t in reference.items()}

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_same_velocity_as_the_reference_network(self, variant: str) -> None:
        config: MMDiTConfig = VARIANTS[variant]
        official = official_transformer(variant)
        reference = folder_transformer(variant)
        reference.load_state_dict(to_folder(Part.TRANSFORMER, official))
        ours = MMDiT(config)
        load_into(ours, official, "transformer")
        generator = torch.Generator().manual_seed(0)
        latents = torch.randn(1, 16, 8, 12, generator=generator)
        context = torch.randn(1, 5, config.context_dim, generator=generator)
        pooled = torch.randn(1, config.pooled_dim, generator=generator)
        sigma = torch.tensor([0.3])
        with torch.no_grad():
            expected = reference(latents, context, pooled, 1000 * sigma).sample
            found = ours(latents, sigma, context, pooled)
        assert (found - expected).norm() / expected.norm() < 2e-5

    def test_config_from_component(self, tmp_path: Path) -> None:
        path = save(to_folder(Part.TRANSFORMER, official_transformer()), tmp_path / "a.safetensors")
        found = find_components(path).transformer
        assert found is not None
        assert MMDiTConfig.from_tensors(found.shapes) == VARIANTS["3.5-medium"]

    @pytest.mark.parametrize("layout", ["official", "folder"])
    def test_scaled_eight_bit_floats(self, tmp_path: Path, layout: str) -> None:
        official = official_transformer()
        tensors = official if layout == "official" else to_folder(Part.TRANSFORMER, official)
        stored: Tensors = {}
        for name, tensor in tensors.items():
            stored[name] = tensor
            if tensor.ndim == 2:
                scale = tensor.abs().amax() / 448
                stored[name] = (tensor / scale).to(torch.float8_e4m3fn)
                stored[name.replace(".weight", ".scale_weight")] = scale
        found = find_components(save(stored, tmp_path / "a.safetensors")).transformer
        assert found is not None
        read = found.tensors(torch.float32)
        assert set(read) == set(official)
        for name, tensor in official.items():
            assert (read[name] - tensor).norm() <= 0.04 * tensor.norm(), name

    def test_incomplete_projection(self) -> None:
        folder = to_folder(Part.TRANSFORMER, official_transformer())
        del folder["transformer_blocks.1.attn.to_k.weight"]
        with pytest.raises(BadWeights, match=r"1\.attn\.to_q\.weight.*without the rest"):
            find_parts({n: tuple(t.shape) for n, t in folder.items()})


class TestVaeNames:
    def test_round_trip(self) -> None:
        folder = randomise(folder_vae(), 5)
        sources = find_parts({n: tuple(t.shape) for n, t in folder.items()})[Part.VAE]
        official = {name: source.build(folder.__getitem__) for name, source in sources.items()}
        assert not any("_blocks" in name or "resnets" in name or "attentions" in name for name in official)
        assert official["encoder.mid.attn_1.q.weight"].shape == (64, 64, 1, 1)
        back = to_folder(Part.VAE, official)
        assert set(back) == set(folder)
        assert all(torch.equal(back[name], folder[name]) for name in folder)

    def test_older_autoencoder(self, tmp_path: Path) -> None:
        tensors = {"encoder.conv_in.weight": torch.ones(1), "decoder.conv_in.weight": torch.ones(1)}
        path = save({**tensors, "quant_conv.weight": torch.ones(8, 8, 1, 1)}, tmp_path / "vae.safetensors")
        with pytest.raises(BadWeights, match=r"Stable Diffusion 1\.5 or SDXL: it has 4 latent"):
            find_components(path)


FOREIGN: dict[str, tuple[str, ...]] = {
    "Stable Diffusion 1.5": (
        "model.diffusion_model.input_blocks.0.0.weight",
        "cond_stage_model.transformer.text_model.final_layer_norm.weight",
        "first_stage_model.quant_conv.weight",
    ),
    "Stable Diffusion 2": ("model.diffusion_model.input_blocks.0.0.weight", "cond_stage_model.model.ln_final.weight"),
    "SDXL": ("model.diffusion_model.input_blocks.0.0.weight", "conditioner.embedders.0.transformer.a.weight"),
    "Flux": ("double_blocks.0.img_attn.qkv.weight", "single_blocks.0.linear1.weight"),
    "Qwen-Image": ("transformer_blocks.0.img_mod.1.weight", "transformer_blocks.0.attn.add_q_proj.weight"),
    "a LoRA": ("lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight",),
    "a ControlNet": ("controlnet_blocks.0.weight",),
}


class TestOtherFamilies:
    @pytest.mark.parametrize("family", FOREIGN)
    def test_the_error_names_the_family(self, tmp_path: Path, family: str) -> None:
        path = save({name: torch.ones(1) for name in FOREIGN[family]}, tmp_path / "model.safetensors")
        with pytest.raises(BadWeights, match=f"model.safetensors is not an SD3-family model: it seems to be {family}"):
            find_components(path)

    def test_unet_by_its_cross_attention(self) -> None:
        name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
        assert guess_family({name: (320, 768)}) == "Stable Diffusion 1.5"
        assert guess_family({name: (320, 2048)}) == "SDXL"

    def test_unknown_names(self, tmp_path: Path) -> None:
        with pytest.raises(BadWeights, match="none of its tensors have known names"):
            find_components(save({"a": torch.ones(1)}, tmp_path / "a.safetensors"))

    def test_text_encoder_of_unknown_width(self, tmp_path: Path) -> None:
        with pytest.raises(BadWeights, match="width 64 is neither"):
            find_components(save(clip(64, projection=True), tmp_path / "a.safetensors"))


class TestFolders:
    def test_empty(self, tmp_path: Path) -> None:
        with pytest.raises(BadWeights, match="no weight files"):
            find_components(tmp_path)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(BadWeights, match="There is no file or folder"):
            find_components(tmp_path / "gone")

    def test_only_pickles(self, tmp_path: Path) -> None:
        (tmp_path / "transformer").mkdir()
        torch.save({}, tmp_path / "transformer" / "diffusion_pytorch_model.bin")
        with pytest.raises(UnsafeFile):
            find_components(tmp_path)

    def test_a_part_twice(self, model: dict[Part, Tensors], tmp_path: Path) -> None:
        save(model[Part.T5], tmp_path / "t5_a.safetensors")
        save(model[Part.T5], tmp_path / "t5_b.safetensors")
        with pytest.raises(BadWeights, match=r"t5 twice, in t5_a\.safetensors and in t5_b\.safetensors"):
            find_components(tmp_path)

    def test_another_part_in_a_subfolder(self, model: dict[Part, Tensors], tmp_path: Path) -> None:
        save(model[Part.T5], tmp_path / "transformer" / "model.safetensors")
        with pytest.raises(BadWeights, match="transformer should hold the transformer and holds t5"):
            find_components(tmp_path)

    def test_a_missing_part_is_asked_for(self, tmp_path: Path) -> None:
        with pytest.raises(BadWeights, match="has no vae; it has nothing"):
            Components(tmp_path).require(Part.VAE)
