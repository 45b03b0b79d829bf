"""Reads low-rank adapters in every format that people share, and adds them to weights. Knows no network, only names.

Whatever the format, the result is the same: official name of a linear -> `LowRank`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from keelbill.core.errors import BadWeights
from keelbill.engine.naming import Part, Shapes, Target, depth_of, guess_family, swap_halves, transformer_modules
from keelbill.engine.weights import check_finite, count, open_weights

# Ends of keys, by the factor that they hold. `{}` is an adapter's name in files that keep it.
ROLES = {
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora_linear_layer.down.weight": "down",
    ".lora_linear_layer.up.weight": "up",
    ".alpha": "alpha",
    **{f".lokr_w{i}{leaf}": f"lokr_w{i}{leaf}" for i in (1, 2) for leaf in ("", "_a", "_b")},
    **{f".hada_w{i}{leaf}": f"hada_w{i}{leaf}" for i in (1, 2) for leaf in ("_a", "_b")},
}
# Longest first where one begins with another.
DOTTED_PREFIXES: tuple[tuple[str, Part], ...] = (
    ("base_model.model.transformer.", Part.TRANSFORMER),
    ("base_model.model.", Part.TRANSFORMER),
    ("model.diffusion_model.", Part.TRANSFORMER),
    ("diffusion_model.", Part.TRANSFORMER),
    ("transformer.", Part.TRANSFORMER),
    ("unet.", Part.TRANSFORMER),
    ("text_encoders.clip_l.transformer.", Part.CLIP_L),
    ("text_encoders.clip_g.transformer.", Part.CLIP_G),
    ("text_encoders.t5xxl.transformer.", Part.T5),
    ("text_encoder_3.", Part.T5),
    ("text_encoder_2.", Part.CLIP_G),
    ("text_encoder.", Part.CLIP_L),
    ("", Part.TRANSFORMER),
)
UNDERSCORE_PREFIXES: tuple[tuple[str, Part], ...] = (
    ("lora_unet_", Part.TRANSFORMER),
    ("lora_transformer_", Part.TRANSFORMER),
    ("lycoris_", Part.TRANSFORMER),
    ("lora_te1_", Part.CLIP_L),
    ("lora_te2_", Part.CLIP_G),
    ("lora_te3_", Part.T5),
)
METADATA_KEY = "lora_adapter_metadata"


@dataclass(frozen=True)
class LowRank:
    """A change of one linear: ``scale * up @ down``.

    Args:
        down: With shape ``(r, in)``.
        up: With shape ``(out, r)``.
        scale: Alpha over rank; 1 where it is already in `up`.
    """

    down: Tensor
    up: Tensor
    scale: float = 1.0

    def delta(self, strength: float = 1.0) -> Tensor:
        """Return the change with shape ``(out, in)`` in float32."""
        return (self.up.float() @ self.down.float()) * (self.scale * strength)

    def factors(self, strength: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return ``(down, up)`` in float32, with scale and strength in `up`."""
        return self.down.float(), self.up.float() * (self.scale * strength)


Lora = dict[Part, dict[str, LowRank]]


def load_lora(path: Path, shapes: Mapping[Part, Shapes]) -> Lora:
    """Read an adapter from a safetensors file.

    Args:
        path: The file.
        shapes: For each part that the model has, shapes by official name.

    Raises:
        BadWeights: The file is malformed, is not an adapter, or a key fits nothing in the model.
        UnsafeFile: The file is a pickle.
    """
    file = open_weights(path)
    tensors = {name: file.read(name) for name in file.shapes}
    check_finite(tensors, f"LoRA {path.name}")
    return read_lora(tensors, shapes, name=path.name, metadata=file.metadata)


