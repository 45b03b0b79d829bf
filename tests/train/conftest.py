"""Trainings whose seconds are counted, not measured: a busy machine takes as many steps as a quiet one."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from keelbill.train import stage

STEP_S = 0.1


@pytest.fixture(scope="module", autouse=True)
def counted_seconds() -> Iterator[None]:
    """Let each look at the training's clock, one for a step, find it a tenth of a second later."""
    looks = iter(range(10**9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "time", SimpleNamespace(monotonic=lambda: next(looks) * STEP_S))
        yield
