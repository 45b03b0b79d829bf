"""Measures of pictures beside the judge's verdict: lettering, likeness of two sets, copies. Knows no model.

References:
    | GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et al., 2017)
    | The Fréchet distance between multivariate normal distributions (Dowson and Landau, 1982)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from keelbill.core.errors import InvalidInput

GLANCE = 32
"""Side to which pictures are reduced before they are compared pixel by pixel."""

ENLARGED = 2
"""How much pictures are enlarged before letters are read."""

Reader = Callable[[NDArray[np.uint8]], str]
"""Reads the letters of a picture with shape ``(H, W, 3)``."""


@dataclass(frozen=True)
class Lettered:
    """How much of what should be written can be read.

    Attributes:
        exact: Share of pictures with exactly the word, whatever its case.
        near: Mean of one minus the edit distance as a share of the longer text.
        pictures: How many were read.
    """

    exact: float
    near: float
    pictures: int

    def facts(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return {"exact": round(self.exact, 3), "near": round(self.near, 3), "pictures": self.pictures}


@dataclass(frozen=True)
class Copies:
    """How near pictures come to those that were learned from, as the mean difference of a channel in [0, 1].

    Attributes:
        pictures: Median distance of the model's pictures to the nearest training picture.
        fresh: The same for new scenes, which are no copies: the measure's own yardstick.
        nearest: Least distance of any of the model's pictures.
    """

    pictures: float
    fresh: float
    nearest: float


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Return the Fréchet distance of two sets of features, taken as normally distributed.

    Args:
        one: Features with shape ``(N, F)``, N at least 2.
        other: Likewise.

    Raises:
        InvalidInput: A set has fewer than two members.
    """
    means, spreads = [], []
    for features in (one, other):
        if len(features) < 2:
            raise InvalidInput("pictures", len(features), "at least 2")
        means.append(features.double().mean(0))
        spreads.append(torch.cov(features.double().T).reshape(features.shape[1], features.shape[1]))
    root = _root(spreads[0])
    mixed = torch.linalg.eigvalsh(root @ spreads[1] @ root).clamp(min=0).sqrt().sum()
    distance = (means[0] - means[1]).square().sum() + spreads[0].trace() + spreads[1].trace() - 2 * mixed
    return max(0.0, float(distance))


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    return root


def copies(pictures: Tensor, fresh: Tensor, learned: Tensor) -> Copies:
    """Compare pictures and new scenes with training pictures.

    Args:
        pictures: Of the model, in [0, 1], with shape ``(B, 3, H, W)``.
        fresh: Scenes that were not trained on, likewise.
        learned: Training pictures, likewise.
    """
    known = _glance(learned)
    nearest, yardstick = (_nearest(_glance(some), known) for some in (pictures, fresh))
    return Copies(float(nearest.median()), float(yardstick.median()), float(nearest.min()))


def _glance(pictures: Tensor) -> Tensor:
    return F.interpolate(pictures.float(), (GLANCE, GLANCE), mode="area").flatten(1)


def _nearest(some: Tensor, known: Tensor) -> Tensor:
    return torch.cat([torch.cdist(part, known, p=1).amin(1) for part in some.split(16)]) / known.shape[1]


def lettering(pictures: Tensor, words: Sequence[str], read: Reader) -> Lettered:
    """Read pictures and compare with what should be written on them.

    Args:
        pictures: In [0, 1] with shape ``(B, 3, H, W)``.
        words: One for each.
        read: Reads one picture.

    Raises:
        InvalidInput: There is nothing to read.
    """
    if not len(pictures) or len(pictures) != len(words):
        raise InvalidInput("words", len(words), f"one for each of {max(len(pictures), 1)} pictures")
    side = [ENLARGED * length for length in pictures.shape[-2:]]
    large = F.interpolate(pictures.float(), side, mode="bicubic", align_corners=False).clamp(0, 1)
    rows = (large.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    pairs = [(_plain(read(row)), _plain(word)) for row, word in zip(rows, words, strict=True)]
    near = [1 - edit_distance(found, wanted) / max(len(found), len(wanted), 1) for found, wanted in pairs]
    return Lettered(float(np.mean([a == b for a, b in pairs])), float(np.mean(near)), len(words))


def _plain(text: str) -> str:
    return "".join(text.casefold().split())


def edit_distance(one: str, other: str) -> int:
    """Return the least number of letters to add, drop or change to make one text of the other (Levenshtein, 1966)."""
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one, start=1):
        diagonal, row[0] = row[0], place
        for column, wanted in enumerate(other, start=1):
            diagonal, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, diagonal + (letter != wanted)),
            )
    return row[-1]


def open_reader() -> Reader:
    """Return what reads letters: the networks of PP-OCR, which come with the package rapidocr.

    Raises:
        InvalidInput: The package is not installed.
    """
    try:
        from rapidocr import RapidOCR
    except ModuleNotFoundError as error:
        raise InvalidInput("lettering", "read", "possible with rapidocr: pip install 'keelbill[train]'") from error
    engine = RapidOCR(params={"Global.log_level": "error"})

    def read(picture: NDArray[np.uint8]) -> str:
        found = engine(picture[..., ::-1])  # it wants blue first
        return "".join(found.txts or ())

    return read
