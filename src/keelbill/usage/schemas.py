"""What is recorded about one request, and what reports consist of. Knows neither HTTP nor tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from keelbill.core.types import Micro

NOTHING: Final = Micro(0)
Ending = Literal["succeeded", "filtered", "failed", "cancelled"]
Grouping = Literal["day", "key", "member", "service", "model", "outcome"]


@dataclass(frozen=True)
class Use:
    """One ended request.

    Attributes:
        org_id: Who pays.
        key_id: The API key, "" for a session.
        user_id: The member.
        service: Item of the price list.
        model: As the client named it.
        ending: How it ended.
        charged: Micro-credits that were taken.
        compute_ms: Milliseconds on a worker.
    """

    org_id: str
    key_id: str
    user_id: str
    service: str
    model: str
    ending: Ending
    charged: Micro = NOTHING
    compute_ms: float = 0.0


@dataclass(frozen=True)
class Line:
    """Totals of one group of a report.

    Attributes:
        group: The day, key, member, service, model or outcome that these are the totals of.
        requests: Requests that ended.
        pictures: Pictures that were delivered, blurred ones included.
        failed: Requests that failed or were cancelled.
        filtered: Pictures that were blurred.
        charged: Micro-credits.
        compute_ms: Milliseconds on workers.
    """

    group: str
    requests: int
    pictures: int
    failed: int
    filtered: int
    charged: Micro
    compute_ms: int
