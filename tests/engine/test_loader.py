"""Models from disk: every layout of one model paints the same picture, and bad files are named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from keelbill.core.errors import BadWeights, InvalidInput, UnsafeFile
from keelbill.engine.clip import CLIPConfig, CLIPText
from keelbill.engine.config import MMDiTConfig
from keelbill.engine.loader import Placement, fingerprint, load_model, parse_dtype
from keelbill.engine.naming import Part, to_folder
from keelbill.engine.pipeline import GenerationRequest, Pipeline
from keelbill.engine.vae import SD3VAE, VAEConfig
from support.folders import write_embedded, write_pickle
from support.models import random_weights, transformer

CONFIG = MMDiTConfig(depth=2, width=128, pos_side=24, context_dim=256, pooled_dim=192)
CPU = Placement()
REQUEST = GenerationRequest("a red car", width=64, height=64, steps=2, seed=4)


def parts() -> dict[Part, dict[str, Tensor]]:
    """Make the parts of one small model of the family, under official names."""
    vae = SD3VAE(VAEConfig(widths=(32, 32, 32, 32)))
    clip_l = CLIPText(CLIPConfig(width=64, depth=2, mlp=96))
    clip_g = CLIPText(CLIPConfig(width=128, depth=2, mlp=96, projection=128, quick_gelu=False))
    networks = {Part.VAE: vae, Part.CLIP_L: clip_l, Part.CLIP_G: clip_g}
    for seed, network in enumerate(networks.values()):
        random_weights(network, seed)
    tensors = {part: dict(network.state_dict()) for part, network in networks.items()}
    return {Part.TRANSFORMER: dict(transformer(CONFIG).state_dict()), **tensors}


PREFIXES = {
    Part.TRANSFORMER: "model.diffusion_model.",
    Part.VAE: "first_stage_model.",
    Part.CLIP_L: "text_encoders.clip_l.transformer.",
    Part.CLIP_G: "text_encoders.clip_g.transformer.",
}


def store(path: Path, tensors: dict[str, Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: t.contiguous().clone() for name, t in tensors.items()}, path)
    return path


def single_file(folder: Path, model: dict[Part, dict[str, Tensor]]) -> tuple[Path, tuple[Path, ...]]:
    names = {PREFIXES[part] + name: t for part, tensors in model.items() for name, t in tensors.items()}
    return store(folder / "whole.safetensors", names), ()


def separate_files(folder: Path, model: dict[Part, dict[str, Tensor]]) -> tuple[Path, tuple[Path, ...]]:
    paths = [store(folder / f"{part.value}.safetensors", tensors) for part, tensors in model.items()]
    return paths[0], tuple(paths[1:])


def without_encoders(folder: Path, model: dict[Part, dict[str, Tensor]]) -> tuple[Path, tuple[Path, ...]]:
    inside = {part: model[part] for part in (Part.TRANSFORMER, Part.VAE)}
    path, _ = single_file(folder, inside)
    return path, tuple(store(folder / f"{p.value}.safetensors", model[p]) for p in (Part.CLIP_L, Part.CLIP_G))


def diffusers_folder(folder: Path, model: dict[Part, dict[str, Tensor]]) -> tuple[Path, tuple[Path, ...]]:
    store(
        folder / "transformer/diffusion_pytorch_model.safetensors", to_folder(Part.TRANSFORMER, model[Part.TRANSFORMER])
    )
    store(folder / "vae/diffusion_pytorch_model.safetensors", to_folder(Part.VAE, model[Part.VAE]))
    store(folder / "text_encoder/model.safetensors", model[Part.CLIP_L])
    store(folder / "text_encoder_2/model.safetensors", model[Part.CLIP_G])
    (folder / "model_index.json").write_text("{}", encoding="utf-8")
    return folder, ()


LAYOUTS = [single_file, separate_files, without_encoders, diffusers_folder]


def test_parity_of_layouts_is_bitwise(tmp_path: Path) -> None:
    model = parts()
    pictures = []
    for layout in LAYOUTS:
        path, extras = layout(tmp_path / layout.__name__, model)
        loaded = load_model(path, extras=extras, placement=CPU)
        pictures.append(Pipeline(loaded).picture(REQUEST))
    assert pictures[0].std() > 0.01
    assert all(torch.equal(picture, pictures[0]) for picture in pictures)


def test_turbo_is_told_by_its_name(tmp_path: Path) -> None:
    path, _ = single_file(tmp_path, parts())
    turbo = path.rename(tmp_path / "sd3.5_large_turbo.safetensors")
    assert load_model(turbo, placement=CPU).defaults.steps == 4
    assert load_model(turbo, placement=CPU, turbo=False).defaults.steps == 28


def test_half_precision_keeps_the_position_table(tmp_path: Path) -> None:
    path, _ = single_file(tmp_path, parts())
    loaded = load_model(path, placement=replace(CPU, dtype=torch.bfloat16))
    assert loaded.transformer.dtype == torch.bfloat16
    assert loaded.transformer.pos_embed.dtype == torch.float32
    assert Pipeline(loaded).picture(REQUEST).isfinite().all()


class TestEmbeddedFolder:
    def test_is_loaded_with_its_own_defaults(self, tmp_path: Path) -> None:
        loaded = load_model(write_embedded(tmp_path / "mini"), placement=CPU)
        assert (loaded.name, loaded.native_side, loaded.defaults.steps) == ("mini", 64, 4)
        picture = Pipeline(loaded).picture(GenerationRequest("a red apple"))
        assert picture.shape == (3, 64, 64)
        assert not torch.equal(picture, Pipeline(loaded).picture(GenerationRequest("a cat")))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "config.json is not valid JSON"),
            ('{"format": 2}', "must be of format 1"),
            ('{"format": 1}', "lacks 'latents'"),
            ("[]", "must be of format 1"),
        ],
    )
    def test_bad_configuration(self, tmp_path: Path, content: str, message: str) -> None:
        folder = write_embedded(tmp_path / "mini")
        (folder / "config.json").write_text(content, encoding="utf-8")
        with pytest.raises(BadWeights, match=message):
            load_model(folder, placement=CPU)

    def test_configuration_is_readable(self, tmp_path: Path) -> None:
        folder = write_embedded(tmp_path / "mini")
        assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["native_side"] == 64


class TestBadFiles:
    def test_truncated(self, tmp_path: Path) -> None:
        path, _ = single_file(tmp_path, parts())
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(BadWeights, match=r"truncated|shorter|ends"):
            load_model(path, placement=CPU)

    def test_another_family(self, tmp_path: Path) -> None:
        name = "model.diffusion_model.input_blocks.0.0.weight"
        path = store(tmp_path / "old.safetensors", {name: torch.zeros(320, 4, 3, 3)})
        with pytest.raises(BadWeights, match="seems to be a U-Net diffusion model"):
            load_model(path, placement=CPU)

    def test_pickle(self, tmp_path: Path) -> None:
        with pytest.raises(UnsafeFile, match="can run any program"):
            load_model(write_pickle(tmp_path / "model.ckpt"), placement=CPU)

    def test_not_a_number(self, tmp_path: Path) -> None:
        model = parts()
        model[Part.TRANSFORMER]["context_embedder.bias"] = torch.full((128,), torch.nan)
        path, _ = single_file(tmp_path, model)
        with pytest.raises(BadWeights, match=r"context_embedder\.bias"):
            load_model(path, placement=CPU)

    def test_missing_part(self, tmp_path: Path) -> None:
        path, _ = single_file(tmp_path, {Part.TRANSFORMER: parts()[Part.TRANSFORMER]})
        with pytest.raises(BadWeights, match="has no vae"):
            load_model(path, placement=CPU)


def test_fingerprint_tells_files_apart(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    assert len(fingerprint([first])) == 64
    assert fingerprint([first]) != fingerprint([second])
    assert fingerprint([first, second]) == fingerprint([second, first])


def test_unknown_precision() -> None:
    assert parse_dtype("auto") is None
    with pytest.raises(InvalidInput, match="float8"):
        parse_dtype("float8")
