from __future__ import annotations

import pytest

from keelbill.identity.errors import CredentialRefused, UnknownThing, WrongPassword
from keelbill.identity.keys import make_key
from support.identities import HERE, PASSWORD, House

DAY_S = 86_400


class TestLife:
    async def test_ends_after_two_weeks_without_use(self, house: House) -> None:
        await house.person()
        _, session = await house.signed_in()

        for _ in range(3):
            house.clock.advance(13 * DAY_S)
            await house.principal(session)
            await house.identity.authenticator.flush()
        house.clock.advance(14 * DAY_S)

        with pytest.raises(CredentialRefused) as caught:
            await house.principal(session)
        assert caught.value.reason == "expired"

    async def test_ends_after_ninety_days_in_any_case(self, house: House) -> None:
        await house.person()
        _, session = await house.signed_in()

        for _ in range(9):
            house.clock.advance(10 * DAY_S - 1)
            await house.principal(session)
            await house.identity.authenticator.flush()
        house.clock.advance(10)

        with pytest.raises(CredentialRefused):
            await house.principal(session)

    @pytest.mark.parametrize("cookie", ["", "short", "x" * 43, "x" * 5000, "é" * 40])
    async def test_other_cookies_open_nothing(self, house: House, cookie: str) -> None:
        with pytest.raises(CredentialRefused):
            await house.identity.authenticator.authenticate_session(cookie, HERE)

    async def test_a_key_is_no_cookie_and_a_cookie_no_key(self, house: House) -> None:
        await house.person()
        _, session = await house.signed_in()

        with pytest.raises(CredentialRefused):
            await house.identity.authenticator.authenticate_session(make_key(), HERE)
        with pytest.raises(CredentialRefused):
            await house.identity.authenticator.authenticate(session.cookie, HERE)


class TestRenewal:
    async def test_every_sign_in_has_its_own_cookie_and_token(self, house: House) -> None:
        await house.person()

        opened = [(await house.signed_in())[1] for _ in range(3)]

        assert len({session.cookie for session in opened}) == 3
        assert len({session.csrf_token for session in opened}) == 3
        assert all(len(session.cookie) >= 43 for session in opened)

    async def test_proving_the_password_changes_the_cookie(self, house: House) -> None:
        await house.person()
        principal, session = await house.signed_in()
        house.clock.advance(15 * 60)
        assert not house.identity.accounts.sessions.is_recent(principal)

        renewed = await house.identity.accounts.prove_again(principal, PASSWORD)

        fresh = await house.principal(renewed)
        assert house.identity.accounts.sessions.is_recent(fresh)
        assert renewed.csrf_token != session.csrf_token
        assert renewed.record.expires_ms == session.record.expires_ms
        with pytest.raises(CredentialRefused):
            await house.principal(session)

    async def test_a_wrong_password_proves_nothing(self, house: House) -> None:
        await house.person()
        principal, session = await house.signed_in()

        with pytest.raises(WrongPassword):
            await house.identity.accounts.prove_again(principal, "not the password")
        await house.principal(session)

    async def test_keys_are_never_recent(self, house: House) -> None:
        owner, _ = await house.owner()

        assert not house.identity.accounts.sessions.is_recent(owner)

    async def test_acting_for_another_organisation_changes_the_cookie(self, house: House) -> None:
        user_id = await house.person()
        principal, session = await house.signed_in()
        org_id = await house.write(lambda c: house.identity.accounts.orgs.create(c, user_id, "Team"))

        renewed = await house.identity.accounts.switch_org(principal, org_id)

        assert (await house.principal(renewed)).org_id == org_id
        with pytest.raises(CredentialRefused):
            await house.principal(session)

    async def test_nobody_acts_for_an_organisation_of_others(self, house: House) -> None:
        owner, _ = await house.owner()
        await house.person()
        principal, _ = await house.signed_in()

        with pytest.raises(UnknownThing):
            await house.identity.accounts.switch_org(principal, owner.org_id)


class TestSigningOut:
    async def test_a_cookie_does_not_come_back(self, house: House) -> None:
        await house.person()
        principal, session = await house.signed_in()

        await house.write(lambda c: house.identity.accounts.sessions.end(c, principal.user_id, principal.session_id))

        with pytest.raises(CredentialRefused):
            await house.principal(session)

    async def test_everywhere(self, house: House) -> None:
        await house.person()
        opened = [await house.signed_in() for _ in range(3)]
        user_id = opened[0][0].user_id

        ended = await house.write(lambda c: house.identity.accounts.sessions.end_all(c, user_id))

        assert ended == 3
        for _, session in opened:
            with pytest.raises(CredentialRefused):
                await house.principal(session)

    async def test_sessions_of_others_do_not_exist(self, house: House) -> None:
        await house.person()
        principal, session = await house.signed_in()

        with pytest.raises(UnknownThing):
            await house.write(lambda c: house.identity.accounts.sessions.end(c, "f" * 32, principal.session_id))
        await house.principal(session)

    async def test_the_list_names_browsers_and_no_secret(self, house: House) -> None:
        await house.person()
        session = await house.identity.accounts.sign_in(
            "ada@example.org", PASSWORD, ip="192.0.2.1", user_agent="Browser\r\n/1" + "x" * 500
        )
        user_id = session.record.user_id

        found = await house.database.read(lambda c: house.identity.accounts.sessions.list(c, user_id))

        assert [record.ip for record in found] == ["192.0.2.1"]
        assert found[0].user_agent == ("Browser/1" + "x" * 500)[:200]
        assert session.cookie not in repr(found) + repr(session)


async def test_sweeping_drops_what_has_ended(house: House) -> None:
    await house.person()
    await house.signed_in()
    await house.identity.accounts.request_reset("ada@example.org")
    house.clock.advance(2 * DAY_S)
    _, alive = await house.signed_in()

    first = await house.write(house.identity.sweep)
    house.clock.advance(13 * DAY_S)
    second = await house.write(house.identity.sweep)

    assert first == 3  # the link and two counts of mails
    assert second == 2  # the first session, and the count of its address
    await house.principal(alive)
