"""What tests of the command line share: outcomes of commands and pictures on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

Run = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line on standard error of a command that failed on bad input."""
        assert self.code == 2, self
        assert self.out == ""
        assert self.err.startswith("keelbill: ")
        assert self.err.count("\n") == 1
        assert "Traceback" not in self.err
        return self.err.removeprefix("keelbill: ").strip()


def write_picture(name: str, rows: Sequence[object] | np.ndarray) -> Path:
    """Write an array with shape ``(H, W, 3)`` as a picture."""
    out = BytesIO()
    Image.fromarray(np.asarray(rows, dtype=np.uint8)).save(out, "PNG")
    Path(name).write_bytes(out.getvalue())
    return Path(name)
