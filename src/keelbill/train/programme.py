"""The whole training of an embedded model, in stages that resume. Knows no command line.

The stages are the autoencoder, the transformer and the export; the budget counts restarts together. The upscaler, the
few-step student and the judge are stages too; each takes the budget of its call for itself.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keelbill.engine.config import MMDiTConfig
from keelbill.engine.mmdit import MMDiT
from keelbill.engine.model import SamplingDefaults
from keelbill.train.autoencoder import AutoencoderRecipe, Crops, load_pictures, measure_latents, train_autoencoder
from keelbill.train.batch_render import BatchRenderer
from keelbill.train.captions import captions
from keelbill.train.data import LOOKS, Sprites, build_sprites, sharp_pictures
from keelbill.train.distill import DistillRecipe, distill_transformer
from keelbill.train.export import (
    LATENTS_FILE,
    METRICS_FILE,
    averaged,
    export_model,
    export_turbo,
    fetch_minilm,
    open_minilm,
    read_autoencoder,
)
from keelbill.train.judge import Answers, Judge, JudgeRecipe, accuracy, save_judge, train_judge
from keelbill.train.plan import PLAN_FILE, Plan
from keelbill.train.scenes import Catalogue
from keelbill.train.stage import Log, StopSignal
from keelbill.train.suite import questions, save_suite
from keelbill.train.transformer import EncodeTexts, ScenePool, Scenes, TransformerRecipe, train_transformer
from keelbill.train.treatments import bake, usual_treatments
from keelbill.train.upscaler import UpscalerRecipe, export_upscaler, train_upscaler

STAGES = ("autoencoder", "transformer", "export")
EXTRA_STAGES = ("upscaler", "turbo", "judge")
TURBO = SamplingDefaults(steps=4, cfg=1.0, sampler="euler", schedule="trailing", shift=DistillRecipe().shift)
SHARP_SIDE = 192
SUITE_FILE = "suite.json"
QUESTIONS_PER_CATEGORY = 80
AUTOENCODER_SHARE = 0.25
CROP_SIDE = 96
MEASURED_PICTURES = 256


@dataclass(frozen=True)
class Folders:
    """Where a training run keeps things.

    Attributes:
        run: Plan and checkpoints; resuming reads them.
        sprites: The sprite pack; built when it is missing.
        cache: Downloaded packages.
        photographs: Pictures that the autoencoder also learns from; may be nothing.
    """

    run: Path
    sprites: Path
    cache: Path
    photographs: Path | None = None


def open_sprites(folders: Folders) -> Sprites:
    """Read the sprite pack, and build it first where there is none: the things, and what they are made into."""
    if (folders.sprites / "sprites.npy").is_file():
        return Sprites.load(folders.sprites)
    plain = build_sprites(folders.sprites, cache=folders.cache)
    sprites = bake(plain, usual_treatments(plain), workers=os.cpu_count() or 1)
    sprites.save(folders.sprites)
    return sprites


def train_embedded(
    folders: Folders,
    *,
    budget_s: float,
    log: Log,
    stages: Sequence[str] = STAGES,
    out: Path | None = None,
    name: str = "keelbill-mini",
    stop: StopSignal | None = None,
) -> Path | None:
    """Run stages of the training, each from its last checkpoint.

    Args:
        folders: Where everything lies.
        budget_s: Seconds of both training stages together, restarts counted.
        log: Receives lines of progress.
        stages: Which ones, of `STAGES` and `EXTRA_STAGES`.
        out: The model folder that the export writes; beside the checkpoints if not given.
        name: The model's name.
        stop: A flag that ends a stage early.

    Returns:
        The model folder, if it was exported.
    """
    if not (folders.run / PLAN_FILE).is_file():
        Plan(photographs=folders.photographs is not None).save(folders.run)
    plan = Plan.load(folders.run)
    sprites = open_sprites(folders)
    if "autoencoder" in stages and not (folders.run / "transformer.safetensors").is_file():
        # Another autoencoder would give a transformer that has begun to learn other latents.
        _autoencoder_stage(folders, sprites, budget_s * AUTOENCODER_SHARE, log, stop)
    if "upscaler" in stages:
        _upscaler_stage(folders, budget_s, log, stop)
    if "judge" in stages:
        judge_stage(plan, sprites, folders.run, budget_s, log, stop=stop)
    if not {"transformer", "turbo", "export"} & set(stages):
        return None
    text, tokenizer = open_minilm(fetch_minilm(folders.cache))
    if "transformer" in stages:
        transformer_stage(
            plan, sprites, text.encode_batch, folders.run, (1 - AUTOENCODER_SHARE) * budget_s, log, stop=stop
        )
    if "turbo" in stages:
        _turbo_stage(plan, sprites, text.encode_batch, folders.run, budget_s, log, stop)
    if "export" not in stages:
        return None
    out = out or folders.run / name
    export_model(folders.run, out, name=name, sprites_folder=folders.sprites, text=text, tokenizer=tokenizer)
    if (folders.run / "turbo.safetensors").is_file():
        turbo = f"{name}-turbo"
        export_turbo(folders.run, out, out.with_name(turbo), name=turbo, sampling=TURBO)
    return out


def _photographs(folders: Folders) -> NDArray[np.uint8]:
    if folders.photographs is None:
        return np.zeros((0, 256, 256, 4), np.uint8)
    return load_pictures(sorted(folders.photographs.glob("*.webp")), 256)


def _upscaler_stage(folders: Folders, budget_s: float, log: Log, stop: StopSignal | None) -> None:
    objects = sharp_pictures(tuple(LOOKS), folders.cache, every=2)
    crops = Crops(_photographs(folders), objects, SHARP_SIDE, photograph_share=0.2)
    autoencoder, _ = read_autoencoder(folders.run)
    train_upscaler(crops, autoencoder, folders.run, budget_s=budget_s, recipe=UpscalerRecipe(), log=log, stop=stop)
    export_upscaler(folders.run, folders.run / "keelbill-x4")


def _turbo_stage(
    plan: Plan, sprites: Sprites, encode: EncodeTexts, run: Path, budget_s: float, log: Log, stop: StopSignal | None
) -> None:
    autoencoder, latents = read_autoencoder(run)
    tensors = averaged(run / "transformer.safetensors")
    teacher = MMDiT(MMDiTConfig.from_tensors({k: tuple(v.shape) for k, v in tensors.items()}), strict=False)
    teacher.load_state_dict(tensors)
    pool = ScenePool(scene_source(plan, sprites), autoencoder, latents, encode, plan.pool)
    distill_transformer(
        teacher.eval().requires_grad_(False), pool, run, budget_s=budget_s, recipe=DistillRecipe(), log=log, stop=stop
    )


def judge_stage(
    plan: Plan, sprites: Sprites, run: Path, budget_s: float, log: Log, *, stop: StopSignal | None = None
) -> Judge:
    """Train the judge of a plan's scenes and write it with its suite of prompts to ``keelbill-judge``."""
    infos = plan.choose(sprites.infos)
    fillings = {info.treatment.made_of or info.treatment.material for info in infos} - {""}
    answers = Answers.of(plan, sorted(fillings))
    catalogue, render = Catalogue(infos), BatchRenderer(sprites)

    def scenes(count: int, rng: random.Random) -> tuple[Tensor, list[str]]:
        drawn = plan.scenes(catalogue, count, rng)
        return render(drawn, plan.side), [json.dumps(scene.to_json()) for scene in drawn]

    autoencoder, _ = read_autoencoder(run)
    recipe = JudgeRecipe(seed=plan.seed)
    judge = train_judge(scenes, answers, autoencoder, run, budget_s=budget_s, recipe=recipe, log=log, stop=stop)
    shares = accuracy(judge, scenes, 512, random.Random("held out"))
    log("judge: right on fresh renders: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    out = run / "keelbill-judge"
    save_judge(judge, out)
    save_suite(out / SUITE_FILE, questions(infos, answers, QUESTIONS_PER_CATEGORY))
    (out / METRICS_FILE).write_text(json.dumps({"accuracy": shares}) + "\n", encoding="utf-8")
    return judge


def _autoencoder_stage(folders: Folders, sprites: Sprites, budget_s: float, log: Log, stop: StopSignal | None) -> None:
    crops = Crops(_photographs(folders), np.asarray(sprites.pixels), CROP_SIDE)
    model = train_autoencoder(crops, folders.run, budget_s=budget_s, recipe=AutoencoderRecipe(), log=log, stop=stop)
    latents = measure_latents(model, crops, MEASURED_PICTURES)
    numbers = {"scale": latents.scale, "shift": latents.shift}
    (folders.run / LATENTS_FILE).write_text(json.dumps(numbers) + "\n", encoding="utf-8")


def scene_source(plan: Plan, sprites: Sprites) -> Scenes:
    """Return a function that renders scenes of a plan with one caption each."""
    catalogue = Catalogue(plan.choose(sprites.infos))
    render = BatchRenderer(sprites)

    def scenes(count: int, rng: random.Random) -> tuple[Tensor, list[str]]:
        drawn = plan.scenes(catalogue, count, rng)
        return render(drawn, plan.side), [rng.choice(captions(scene)) for scene in drawn]

    return scenes


def transformer_stage(
    plan: Plan,
    sprites: Sprites,
    encode_texts: EncodeTexts,
    run: Path,
    budget_s: float,
    log: Log,
    *,
    first_scenes: int = 2048,
    stop: StopSignal | None = None,
) -> None:
    """Train the transformer on latents of the plan's scenes; the autoencoder must be there."""
    autoencoder, latents = read_autoencoder(run)
    with torch.no_grad():
        probe = encode_texts(["a"])[0]
    pool = ScenePool(scene_source(plan, sprites), autoencoder, latents, encode_texts, plan.pool)
    recipe = TransformerRecipe(
        config=plan.network(probe.context.shape[1], probe.pooled.shape[0]),
        batch=plan.batch,
        fresh=max(1, plan.batch // 6),
        pool=plan.pool,
        seed=plan.seed,
    )
    train_transformer(pool, run, budget_s=budget_s, recipe=recipe, log=log, first_scenes=first_scenes, stop=stop)