def read_lora(
    tensors: Mapping[str, Tensor],
    shapes: Mapping[Part, Shapes],
    *,
    name: str = "the LoRA",
    metadata: Mapping[str, str] | None = None,
) -> Lora:
    """Sort an adapter's tensors by what they change.

    Understands the folder (PEFT) names with and without prefix, the underscore names of the script trainers, LyCORIS
    Kronecker and Hadamard factors, and official names with dots. Separate q, k and v become one change of the fused
    projection.

    Args:
        tensors: As they are in the file.
        shapes: For each part that the model has, shapes by official name.
        name: How errors call the adapter.
        metadata: The file's metadata, which may hold alpha.

    Returns:
        For each part that is changed, official name of the linear (without ``.weight``) to its change.

    Raises:
        BadWeights: A key fits nothing (all such keys are listed), or a shape does not fit.
    """
    book = _address_book(shapes)
    default_alpha = _default_alpha(metadata or {}, name)
    groups: dict[str, dict[str, Tensor]] = {}
    found: dict[str, tuple[Part, Target]] = {}
    lost: list[str] = []
    for key, tensor in tensors.items():
        module, role = _split_role(key)
        where = _find(module, book) if role else None
        if where is None:
            lost.append(key)
        else:
            found[module] = where
            groups.setdefault(module, {})[role] = tensor
    if lost:
        raise _unmatched(name, lost, tensors, shapes)
    if not groups:
        raise BadWeights(f"{name} holds no tensors.")
    pieces: dict[tuple[Part, str], dict[int | None, LowRank]] = {}
    for module, roles in groups.items():
        part, target = found[module]
        low_rank = _low_rank(f"{name}: {module}", roles, default_alpha if part is Part.TRANSFORMER else None)
        if target.swap:
            low_rank = LowRank(low_rank.down, swap_halves(low_rank.up), low_rank.scale)
        slot = pieces.setdefault((part, target.module), {})
        if target.third in slot or (slot and (target.third is None or None in slot)):
            raise BadWeights(f"{name} changes {target.module!r} twice, under two names.")
        slot[target.third] = low_rank
    lora: Lora = {}
    for (part, module), slot in pieces.items():
        shape = shapes[part][module + ".weight"]
        lora.setdefault(part, {})[module] = _assemble(f"{name}: {module}", slot, shape)
    return lora


def merged(tensors: Mapping[str, Tensor], layers: Mapping[str, LowRank], strength: float = 1.0) -> dict[str, Tensor]:
    """Return weights with the changes added; the sum is made in float32 and rounded once.

    Args:
        tensors: Weights by official name; not changed.
        layers: Changes by name of the linear.
        strength: Factor on the changes.

    Raises:
        BadWeights: A change has no weight to go to.
    """
    result = dict(tensors)
    for module, low_rank in layers.items():
        key = module + ".weight"
        if key not in tensors:
            raise BadWeights(f"There is no weight {key!r} that the LoRA could change.")
        result[key] = _added(tensors[key], low_rank, strength)
    return result


def merge_into(module: nn.Module, layers: Mapping[str, LowRank], strength: float = 1.0) -> dict[str, Tensor]:
    """Add changes to a module's weights in place.

    Args:
        module: With parameters of official names.
        layers: Changes by name of the linear.
        strength: Factor on the changes.

    Returns:
        The weights as they were, by parameter name, so that `restore` can take the changes back to the last bit.

    Raises:
        BadWeights: A change has no weight to go to; nothing was changed.
    """
    parameters = dict(module.named_parameters())
    for name in layers:
        if name + ".weight" not in parameters:
            raise BadWeights(f"There is no weight {name + '.weight'!r} that the LoRA could change.")
    before: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, low_rank in layers.items():
            parameter = parameters[name + ".weight"]
            before[name + ".weight"] = parameter.detach().clone()
            parameter.copy_(_added(parameter, low_rank, strength))
    return before


def restore(module: nn.Module, before: Mapping[str, Tensor]) -> None:
    """Take back what `merge_into` did.

    Args:
        module: The module that was changed.
        before: What `merge_into` returned.
    """
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for name, weight in before.items():
            parameters[name].copy_(weight)


def _added(weight: Tensor, low_rank: LowRank, strength: float) -> Tensor:
    delta = low_rank.delta(strength).to(weight.device)
    return (weight.detach().float() + delta.reshape(weight.shape)).to(weight.dtype)


