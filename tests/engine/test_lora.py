"""Adapters: every format written from the same factors gives the same weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from keelbill.core.errors import BadWeights, UnsafeFile
from keelbill.engine.config import MMDiTConfig
from keelbill.engine.lora import LowRank, load_lora, merge_into, merged, read_lora, restore
from keelbill.engine.mmdit import MMDiT
from keelbill.engine.naming import Part, Shapes, Source, find_parts, swap_halves, to_folder

Tensors = dict[str, Tensor]
Factors = dict[str, tuple[Tensor, Tensor]]

CONFIG = MMDiTConfig(depth=2, width=64, pos_side=8, context_dim=32, pooled_dim=16, dual_blocks=(0,))
RANK, ALPHA = 4, 6.0
BLOCK = "transformer_blocks"
# Both of the modules whose halves are swapped, whole and separate projections, the patch convolution.
CHANGED = (
    f"{BLOCK}.0.attn.to_q",
    f"{BLOCK}.0.attn.to_k",
    f"{BLOCK}.0.attn.to_v",
    f"{BLOCK}.1.attn.add_k_proj",
    f"{BLOCK}.0.attn2.to_v",
    f"{BLOCK}.0.attn.to_out.0",
    f"{BLOCK}.0.norm1.linear",
    f"{BLOCK}.0.norm1_context.linear",
    f"{BLOCK}.1.norm1_context.linear",
    f"{BLOCK}.1.ff.net.0.proj",
    f"{BLOCK}.0.ff_context.net.2",
    "time_text_embed.text_embedder.linear_1",
    "context_embedder",
    "norm_out.linear",
    "proj_out",
)


def transformer_weights() -> Tensors:
    generator = torch.Generator().manual_seed(0)
    shapes = {n: t.shape for n, t in MMDiT(CONFIG).state_dict().items()}
    return {n: torch.randn(s, generator=generator) for n, s in shapes.items()}


def shapes_of(tensors: Tensors) -> Shapes:
    return {n: tuple(t.shape) for n, t in tensors.items()}


WEIGHTS = transformer_weights()
FOLDER = to_folder(Part.TRANSFORMER, WEIGHTS)
SOURCES: dict[str, Source] = find_parts(shapes_of(FOLDER))[Part.TRANSFORMER]
SHAPES = {Part.TRANSFORMER: shapes_of(WEIGHTS)}


def factors() -> Factors:
    generator = torch.Generator().manual_seed(5)
    result = {}
    for name in CHANGED:
        rows, columns = FOLDER[name + ".weight"].shape
        result[name] = (torch.randn(RANK, columns, generator=generator), torch.randn(rows, RANK, generator=generator))
    return result


def expected() -> Tensors:
    """Change the folder's weights by hand, then read them as official ones."""
    changed = dict(FOLDER)
    for name, (down, up) in factors().items():
        changed[name + ".weight"] = changed[name + ".weight"] + ALPHA / RANK * up @ down
    return {name: source.build(changed.__getitem__) for name, source in SOURCES.items()}


def peft(prefix: str = "transformer.", down: str = "lora_A.weight", up: str = "lora_B.weight") -> Tensors:
    tensors: Tensors = {}
    for name, (a, b) in factors().items():
        tensors |= {f"{prefix}{name}.{down}": a, f"{prefix}{name}.{up}": b}
        tensors[f"{prefix}{name}.alpha"] = torch.tensor(ALPHA)
    return tensors


def alpha_in_the_weights() -> Tensors:
    """No alpha at all: it equals the rank."""
    return {
        key: tensor * (ALPHA / RANK if "lora_B" in key else 1)
        for key, tensor in peft().items()
        if not key.endswith("alpha")
    }


def official_factors() -> Factors:
    """Name the factors as the official file would: fused projections as a block-diagonal pair of 3r rows."""
    fused: dict[str, dict[int, tuple[Tensor, Tensor]]] = {}
    result: Factors = {}
    for name, (down, up) in factors().items():
        for official, source in SOURCES.items():
            if name + ".weight" in source.names:
                module = official.removesuffix(".weight")
                if len(source.names) == 3:
                    fused.setdefault(module, {})[source.names.index(name + ".weight")] = (down, up)
                else:
                    result[module] = (down, swap_halves(up) if source.swap else up)
    for module, thirds in fused.items():
        width = CONFIG.width
        down, up = torch.zeros(3 * RANK, width), torch.zeros(3 * width, 3 * RANK)
        for i, (a, b) in thirds.items():
            down[i * RANK : (i + 1) * RANK] = a
            up[i * width : (i + 1) * width, i * RANK : (i + 1) * RANK] = b
        result[module] = (down, up)
    return result


