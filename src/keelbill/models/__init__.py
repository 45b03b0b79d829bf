"""The models that ship with the program, each in a folder of its own. Knows where they are, not what is in them."""

from __future__ import annotations

from pathlib import Path


def embedded_folder(name: str = "keelbill-mini") -> Path:
    """Return the folder of a model that ships with the program, whether it is there or not."""
    return Path(__file__).parent / name
