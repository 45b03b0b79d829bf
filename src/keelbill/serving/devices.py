"""Which accelerators this machine offers to worker processes, and how they share it. Knows no torch.

The API process never imports torch, so it asks the system: the environment that CUDA itself obeys, then the driver.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from keelbill.core.settings import Settings

DRIVER_FOLDER: Final = Path("/proc/driver/nvidia/gpus")
_ASK_S: Final = 10.0


def worker_devices(settings: Settings, *, accelerators: int | None = None) -> list[str]:
    """Return the device of each worker that the settings ask for.

    Args:
        settings: ``devices`` names them in turn; else ``device`` says of which kind, and each accelerator of that kind
            gets a worker. ``workers``, if it was set, says how many there are; devices are then used in turn.
        accelerators: How many CUDA devices there are; the machine is asked if it is nothing.
    """
    named = [name.strip() for name in settings.devices.split(",") if name.strip()]
    if not named:
        named = _found(settings.device, accelerators)
    count = settings.workers if "workers" in settings.model_fields_set else len(named)
    return [named[place % len(named)] for place in range(count)]


def threads_each(settings: Settings, workers: int, *, cores: int | None = None) -> int:
    """Return how many threads of the processor each of some workers gets, at least 1.

    Threads of one process wait for each other; with more of them than cores, each waits for all the others too.
    """
    if settings.threads:
        return settings.threads
    return max(1, (usable_cores() if cores is None else cores) // max(1, workers))


def usable_cores() -> int:
    """Return how many cores this process may use, which in a container may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cuda_devices(environment: Mapping[str, str] | None = None, folder: Path = DRIVER_FOLDER) -> int:
    """Return how many CUDA devices a process of this environment sees.

    Args:
        environment: Of the process; this one's if nothing is given.
        folder: Where the driver lists its devices.
    """
    environment = os.environ if environment is None else environment
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return len(_before_the_first_invalid([part.strip() for part in chosen.split(",")]))
    if folder.is_dir():
        return sum(1 for _ in folder.iterdir())
    return _asked_of_the_tool()


def _found(device: str, accelerators: int | None) -> list[str]:
    """Return one device for each accelerator; with none or one of them, leave the choice to the worker."""
    if device not in {"auto", "cuda"}:
        return [device]
    count = cuda_devices() if accelerators is None else accelerators
    return [f"cuda:{index}" for index in range(count)] if count > 1 else [device]


def _before_the_first_invalid(parts: Sequence[str]) -> Sequence[str]:
    """Return the devices that CUDA would show: those before the first empty or negative name."""
    for place, part in enumerate(parts):
        if not part or part.startswith("-"):
            return parts[:place]
    return parts


def _asked_of_the_tool() -> int:
    """Count with the driver's own tool, where there is no folder of devices, as on Windows."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        said = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=_ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in said.stdout.splitlines()) if said.returncode == 0 else 0
