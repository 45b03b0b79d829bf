"""Who may wait, by numbers alone."""

from __future__ import annotations

import pytest

from keelbill.core.errors import RateLimited, Unavailable
from keelbill.serving.admission import Admission, Limits, Load, retry_after_s

IDLE = Load(queued=0, wait_s=0, drain_s=0, account_s=1)


def admit(
    admission: Admission, org: str = "org", *, load: Load = IDLE, sync: bool = True, count: int = 1, now_s: float = 0
) -> None:
    admission.admit(org, load, deadline_s=120, sync=sync, count=count, now_s=now_s)


@pytest.mark.parametrize(("seconds", "header"), [(0, 1), (0.2, 1), (1.01, 2), (299.5, 300), (10_000, 300)])
def test_retry_after_is_in_whole_seconds(seconds: float, header: int) -> None:
    assert retry_after_s(seconds) == header


def test_a_burst_that_is_checked_together_does_not_pass_together() -> None:
    admission = Admission(Limits(account_jobs=16))
    passed = 0
    for _ in range(1000):
        try:
            admit(admission)
        except RateLimited:
            continue
        passed += 1
    assert passed == 16


def test_admissions_that_come_to_nothing_lapse() -> None:
    admission = Admission(Limits(account_jobs=1))
    admit(admission, now_s=0)
    with pytest.raises(RateLimited):
        admit(admission, now_s=4.9)
    admit(admission, now_s=5.1)


def test_admissions_can_be_taken_back() -> None:
    admission = Admission(Limits(account_jobs=2))
    admit(admission, count=2)
    admission.withdraw("org", 2)
    admission.withdraw("org", 2)  # once too often
    admit(admission, count=2)
    with pytest.raises(RateLimited):
        admit(admission)


def test_submitting_uses_the_admission_up() -> None:
    admission = Admission(Limits(account_jobs=2))
    admit(admission)
    admission.submitted("org", sync=True)
    assert admission.jobs("org") == 1
    admit(admission)
    admission.ended("org", sync=True)
    assert admission.jobs("org") == 0


def test_all_pictures_of_a_request_or_none() -> None:
    admission = Admission(Limits(account_jobs=4))
    with pytest.raises(RateLimited, match="at most 4"):
        admit(admission, count=5)
    admit(admission, count=4)


def test_jobs_that_nobody_waits_for_are_bound_by_the_queue_only() -> None:
    admission = Admission(Limits(account_jobs=1, queued_jobs=10))
    patient = Load(queued=5, wait_s=900, drain_s=900, account_s=900)
    for _ in range(5):
        admit(admission, sync=False, load=patient)
        admission.submitted("org", sync=False)
    admit(admission)
    with pytest.raises(Unavailable, match="the queue holds 10"):
        admit(admission, sync=False, load=Load(10, 0, 700, 1))


def test_one_account_at_its_limit_leaves_the_others_alone() -> None:
    admission = Admission(Limits(account_jobs=1))
    admit(admission, "a")
    admit(admission, "b")


def test_the_wait_is_told_with_the_deadline() -> None:
    with pytest.raises(Unavailable, match="about 200 s; the request's deadline is 120 s") as refusal:
        admit(Admission(Limits()), load=Load(queued=50, wait_s=200, drain_s=250, account_s=30))
    assert refusal.value.retry_after_s == 250
