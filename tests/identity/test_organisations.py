from __future__ import annotations

from dataclasses import dataclass

import pytest
import pytest_asyncio
from sqlalchemy.exc import DBAPIError

from keelbill.core.errors import Conflict, InvalidRequest, PermissionDenied
from keelbill.core.principal import Caps, Principal, Role
from keelbill.identity import repository
from keelbill.identity.audit import SYSTEM, Actor
from keelbill.identity.errors import CredentialRefused, LastOwner, LinkExpired, UnknownThing
from keelbill.identity.models import audit_log
from keelbill.identity.organisations import Organisations, checked_name, checked_role
from keelbill.identity.schemas import KeyOptions
from support.identities import HERE, PASSWORD, House


@dataclass
class Team:
    """Ada owns a team; others join it."""

    house: House
    ada: Principal
    org_id: str

    @property
    def orgs(self) -> Organisations:
        return self.house.identity.accounts.orgs

    async def member(self, email: str, role: Role) -> Principal:
        """Invite somebody who has no account, and return the session in the team."""
        await self.house.identity.accounts.invite(self.ada, email, role, actor=SYSTEM)
        session = await self.house.identity.accounts.join(await self.house.link(), PASSWORD, ip=HERE)
        return await self.house.principal(session)


@pytest_asyncio.fixture
async def team(house: House) -> Team:
    user_id = await house.person()
    principal, _ = await house.signed_in()
    org_id = await house.write(lambda c: house.identity.accounts.orgs.create(c, user_id, "Lighthouse"))
    ada = await house.principal(await house.identity.accounts.switch_org(principal, org_id))
    return Team(house, ada, org_id)


class TestInvitations:
    async def test_a_stranger_joins_with_an_own_account(self, team: Team) -> None:
        bob = await team.member("Bob@example.org", "member")

        profile = await team.house.identity.accounts.profile(bob)
        assert (bob.org_id, bob.role) == (team.org_id, "member")
        assert [(o.kind, o.is_default) for o in profile.organizations] == [("personal", False), ("team", True)]
        assert profile.is_verified

    async def test_somebody_with_an_account_accepts(self, team: Team) -> None:
        await team.house.person("bob@example.org")
        bob, _ = await team.house.signed_in("bob@example.org")
        await team.house.identity.accounts.invite(team.ada, "bob@example.org", "viewer", actor=SYSTEM)
        token = await team.house.link()
        with pytest.raises(LinkExpired):
            await team.house.identity.accounts.join(token, PASSWORD)

        org_id = await team.house.write(lambda c: team.orgs.accept(c, bob, token, actor=SYSTEM))

        assert org_id == team.org_id
        with pytest.raises(LinkExpired):
            await team.house.write(lambda c: team.orgs.accept(c, bob, token, actor=SYSTEM))

    async def test_for_another_address_is_not_used_up(self, team: Team) -> None:
        await team.house.person("eve@example.org")
        eve, _ = await team.house.signed_in("eve@example.org")
        await team.house.identity.accounts.invite(team.ada, "bob@example.org", "member", actor=SYSTEM)
        token = await team.house.link()

        with pytest.raises(LinkExpired):
            await team.house.write(lambda c: team.orgs.accept(c, eve, token, actor=SYSTEM))
        await team.house.identity.accounts.join(token, PASSWORD)

    async def test_withdrawn_or_old(self, team: Team) -> None:
        record = await team.house.identity.accounts.invite(team.ada, "bob@example.org", "member", actor=SYSTEM)
        token = await team.house.link()
        await team.house.write(lambda c: team.orgs.withdraw(c, team.ada, record.id, actor=SYSTEM))
        with pytest.raises(LinkExpired):
            await team.house.identity.accounts.join(token, PASSWORD)
        with pytest.raises(UnknownThing):
            await team.house.write(lambda c: team.orgs.withdraw(c, team.ada, record.id, actor=SYSTEM))

        await team.house.identity.accounts.invite(team.ada, "bob@example.org", "member", actor=SYSTEM)
        team.house.clock.advance(7 * 86_400)
        with pytest.raises(LinkExpired):
            await team.house.identity.accounts.join(await team.house.link(), PASSWORD)

    async def test_a_personal_organisation_stays_alone(self, house: House) -> None:
        await house.person()
        ada, _ = await house.signed_in()

        with pytest.raises(Conflict, match="create a team"):
            await house.identity.accounts.invite(ada, "bob@example.org", "member", actor=SYSTEM)


