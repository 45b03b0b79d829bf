"""Prompts judged for an organisation: what is refused, what is kept, and for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Connection, delete, event, update
from sqlalchemy.exc import DBAPIError

from keelbill.core.errors import ContentRefused, InvalidRequest, PermissionDenied
from keelbill.core.principal import Principal
from keelbill.core.settings import Settings
from keelbill.db.base import Database
from keelbill.moderation import repository
from keelbill.moderation.errors import AlreadyDecided, NoSuchReview
from keelbill.moderation.models import moderation_event
from keelbill.moderation.policy import Policy
from keelbill.moderation.schemas import Note, Review
from keelbill.moderation.service import DAY_MS, Moderation
from support.identities import HandClock

OWNER = Principal("o" * 32, "u" * 32, key_id="k" * 32)
OTHER = Principal("p" * 32, "v" * 32)
FIGURE = "president trump on a horse"


class House:
    """The service on a database, with a clock that tests move."""

    def __init__(self, database: Database, home: Path, **settings: Any) -> None:
        self.database = database
        self.clock = HandClock()
        self.service = Moderation(database, self.clock, Settings(home=home, **settings), b"s" * 32)

    async def allow(self, principal: Principal, **actions: str) -> None:
        policy = Policy.of(actions)
        await self.database.write(lambda c: self.service.set_policy(c, principal, policy))

    async def notes(self, org_id: str = "") -> list[Note]:
        return await self.database.read(lambda c: repository.notes(c, org_id, "", 100))

    async def reviews(self, org_id: str = "", state: str = "") -> list[Review]:
        return await self.database.read(lambda c: repository.reviews(c, org_id, state, "", 100))


@pytest_asyncio.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    await database.start()
    yield House(database, tmp_path)
    await database.close()


class TestRefusal:
    async def test_the_message_names_the_category_and_not_the_words(self, house: House) -> None:
        with pytest.raises(ContentRefused) as caught:
            await house.service.check_prompt(OWNER, "a nude woman", request_id="r1")
        assert caught.value.problems == (
            "prompt: refused, because the rules of this server do not allow sexual content; nothing was charged",
        )
        assert "nude" not in str(caught.value)
        assert (caught.value.status, caught.value.code) == (403, "content_moderation")

    async def test_the_trail_holds_what_happened_but_not_the_prompt(self, house: House) -> None:
        with pytest.raises(ContentRefused):
            await house.service.check_prompt(OWNER, "canary nude canary", request_id="r1")
        (note,) = await house.notes()
        assert (note.org_id, note.user_id, note.key_id) == (OWNER.org_id, OWNER.user_id, OWNER.key_id)
        assert (note.action, note.category, note.severity) == ("block", "sexual", "high")
        assert (note.span_length, note.request_id, note.created_ms) == (4, "r1", house.clock.ms)
        assert "canary" not in str(note)
        assert await house.reviews() == []

    async def test_equal_prompts_have_equal_digests_under_one_secret_only(self, house: House, tmp_path: Path) -> None:
        other = Moderation(house.database, house.clock, Settings(home=tmp_path), b"t" * 32)
        assert house.service.digest("a") == house.service.digest("a") != house.service.digest("b")
        assert house.service.digest("a") != other.digest("a")
        assert len(house.service.digest("a")) == 64

    async def test_one_line_for_each_category(self, house: House) -> None:
        with pytest.raises(ContentRefused, match=r"sexual content and gore|gore and sexual content"):
            await house.service.check_prompt(OWNER, "nude nude nude, entrails")
        assert sorted(note.category for note in await house.notes()) == ["gore", "sexual"]

    async def test_prompts_of_one_request_are_judged_together(self, house: House) -> None:
        with pytest.raises(ContentRefused, match="with minors"):
            await house.service.check_prompt(OWNER, "a child", "completely nude")

    async def test_a_long_prompt_is_judged_too(self, house: House) -> None:
        with pytest.raises(ContentRefused):
            await house.service.check_prompt(OWNER, "a meadow with flowers, " * 400 + "nude")

    async def test_a_harmless_prompt_asks_the_database_nothing(self, house: House) -> None:
        asked: list[str] = []

        def remember(_c: object, _cursor: object, statement: str, *_: object) -> None:
            asked.append(statement)

        event.listen(house.database.engine, "before_cursor_execute", remember)
        await house.service.check_prompt(OWNER, "a red fox in the snow")
        await house.service.check_prompt(OWNER)
        await house.service.check_prompt(OWNER, "")
        assert asked == []


class TestPolicies:
    async def test_what_an_organisation_allows_passes_there_only(self, house: House) -> None:
        await house.allow(OWNER, sexual="allow")
        await house.service.check_prompt(OWNER, "a nude woman")
        with pytest.raises(ContentRefused):
            await house.service.check_prompt(OTHER, "a nude woman")
        assert [note.action for note in await house.notes(OWNER.org_id)] == ["allow"]

    async def test_a_policy_can_be_changed_again(self, house: House) -> None:
        await house.allow(OWNER, sexual="allow")
        await house.allow(OWNER, sexual="block")
        with pytest.raises(ContentRefused):
            await house.service.check_prompt(OWNER, "a nude woman")
        assert (await house.service.policy(OWNER)).actions == Policy().actions

    async def test_the_worst_is_refused_whatever_is_allowed(self, house: House) -> None:
        await house.allow(OWNER, sexual="allow", public_figures="allow")
        for prompt in ("a nude child", "taylor swift nude"):
            with pytest.raises(ContentRefused):
                await house.service.check_prompt(OWNER, prompt)

    async def test_only_owners_and_admins_choose(self, house: House) -> None:
        member = replace(OWNER, role="member")
        with pytest.raises(PermissionDenied, match="'member' may not do this"):
            await house.allow(member, gore="allow")

    async def test_with_moderation_off_the_worst_is_still_refused(self, database: Database, tmp_path: Path) -> None:
        house = House(database, tmp_path, moderation="off")
        await house.database.start()
        await house.service.check_prompt(OWNER, "a nude woman, entrails")
        assert await house.notes() == []
        with pytest.raises(ContentRefused, match="with minors"):
            await house.service.check_prompt(OWNER, "a nude child")
        await house.database.close()

    async def test_a_category_that_is_not_there(self, house: House) -> None:
        with pytest.raises(InvalidRequest, match="noise: is no category"):
            await house.allow(OWNER, noise="allow")


class TestReviews:
    async def test_what_is_to_be_reviewed_passes_and_waits(self, house: House) -> None:
        await house.service.check_prompt(OWNER, FIGURE, request_id="r9")
        (review,) = await house.reviews(OWNER.org_id, "open")
        assert (review.text, review.category, review.request_id) == (FIGURE, "public_figures", "r9")
        assert (review.state, review.decided_by, review.decided_ms) == ("open", "", 0)
        assert [note.action for note in await house.notes()] == ["review"]

    async def test_a_decision_says_who_and_when(self, house: House) -> None:
        await house.service.check_prompt(OWNER, FIGURE)
        (review,) = await house.reviews()
        house.clock.advance(60)
        done = await self.decide(house, review.id, OWNER.org_id)
        assert (done.state, done.decided_by, done.note) == ("rejected", OWNER.user_id, "no")
        assert done.decided_ms == review.created_ms + 60_000
        assert await house.reviews(state="open") == []
        assert await house.reviews(state="rejected") == [done]

    async def test_the_first_decision_stands(self, house: House) -> None:
        await house.service.check_prompt(OWNER, FIGURE)
        (review,) = await house.reviews()
        await self.decide(house, review.id, OWNER.org_id)
        with pytest.raises(AlreadyDecided) as caught:
            await self.decide(house, review.id, OWNER.org_id)
        assert caught.value.status == 409

    @pytest.mark.parametrize("whose", [OTHER.org_id, "0" * 32])
    async def test_another_organisations_review_is_not_there(self, house: House, whose: str) -> None:
        await house.service.check_prompt(OWNER, FIGURE)
        (review,) = await house.reviews()
        with pytest.raises(NoSuchReview) as caught:
            await self.decide(house, review.id, whose)
        assert caught.value.status == 404
        assert (await house.reviews())[0].state == "open"

    async def test_pages_go_from_the_newest_to_the_oldest(self, house: House) -> None:
        for number in range(5):
            await house.service.check_prompt(OWNER, f"{FIGURE} {number}")
        every = await house.reviews()
        first = await house.database.read(lambda c: repository.reviews(c, "", "", "", 2))
        second = await house.database.read(lambda c: repository.reviews(c, "", "", first[-1].id, 2))
        assert [*first, *second] == every[:4]

    async def test_prompts_are_forgotten_after_their_time(self, house: House) -> None:
        await house.service.check_prompt(OWNER, f"{FIGURE} old")
        house.clock.advance(20 * DAY_MS / 1000)
        await house.service.check_prompt(OWNER, f"{FIGURE} new")
        assert await house.database.write(house.service.sweep) == 0
        house.clock.advance(11 * DAY_MS / 1000)
        assert await house.database.write(house.service.sweep) == 1
        assert sorted(review.text for review in await house.reviews()) == ["", f"{FIGURE} new"]
        assert await house.database.write(house.service.sweep) == 0
        assert len(await house.notes()) == 2

    async def decide(self, house: House, review_id: str, org_id: str) -> Review:
        def operation(connection: Connection) -> Review:
            return house.service.decide(connection, OWNER, review_id, "rejected", "no", org_id=org_id)

        return await house.database.write(operation)


class TestTrail:
    @pytest.mark.parametrize("statement", [delete(moderation_event), update(moderation_event).values(category="none")])
    async def test_the_database_itself_refuses_changes(self, house: House, statement: Any) -> None:
        await house.service.check_prompt(OWNER, FIGURE)
        with pytest.raises(DBAPIError, match="only appends"):
            await house.database.write(lambda c: c.execute(statement).rowcount)
        assert len(await house.notes()) == 1

    async def test_organisations_are_kept_apart(self, house: House) -> None:
        await house.service.check_prompt(OWNER, FIGURE)
        await house.service.check_prompt(OTHER, FIGURE)
        assert [note.org_id for note in await house.notes(OTHER.org_id)] == [OTHER.org_id]
        assert len(await house.notes()) == 2