def _address_book(shapes: Mapping[Part, Shapes]) -> dict[tuple[Part, str], Target]:
    """Map (part, dotted or underscored name) to where it goes."""
    book: dict[tuple[Part, str], Target] = {}
    for part, names in shapes.items():
        modules = {n.removesuffix(".weight") for n, s in names.items() if n.endswith(".weight") and len(s) >= 2}
        targets = {module: Target(module) for module in modules}
        if part is Part.TRANSFORMER:
            folder = transformer_modules(depth_of(names))
            targets.update({name: target for name, target in folder.items() if target.module in modules})
        for name, target in targets.items():
            book[part, name] = target
            book[part, name.replace(".", "_")] = target
    return book


def _split_role(key: str) -> tuple[str, str]:
    for suffix, role in ROLES.items():
        if key.endswith(suffix):
            return key.removesuffix(suffix), role
    return key, ""


def _find(module: str, book: Mapping[tuple[Part, str], Target]) -> tuple[Part, Target] | None:
    for prefix, part in (*UNDERSCORE_PREFIXES, *DOTTED_PREFIXES):
        target = book.get((part, module[len(prefix) :])) if module.startswith(prefix) else None
        if target is not None:
            return part, target
    return None


def _unmatched(name: str, lost: list[str], tensors: Iterable[str], shapes: Mapping[Part, Shapes]) -> BadWeights:
    shown = ", ".join(repr(key) for key in lost[:20]) + (f" and {len(lost) - 20} more" if len(lost) > 20 else "")
    encoders = {
        part.value
        for prefix, part in (*UNDERSCORE_PREFIXES, *DOTTED_PREFIXES)
        if prefix and part not in shapes and any(key.startswith(prefix) for key in lost)
    }
    if encoders:
        hint = f"It also changes {' and '.join(sorted(encoders))}, which this model was loaded without."
    elif not any(_split_role(key)[1] for key in tensors):
        family = guess_family(dict.fromkeys(tensors, ()))
        hint = "It does not look like a LoRA" + (f"; it seems to be {family}." if family else ".")
    elif any("dora_scale" in key or "magnitude_vector" in key for key in lost):
        hint = "DoRA magnitudes are not supported."
    elif any(f in key for key in lost for f in ("down_blocks", "mid_block", "input_blocks")):
        hint = "It seems to be made for Stable Diffusion 1.5 or SDXL."
    elif any(f in key for key in lost for f in ("double_blocks", "single_transformer_blocks", "single_blocks")):
        hint = "It seems to be made for Flux."
    else:
        hint = "It was made for another model, or in a format that is not known here."
    return BadWeights(f"{len(lost)} keys of {name} fit nothing in the model: {shown}.", hint=hint)


def _default_alpha(metadata: Mapping[str, str], name: str) -> float | None:
    """Return the alpha that newer folder-format files keep in their metadata."""
    try:
        settings = json.loads(metadata.get(METADATA_KEY, "{}"))
    except ValueError as error:
        raise BadWeights(f"{name} has adapter metadata that is not valid JSON: {error}.") from error
    if not isinstance(settings, dict):
        raise BadWeights(f"{name} has adapter metadata that is not a JSON object.")
    for option in ("use_dora", "use_rslora", "alpha_pattern"):
        if settings.get(f"transformer.{option}"):
            raise BadWeights(f"{name} uses {option}, which is not supported.")
    alpha = settings.get("transformer.lora_alpha")
    return float(alpha) if isinstance(alpha, int | float) else None


def _low_rank(where: str, roles: Mapping[str, Tensor], default_alpha: float | None) -> LowRank:
    alpha = float(roles["alpha"].float().reshape(-1)[0]) if "alpha" in roles else default_alpha
    kind = set(roles) - {"alpha"}
    if kind == {"down", "up"}:
        down, up = roles["down"].float().flatten(1), roles["up"].float().flatten(1)
        rank = down.shape[0]
        if up.shape[1] != rank:
            raise BadWeights(f"{where} has a rank of {rank} below and of {up.shape[1]} above.")
        return LowRank(down, up, 1.0 if alpha is None else alpha / rank)
    if kind == {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}:
        return _hadamard(roles, alpha)
    if any(role.startswith("lokr") for role in kind):
        return _kronecker(where, roles, alpha)
    raise BadWeights(f"{where} is incomplete: it has only {', '.join(sorted(roles))}.")


