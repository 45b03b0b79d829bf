"""The whole training of an embedded model, in stages that resume. Knows no command line.

The stages are the autoencoder, the transformer and the export; the budget counts restarts together.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keelbill.train.autoencoder import AutoencoderRecipe, Crops, load_pictures, measure_latents, train_autoencoder
from keelbill.train.batch_render import BatchRenderer
from keelbill.train.captions import captions
from keelbill.train.data import Sprites, build_sprites
from keelbill.train.export import LATENTS_FILE, export_model, fetch_minilm, open_minilm, read_autoencoder
from keelbill.train.plan import PLAN_FILE, Plan
from keelbill.train.scenes import Catalogue
from keelbill.train.stage import Log, StopSignal
from keelbill.train.transformer import EncodeTexts, ScenePool, Scenes, TransformerRecipe, train_transformer

STAGES = ("autoencoder", "transformer", "export")
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
    """Read the sprite pack, and build it first where there is none."""
    if (folders.sprites / "sprites.npy").is_file():
        return Sprites.load(folders.sprites)
    return build_sprites(folders.sprites, cache=folders.cache, everyday=True)


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
        stages: Which ones, of `STAGES`.
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
    if "transformer" not in stages and "export" not in stages:
        return None
    text, tokenizer = open_minilm(fetch_minilm(folders.cache))
    if "transformer" in stages:
        transformer_stage(
            plan, sprites, text.encode_batch, folders.run, (1 - AUTOENCODER_SHARE) * budget_s, log, stop=stop
        )
    if "export" not in stages:
        return None
    out = out or folders.run / name
    return export_model(folders.run, out, name=name, sprites_folder=folders.sprites, text=text, tokenizer=tokenizer)


def _autoencoder_stage(folders: Folders, sprites: Sprites, budget_s: float, log: Log, stop: StopSignal | None) -> None:
    photographs: NDArray[np.uint8] = np.zeros((0, 256, 256, 4), np.uint8)
    if folders.photographs is not None:
        photographs = load_pictures(sorted(folders.photographs.glob("*.webp")), 256)
    crops = Crops(photographs, np.asarray(sprites.pixels), CROP_SIDE)
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