def generic(prefix: str = "diffusion_model.", dots: str = ".") -> Tensors:
    tensors: Tensors = {}
    for module, (down, up) in official_factors().items():
        name = prefix + module.replace(".", dots)
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        # alpha over rows: three times the rows need three times the alpha for the same change
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA * down.shape[0] / RANK)
    return tensors


def underscored_folder(prefix: str) -> Tensors:
    tensors: Tensors = {}
    for name, (down, up) in factors().items():
        flat = prefix + name.replace(".", "_")
        tensors |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up}
        tensors[f"{flat}.alpha"] = torch.tensor(ALPHA)
    return tensors


FORMATS: dict[str, Callable[[], Tensors]] = {
    "folder": peft,
    "folder, adapter named": lambda: peft(down="lora_A.default.weight", up="lora_B.default.weight"),
    "folder, old": lambda: peft(down="lora.down.weight", up="lora.up.weight"),
    "folder, no alpha": alpha_in_the_weights,
    "bare PEFT": lambda: peft("base_model.model."),
    "bare names": lambda: peft(""),
    "script trainer": lambda: generic("lora_unet_", "_"),
    "other trainer": lambda: underscored_folder("lora_transformer_"),
    "LyCORIS prefix": lambda: underscored_folder("lycoris_"),
    "generic": generic,
    "generic, full prefix": lambda: generic("model.diffusion_model."),
    "official names": lambda: generic(""),
}


class TestFormats:
    @pytest.mark.parametrize("form", FORMATS)
    def test_same_weights(self, form: str) -> None:
        lora = read_lora(FORMATS[form](), SHAPES)
        found = merged(WEIGHTS, lora[Part.TRANSFORMER])
        for name, tensor in expected().items():
            error = (found[name] - tensor).norm() / tensor.norm()
            assert error <= 1e-5, name
        changed = {n for n in WEIGHTS if not torch.equal(found[n], WEIGHTS[n])}
        assert changed == {module + ".weight" for module in lora[Part.TRANSFORMER]}

    @pytest.mark.parametrize("form", FORMATS)
    def test_unmerged_factors_give_the_same_output(self, form: str) -> None:
        layers = read_lora(FORMATS[form](), SHAPES)[Part.TRANSFORMER]
        generator = torch.Generator().manual_seed(9)
        for module, low_rank in layers.items():
            weight, new = WEIGHTS[module + ".weight"].flatten(1), expected()[module + ".weight"].flatten(1)
            x = torch.randn(3, weight.shape[1], generator=generator)
            down, up = low_rank.factors()
            assert torch.allclose(x @ weight.T + x @ down.T @ up.T, x @ new.T, rtol=1e-4, atol=1e-3)

    def test_patch_convolution(self) -> None:
        down, up = torch.randn(2, 16, 2, 2), torch.randn(64, 2, 1, 1)
        key = "lora_unet_x_embedder_proj"
        lora = read_lora({f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}, SHAPES)
        found = merged(WEIGHTS, lora[Part.TRANSFORMER])["x_embedder.proj.weight"]
        delta = torch.einsum("or,rikl->oikl", up[:, :, 0, 0], down)
        assert torch.allclose(found, WEIGHTS["x_embedder.proj.weight"] + delta, atol=1e-5)

    @pytest.mark.parametrize(
        ("prefix", "part"),
        [
            ("text_encoder.", Part.CLIP_L),
            ("text_encoder_2.", Part.CLIP_G),
            ("lora_te1_", Part.CLIP_L),
            ("lora_te2_", Part.CLIP_G),
        ],
    )
    def test_clip_encoders(self, prefix: str, part: Part) -> None:
        module = "text_model.encoder.layers.0.self_attn.q_proj"
        name = prefix + (module.replace(".", "_") if prefix.endswith("_") else module)
        shapes = {Part.CLIP_L: {module + ".weight": (8, 8)}, Part.CLIP_G: {module + ".weight": (8, 8)}}
        tensors = {f"{name}.lora_down.weight": torch.ones(2, 8), f"{name}.lora_up.weight": torch.ones(8, 2)}
        lora = read_lora(tensors, shapes)
        assert set(lora) == {part}
        assert set(lora[part]) == {module}

    @pytest.mark.parametrize("name", ["text_encoder_3.{}", "lora_te3_{}"])
    def test_t5_encoder(self, name: str) -> None:
        module = "encoder.block.0.layer.0.SelfAttention.q"
        name = name.format(module if name.startswith("text") else module.replace(".", "_"))
        tensors = {f"{name}.lora_down.weight": torch.ones(2, 8), f"{name}.lora_up.weight": torch.ones(6, 2)}
        assert set(read_lora(tensors, {Part.T5: {module + ".weight": (6, 8)}})[Part.T5]) == {module}

    def test_alpha_in_the_metadata(self) -> None:
        tensors = {key: tensor for key, tensor in peft().items() if not key.endswith("alpha")}
        metadata = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": ALPHA, "transformer.r": RANK})}
        lora = read_lora(tensors, SHAPES, metadata=metadata)
        found = merged(WEIGHTS, lora[Part.TRANSFORMER])
        for name, tensor in expected().items():
            assert torch.allclose(found[name], tensor, rtol=1e-5, atol=1e-5)


