"""One picture while a worker paints it: what is known of it, and what it looks like so far. Knows no loop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from keelbill.core.types import Size
from keelbill.imaging.decode import ImageFormat
from keelbill.imaging.encode import encode, to_pixels
from keelbill.imaging.resize import stretch

if TYPE_CHECKING:
    from keelbill.engine.batch import Stepped
    from keelbill.serving.messages import JobSpec
    from keelbill.serving.studio import Studio
    from keelbill.serving.tasks import Plan

PREVIEW_EVERY_S: Final = 0.25
PREVIEW_SIDE: Final = 256


@dataclass
class Painting:
    """A picture that is being painted or finished.

    Attributes:
        job: What is wanted.
        studio: Whose model paints.
        plan: How it is done.
        ticket: In the studio's batch.
        phases: Milliseconds so far, by phase.
        preview_at_s: When it was last shown, monotonic.
        is_alone: Whether nothing else is painted meanwhile, because memory ran out before.
        cancelled: Why it is no longer wanted, if it is not.
    """

    job: JobSpec
    studio: Studio
    plan: Plan
    ticket: int = -1
    phases: dict[str, float] = field(default_factory=dict)
    preview_at_s: float = 0.0
    is_alone: bool = False
    cancelled: str | None = None

    def took(self, phase: str, milliseconds: float) -> None:
        """Add time to a phase."""
        self.phases[phase] = self.phases.get(phase, 0.0) + milliseconds

    def preview(self, event: Stepped) -> bytes | None:
        """Return a small JPEG of what a step sees, or nothing if nobody wants one or the last is too new."""
        now_s = time.monotonic()
        look = self.studio.model.preview
        if not self.job.task.previews or look is None or now_s - self.preview_at_s < PREVIEW_EVERY_S:
            return None
        self.preview_at_s = now_s
        pixels = to_pixels(look(event.denoised).cpu().numpy())
        height, width = pixels.shape[:2]
        scale = PREVIEW_SIDE / max(height, width)
        return encode(stretch(pixels, Size(round(width * scale), round(height * scale))), ImageFormat.JPEG)
