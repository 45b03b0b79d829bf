"""What organisations may decide, and what not even they may."""

from __future__ import annotations

import pytest

from keelbill.core.errors import InvalidRequest
from keelbill.moderation.policy import DEFAULTS, Policy
from keelbill.moderation.text import Category, Finding, Severity


def finding(category: Category, severity: Severity = "high") -> Finding:
    return Finding(category, severity, 0, 4)


def test_every_problem_is_named() -> None:
    with pytest.raises(InvalidRequest) as caught:
        Policy.of({"noise": "block", "gore": "burn", "minors": "allow"})
    assert len(caught.value.problems) == 3
    assert caught.value.problems[0].startswith("noise: is no category; the categories are gore, hate, minors")
    assert caught.value.problems[1] == "gore: must be one of block, review, allow"
    assert caught.value.problems[2] == "minors: is always blocked and cannot be set to allow"


@pytest.mark.parametrize("action", ["allow", "review"])
def test_minors_can_never_be_allowed(action: str) -> None:
    with pytest.raises(InvalidRequest, match="minors: is always blocked"):
        Policy.of({"minors": action})


def test_not_even_by_a_policy_that_was_made_without_a_check() -> None:
    loose = Policy(dict.fromkeys(Category, "allow"))
    assert loose.action(finding(Category.MINORS)) == "block"
    assert loose.action(finding(Category.PUBLIC_FIGURES, "critical")) == "block"
    assert loose.action(finding(Category.PUBLIC_FIGURES, "low")) == "allow"


def test_minors_may_be_named_as_what_they_are() -> None:
    assert Policy.of({"minors": "block"}).actions == DEFAULTS


def test_what_is_not_named_keeps_its_default() -> None:
    policy = Policy.of({"gore": "allow"})
    assert policy.actions[Category.GORE] == "allow"
    assert {category: policy.actions[category] for category in Category if category is not Category.GORE} == {
        category: DEFAULTS[category] for category in Category if category is not Category.GORE
    }


def test_every_category_has_a_default() -> None:
    assert set(DEFAULTS) == set(Category)


def test_the_strictest_action_wins() -> None:
    policy = Policy.of({"gore": "allow", "hate": "review"})
    gore, hate, sexual = (finding(category) for category in (Category.GORE, Category.HATE, Category.SEXUAL))
    assert policy.decide([]) == ("allow", ())
    assert policy.decide([gore]) == ("allow", (gore,))
    assert policy.decide([gore, hate]) == ("review", (hate,))
    assert policy.decide([gore, hate, sexual]) == ("block", (sexual,))
