"""From weight files to a model that is ready to run. Knows nothing of catalogues, downloads or users."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import nn

from keelbill.core.errors import BadWeights, InvalidInput
from keelbill.engine.autoencoder import SmallAutoencoder, SmallAutoencoderConfig
from keelbill.engine.components import Component, Components, find_components
from keelbill.engine.config import SD3_LATENTS, LatentFormat, MMDiTConfig
from keelbill.engine.mmdit import MMDiT
from keelbill.engine.model import Autoencoder, Model, SamplingDefaults, TextEncoder
from keelbill.engine.naming import Part
from keelbill.engine.preview import LinearPreview
from keelbill.engine.text import CachedTextEncoder, MiniLMTextEncoder
from keelbill.engine.weights import load_into

_Network = TypeVar("_Network", bound=nn.Module)

CONFIG_FILE: Final = "config.json"
CONFIG_FORMAT: Final = 1
WHOLE_DIGEST_BYTES: Final = 256 * 2**20
DIGEST_SAMPLE_BYTES: Final = 2**20

TURBO = SamplingDefaults(steps=4, cfg=1.0, schedule="trailing")
FAMILY_DEFAULTS: Final[Mapping[str, SamplingDefaults]] = {
    "SD3 Medium": SamplingDefaults(steps=28, cfg=5.0),
    "SD3.5 Medium": SamplingDefaults(steps=28, cfg=4.5),
    "SD3.5 Large": SamplingDefaults(steps=28, cfg=4.5),
}


@dataclass(frozen=True)
class Placement:
    """Where a model runs and in which precision.

    Args:
        device: A torch device.
        dtype: Precision of the transformer; nothing chooses by device and size.
        strict: Whether a picture must not depend on its neighbours to the last bit (on the CPU).
        text_device: Where text encoders run, if elsewhere: a host's memory is larger than a card's.
    """

    device: str = "cpu"
    dtype: torch.dtype | None = None
    strict: bool = True
    text_device: str = ""


def load_model(
    path: Path,
    *,
    name: str = "",
    extras: Sequence[Path] = (),
    placement: Placement | None = None,
    turbo: bool | None = None,
) -> Model:
    """Load a model from a file or a folder.

    Args:
        path: Official single file, diffusers folder, folder of files, or an embedded model's folder.
        name: The name that pictures record; nothing means the file's.
        extras: Files with the parts that `path` lacks.
        placement: Where it runs.
        turbo: Whether the weights were distilled for 4 steps; nothing means: if the name says so.

    Raises:
        BadWeights: Something is missing, damaged or of another family.
        UnsafeFile: A file is a pickle.
    """
    placement = placement or Placement(device=best_device())
    name = name or path.stem
    if (path / CONFIG_FILE).is_file():
        return _load_embedded(path, extras, name, placement)
    components = find_components(path, extras)
    return _load_official(components, name, placement, "turbo" in name.lower() if turbo is None else turbo)


def best_device() -> str:
    """Name the fastest device of this machine."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def fingerprint(paths: Sequence[Path]) -> str:
    """Digest weight files: small ones whole, large ones by size, head and tail.

    Returns:
        64 hexadecimal digits (SHA-256).
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        size = path.stat().st_size
        with path.open("rb") as file:
            if size <= WHOLE_DIGEST_BYTES:
                digest.update(hashlib.file_digest(file, "sha256").digest())
            else:
                digest.update(f"{size}\n".encode() + file.read(DIGEST_SAMPLE_BYTES))
                file.seek(-DIGEST_SAMPLE_BYTES, 2)
                digest.update(file.read())
    return digest.hexdigest()


def _files(component: Component) -> list[Path]:
    path = component.path
    if path.suffix != ".json":
        return [path]
    stem = path.name.removesuffix(".safetensors.index.json")
    return [path, *path.parent.glob(f"{stem}*.safetensors")]


def load_transformer(component: Component, placement: Placement) -> MMDiT:
    """Load the diffusion transformer.

    Raises:
        BadWeights: Its tensors are not those of an SD3-family transformer.
    """
    config = MMDiTConfig.from_tensors(component.shapes)
    dtype = placement.dtype or default_dtype(config, placement.device)
    with torch.device("meta"):
        network = MMDiT(config, strict=placement.strict)
    positions = network.pos_embed
    network = network.to(dtype)
    network.pos_embed = positions  # the table stays in float32
    load_into(network, component.tensors(), "transformer")
    return network.to(placement.device).eval().requires_grad_(False)


def default_dtype(config: MMDiTConfig, device: str) -> torch.dtype:
    """Choose the precision: bfloat16, except for networks on a CPU that are small or would not gain by it.

    On processors with bfloat16 products, 20 million parameters are about where they pay (twice as fast at 256 px).
    """
    if device != "cpu":
        return torch.bfloat16
    able = torch.cpu.get_capabilities()
    has_products = bool(able.get("amx_bf16") or able.get("avx512_bf16"))
    return torch.float32 if config.parameters() < (2e7 if has_products else 2e8) else torch.bfloat16


# ---------------------------------------------------------------- the embedded model


def _load_embedded(folder: Path, extras: Sequence[Path], name: str, placement: Placement) -> Model:
    config = _read_config(folder / CONFIG_FILE)
    lender = folder
    if "shares" in config:  # a sibling that lends what this folder lacks: a distilled model is a transformer alone
        lender = folder.parent / Path(str(config["shares"])).name
        extras = [*extras, lender]
    components = find_components(folder, extras)
    transformer = components.require(Part.TRANSFORMER)
    latents = config["latents"]
    preview = config.get("preview")
    tokenizer = (lender / "tokenizer.json").read_text(encoding="utf-8")
    minilm = MiniLMTextEncoder.from_tensors(components.require(Part.MINILM).tensors(), tokenizer)
    text: TextEncoder = minilm.to(placement.text_device or placement.device)
    identity = fingerprint(_files(components.require(Part.MINILM)))
    return Model(
        name=name,
        hash=fingerprint(_files(transformer)),
        transformer=load_transformer(transformer, placement),
        autoencoder=_load_small_autoencoder(components.require(Part.VAE), placement),
        text=CachedTextEncoder(text, identity),
        latents=LatentFormat(scale=tuple(latents["scale"]), shift=tuple(latents["shift"])),
        defaults=SamplingDefaults(**config["sampling"]),
        native_side=config["native_side"],
        preview=LinearPreview(torch.tensor(preview["matrix"]), torch.tensor(preview["bias"])) if preview else None,
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadWeights(f"{path.name} is not valid JSON: {error}.") from error
    if not isinstance(config, dict) or config.get("format") != CONFIG_FORMAT:
        raise BadWeights(f"{path.name} must be of format {CONFIG_FORMAT}.", hint="A newer Keelbill may read it.")
    missing = [key for key in ("latents", "sampling", "native_side") if key not in config]
    if missing:
        raise BadWeights(f"{path.name} lacks {missing[0]!r}.")
    return config


def _load_small_autoencoder(component: Component, placement: Placement) -> Autoencoder:
    return _load(SmallAutoencoder(SmallAutoencoderConfig.from_tensors(component.shapes)), component, placement)


# ---------------------------------------------------------------- official models


def _load_official(components: Components, name: str, placement: Placement, turbo: bool) -> Model:
    from keelbill.engine.sd3text import load_text_encoder
    from keelbill.engine.vae import SD3VAE, VAEConfig

    part = components.require(Part.TRANSFORMER)
    vae = components.require(Part.VAE)
    transformer = load_transformer(part, placement)
    config = transformer.config
    text = load_text_encoder(
        components, config.context_dim, config.pooled_dim, device=placement.text_device or placement.device
    )
    encoders = [components.parts[p] for p in (Part.CLIP_L, Part.CLIP_G, Part.T5) if p in components.parts]
    identity = fingerprint([file for encoder in encoders for file in _files(encoder)])
    return Model(
        name=name,
        hash=fingerprint(_files(part)),
        transformer=transformer,
        autoencoder=_load(SD3VAE(VAEConfig.from_tensors(vae.shapes)).to(_vae_dtype(transformer)), vae, placement),
        text=CachedTextEncoder(text, identity),
        latents=SD3_LATENTS,
        defaults=TURBO if turbo else FAMILY_DEFAULTS.get(config.family, SamplingDefaults()),
    )


def _vae_dtype(transformer: MMDiT) -> torch.dtype:
    """Half precision follows the transformer's, but float16 overflows in some decoders."""
    return torch.float32 if transformer.dtype == torch.float32 else torch.bfloat16


def _load(network: _Network, component: Component, placement: Placement) -> _Network:
    load_into(network, component.tensors(), "autoencoder")
    network.to(placement.device)
    nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    return network.eval().requires_grad_(False)


def parse_dtype(name: str) -> torch.dtype | None:
    """Read a precision's name; ``auto`` means none.

    Raises:
        InvalidInput: It is not one of auto, float32, bfloat16 and float16.
    """
    names = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in names:
        raise InvalidInput("dtype", name, "one of " + ", ".join(names))
    return names[name]
