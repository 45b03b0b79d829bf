"""What every training stage shares: a wall-clock budget, checkpoints that resume, moving averages and a log.
Knows no network and no data."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CHECKPOINT_EVERY_S = 120.0
LOG_EVERY_S = 15.0

Log = Callable[[str], None]


@dataclass
class Progress:
    """How far a stage has come; kept across restarts."""

    step: int = 0
    samples: int = 0
    seconds: float = 0.0


class StopSignal:
    """Turns SIGTERM and SIGINT into a flag that the loop reads between two steps."""

    def __init__(self) -> None:
        self.raised = False

    def _raise(self, signum: int, frame: FrameType | None) -> None:
        self.raised = True

    @contextmanager
    def installed(self) -> Iterator[StopSignal]:
        """Listen for the signals until the block ends."""
        kinds = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(kind, self._raise) for kind in kinds]
        try:
            yield self
        finally:
            for kind, handler in zip(kinds, before, strict=True):
                signal.signal(kind, handler)


class MovingAverage:
    """An exponential moving average of a network's parameters in float32, ramped up at the start.

    Args:
        model: The network to follow.
        decay: The final decay for each step, below 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: value.detach().float().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the network's present parameters."""
        weight = 1.0 - min(self.decay, (1.0 + step) / (10.0 + step))
        state = model.state_dict()
        names = list(self.values)
        torch._foreach_lerp_([self.values[n] for n in names], [state[n].float() for n in names], weight)

    def copy_to(self, model: nn.Module) -> None:
        """Give a network the averaged parameters."""
        model.load_state_dict(self.values)


def learning_rate(peak: float, step: int, fraction: float, *, warmup: int, decay_from: float) -> float:
    """Warm up by steps, stay at the peak, then fall linearly to a fiftieth of it at the end of the budget.

    Args:
        peak: The highest rate.
        step: Steps done.
        fraction: Share of the time budget that is spent, in [0, 1].
        warmup: Steps until the peak.
        decay_from: Share of the budget at which the fall begins.
    """
    rise = min(1.0, (step + 1) / warmup)
    fall = 1.0 if fraction < decay_from else max(0.02, (1.0 - fraction) / (1.0 - decay_from))
    return peak * rise * fall


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": value.contiguous()
        for index, slots in state.items()
        for name, value in slots.items()
        if isinstance(value, Tensor)
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            slots.setdefault(int(index), {})[name] = value
    state = optimizer.state_dict()
    state["state"] = slots
    optimizer.load_state_dict(state)


@dataclass
class Trainable:
    """A network with all that a checkpoint of its training holds."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: MovingAverage
    generator: torch.Generator
    progress: Progress

    def save(self, path: Path, **facts: Any) -> None:
        """Write the checkpoint, as a safetensors file and a JSON file beside it; never leaves half a file."""
        tensors = {f"model.{k}": v.contiguous() for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v.contiguous() for k, v in self.average.values.items()}
        tensors |= _optimizer_tensors(self.optimizer)
        tensors["generator"] = self.generator.get_state()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        facts_text = json.dumps({"progress": asdict(self.progress), **facts})
        save_file(tensors, partial, metadata={"facts": facts_text})
        partial.replace(path)
        path.with_suffix(".json").write_text(facts_text + "\n")

    def resume(self, path: Path) -> bool:
        """Continue from a checkpoint; false when there is none."""
        if not path.exists():
            return False
        tensors = load_file(path)
        self.model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        self.average.values = {k[8:]: v for k, v in tensors.items() if k.startswith("average.")}
        _restore_optimizer(self.optimizer, tensors)
        self.generator.set_state(tensors["generator"])
        facts = json.loads(path.with_suffix(".json").read_text())
        for name, value in facts["progress"].items():
            setattr(self.progress, name, value)
        return True


def train(
    state: Trainable,
    take_step: Callable[[float], tuple[float, int]],
    *,
    path: Path,
    budget_s: float,
    log: Log,
    facts: Mapping[str, Any] | None = None,
    stop: StopSignal | None = None,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
) -> float:
    """Take steps until the stage's budget is spent or a signal arrives, then save.

    Args:
        state: What is trained; its progress counts the budget across restarts.
        take_step: Takes one optimizer step at a share of the budget in [0, 1]; returns the loss and the samples seen.
        path: The checkpoint.
        budget_s: Seconds for the whole stage, restarts counted together.
        log: Receives one line about every fifteen seconds.
        facts: Written into the checkpoint's JSON.
        stop: The flag to obey; without one the process's signals are listened to.
        checkpoint_every_s: Seconds between two checkpoints.

    Returns:
        The mean loss since the last line of the log.
    """
    facts = facts or {}
    progress = state.progress
    mean_loss = float("nan")
    with (stop or StopSignal()).installed() as flag:
        saved = logged = last = time.monotonic()
        losses: list[float] = []
        seen = 0
        while progress.seconds < budget_s and not flag.raised:
            loss, samples = take_step(progress.seconds / budget_s)
            state.average.update(state.model, progress.step)
            now = time.monotonic()
            progress.step += 1
            progress.samples += samples
            progress.seconds += now - last
            last = now
            losses.append(loss)
            seen += samples
            if now - logged >= LOG_EVERY_S or progress.seconds >= budget_s:
                mean_loss = sum(losses) / len(losses)
                rate = seen / max(now - logged, 1e-9)
                log(
                    f"{path.stem} {progress.seconds / 60:.1f}/{budget_s / 60:.0f} min, step {progress.step}, "
                    f"loss {mean_loss:.4f}, {rate:.1f} samples/s, {progress.samples} samples"
                )
                logged, losses, seen = now, [], 0
            if now - saved >= checkpoint_every_s:
                state.save(path, **facts)
                saved = last = time.monotonic()
        state.save(path, **facts)
    return mean_loss