class TestLycoris:
    NAME = f"lycoris_{BLOCK}_0_ff_net_0_proj"
    TARGET = "joint_blocks.0.x_block.mlp.fc1"

    def delta(self, tensors: Tensors) -> Tensor:
        keyed = {f"{self.NAME}.{leaf}": tensor for leaf, tensor in tensors.items()}
        return read_lora(keyed, SHAPES)[Part.TRANSFORMER][self.TARGET].delta()

    @pytest.mark.parametrize("rank", [2, 16])
    def test_hadamard(self, rank: int) -> None:
        a1, a2, b1, b2 = (torch.randn(256, rank), torch.randn(256, rank), torch.randn(rank, 64), torch.randn(rank, 64))
        found = self.delta(
            {"hada_w1_a": a1, "hada_w1_b": b1, "hada_w2_a": a2, "hada_w2_b": b2, "alpha": torch.tensor(3.0)}
        )
        wanted = (a1 @ b1) * (a2 @ b2) * 3 / rank
        assert (found - wanted).norm() / wanted.norm() < 1e-5

    @pytest.mark.parametrize("blocks", [(4, 8), (16, 2)])
    def test_kronecker_of_whole_factors_ignores_alpha(self, blocks: tuple[int, int]) -> None:
        w1 = torch.randn(blocks)
        w2 = torch.randn(256 // blocks[0], 64 // blocks[1])
        found = self.delta({"lokr_w1": w1, "lokr_w2": w2, "alpha": torch.tensor(9.0)})
        assert torch.allclose(found, torch.kron(w1, w2), rtol=1e-4, atol=1e-5)

    def test_kronecker_with_low_rank_factors(self) -> None:
        a1, b1, a2, b2 = torch.randn(8, 2), torch.randn(2, 8), torch.randn(32, 2), torch.randn(2, 8)
        found = self.delta(
            {"lokr_w1_a": a1, "lokr_w1_b": b1, "lokr_w2_a": a2, "lokr_w2_b": b2, "alpha": torch.tensor(1.0)}
        )
        wanted = torch.kron(a1 @ b1, a2 @ b2) / 2
        assert (found - wanted).norm() / wanted.norm() < 1e-5


def with_extra(**extra: Tensor) -> Tensors:
    return {**peft(), **{key.replace("__", "."): tensor for key, tensor in extra.items()}}


class TestBadFiles:
    def test_every_unmatched_key_is_listed(self) -> None:
        tensors = with_extra(
            transformer__transformer_blocks__9__attn__to_q__lora_A__weight=torch.ones(2, 64),
            transformer__nowhere__lora_B__weight=torch.ones(2, 64),
        )
        with pytest.raises(BadWeights, match=r"2 keys of x fit nothing.*blocks\.9\.attn.*'transformer\.nowhere"):
            read_lora(tensors, SHAPES, name="x")

    def test_encoder_that_is_not_loaded(self) -> None:
        key = "lora_te2_text_model_encoder_layers_0_mlp_fc1"
        tensors = {f"{key}.lora_down.weight": torch.ones(2, 8), f"{key}.lora_up.weight": torch.ones(8, 2)}
        with pytest.raises(BadWeights, match="changes clip_g, which this model was loaded without"):
            read_lora({**peft(), **tensors}, SHAPES)

    @pytest.mark.parametrize(
        ("key", "hint"),
        [
            ("transformer.proj_out.dora_scale", "DoRA"),
            ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", "SDXL"),
            ("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight", "Flux"),
        ],
    )
    def test_the_hint_names_the_reason(self, key: str, hint: str) -> None:
        with pytest.raises(BadWeights, match=hint):
            read_lora({**peft(), key: torch.ones(2, 2)}, SHAPES)

    def test_a_whole_model_is_no_lora(self) -> None:
        with pytest.raises(BadWeights, match="does not look like a LoRA; it seems to be Flux"):
            read_lora({"double_blocks.0.img_attn.qkv.weight": torch.ones(2, 2)}, SHAPES)

    def test_empty(self) -> None:
        with pytest.raises(BadWeights, match="no tensors"):
            read_lora({}, SHAPES)

    def test_half_a_pair(self) -> None:
        tensors = peft()
        del tensors["transformer.proj_out.lora_B.weight"]
        with pytest.raises(BadWeights, match=r"proj_out is incomplete: it has only alpha, down"):
            read_lora(tensors, SHAPES)

    def test_ranks_differ(self) -> None:
        with pytest.raises(BadWeights, match="rank of 4 below and of 5 above"):
            read_lora({**peft(), "transformer.proj_out.lora_B.weight": torch.ones(64, 5)}, SHAPES)

    def test_made_for_another_width(self) -> None:
        with pytest.raises(BadWeights, match=r"changes a \(64, 99\) weight, and the model's is \(64, 64\)"):
            read_lora({**peft(), "transformer.proj_out.lora_A.weight": torch.ones(4, 99)}, SHAPES)

    def test_one_linear_under_two_names(self) -> None:
        pair = {"lora_down.weight": torch.ones(2, 64), "lora_up.weight": torch.ones(64, 2)}
        twice = {f"lora_unet_final_layer_linear.{leaf}": t for leaf, t in pair.items()}
        with pytest.raises(BadWeights, match=r"'final_layer\.linear' twice"):
            read_lora({**peft(), **twice}, SHAPES)

    @pytest.mark.parametrize("option", ["use_dora", "use_rslora", "alpha_pattern"])
    def test_unsupported_option_in_the_metadata(self, option: str) -> None:
        metadata = {"lora_adapter_metadata": json.dumps({f"transformer.{option}": {"a": 1}})}
        with pytest.raises(BadWeights, match=option):
            read_lora(peft(), SHAPES, metadata=metadata)

    @pytest.mark.parametrize("text", ["{", "[]"])
    def test_malformed_metadata(self, text: str) -> None:
        with pytest.raises(BadWeights, match="metadata"):
            read_lora(peft(), SHAPES, metadata={"lora_adapter_metadata": text})

    def test_damaged_values(self, tmp_path: Path) -> None:
        save_file(
            {**peft(), "transformer.proj_out.lora_B.weight": torch.full((64, 4), torch.nan)}, tmp_path / "a.safetensors"
        )
        with pytest.raises(BadWeights, match="NaN"):
            load_lora(tmp_path / "a.safetensors", SHAPES)

    def test_pickle(self, tmp_path: Path) -> None:
        torch.save(peft(), tmp_path / "a.pt")
        with pytest.raises(UnsafeFile):
            load_lora(tmp_path / "a.pt", SHAPES)


class TestMerging:
    def module(self, dtype: torch.dtype = torch.float32) -> nn.Module:
        module = MMDiT(CONFIG)
        module.load_state_dict(WEIGHTS)
        return module.to(dtype)

    def layers(self, tmp_path: Path) -> dict[str, LowRank]:
        save_file(peft(), tmp_path / "a.safetensors")
        return load_lora(tmp_path / "a.safetensors", SHAPES)[Part.TRANSFORMER]

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_merge_and_restore_to_the_bit(self, tmp_path: Path, dtype: torch.dtype) -> None:
        module = self.module(dtype)
        original = {n: t.clone() for n, t in module.state_dict().items()}
        before = merge_into(module, self.layers(tmp_path))
        wanted = expected()["final_layer.linear.weight"].to(dtype)
        assert torch.allclose(module.state_dict()["final_layer.linear.weight"], wanted, rtol=0.02, atol=0.02)
        restore(module, before)
        assert all(torch.equal(t, original[n]) for n, t in module.state_dict().items())

    def test_strength(self, tmp_path: Path) -> None:
        layers = self.layers(tmp_path)
        assert torch.equal(
            merged(WEIGHTS, layers, 0.0)["final_layer.linear.weight"], WEIGHTS["final_layer.linear.weight"]
        )
        half = merged(WEIGHTS, layers, 0.5)["context_embedder.weight"]
        whole = merged(WEIGHTS, layers, 1.0)["context_embedder.weight"]
        assert torch.allclose(2 * half - WEIGHTS["context_embedder.weight"], whole, atol=1e-4)

    def test_nothing_to_change_changes_nothing(self) -> None:
        module = self.module()
        layers = {
            "final_layer.linear": LowRank(torch.ones(1, 64), torch.ones(64, 1)),
            "gone": LowRank(*2 * (torch.ones(1, 1),)),
        }
        with pytest.raises(BadWeights, match=r"'gone\.weight'"):
            merge_into(module, layers)
        with pytest.raises(BadWeights, match=r"'gone\.weight'"):
            merged(WEIGHTS, layers)
        assert torch.equal(module.state_dict()["final_layer.linear.weight"], WEIGHTS["final_layer.linear.weight"])
