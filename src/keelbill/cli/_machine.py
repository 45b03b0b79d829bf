"""What this machine is: processor, memory, accelerator, and how fast it multiplies. Knows no models."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

FEATURES: Final = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "neon", "asimd", "bf16", "sve")
"""Processor features that decide which kernels are quick."""

_CPU_INFO: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Processor:
    """The processor's name, the cores that we may use, and which of `FEATURES` it has."""

    name: str
    cores: int
    features: tuple[str, ...]

    @property
    def has_fast_bfloat16(self) -> bool:
        """Whether it multiplies bfloat16 in hardware."""
        return any(feature in self.features for feature in ("avx512_bf16", "amx_bf16", "bf16"))


@dataclass(frozen=True)
class Device:
    """Where networks run.

    Args:
        kind: ``cpu``, ``cuda`` or ``mps``.
        name: What its maker calls it.
        memory_bytes: All of its memory.
        shared: Its memory is the host's memory.
    """

    kind: str
    name: str
    memory_bytes: int
    shared: bool


def processor(cpu_info: str | None = None) -> Processor:
    """Describe the processor.

    Args:
        cpu_info: The text of ``/proc/cpuinfo``; read where there is one.
    """
    if cpu_info is None:
        cpu_info = _CPU_INFO.read_text() if _CPU_INFO.is_file() else ""
    lines = dict(line.split(":", 1) for line in reversed(cpu_info.splitlines()) if ":" in line)
    facts = {key.strip(): value.strip() for key, value in lines.items()}
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    name = facts.get("model name") or platform.processor() or platform.machine()
    return Processor(name, usable_cores(), tuple(feature for feature in FEATURES if feature in flags))


def usable_cores() -> int:
    """Count the cores that the system lets this process use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def host_memory() -> tuple[int, int]:
    """Return all and free bytes of the host's memory; zeros where nothing can tell."""
    if find_spec("psutil") is None:
        return 0, 0
    import psutil  # type: ignore[import-untyped]  # it ships no types

    memory = psutil.virtual_memory()
    return int(memory.total), int(memory.available)


def device(wanted: str, described: Processor) -> Device:
    """Describe the device that networks run on.

    Args:
        wanted: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        described: The processor, in case it is the device.
    """
    import torch

    total, _ = host_memory()
    if wanted in ("auto", "cuda") and torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        return Device("cuda", facts.name, int(facts.total_memory), shared=False)
    if wanted in ("auto", "mps") and torch.backends.mps.is_available():
        return Device("mps", "Apple GPU", total, shared=True)
    return Device("cpu", described.name, total, shared=True)


def matrix_rate(kind: str, dtype: torch.dtype, *, budget_s: float = 1.0) -> float:
    """Measure how many floating-point operations a second a large matrix product does.

    Args:
        kind: Device.
        dtype: Precision of the factors.
        budget_s: About how long to measure.
    """
    import torch

    side = 2048 if kind == "cpu" else 8192
    one = torch.randn(side, side, dtype=dtype, device=kind)
    other = torch.randn(side, side, dtype=dtype, device=kind)
    best = float("inf")
    begun = time.perf_counter()
    while time.perf_counter() - begun < budget_s or best == float("inf"):
        start = time.perf_counter()
        product = one @ other
        product[0, 0].item()  # waits for an accelerator
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
