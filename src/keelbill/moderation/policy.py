"""What an organisation does about each category. Knows no tables and judges nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, get_args

from keelbill.core.errors import InvalidRequest
from keelbill.moderation.text import Category, Finding

Action = Literal["block", "review", "allow"]
"""Refuse the prompt; let it pass and show it to a person; let it pass."""

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
LOCKED: Final = frozenset({Category.MINORS})
"""Categories that are blocked whatever a policy says."""

DEFAULTS: Final[Mapping[Category, Action]] = MappingProxyType(
    {
        Category.SEXUAL: "block",
        Category.MINORS: "block",
        Category.GORE: "block",
        Category.HATE: "block",
        Category.SELF_HARM: "block",
        Category.PUBLIC_FIGURES: "review",
        Category.WEAPONS: "block",
    }
)


@dataclass(frozen=True)
class Policy:
    """One action for each category.

    Attributes:
        actions: Those that differ from the defaults, at least.
    """

    actions: Mapping[Category, Action] = field(default_factory=lambda: DEFAULTS)

    @classmethod
    def of(cls, actions: Mapping[str, str]) -> Policy:
        """Check a policy as somebody wrote it; categories that are not named keep their default.

        Raises:
            InvalidRequest: A category or an action does not exist, or a locked category would not be blocked.
        """
        problems = []
        known = {str(category) for category in Category}
        for name, action in actions.items():
            if name not in known:
                problems.append(f"{name}: is no category; the categories are {', '.join(sorted(known))}")
            elif action not in ACTIONS:
                problems.append(f"{name}: must be one of {', '.join(ACTIONS)}")
            elif Category(name) in LOCKED and action != "block":
                problems.append(f"{name}: is always blocked and cannot be set to {action}")
        if problems:
            raise InvalidRequest(*problems)
        chosen: dict[Category, Action] = dict(DEFAULTS)
        chosen.update(
            {Category(name): wanted for name, text in actions.items() for wanted in ACTIONS if wanted == text}
        )
        return cls(chosen)

    def action(self, finding: Finding) -> Action:
        """Return what to do about one finding; what is critical is always blocked."""
        if finding.severity == "critical" or finding.category in LOCKED:
            return "block"
        return self.actions.get(finding.category, DEFAULTS[finding.category])

    def decide(self, findings: Iterable[Finding]) -> tuple[Action, tuple[Finding, ...]]:
        """Return the strictest action that any finding asks for, and the findings that ask for it."""
        sorted_out: dict[Action, list[Finding]] = {action: [] for action in ACTIONS}
        for finding in findings:
            sorted_out[self.action(finding)].append(finding)
        for action in ACTIONS:
            if sorted_out[action]:
                return action, tuple(sorted_out[action])
        return "allow", ()
