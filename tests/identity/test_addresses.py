from __future__ import annotations

import pytest

from keelbill.core.errors import InvalidRequest
from keelbill.identity.addresses import (
    account_identity,
    address_identity,
    checked_address,
    grant_form,
    sign_in_form,
)


@pytest.mark.parametrize("text", ["", "ada", "ada@", "@example.org", "a b@example.org", "ada@example", "x" * 400])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidRequest, match="email: must be a mail address"):
        checked_address(text)


def test_the_shown_form_keeps_what_its_owner_wrote() -> None:
    assert checked_address("  Ada.Love@Example.ORG ") == "Ada.Love@example.org"


def test_capitals_name_the_same_account() -> None:
    assert sign_in_form("Ada@Example.org") == sign_in_form("ada@example.ORG")


@pytest.mark.parametrize("text", ["a.d.a@gmail.com", "ADA+x@googlemail.com", "ada+1+2@gmail.com"])
def test_one_mailbox_of_gmail_gets_one_grant(text: str) -> None:
    assert address_identity(text) == address_identity("ada@gmail.com")


def test_dots_count_elsewhere() -> None:
    assert grant_form("a.da+tag@example.org") == "a.da@example.org"
    assert address_identity("a.da@example.org") != address_identity("ada@example.org")


def test_a_mailbox_that_is_only_a_tag_stays() -> None:
    assert grant_form("+tag@example.org") == "+tag@example.org"


def test_accounts_and_addresses_never_collide() -> None:
    assert account_identity("ada@example.org") != address_identity("ada@example.org")
