"""A small network that says what is in a rendered scene: the thing, its colour, what it is made of, what is behind it.
It learns from renders only, never from a model's pictures, and then judges those."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from keelbill.core.errors import BadWeights
from keelbill.engine.autoencoder import SmallAutoencoder
from keelbill.train.backgrounds import BACKGROUND_COLOURS
from keelbill.train.landscapes import PLACES
from keelbill.train.palette import COLOURS
from keelbill.train.plan import Plan
from keelbill.train.scenes import Scene
from keelbill.train.stage import Log, MovingAverage, Progress, StopSignal, Trainable, learning_rate, train
from keelbill.train.transformer import Scenes

SIDE = 96
NONE = ""
UNKNOWN = -100
QUESTIONS = ("thing", "colour", "filling", "background")
FILE = "judge.safetensors"


@dataclass(frozen=True)
class Answers:
    """The words that a judge may answer with; the first of each list means "none".

    Attributes:
        thing: Things, and none for pictures that show no clean one.
        colour: Colours that a thing was moved to or has by nature.
        filling: What a thing is made of: small things or a material.
        background: Colours of backgrounds, and places.
    """

    thing: tuple[str, ...]
    colour: tuple[str, ...]
    filling: tuple[str, ...]
    background: tuple[str, ...]

    @classmethod
    def of(cls, plan: Plan, fillings: Sequence[str]) -> Answers:
        """The answers for a plan's scenes."""
        backgrounds = (NONE, *BACKGROUND_COLOURS, *(place for place in PLACES if place in plan.backgrounds))
        return cls((NONE, *plan.things), (NONE, *COLOURS), (NONE, *sorted(fillings)), backgrounds)

    def truth(self, scene: Scene) -> list[int]:
        """The right answer to every question about a scene of one thing; `UNKNOWN` where words would be arguable."""
        item, treatment = scene.items[0], scene.items[0].treatment
        filling = treatment.made_of or treatment.material
        colour = item.colour or treatment.dye or (NONE if filling else item.natural)
        return [
            self.thing.index(item.concept),
            self.colour.index(colour) if colour in self.colour and colour else UNKNOWN,
            self.filling.index(filling),
            self.background.index(scene.background.colour or scene.background.kind),
        ]


class _Stage(nn.Module):
    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(width_in, width, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(8, width)
        self.mix = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.norm(self.down(x)))
        out: Tensor = x + F.silu(self.mix(x))
        return out