class TestRoles:
    @pytest.mark.parametrize("role", ["viewer", "billing", "member"])
    async def test_who_manages_nobody(self, team: Team, role: Role) -> None:
        bob = await team.member("bob@example.org", role)

        for work in (
            lambda c: team.orgs.change_role(c, bob, bob.user_id, "owner", actor=SYSTEM),
            lambda c: team.orgs.change_caps(c, bob, bob.user_id, Caps(), actor=SYSTEM),
            lambda c: team.orgs.remove(c, bob, team.ada.user_id, actor=SYSTEM),
            lambda c: team.orgs.invite(c, bob, "eve@example.org", "viewer", actor=SYSTEM),
            lambda c: team.orgs.rename(c, bob, "Mine", actor=SYSTEM),
            lambda c: team.orgs.delete(c, bob, actor=SYSTEM),
        ):
            with pytest.raises(PermissionDenied):
                await team.house.write(work)

    async def test_an_admin_manages_all_but_owners(self, team: Team) -> None:
        admin = await team.member("bob@example.org", "admin")
        carol = await team.member("carol@example.org", "viewer")

        await team.house.write(lambda c: team.orgs.change_role(c, admin, carol.user_id, "member", actor=SYSTEM))
        for work in (
            lambda c: team.orgs.change_role(c, admin, carol.user_id, "owner", actor=SYSTEM),
            lambda c: team.orgs.change_role(c, admin, team.ada.user_id, "viewer", actor=SYSTEM),
            lambda c: team.orgs.remove(c, admin, team.ada.user_id, actor=SYSTEM),
            lambda c: team.orgs.delete(c, admin, actor=SYSTEM),
        ):
            with pytest.raises(PermissionDenied):
                await team.house.write(work)

    async def test_a_new_role_ends_the_sessions_there_and_narrows_keys(self, team: Team) -> None:
        await team.member("bob@example.org", "member")
        opened = await team.house.identity.accounts.sign_in("bob@example.org", PASSWORD)
        at_home = await team.house.principal(opened)
        in_team = await team.house.identity.accounts.switch_org(at_home, team.org_id)
        again = await team.house.identity.accounts.sign_in("bob@example.org", PASSWORD)
        options = KeyOptions()
        _, secret = await team.house.identity.keys.create(team.ada, options, user_id=at_home.user_id)
        await team.house.identity.authenticator.authenticate(secret, HERE)

        await team.house.write(lambda c: team.orgs.change_role(c, team.ada, at_home.user_id, "viewer", actor=SYSTEM))
        team.house.clock.advance(1)

        with pytest.raises(CredentialRefused):
            await team.house.principal(in_team)
        await team.house.principal(again)
        assert "generate" not in (await team.house.identity.authenticator.authenticate(secret, HERE)).scopes

    async def test_the_last_owner_stays(self, team: Team) -> None:
        ada = team.ada

        with pytest.raises(LastOwner):
            await team.house.write(lambda c: team.orgs.change_role(c, ada, ada.user_id, "admin", actor=SYSTEM))
        with pytest.raises(LastOwner):
            await team.house.write(lambda c: team.orgs.remove(c, ada, ada.user_id, actor=SYSTEM))
        bob = await team.member("bob@example.org", "owner")
        await team.house.write(lambda c: team.orgs.change_role(c, bob, ada.user_id, "member", actor=SYSTEM))

    async def test_a_key_manages_no_members(self, team: Team) -> None:
        _, secret = await team.house.identity.keys.create(team.ada, KeyOptions(scopes=frozenset({"keys:write"})))
        key = await team.house.identity.authenticator.authenticate(secret, HERE)

        with pytest.raises(PermissionDenied, match="not by keys"):
            await team.house.write(lambda c: team.orgs.invite(c, key, "eve@example.org", "owner", actor=SYSTEM))

    async def test_of_a_stranger(self, team: Team) -> None:
        stranger = await team.house.person("eve@example.org")

        with pytest.raises(UnknownThing):
            await team.house.write(lambda c: team.orgs.change_role(c, team.ada, stranger, "admin", actor=SYSTEM))


