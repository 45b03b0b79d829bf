"""Links that work for an hour and cannot be made up."""

from __future__ import annotations

import pytest

from keelbill.api.openai.links import Linked, Links
from keelbill.core.errors import NotFound
from keelbill.core.ids import new_id

LINKS = Links(b"s" * 32)
LINKED = Linked(new_id(), new_id(), new_id())
NOW_MS = 1_800_000_000_000


def test_a_link_leads_to_its_picture() -> None:
    assert LINKS.read(LINKS.token(LINKED, NOW_MS), NOW_MS + 3_599_000) == LINKED


def test_a_session_has_no_key() -> None:
    linked = Linked(new_id(), new_id())
    assert LINKS.read(LINKS.token(linked, NOW_MS), NOW_MS) == linked


def test_after_an_hour_it_leads_nowhere() -> None:
    token = LINKS.token(LINKED, NOW_MS)
    with pytest.raises(NotFound):
        LINKS.read(token, NOW_MS + 3_600_000)


def test_every_changed_character_breaks_it() -> None:
    token = LINKS.token(LINKED, NOW_MS)
    for place in range(0, len(token) - 1, 7):
        changed = "A" if token[place] != "A" else "B"
        with pytest.raises(NotFound):
            LINKS.read(token[:place] + changed + token[place + 1 :], NOW_MS)


@pytest.mark.parametrize("token", ["", "x", "=", "....", "ä", "A" * 5000])
def test_rubbish(token: str) -> None:
    with pytest.raises(NotFound):
        LINKS.read(token, NOW_MS)


def test_another_installation_does_not_accept_it() -> None:
    with pytest.raises(NotFound):
        Links(b"t" * 32).read(LINKS.token(LINKED, NOW_MS), NOW_MS)
