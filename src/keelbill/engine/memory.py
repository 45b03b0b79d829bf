"""Plans what fits where before anything is loaded. Computes from numbers alone; knows no files and asks no device.

All peaks are estimates: weights are counted exactly, activations by a formula for the largest moment of each phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations
from types import MappingProxyType
from typing import Final

from keelbill.engine.config import MMDiTConfig

GIB: Final = 2**30
SD3_ENCODERS: Final[Mapping[str, int]] = MappingProxyType(
    {"clip_l": 123_060_480, "clip_g": 694_659_840, "t5": 4_762_310_656}
)


class Precision(StrEnum):
    """How the networks' weights are held."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"

    @property
    def size_bytes(self) -> int:
        """Bytes of one value."""
        return 4 if self is Precision.FLOAT32 else 2


class Measure(StrEnum):
    """Something that saves device memory, from cheap to dear."""

    ENCODERS_WHILE_USED = "the text encoders leave the device after reading the prompt"
    STREAM_MODULATION = (
        "the modulation weights, a third of the transformer, leave the device once their tables are made"
    )
    TILED_DECODING = "the picture is decoded in tiles"
    ONE_NETWORK_AT_A_TIME = "only one network is on the device at a time"
    T5_ON_HOST = "the T5 text encoder runs on the processor"
    WITHOUT_T5 = "the T5 text encoder is left out"


_COST: Final[Mapping[Measure, int]] = {
    Measure.ENCODERS_WHILE_USED: 1,
    Measure.STREAM_MODULATION: 2,
    Measure.TILED_DECODING: 4,
    Measure.ONE_NETWORK_AT_A_TIME: 8,
    Measure.T5_ON_HOST: 16,
    Measure.WITHOUT_T5: 64,
}
_QUALITY: Final[Mapping[Measure, str]] = {
    Measure.TILED_DECODING: "tiles can differ faintly at their seams",
    Measure.WITHOUT_T5: "long prompts and lettering are followed less well",
}


@dataclass(frozen=True)
class ModelParts:
    """The sizes of a model that decide its memory.

    Args:
        name: How people call the model.
        transformer: Its configuration.
        encoders: Parameters of each text encoder; the one named ``t5`` can be left out.
        autoencoder: Parameters of the autoencoder.
        text_tokens: Tokens of one encoded prompt.
        decoder_values: Values that are alive per picture pixel at the decoder's largest moment; 790 to 900 were
            measured with the 83.8 M decoder on a processor, and cards need some workspace.
        native: Side of the usual square picture in pixels.
        steps: Usual number of steps.
        guided: Whether each step usually runs the network on two prompts.
    """

    name: str
    transformer: MMDiTConfig
    encoders: Mapping[str, int] = field(default_factory=lambda: SD3_ENCODERS)
    autoencoder: int = 83_819_683
    text_tokens: int = 154
    decoder_values: int = 1024
    native: int = 1024
    steps: int = 28
    guided: bool = True

    def flops(self, width: int, height: int) -> float:
        """Floating-point operations of all transformer steps of one picture."""
        tokens = _image_tokens(self.transformer, width, height)
        return self.steps * (2 if self.guided else 1) * self.transformer.flops(tokens, self.text_tokens)


@dataclass(frozen=True)
class Peaks:
    """Estimated device memory, in bytes, at the largest moment of each phase."""

    encode: int
    sample: int
    decode: int

    @property
    def highest(self) -> int:
        """The largest of the three."""
        return max(self.encode, self.sample, self.decode)


@dataclass(frozen=True)
class MemoryPlan:
    """What to do so that a model fits.

    Args:
        precision: How weights are held.
        measures: What is done to save memory, from cheap to dear.
        peaks: Estimated device memory with these measures.
        available: Bytes of device memory that the plan was made for.
        fits: Whether the highest peak is within what is available, and the rest within the host's memory.
    """

    precision: Precision
    measures: tuple[Measure, ...]
    peaks: Peaks
    available: int
    fits: bool

    @property
    def quality_cost(self) -> str:
        """What the measures change in pictures; empty if nothing."""
        return "; ".join(_QUALITY[m] for m in self.measures if m in _QUALITY)

    def sentence(self) -> str:
        """Explain the plan in one line."""
        verdict = "fits" if self.fits else "does not fit"
        peak = f"{verdict}: about {self.peaks.highest / GIB:.1f} of {self.available / GIB:.1f} GiB in {self.precision}"
        cost = f"; {self.quality_cost}" if self.quality_cost else ""
        return f"{peak} (estimate)" + "".join(f"; {measure}" for measure in self.measures) + cost


def plan(
    parts: ModelParts,
    *,
    device_bytes: int,
    host_bytes: int,
    precision: Precision,
    width: int = 0,
    height: int = 0,
    shared_memory: bool = False,
) -> MemoryPlan:
    """Find the cheapest set of measures with which a model fits.

    Args:
        parts: The model.
        device_bytes: Memory of the device.
        host_bytes: Memory of the host; what leaves the device lies there.
        precision: How weights are held.
        width: Of the picture, in pixels; the native side if 0.
        height: Likewise.
        shared_memory: The device is the processor, or shares its memory: moving a network away frees nothing.

    Returns:
        The plan; if nothing fits, the one with the lowest peak, marked so.
    """
    width, height = width or parts.native, height or parts.native
    allowed = [Measure.TILED_DECODING, Measure.WITHOUT_T5] if shared_memory else list(Measure)
    if "t5" not in parts.encoders:
        allowed = [m for m in allowed if m not in (Measure.WITHOUT_T5, Measure.T5_ON_HOST)]
    sets = [set(chosen) for count in range(len(allowed) + 1) for chosen in combinations(allowed, count)]
    sets = [s for s in sets if not {Measure.WITHOUT_T5, Measure.T5_ON_HOST} <= s]
    plans = []
    for measures in sorted(sets, key=lambda s: sum(_COST[m] for m in s)):
        peaks = _peaks(parts, measures, precision, width, height)
        host = 0 if shared_memory else _parked(parts, measures, precision)
        fits = peaks.highest + overhead(device_bytes) <= device_bytes and host <= 0.9 * host_bytes
        ordered = tuple(m for m in Measure if m in measures)
        plans.append(MemoryPlan(precision, ordered, peaks, device_bytes, fits))
        if fits:
            return plans[-1]
    return min(plans, key=lambda p: p.peaks.highest)