class TestCaps:
    async def test_reach_the_principal(self, team: Team) -> None:
        bob = await team.member("bob@example.org", "member")
        caps = Caps(per_request=1, per_day=2, per_month=3, total=4)

        await team.house.write(lambda c: team.orgs.change_caps(c, team.ada, bob.user_id, caps, actor=SYSTEM))

        opened = await team.house.identity.accounts.sign_in("bob@example.org", PASSWORD)
        session = await team.house.identity.accounts.switch_org(await team.house.principal(opened), team.org_id)
        assert (await team.house.principal(session)).member_caps == caps
        _, secret = await team.house.identity.keys.create(team.ada, KeyOptions(), user_id=bob.user_id)
        assert (await team.house.identity.authenticator.authenticate(secret, HERE)).member_caps == caps

    async def test_below_zero(self, team: Team) -> None:
        with pytest.raises(InvalidRequest, match="caps"):
            await team.house.write(
                lambda c: team.orgs.change_caps(c, team.ada, team.ada.user_id, Caps(per_day=-1), actor=SYSTEM)
            )


class TestLeaving:
    async def test_ends_keys_and_sessions_there(self, team: Team) -> None:
        bob = await team.member("bob@example.org", "member")
        _, secret = await team.house.identity.keys.create(team.ada, KeyOptions(), user_id=bob.user_id)
        await team.house.identity.authenticator.authenticate(secret, HERE)

        await team.house.write(lambda c: team.orgs.remove(c, bob, bob.user_id, actor=SYSTEM))
        team.house.clock.advance(1)

        with pytest.raises(CredentialRefused):
            await team.house.identity.authenticator.authenticate(secret, HERE)
        found = await team.house.database.read(lambda c: repository.members(c, team.org_id))
        assert [member.user_id for member in found] == [team.ada.user_id]

    async def test_the_own_personal_organisation(self, house: House) -> None:
        await house.person()
        ada, _ = await house.signed_in()
        orgs = house.identity.accounts.orgs

        with pytest.raises(LastOwner):
            await house.write(lambda c: orgs.remove(c, ada, ada.user_id, actor=SYSTEM))
        with pytest.raises(Conflict):
            await house.write(lambda c: orgs.delete(c, ada, actor=SYSTEM))

    async def test_a_closed_team_lets_nobody_in(self, team: Team) -> None:
        _, secret = await team.house.identity.keys.create(team.ada, KeyOptions())

        await team.house.write(lambda c: team.orgs.delete(c, team.ada, actor=SYSTEM))
        team.house.clock.advance(1)

        with pytest.raises(CredentialRefused):
            await team.house.identity.authenticator.authenticate(secret, HERE)
        opened = await team.house.identity.accounts.sign_in("ada@example.org", PASSWORD)
        with pytest.raises(UnknownThing):
            await team.house.identity.accounts.switch_org(await team.house.principal(opened), team.org_id)


class TestAudit:
    async def test_tells_who_did_what(self, team: Team) -> None:
        actor = Actor.of(team.ada, "192.0.2.1", "r" * 32)
        await team.house.write(lambda c: team.orgs.rename(c, team.ada, "New name", actor=actor))

        entry = (await team.house.database.read(lambda c: team.house.identity.accounts.audit.entries(c, team.org_id)))[
            0
        ]

        assert (entry.action, entry.actor_kind, entry.actor_id) == ("org.rename", "user", team.ada.user_id)
        assert (entry.ip, entry.request_id, entry.at_ms) == ("192.0.2.1", "r" * 32, team.house.clock.now_ms())

    async def test_pages_and_stays_within_an_organisation(self, team: Team) -> None:
        audit = team.house.identity.accounts.audit
        for number in range(5):
            await team.house.write(lambda c, n=number: audit.add(c, SYSTEM, f"test.{n}", "", org_id="o"))  # type: ignore[misc]

        first = await team.house.database.read(lambda c: audit.entries(c, "o", limit=2))
        rest = await team.house.database.read(lambda c: audit.entries(c, "o", before_id=first[-1].id))

        assert sorted(entry.action for entry in first + rest) == [f"test.{number}" for number in range(5)]

    async def test_the_database_refuses_changes(self, team: Team) -> None:
        for statement in (audit_log.update().values(action="x"), audit_log.delete()):
            with pytest.raises(DBAPIError, match="only appends"):
                await team.house.write(lambda c, s=statement: c.execute(s))  # type: ignore[misc]


def test_names_and_roles_are_checked() -> None:
    assert checked_name("  Light   house ") == "Light house"
    for name in ("", " ", "x" * 201, "a\x07b"):
        with pytest.raises(InvalidRequest, match="name"):
            checked_name(name)
    with pytest.raises(InvalidRequest, match="owner, admin, billing, member, viewer"):
        checked_role("root")
