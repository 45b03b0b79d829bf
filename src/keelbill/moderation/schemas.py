"""The records of moderation: what was noted, and what waits for a person. Knows neither tables nor HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ReviewState = Literal["open", "approved", "rejected"]
Decision = Literal["approved", "rejected"]


@dataclass(frozen=True)
class Note:
    """One line of the audit trail; it does not hold the prompt.

    Attributes:
        id: 32 hex digits that sort by time.
        org_id: Whose prompt it was.
        user_id: Who wrote it.
        key_id: The API key, "" for a session.
        request_id: Of the HTTP request.
        action: What was done: ``block``, ``review`` or ``allow``.
        category: What it was objected to for.
        severity: How much.
        span_length: Characters that the rule matched.
        text_hash: Keyed digest of the prompts, 64 hex digits; equal for equal prompts.
        created_ms: When.
    """

    id: str
    org_id: str
    user_id: str
    key_id: str
    request_id: str
    action: str
    category: str
    severity: str
    span_length: int
    text_hash: str
    created_ms: int


@dataclass(frozen=True)
class Review:
    """A prompt that passed and that a person should look at.

    Attributes:
        id: 32 hex digits that sort by time.
        org_id: Whose prompt it was.
        user_id: Who wrote it.
        request_id: Of the HTTP request.
        category: Why it is here.
        severity: How much.
        text: The prompts; "" once their time is over.
        text_hash: As in the audit trail.
        state: Whether somebody has looked.
        decided_by: The user who did, "" while it is open.
        note: What they wrote.
        decided_ms: When, 0 while it is open.
        created_ms: When the prompt came.
    """

    id: str
    org_id: str
    user_id: str
    request_id: str
    category: str
    severity: str
    text: str
    text_hash: str
    state: str
    decided_by: str
    note: str
    decided_ms: int
    created_ms: int
