"""Who takes part in the next step: all that fit, though large pictures stand aside for small ones. Knows no network.

A small picture that shares every step with large ones would take as long as they do. So a picture stands aside while
one that is a third of its work or less is painted, but only for as much work as its own: whoever sends small pictures
without end gets half of the machine and no more, and a large one takes twice as long at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

LIGHTER: Final = 3
"""How many times a picture's work must be another's for it to stand aside."""

PATIENCE: Final = 1.0
"""For how much work a picture stands aside in all, as a multiple of its own."""


@dataclass
class Turn:
    """A request's place among the others.

    Attributes:
        work: Tokens of all its steps together.
        aside: Tokens of the steps that were made without it for the sake of smaller ones.
    """

    work: int
    aside: int = 0


def choose(waiting: Mapping[int, tuple[Turn, int]], budget: int) -> list[int]:
    """Say who takes part in the next step.

    Args:
        waiting: Turn and tokens of the next step of each request, those first that waited longest.
        budget: Most tokens of the step; a request that is larger by itself runs alone.

    Returns:
        Keys of `waiting`, in its order. Turns of those that stand aside are charged.
    """
    least = min((turn.work for turn, _ in waiting.values()), default=0)
    light = {key: tokens for key, (turn, tokens) in waiting.items() if turn.work < LIGHTER * least}
    in_their_way = min(budget, sum(light.values()))
    chosen: list[int] = []
    aside: list[Turn] = []
    total = 0
    for key, (turn, tokens) in waiting.items():
        if key not in light and turn.aside + in_their_way <= PATIENCE * turn.work:
            aside.append(turn)
            continue
        if chosen and total + tokens > budget:
            break
        chosen.append(key)
        total += tokens
    for turn in aside:
        turn.aside += total
    return chosen