def overhead(device_bytes: int) -> int:
    """Bytes that the driver, the libraries and fragmentation take from a device, roughly."""
    return int(min(0.7e9, 0.1 * device_bytes) + 0.03 * device_bytes)


def weight_bytes(parts: ModelParts, precision: Precision) -> int:
    """Bytes of all of a model's weights."""
    size = precision.size_bytes
    return _transformer(parts, precision, modulation=True) + size * (sum(parts.encoders.values()) + parts.autoencoder)


def _image_tokens(config: MMDiTConfig, width: int, height: int) -> int:
    step = 8 * config.patch
    return (width // step) * (height // step)


def _transformer(parts: ModelParts, precision: Precision, *, modulation: bool) -> int:
    config = parts.transformer
    table = config.pos_side**2 * config.width * 4  # added in float32 whatever the precision
    return precision.size_bytes * config.parameters(modulation=modulation) + table


def _activations(parts: ModelParts, precision: Precision, width: int, height: int) -> int:
    """Largest moment of a block: stream, its norm, and the MLP's hidden layer before and after its activation."""
    config, rows = parts.transformer, 2 if parts.guided else 1
    tokens = rows * (_image_tokens(config, width, height) + parts.text_tokens)
    tables = rows * parts.steps * 12 * config.depth * config.width
    return precision.size_bytes * (10 * tokens * config.width + tables)


def _peaks(parts: ModelParts, measures: set[Measure], precision: Precision, width: int, height: int) -> Peaks:
    size = precision.size_bytes
    gone = Measure.WITHOUT_T5 in measures or Measure.T5_ON_HOST in measures
    encoders = [size * count for name, count in parts.encoders.items() if not (gone and name == "t5")]
    full = _transformer(parts, precision, modulation=True)
    lean = _transformer(parts, precision, modulation=Measure.STREAM_MODULATION not in measures)
    autoencoder = size * parts.autoencoder
    pixels = min(width * height, 512 * 512 if Measure.TILED_DECODING in measures else width * height)
    picture = 3 * 4 * width * height
    decoding = autoencoder + size * parts.decoder_values * pixels + picture
    sampling = lean + _activations(parts, precision, width, height)
    if Measure.ONE_NETWORK_AT_A_TIME in measures:
        return Peaks(encode=max(encoders, default=0), sample=sampling, decode=decoding)
    staying = 0 if Measure.ENCODERS_WHILE_USED in measures else sum(encoders)
    return Peaks(
        encode=sum(encoders) + full + autoencoder,
        sample=staying + sampling + autoencoder,
        decode=staying + lean + decoding,
    )


def _parked(parts: ModelParts, measures: set[Measure], precision: Precision) -> int:
    """Bytes that lie in the host's memory because they are not always on the device."""
    size = precision.size_bytes
    t5 = size * parts.encoders.get("t5", 0)
    encoders = size * sum(parts.encoders.values()) - t5
    parked = t5 if Measure.T5_ON_HOST in measures else 0
    if Measure.ENCODERS_WHILE_USED in measures or Measure.ONE_NETWORK_AT_A_TIME in measures:
        leaving = t5 if not {Measure.WITHOUT_T5, Measure.T5_ON_HOST} & measures else 0
        parked += encoders + leaving
    if Measure.ONE_NETWORK_AT_A_TIME in measures:
        parked += _transformer(parts, precision, modulation=True) + size * parts.autoencoder
    return parked


SD3_MEDIUM: Final = ModelParts("SD3 Medium", MMDiTConfig(24, 1536, 192, 4096, 2048, qk_norm=False))
SD35_MEDIUM: Final = ModelParts("SD3.5 Medium", MMDiTConfig(24, 1536, 384, 4096, 2048, dual_blocks=tuple(range(13))))
SD35_LARGE: Final = ModelParts("SD3.5 Large", MMDiTConfig(38, 2432, 192, 4096, 2048))
SD35_LARGE_TURBO: Final = ModelParts("SD3.5 Large Turbo", MMDiTConfig(38, 2432, 192, 4096, 2048), steps=4, guided=False)
OFFICIAL: Final = (SD3_MEDIUM, SD35_MEDIUM, SD35_LARGE, SD35_LARGE_TURBO)


def parts_of(
    name: str,
    transformer: MMDiTConfig,
    *,
    encoders: Mapping[str, int],
    autoencoder: int,
    text_tokens: int,
    native: int,
    steps: int,
    guided: bool,
) -> ModelParts:
    """Describe a loaded model; a small autoencoder is taken to need memory in proportion to its parameters' root."""
    values = max(32, round(1024 * (autoencoder / 83_819_683) ** 0.5))
    return ModelParts(name, transformer, encoders, autoencoder, text_tokens, values, native, steps, guided)