def _hadamard(roles: Mapping[str, Tensor], alpha: float | None) -> LowRank:
    """Factor ``(a1 b1) * (a2 b2)``, elementwise, exactly, with rank r² or less.

    References:
        | FedPara: Low-Rank Hadamard Product for Communication-Efficient Federated Learning (Hyeon-Woo et al., 2022)
    """
    a1, b1, a2, b2 = (roles[f"hada_w{i}_{leaf}"].float() for i in (1, 2) for leaf in "ab")
    scale = 1.0 if alpha is None else alpha / b1.shape[0]
    if len(b1) * len(b2) >= min(len(a1), b1.shape[1]):
        dense = (a1 @ b1) * (a2 @ b2)
        return LowRank(dense, torch.eye(len(dense)), scale)
    up = (a1[:, :, None] * a2[:, None, :]).flatten(1)
    down = (b1[:, None, :] * b2[None, :, :]).flatten(0, 1)
    return LowRank(down, up, scale)


def _kronecker(where: str, roles: Mapping[str, Tensor], alpha: float | None) -> LowRank:
    """Factor ``kron(w1, w2)`` exactly: ``kron(w1, A B) = kron(w1, A) kron(I, B)``.

    References:
        | Navigating Text-To-Image Customization: From LyCORIS Fine-Tuning to Model Evaluation (Yeh et al., 2024)
    """
    rank = 0

    def factors(i: int) -> tuple[Tensor, Tensor] | None:
        a, b = roles.get(f"lokr_w{i}_a"), roles.get(f"lokr_w{i}_b")
        return None if a is None or b is None else (a.float().flatten(1), b.float().flatten(1))

    first, second = factors(1), factors(2)
    if (first is None and "lokr_w1" not in roles) or (second is None and "lokr_w2" not in roles):
        raise BadWeights(f"{where} is incomplete: it has only {', '.join(sorted(roles))}.")
    if first is not None:
        rank = first[1].shape[0]
        w1 = first[0] @ first[1]
    else:
        w1 = roles["lokr_w1"].float()
    if second is not None:
        rank = second[1].shape[0]
    else:
        w2 = roles["lokr_w2"].float().flatten(1)
        second = (w2, torch.eye(w2.shape[1])) if w2.shape[1] <= w2.shape[0] else (torch.eye(w2.shape[0]), w2)
    a, b = second
    scale = 1.0 if alpha is None or rank == 0 else alpha / rank
    if w1.shape[1] <= w1.shape[0]:
        return LowRank(torch.kron(torch.eye(w1.shape[1]), b), torch.kron(w1, a), scale)
    return LowRank(torch.kron(w1, b), torch.kron(torch.eye(w1.shape[0]), a), scale)


def _assemble(where: str, slot: Mapping[int | None, LowRank], shape: tuple[int, ...]) -> LowRank:
    """Check a change against its weight's shape; put thirds of a fused projection together."""
    rows, columns = shape[0], count(shape[1:])
    whole = slot.get(None)
    expected = rows if whole is not None else rows // 3
    for piece in slot.values():
        if piece.up.shape[0] != expected or piece.down.shape[1] != columns:
            found = (piece.up.shape[0], piece.down.shape[1])
            raise BadWeights(f"{where} changes a {found} weight, and the model's is {(expected, columns)}.")
    if whole is not None:
        return whole
    down = torch.cat([piece.down for piece in slot.values()])
    up = torch.zeros(rows, len(down))
    at = 0
    for third, piece in slot.items():
        if third is not None:
            rank = piece.down.shape[0]
            up[third * expected : (third + 1) * expected, at : at + rank] = piece.up * piece.scale
            at += rank
    return LowRank(down, up)
