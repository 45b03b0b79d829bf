"""What a graph costs and how much work it is, before it runs. Knows the price list and which nodes sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keelbill.core.types import Micro

if TYPE_CHECKING:
    from keelbill.api.platform import Platform
    from keelbill.graph.validate import Validated

SAMPLERS: Final = frozenset({"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"})
ITEM: Final = "sd3.5-medium"
STEPS_INCLUDED: Final = 50


@dataclass(frozen=True)
class Quote:
    """What a graph asks for.

    Attributes:
        price: In micro-credits.
        model: That most of the work is for, "" for the server's default.
        width: In pixels, of a picture that would be as much work.
        height: Likewise.
        steps: Likewise.
    """

    price: Micro
    model: str = ""
    width: int = 1024
    height: int = 1024
    steps: int = 20


def quoted(platform: Platform, valid: Validated) -> Quote:
    """Return what a graph asks for."""
    steps = [
        int(node["inputs"]["steps"]) if isinstance(node["inputs"].get("steps"), int) else 20
        for node in valid.graph.values()
        if node["class_type"] in SAMPLERS
    ]
    price = platform.ledger.prices.price(ITEM)
    whole = sum(-(-price * max(each, STEPS_INCLUDED) // STEPS_INCLUDED) for each in steps)
    return Quote(Micro(whole), steps=max(sum(steps), 1))
