"""What can go wrong with moderation besides a refusal. Knows no HTTP."""

from __future__ import annotations

from keelbill.core.errors import Conflict, NotFound


class NoSuchReview(NotFound):
    """There is no such prompt in the queue, or it belongs to another organisation."""

    def __init__(self) -> None:
        super().__init__("review: there is no such prompt in the queue.")


class AlreadyDecided(Conflict):
    """Somebody else was faster."""

    def __init__(self, state: str) -> None:
        super().__init__(f"review: was {state} before.", hint="Decisions are final.")
