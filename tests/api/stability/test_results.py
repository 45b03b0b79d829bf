"""Names of results belong to the key that asked."""

from __future__ import annotations

import re

import pytest

from keelbill.api.stability.results import job_of, result_name
from keelbill.core.errors import NotFound
from keelbill.core.principal import Principal

ALICE = Principal(org_id="o1", user_id="u1", key_id="k1")
JOB = "0" * 31 + "a"


def test_a_name_has_64_hex_digits_and_leads_back() -> None:
    name = result_name(ALICE, JOB)
    assert re.fullmatch("[0-9a-f]{64}", name)
    assert job_of(ALICE, name) == JOB


def test_another_key_of_the_same_account_finds_nothing() -> None:
    with pytest.raises(NotFound):
        job_of(Principal(org_id="o1", user_id="u1", key_id="k2"), result_name(ALICE, JOB))


@pytest.mark.parametrize("name", ["", "x" * 64, "0" * 64, JOB, "../../etc/passwd", "A" * 64])
def test_made_up_names(name: str) -> None:
    with pytest.raises(NotFound):
        job_of(ALICE, name)