class Judge(nn.Module):
    """The network.

    Args:
        answers: What it may answer.
        widths: Channels at a half, a quarter, ... of the side.
    """

    def __init__(self, answers: Answers, widths: tuple[int, ...] = (24, 48, 96, 160)) -> None:
        super().__init__()
        self.answers = answers
        self.widths = widths
        self.stages = nn.ModuleList(_Stage(a, b) for a, b in zip((3, *widths[:-1]), widths, strict=True))
        self.features_out = widths[-1] * 3
        self.heads = nn.ModuleDict(
            {name: nn.Linear(self.features_out, len(getattr(answers, name))) for name in QUESTIONS}
        )

    def features(self, pixels: Tensor) -> Tensor:
        """Describe pictures in [0, 1] with shape ``(B, 3, H, W)`` by ``(B, F)`` numbers."""
        x = F.interpolate(pixels.float(), (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        x = (2 * x - 1).contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x = stage(x)
        border = torch.cat([x[..., 0, :], x[..., -1, :], x[..., 0], x[..., -1]], dim=-1).mean(-1)
        return torch.cat([x.mean((2, 3)), x.amax((2, 3)), border], dim=1)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return logits for every question."""
        features = self.features(pixels)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.inference_mode()
    def judge(self, pixels: Tensor) -> list[dict[str, str]]:
        """Answer every question about pictures in [0, 1] with shape ``(B, 3, H, W)``."""
        logits = self(pixels)
        picked = {name: values.argmax(1).tolist() for name, values in logits.items()}
        return [
            {name: getattr(self.answers, name)[picked[name][row]] for name in QUESTIONS} for row in range(len(pixels))
        ]


@dataclass(frozen=True)
class JudgeRecipe:
    """How a judge is trained.

    Attributes:
        batch: Pictures of a step, spoilt ones included.
        spoilt: Share of pictures that show no clean thing.
        decoded: Share of pictures that went through the autoencoder.
        peak: Highest learning rate.
        warmup: Steps until the peak.
        average: Decay of the moving average of the weights.
        seed: Of everything.
    """

    batch: int = 64
    spoilt: float = 0.12
    decoded: float = 0.5
    peak: float = 2e-3
    warmup: int = 50
    average: float = 0.995
    seed: int = 0


def spoil(pixels: Tensor, rng: random.Random) -> Tensor:
    """Turn pictures ``(B, 3, H, W)`` into ones without a clean thing: mixed, doubled, cut up, or blurred."""
    out = pixels.clone()
    side = pixels.shape[-1]
    for row in range(len(pixels)):
        way = rng.randrange(4)
        if way == 0 and len(pixels) > 1:
            out[row] = (pixels[row] + pixels[(row + 1) % len(pixels)]) / 2
        elif way == 1:  # two heads
            half = pixels[row, :, :, side // 4 : 3 * side // 4]
            out[row] = torch.cat([half, half.flip(-1)], dim=-1)
        elif way == 2:
            piece = side // 4
            squares = [
                pixels[row, :, y : y + piece, x : x + piece]
                for y in range(0, 4 * piece, piece)
                for x in range(0, 4 * piece, piece)
            ]
            rng.shuffle(squares)
            out[row, :, : 4 * piece, : 4 * piece] = torch.cat(
                [torch.cat(squares[4 * r : 4 * r + 4], dim=-1) for r in range(4)], dim=-2
            )
        else:
            small = F.interpolate(pixels[row : row + 1], (8, 8), mode="area")
            out[row] = F.interpolate(small, pixels.shape[-2:], mode="bilinear", align_corners=False)[0]
            out[row] += 0.1 * torch.randn(out[row].shape, generator=torch.Generator().manual_seed(rng.getrandbits(32)))
    return out.clamp(0, 1)


LabelledScenes = Scenes
"""As the transformer's source, but the texts are JSON records of the scenes."""


def train_judge(
    scenes: LabelledScenes,
    answers: Answers,
    autoencoder: SmallAutoencoder,
    folder: Path,
    *,
    budget_s: float,
    recipe: JudgeRecipe,
    log: Log,
    stop: StopSignal | None = None,
) -> Judge:
    """Train, or go on training, a judge, and return it with averaged weights.

    Args:
        scenes: Renders scenes; their texts are `Scene.to_json` as JSON.
        answers: What the judge may answer.
        autoencoder: Of the model that will be judged, so that its softness is no fault.
        folder: Holds the checkpoint ``judge.safetensors``.
        budget_s: Seconds for the stage, restarts counted together.
        recipe: How to train.
        log: Receives lines of progress.
        stop: A flag that ends the stage early.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = Judge(answers)
    nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.peak, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
    generator = torch.Generator().manual_seed(recipe.seed)
    state = Trainable(model, optimizer, MovingAverage(model, recipe.average), generator, Progress())
    path = folder / FILE
    if state.resume(path):
        log(f"judge: resumed at step {state.progress.step}")
    rng = random.Random(f"judge/{recipe.seed}/{state.progress.step}")

    def take_step(fraction: float) -> tuple[float, int]:
        pixels, truth = labelled(scenes, answers, recipe.batch, rng)
        decoded = round(recipe.decoded * recipe.batch)
        if decoded:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                pixels[:decoded] = autoencoder.decode(autoencoder.encode(pixels[:decoded])).float().clamp(0, 1)
        spoilt = rng.sample(range(recipe.batch), round(recipe.spoilt * recipe.batch))
        pixels[spoilt] = spoil(pixels[spoilt], rng)
        truth[spoilt, 0] = answers.thing.index(NONE)
        truth[spoilt, 1:] = UNKNOWN
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(pixels)
        loss = sum(
            (
                F.cross_entropy(logits[name].float(), truth[:, column], label_smoothing=0.02)
                for column, name in enumerate(QUESTIONS)
                if bool((truth[:, column] != UNKNOWN).any())
            ),
            start=torch.zeros(()),
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate = learning_rate(recipe.peak, state.progress.step, fraction, warmup=recipe.warmup, decay_from=0.5)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        return float(loss.detach()), recipe.batch

    train(state, take_step, path=path, budget_s=budget_s, log=log, stop=stop)
    state.average.copy_to(model)
    return model.eval().requires_grad_(False)


def labelled(scenes: LabelledScenes, answers: Answers, count: int, rng: random.Random) -> tuple[Tensor, Tensor]:
    """Render scenes as pixels ``(B, 3, H, W)`` in [0, 1] and the right answers ``(B, 4)``."""
    pixels, records = scenes(count, rng)
    truth = [answers.truth(Scene.from_json(json.loads(record))) for record in records]
    return pixels.float() / 255, torch.tensor(truth)


@torch.inference_mode()
def accuracy(judge: Judge, scenes: LabelledScenes, count: int, rng: random.Random) -> dict[str, float]:
    """Share of right answers on fresh renders, by question; arguable ones are left out."""
    right = {name: [0, 0] for name in QUESTIONS}
    for start in range(0, count, 64):
        pixels, truth = labelled(scenes, judge.answers, min(64, count - start), rng)
        logits = judge(pixels)
        for column, name in enumerate(QUESTIONS):
            known = truth[:, column] != UNKNOWN
            right[name][0] += int((logits[name].argmax(1) == truth[:, column])[known].sum())
            right[name][1] += int(known.sum())
    return {name: hits / max(1, total) for name, (hits, total) in right.items()}


def save_judge(judge: Judge, folder: Path) -> Path:
    """Write a judge in float16, its answers in the file's metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {"answers": json.dumps(asdict(judge.answers)), "widths": json.dumps(judge.widths)}
    tensors = {name: tensor.half().contiguous() for name, tensor in judge.state_dict().items()}
    path = folder / FILE
    save_file(tensors, path, metadata=said)
    path.chmod(0o644)
    return path


def load_judge(folder: Path) -> Judge:
    """Read what `save_judge` wrote.

    Raises:
        BadWeights: There is no judge.
    """
    path = folder / FILE
    if not path.is_file():
        raise BadWeights(f"There is no judge in {folder.name}.", hint="`keelbill train judge` makes one.")
    with safe_open(path, "pt") as file:
        said = file.metadata()
    if not said or "answers" not in said:
        raise BadWeights(f"{path.name} in {folder.name} is not a judge.")
    answers = Answers(**{name: tuple(words) for name, words in json.loads(said["answers"]).items()})
    judge = Judge(answers, tuple(json.loads(said["widths"])))
    judge.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return judge.eval().requires_grad_(False)
