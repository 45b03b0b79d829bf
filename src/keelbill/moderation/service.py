"""Judges prompts for an organisation, keeps the trail and the queue. Knows no HTTP and no pictures.

Harmless prompts, which is nearly all of them, cost no look into the database.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from typing import Final

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.errors import ContentRefused
from keelbill.core.ids import new_id
from keelbill.core.principal import Principal
from keelbill.core.settings import Settings
from keelbill.db.base import Database
from keelbill.moderation import repository
from keelbill.moderation.errors import AlreadyDecided, NoSuchReview
from keelbill.moderation.policy import LOCKED, Action, Policy
from keelbill.moderation.schemas import Decision, Note, Review
from keelbill.moderation.text import Finding, judge, label

RETENTION_DAYS: Final = 30
DAY_MS: Final = 86_400_000
MAX_REVIEW_CHARS: Final = 10_000
_LONG: Final = 500
_BETWEEN: Final = "\n\n"


class Moderation:
    """The rules for prompts, as organisations apply them.

    Args:
        database: For policies, the trail and the queue.
        clock: For their times.
        settings: With moderation off, only what no policy can allow is refused.
        secret: Keys the digests of prompts; without one, they can be compared within one run only.
        retention_days: How long the prompts of the review queue are kept.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Settings,
        secret: bytes = b"",
        *,
        retention_days: int = RETENTION_DAYS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._is_on = settings.moderation == "on"
        self._secret = secret or secrets.token_bytes(32)
        self._retention_ms = retention_days * DAY_MS
        judge("\N{GREEK SMALL LETTER NU}")  # reads the rules and the look-alikes now, not while the first prompt waits

    async def check_prompt(self, principal: Principal, *texts: str, request_id: str = "") -> None:
        """Judge what somebody wants painted, and act as their organisation's policy says.

        Give what is to be seen only: a negative prompt names what is *not* wanted, and refusing "nudity" there would
        punish those who try to avoid it.

        Args:
            principal: Who asks.
            texts: The prompts of one request; they are judged together, so that what is split is seen too.
            request_id: Of the HTTP request, for the trail.

        Raises:
            ContentRefused: The policy blocks it; nothing is charged. The message names the category, not the words.
        """
        text = _BETWEEN.join(texts)
        # Long prompts take some tens of milliseconds, in which the server should go on answering.
        findings = await asyncio.to_thread(judge, text) if len(text) > _LONG else judge(text)
        if not self._is_on:
            findings = tuple(finding for finding in findings if _is_locked(finding))
        if not findings:
            return
        actions = await self._database.read(lambda c: repository.policy(c, principal.org_id))
        action, reasons = Policy.of(actions).decide(findings)
        await self._database.write(lambda c: self._note(c, principal, action, reasons, text, request_id))
        if action == "block":
            names = list(dict.fromkeys(label(finding.category) for finding in reasons))
            raise ContentRefused(
                f"prompt: refused, because the rules of this server do not allow {' and '.join(names)}; "
                "nothing was charged"
            )

    async def policy(self, principal: Principal) -> Policy:
        """Return the policy of the caller's organisation."""
        return Policy.of(await self._database.read(lambda c: repository.policy(c, principal.org_id)))

    def set_policy(self, connection: Connection, principal: Principal, policy: Policy) -> None:
        """Write the policy of the caller's organisation; it holds from the next prompt on.

        Raises:
            PermissionDenied: The caller is neither owner nor admin.
        """
        principal.require_role("owner", "admin")
        actions = {str(category): action for category, action in policy.actions.items()}
        repository.set_policy(connection, principal.org_id, actions, principal.user_id, self._clock.now_ms())

    def decide(
        self,
        connection: Connection,
        principal: Principal,
        review_id: str,
        decision: Decision,
        note: str,
        *,
        org_id: str,
    ) -> Review:
        """Close a review.

        Args:
            connection: Of the transaction.
            principal: Who decides.
            review_id: From the queue.
            decision: What they think of the prompt.
            note: Why; for those who read the queue later.
            org_id: Of whom the review must be, "" for anybody.

        Raises:
            NoSuchReview: There is none, or it is another organisation's.
            AlreadyDecided: Somebody was faster.
        """
        before = repository.find_review(connection, org_id, review_id)
        if before is None:
            raise NoSuchReview
        if not repository.decide(connection, review_id, decision, principal.user_id, note, self._clock.now_ms()):
            raise AlreadyDecided(before.state)
        after = repository.find_review(connection, org_id, review_id)
        if after is None:
            raise NoSuchReview
        return after

    def sweep(self, connection: Connection) -> int:
        """Erase prompts whose time in the queue is over; return how many."""
        return repository.forget_texts(connection, self._clock.now_ms() - self._retention_ms)

    def digest(self, text: str) -> str:
        """Return the keyed digest by which equal prompts are recognised, 64 hex digits."""
        return hmac.new(self._secret, b"moderation\0" + text.encode(), hashlib.sha256).hexdigest()

    def _note(
        self,
        connection: Connection,
        principal: Principal,
        action: Action,
        reasons: tuple[Finding, ...],
        text: str,
        request_id: str,
    ) -> None:
        now_ms, digest = self._clock.now_ms(), self.digest(text)
        by_category = {finding.category: finding for finding in reversed(reasons)}
        who = {"org_id": principal.org_id, "user_id": principal.user_id, "request_id": request_id}
        notes = [
            Note(
                **who,
                id=new_id(),
                key_id=principal.key_id,
                action=action,
                category=finding.category,
                severity=finding.severity,
                span_length=finding.end - finding.start,
                text_hash=digest,
                created_ms=now_ms,
            )
            for finding in by_category.values()
        ]
        repository.add_notes(connection, notes)
        if action == "review":
            first = reasons[0]
            waiting = Review(
                **who,
                id=new_id(),
                category=first.category,
                severity=first.severity,
                text=text[:MAX_REVIEW_CHARS],
                text_hash=digest,
                state="open",
                decided_by="",
                note="",
                decided_ms=0,
                created_ms=now_ms,
            )
            repository.add_review(connection, waiting)


def _is_locked(finding: Finding) -> bool:
    return finding.severity == "critical" or finding.category in LOCKED
