"""What the OpenAI-style routes take, in terms of the published models and sizes. Knows neither HTTP nor jobs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from keelbill.api.stability.fields import Choice, Integer, Parameter, Problem, Schema, Text
from keelbill.api.stability.services import FORMAT, PROMPT, SEED
from keelbill.core.sizes import nearest_ratio, published_size
from keelbill.core.types import Size
from keelbill.storage.published import DEFAULT_MODEL, PUBLIC_MODELS

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


@dataclass(frozen=True)
class PictureSize(Parameter):
    """``WIDTHxHEIGHT`` or ``auto``."""

    default: str = "auto"

    def from_text(self, text: str) -> str:
        """See `Parameter.from_text`."""
        if text != "auto" and not _SIZE.fullmatch(text):
            raise Problem("must be auto or WIDTHxHEIGHT, such as 1024x1024")
        return text

    def from_json(self, value: object) -> str:
        """See `Parameter.from_json`."""
        return self.from_text(value if isinstance(value, str) else "")

    def schema(self) -> Schema:
        """See `Parameter.schema`."""
        return {"type": "string", "pattern": f"^(auto|{_SIZE.pattern})$", "default": "auto"}


MODEL = Text("model", "A published model; other names mean the default one.", most=200)
SHARED: tuple[Parameter, ...] = (
    PROMPT,
    MODEL,
    Integer("n", "How many pictures; each costs.", least=1, most=10, default=1),
    PictureSize("size", "The published size of the nearest shape is painted."),
    Choice("response_format", "A link works for an hour.", allowed=("url", "b64_json"), default="b64_json"),
    FORMAT,
    SEED,
)


def model_named(name: str) -> str:
    """Return the published model that a name means: itself, or the default one."""
    return name if name in PUBLIC_MODELS else DEFAULT_MODEL


def painted_size(size: str) -> Size:
    """Return the published size whose shape is nearest to ``WIDTHxHEIGHT``, or the square one for ``auto``."""
    found = _SIZE.fullmatch(size)
    return published_size(nearest_ratio(Size(int(found[1]), int(found[2]))) if found else "1:1")
