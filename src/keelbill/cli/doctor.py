"""``keelbill doctor``: what this machine can run, and how fast it expects to be. Measures small, estimates large."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

import click

from keelbill import __version__
from keelbill.cli._machine import Device, Processor, device, host_memory, matrix_rate, processor
from keelbill.core.errors import AppError, InvalidInput

if TYPE_CHECKING:
    from keelbill.engine.memory import MemoryPlan, ModelParts
    from keelbill.engine.model import Model

GIB: Final = 2**30
REACHED: Final = 0.5
"""Part of a large matrix product's speed that a whole step is taken to reach; about right on processors and cards."""

MEASURED_STEPS: Final = 4


@dataclass(frozen=True)
class Measured:
    """Seconds of one step, and of reading the prompt and decoding together, at the model's native size."""

    step_s: float
    rest_s: float

    def picture_s(self, steps: int) -> float:
        """Return the expected seconds of one picture."""
        return self.rest_s + steps * self.step_s


@click.command("doctor")
@click.option("--quick", is_flag=True, help="Measure nothing; only say what is here and what fits.")
@click.option("--server", help="Look at the server at this address instead of this machine.")
@click.option("--key", help="API key for --server, - to be asked; else KEELBILL_API_KEY or STABILITY_API_KEY.")
def command(quick: bool, server: str | None, key: str | None) -> None:
    """Say what this machine can run and how fast it expects to be.

    With --server, say instead what works there and what does not: connection, certificate, clock, version, key,
    balance, limits and speed. Exit code 1: something is broken.
    """
    if server is not None:
        from keelbill.cli import _remote_doctor

        return _remote_doctor.run(server, key)
    if key is not None:
        raise InvalidInput("key", "…", "given together with server")
    from keelbill.cli._pictures import require_engine
    from keelbill.core.settings import read_settings

    settings = read_settings()
    described = processor()
    _show("System", system_lines(described))
    require_engine()
    used = device(settings.device, described)
    _show("Engine", engine_lines(used))
    summary = _installed(settings.model, quick)
    click.echo("\nOfficial models (planned from their sizes, nothing is loaded; all numbers are estimates)")
    runs = _official(used, described, quick)
    return click.echo(f"\n{summary}\n{runs}")


def system_lines(described: Processor) -> list[str]:
    """Describe the system in lines for people."""
    total, free = host_memory()
    features = ", ".join(described.features) or "no known fast instructions"
    return [
        f"keelbill {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        f"processor: {described.name}, {described.cores} core{'s' if described.cores > 1 else ''}, {features}",
        f"memory: {free / GIB:.1f} of {total / GIB:.1f} GiB free" if total else "memory: unknown (psutil is missing)",
    ]


def engine_lines(used: Device) -> list[str]:
    """Describe torch and the device in lines for people."""
    libraries = []
    for name in ("torch", "transformers", "safetensors"):
        try:
            libraries.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            libraries.append(f"{name} is missing")
    where = f"device: {used.kind} ({used.name}), {used.memory_bytes / GIB:.1f} GiB"
    return [", ".join(libraries), where + (" shared with the system" if used.shared else "")]


def measure(model: Model) -> Measured:
    """Time a few steps of a model at its native size, after a warm-up."""
    from keelbill.engine.pipeline import GenerationRequest, Pipeline, StepEvent

    pipeline = Pipeline(model)
    request = GenerationRequest(prompt="a red apple", seed=1, steps=MEASURED_STEPS)
    pipeline.picture(request)
    start = time.perf_counter()
    marks = [time.perf_counter() for event in pipeline.generate(request) if isinstance(event, StepEvent)]
    end = time.perf_counter()
    step = (marks[-1] - marks[0]) / max(1, len(marks) - 1)
    return Measured(step, max(0.0, end - start - len(marks) * step))


def outlook(seconds: float) -> str:
    """Write a duration as a person would say it."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def installed_names() -> dict[str, str]:
    """Return the official models that are installed: the family member's name to the name that people type."""
    from keelbill.core.settings import read_settings
    from keelbill.storage.hub import Hub, Kind

    found = {}
    for item in Hub.from_settings(read_settings()).list(Kind.MODEL):
        family = item.family.replace("Stable Diffusion ", "SD").removesuffix(" Turbo")
        turbo = family == "SD3.5 Large" and "turbo" in f"{item.family} {item.name}".lower()
        found[f"{family} Turbo" if turbo else family] = item.name
    return found


def plan_line(parts: ModelParts, found: MemoryPlan, rate: float | None, installed: str = "") -> str:
    """Explain what an official model needs, and its time if a rate in operations a second is known."""
    speed = ""
    if found.fits and rate:
        seconds = parts.flops(parts.native, parts.native) / (rate * REACHED)
        speed = f"; about {outlook(seconds)} for {parts.native}x{parts.native} in {parts.steps} steps"
    return f"{parts.name} ({f'installed as {installed}' if installed else 'not installed'}): {found.sentence()}{speed}"


def _installed(default: str, quick: bool) -> str:
    """Show the installed models, measure the default one, and return the closing sentence."""
    from keelbill.cli import _pictures

    try:
        model = _pictures.load(default)
    except AppError as error:
        click.echo(f"\nModels\n  {default}: {error}")
        return f"The default model {default} cannot run here: {error}"
    side, steps = model.native_side, model.defaults.steps
    where, dtype = _pictures.device_of(model)
    head = f"{model.name}: {side}x{side}, {steps} steps, guidance {model.defaults.cfg:g}, {dtype} on {where}"
    if quick:
        _show("Models", [head])
        return f"This machine can run {model.name}; run `keelbill doctor` without --quick for its speed."
    measured = measure(model)
    lines = [
        head,
        f"  measured: {measured.step_s:.3f} s per step, {measured.rest_s:.3f} s for prompt and decoding",
    ]
    _show("Models", lines)
    return f"This machine runs {model.name} and should take about {outlook(measured.picture_s(steps))} per picture."


def _official(used: Device, described: Processor, quick: bool) -> str:
    """Show the plan of every official model and return the closing sentence."""
    import torch

    from keelbill.engine.memory import OFFICIAL, Precision, plan

    fast = used.kind != "cpu" or described.has_fast_bfloat16
    precision = Precision.BFLOAT16 if fast else Precision.FLOAT32
    rate = None if quick else matrix_rate(used.kind, torch.bfloat16 if fast else torch.float32)
    if rate:
        click.echo(f"  measured: {rate / 1e12:.2f} TFLOP/s in {precision} for a large matrix product")
    total, _ = host_memory()
    names = installed_names()
    fitting = []
    for parts in OFFICIAL:
        found = plan(
            parts,
            device_bytes=used.memory_bytes,
            host_bytes=total,
            precision=precision,
            shared_memory=used.shared,
        )
        click.echo(f"  {plan_line(parts, found, rate, names.get(parts.name, ''))}")
        if found.fits:
            fitting.append(parts.name)
    if not fitting:
        return "No official model fits its memory."
    return f"By its memory it can also run {', '.join(fitting)}; `keelbill models list` shows how to get them."


def _show(title: str, lines: list[str]) -> None:
    click.echo("\n".join([f"\n{title}", *(f"  {line}" for line in lines)]))
