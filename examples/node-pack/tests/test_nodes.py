"""The nodes by themselves: no server, no graph."""

from __future__ import annotations

from typing import Any

import torch
from keelbill_example_nodes.vignette import Vignette
from keelbill_example_nodes.words import WordCount

NO_CONTEXT: Any = None


def test_vignette_darkens_the_corners_only() -> None:
    white = torch.ones(1, 9, 9, 3)
    (seen,) = Vignette().run(NO_CONTEXT, image=white, strength=1.0)
    assert seen[0, 4, 4].tolist() == [1, 1, 1]
    assert seen[0, 0, 0].tolist() == [0, 0, 0]
    assert seen.shape == white.shape


def test_vignette_of_no_strength_changes_nothing() -> None:
    pixels = torch.rand(2, 5, 7, 4)
    (seen,) = Vignette().run(NO_CONTEXT, image=pixels, strength=0.0)
    assert torch.equal(seen, pixels)


def test_words() -> None:
    assert WordCount().run(NO_CONTEXT, text=" a red  fox\n") == (3,)
