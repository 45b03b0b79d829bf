"""A tiny training from sprites to a model that the engine loads: the loss falls and the prompt matters."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from keelbill.core.errors import InvalidInput
from keelbill.engine.loader import Placement, load_model
from keelbill.engine.model import SamplingDefaults
from keelbill.engine.pipeline import GenerationRequest, Pipeline
from keelbill.engine.text import MiniLMTextEncoder
from keelbill.engine.tokenize import FileTokenizer
from keelbill.train.autoencoder import AutoencoderRecipe, Crops, measure_latents, train_autoencoder
from keelbill.train.distill import DistillRecipe, distill_loss, distill_transformer
from keelbill.train.evaluate import PROMPTS, evaluate, nearest_background, write_metrics
from keelbill.train.export import LATENTS_FILE, export_model, export_turbo, read_autoencoder, read_parts
from keelbill.train.plan import THINGS, Plan
from keelbill.train.programme import scene_source, transformer_stage
from keelbill.train.transformer import ScenePool
from support.folders import word_tokenizer
from support.models import random_weights
from support.pictures import tiny_sprites


def text_encoder() -> MiniLMTextEncoder:
    from keelbill.engine.minilm import MiniLM, MiniLMConfig

    network = MiniLM(MiniLMConfig(vocabulary=80, positions=40, width=64, depth=2, mlp=96)).eval()
    random_weights(network, 1)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if tensor.ndim == 1 and name.endswith("weight"):
                tensor.fill_(1)  # norms that leave words apart
            if name.endswith("word_embeddings.weight"):
                tensor.mul_(10)
    return MiniLMTextEncoder(network.requires_grad_(False), FileTokenizer(word_tokenizer()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("training")
    run, log = folder / "run", list[str]()
    sprites = tiny_sprites()
    sprites.save(folder / "sprites")
    (folder / "sprites" / "ATTRIBUTION.md").write_text("Made for a test.\n", encoding="utf-8")
    things = tuple(info.concept for info in sprites.infos)
    plan = Plan(things=things, side=32, depth=2, width=64, batch=8, pool=64)
    plan.save(run)
    crops = Crops(np.zeros((0, 64, 64, 4), np.uint8), np.asarray(sprites.pixels), 32)
    autoencoder = train_autoencoder(crops, run, budget_s=6, recipe=AutoencoderRecipe(batch=8), log=log.append)
    latents = measure_latents(autoencoder, crops, 64)
    (run / LATENTS_FILE).write_text(json.dumps({"scale": latents.scale, "shift": latents.shift}), encoding="utf-8")
    text = text_encoder()
    for budget_s in (1, 12):  # stopped after a second, then resumed
        transformer_stage(plan, sprites, text.encode_batch, run, budget_s, log.append, first_scenes=64)
    export_model(
        run, folder / "mini", name="mini", sprites_folder=folder / "sprites", text=text, tokenizer=word_tokenizer()
    )
    return folder, log


def losses(log: list[str], stage: str) -> list[float]:
    found = (re.search(rf"^{stage} .*loss ([\d.]+)", line) for line in log)
    return [float(match[1]) for match in found if match]


def test_loss_falls_and_training_resumes(trained: tuple[Path, list[str]]) -> None:
    _, log = trained
    first, *_, last = losses(log, "transformer")
    assert last < 0.95 * first
    assert any("transformer: resumed at step" in line for line in log)


def test_exported_model_follows_its_prompt(trained: tuple[Path, list[str]]) -> None:
    folder, _ = trained
    model = load_model(folder / "mini", placement=Placement())
    assert (model.name, model.native_side, model.preview is not None) == ("mini", 32, True)
    pipeline = Pipeline(model)
    red = pipeline.picture(GenerationRequest("a red apple", steps=6, seed=1))
    assert red.shape == (3, 32, 32)
    assert torch.equal(red, pipeline.picture(GenerationRequest("a red apple", steps=6, seed=1)))
    assert (red - pipeline.picture(GenerationRequest("a blue cat", steps=6, seed=1))).abs().max() > 0.01


def test_exported_folder_says_what_it_is(trained: tuple[Path, list[str]]) -> None:
    folder = trained[0] / "mini"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["name"] == "mini"
    assert config["training"]["transformer"]["samples"] > 0
    assert "Made for a test." in (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert all(path.stat().st_size <= 16_000_000 for path in folder.iterdir())


def test_evaluation_writes_a_sheet_and_numbers(trained: tuple[Path, list[str]], tmp_path: Path) -> None:
    model = load_model(trained[0] / "mini", placement=Placement())
    result = evaluate(model, tmp_path / "sheet.png", seeds=1, prompts=2)
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert result.pictures == 2
    assert 0 <= result.backgrounds <= 1
    write_metrics(tmp_path / "metrics.json", result)
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["evaluation"]["pictures"] == 2


def test_scenes_are_the_same_for_the_same_chance() -> None:
    import random

    sprites = tiny_sprites()
    plan = Plan(things=tuple(info.concept for info in sprites.infos), side=32)
    first, again = (scene_source(plan, sprites)(4, random.Random(3)) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert first[1] == again[1]


def test_missing_stage_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"autoencoder\.safetensors"):
        read_parts(tmp_path)
    with pytest.raises(InvalidInput, match=r"plan\.json"):
        Plan.load(tmp_path)


def test_suite_stays_within_the_domain() -> None:
    from keelbill.train.backgrounds import BACKGROUND_COLOURS

    assert len(PROMPTS) == 40
    for prompt, background in PROMPTS:
        assert background in BACKGROUND_COLOURS
        assert any(thing in prompt for thing in THINGS)


@pytest.mark.parametrize("name", ["white", "pink", "dark blue", "yellow"])
def test_backgrounds_are_told_by_their_corners(name: str) -> None:
    from keelbill.train.backgrounds import BACKGROUND_COLOURS

    picture = np.full((32, 32, 3), BACKGROUND_COLOURS[name].rgb, np.uint8)
    picture[8:24, 8:24] = 0
    assert nearest_background(picture) == name


def test_a_student_learns_few_steps_and_borrows_the_rest(trained: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, _ = trained
    run = tmp_path / "run"
    teacher = load_model(folder / "mini", placement=Placement()).transformer
    autoencoder, latents = read_autoencoder(folder / "run")
    plan, sprites, text = Plan.load(folder / "run"), tiny_sprites(), text_encoder()
    pool = ScenePool(scene_source(plan, sprites), autoencoder, latents, text.encode_batch, 64)
    recipe = DistillRecipe(steps=2, substeps=2, batch=8, fresh=1, warmup=5, average=0.9)
    log: list[str] = []
    student = distill_transformer(teacher, pool, run, budget_s=6, recipe=recipe, log=log.append, first_scenes=64)
    generator = torch.Generator().manual_seed(4)
    examples, empty = pool.draw(16, random.Random(0)), text.encode_batch([""])[0]
    untaught = distill_loss(teacher, teacher, examples, empty, recipe, generator.manual_seed(4))
    taught = distill_loss(student, teacher, examples, empty, recipe, generator.manual_seed(4))
    assert float(taught) < float(untaught)

    sampling = SamplingDefaults(steps=2, cfg=1.0, sampler="euler", schedule="trailing", shift=2.0)
    out = export_turbo(run, folder / "mini", folder / "mini-turbo", name="mini-turbo", sampling=sampling)
    model = load_model(out, placement=Placement())
    assert (model.name, model.defaults.steps, model.defaults.cfg) == ("mini-turbo", 2, 1.0)
    picture = Pipeline(model).picture(GenerationRequest("a red square", seed=1))
    assert picture.shape == (3, 32, 32)


def test_a_student_lies_beside_its_teacher(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="beside mini"):
        export_turbo(tmp_path, tmp_path / "mini", tmp_path / "x" / "t", name="t", sampling=SamplingDefaults())
