from __future__ import annotations

from dataclasses import replace

import pytest

from keelbill.core.errors import InvalidRequest, PermissionDenied
from keelbill.core.principal import DEFAULT_SCOPES, Caps, Principal
from keelbill.identity.errors import CredentialRefused, UnknownThing
from keelbill.identity.keyring import MAX_OVERLAP_S, OVERLAP_S
from keelbill.identity.schemas import KeyOptions, KeyRecord
from support.identities import HERE, House


async def key_of(house: House, owner: Principal, **options: object) -> tuple[Principal, KeyRecord]:
    """A key of the owner that may manage keys, and its principal."""
    chosen = replace(KeyOptions(scopes=DEFAULT_SCOPES | {"keys:write"}), **options)  # type: ignore[arg-type]
    record, secret = await house.identity.keys.create(owner, chosen)
    return await house.identity.authenticator.authenticate(secret, "192.0.2.1"), record


class TestCreate:
    async def test_without_the_scope(self, house: House) -> None:
        owner, _ = await house.owner()

        with pytest.raises(PermissionDenied, match="keys:write"):
            await house.identity.keys.create(replace(owner, scopes=DEFAULT_SCOPES), KeyOptions())

    async def test_as_a_member_who_manages_nothing(self, house: House) -> None:
        owner, _ = await house.owner()

        with pytest.raises(PermissionDenied, match="member"):
            await house.identity.keys.create(replace(owner, role="member"), KeyOptions())

    async def test_for_a_stranger(self, house: House) -> None:
        owner, _ = await house.owner()
        stranger = await house.person()

        with pytest.raises(UnknownThing, match="member"):
            await house.identity.keys.create(owner, KeyOptions(), user_id=stranger)

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            (KeyOptions(name="x" * 101), "name: "),
            (KeyOptions(name="a\x00b"), "name: "),
            (KeyOptions(scopes=frozenset()), "scopes: at least one"),
            (KeyOptions(scopes=frozenset({"root"})), "scopes: root unknown"),  # type: ignore[arg-type]
            (KeyOptions(caps=Caps(per_day=-1)), "caps.per_day: "),
            (KeyOptions(caps=Caps(total=10**16)), "caps.total: "),
            (KeyOptions(rate_limit=0), "rate_limit: "),
            (KeyOptions(networks=("10.0.0.1/8",)), "networks: '10.0.0.1/8'"),
            (KeyOptions(networks=("everywhere",)), "networks: 'everywhere'"),
            (KeyOptions(networks=("10.0.0.0/8",) * 33), "networks: at most 32"),
            (KeyOptions(expires_ms=1), "expires_ms: "),
        ],
    )
    async def test_options_out_of_range(self, house: House, options: KeyOptions, problem: str) -> None:
        owner, _ = await house.owner()

        with pytest.raises(InvalidRequest) as caught:
            await house.identity.keys.create(owner, options)

        assert [text for text in caught.value.problems if text.startswith(problem)]

    async def test_a_key_never_hands_on_more_than_it_has(self, house: House) -> None:
        owner, _ = await house.owner()
        now = house.clock.now_ms()
        day = now + 86_400_000
        keys = house.identity.keys

        with pytest.raises(PermissionDenied, match="admin"):
            await keys.create(owner, KeyOptions(scopes=frozenset({"admin"})))
        narrow, _ = await key_of(house, owner, scopes=frozenset({"keys:write", "account:read"}))
        with pytest.raises(PermissionDenied, match="generate"):
            await keys.create(narrow, KeyOptions())
        short, _ = await key_of(house, owner, expires_ms=day)
        with pytest.raises(PermissionDenied, match="lives longer"):
            await keys.create(short, KeyOptions())
        slow, _ = await key_of(house, owner, rate_limit=10)
        with pytest.raises(PermissionDenied, match="at most 10"):
            await keys.create(slow, KeyOptions(rate_limit=11))
        near, _ = await key_of(house, owner, networks=("192.0.2.0/24",))
        with pytest.raises(PermissionDenied, match="within"):
            await keys.create(near, KeyOptions(networks=("192.0.0.0/16",)))
        capped, _ = await key_of(house, owner, caps=Caps(per_day=1))
        with pytest.raises(PermissionDenied, match="cap"):
            await keys.create(capped, KeyOptions(caps=Caps(per_day=1)))

        assert (await keys.create(near, KeyOptions(networks=("192.0.2.128/25",))))[1]
        assert (await keys.create(short, KeyOptions(expires_ms=day)))[1]

    async def test_only_a_session_of_staff_gives_admin(self, house: House) -> None:
        await house.person(is_staff=True)
        staff, _ = await house.signed_in()

        _, secret = await house.identity.keys.create(staff, KeyOptions(scopes=frozenset({"admin"})))

        assert (await house.identity.authenticator.authenticate(secret, HERE)).is_staff


class TestOthers:
    async def test_keys_of_others_do_not_exist(self, house: House) -> None:
        owner, _ = await house.owner()
        await house.person()
        other, _ = await house.signed_in()
        keys = house.identity.keys

        for work in (
            keys.get(other, owner.key_id),
            keys.revoke(other, owner.key_id),
            keys.rotate(other, owner.key_id),
            keys.update(other, owner.key_id, lambda options: options),
        ):
            with pytest.raises(UnknownThing):
                await work
        assert await keys.list(other) == []
        assert [key.id for key in await keys.list(owner)] == [owner.key_id]

    async def test_a_member_sees_the_own_keys_only(self, house: House) -> None:
        owner, _ = await house.owner()
        member = replace(owner, role="member", user_id="f" * 32)

        assert await house.identity.keys.list(member) == []
        with pytest.raises(UnknownThing):
            await house.identity.keys.get(member, owner.key_id)


class TestUpdate:
    async def test_counts_from_the_next_request_on(self, house: House) -> None:
        owner, _ = await house.owner()
        record, secret = await house.identity.keys.create(owner, KeyOptions())
        await house.identity.authenticator.authenticate(secret, HERE)

        await house.identity.keys.update(
            owner, record.id, lambda o: replace(o, scopes=frozenset({"generate"}), name="  new   name ")
        )

        assert (await house.identity.authenticator.authenticate(secret, HERE)).scopes == {"generate"}
        assert (await house.identity.keys.get(owner, record.id)).options.name == "new name"

    async def test_a_revoked_key_stays_as_it_was(self, house: House) -> None:
        owner, _ = await house.owner()
        record, _ = await house.identity.keys.create(owner, KeyOptions())
        await house.identity.keys.revoke(owner, record.id)

        with pytest.raises(InvalidRequest, match="was revoked"):
            await house.identity.keys.update(owner, record.id, lambda o: replace(o, name="x"))

    async def test_a_key_cannot_widen_itself(self, house: House) -> None:
        owner, _ = await house.owner()
        narrow, record = await key_of(house, owner, scopes=frozenset({"keys:write"}))

        with pytest.raises(PermissionDenied, match="generate"):
            await house.identity.keys.update(narrow, record.id, lambda o: replace(o, scopes=DEFAULT_SCOPES))


class TestRotation:
    async def test_both_work_during_the_overlap_and_show_each_other(self, house: House) -> None:
        owner, _ = await house.owner()
        old, old_secret = await house.identity.keys.create(owner, KeyOptions(name="app", rate_limit=9))
        authenticate = house.identity.authenticator.authenticate

        new, new_secret = await house.identity.keys.rotate(owner, old.id)

        assert (await authenticate(old_secret, HERE)).key_id == old.id
        assert (await authenticate(new_secret, HERE)).key_id == new.id
        assert new.options == old.options
        assert new.rotated_from == old.id
        assert (await house.identity.keys.get(owner, old.id)).replaced_by == new.id
        house.clock.advance(OVERLAP_S - 1)
        await authenticate(old_secret, HERE)
        house.clock.advance(1)
        with pytest.raises(CredentialRefused):
            await authenticate(old_secret, HERE)
        await authenticate(new_secret, HERE)

    async def test_without_overlap_the_old_key_ends_at_once(self, house: House) -> None:
        owner, _ = await house.owner()
        old, secret = await house.identity.keys.create(owner, KeyOptions())
        await house.identity.authenticator.authenticate(secret, HERE)

        await house.identity.keys.rotate(owner, old.id, 0)

        with pytest.raises(CredentialRefused):
            await house.identity.authenticator.authenticate(secret, HERE)
        assert house.after_revoked == [old.id]

    async def test_never_makes_the_old_key_live_longer(self, house: House) -> None:
        owner, _ = await house.owner()
        end = house.clock.now_ms() + 1000
        old, _ = await house.identity.keys.create(owner, KeyOptions(expires_ms=end))

        await house.identity.keys.rotate(owner, old.id, MAX_OVERLAP_S)

        assert (await house.identity.keys.get(owner, old.id)).options.expires_ms == end

    async def test_twice_or_after_its_end_is_refused(self, house: House) -> None:
        owner, _ = await house.owner()
        old, _ = await house.identity.keys.create(owner, KeyOptions())
        await house.identity.keys.rotate(owner, old.id)

        with pytest.raises(InvalidRequest, match="rotated before"):
            await house.identity.keys.rotate(owner, old.id)
        with pytest.raises(InvalidRequest, match="end of a rotated key"):
            await house.identity.keys.update(owner, old.id, lambda o: replace(o, expires_ms=0))
        await house.identity.keys.revoke(owner, old.id)
        with pytest.raises(InvalidRequest, match="no longer works"):
            await house.identity.keys.rotate(owner, old.id)

    @pytest.mark.parametrize("overlap_s", [-1, MAX_OVERLAP_S + 1])
    async def test_an_overlap_out_of_range(self, house: House, overlap_s: int) -> None:
        owner, _ = await house.owner()

        with pytest.raises(InvalidRequest, match="30 days"):
            await house.identity.keys.rotate(owner, owner.key_id, overlap_s)


class TestRevoke:
    async def test_twice_is_the_same_as_once(self, house: House) -> None:
        owner, _ = await house.owner()
        record, _ = await house.identity.keys.create(owner, KeyOptions())

        await house.identity.keys.revoke(owner, record.id)
        await house.identity.keys.revoke(owner, record.id)

        assert house.revoked == [(owner.org_id, record.id)]

    async def test_a_key_may_end_itself_and_no_other(self, house: House) -> None:
        owner, _ = await house.owner()
        record, secret = await house.identity.keys.create(owner, KeyOptions())
        plain = await house.identity.authenticator.authenticate(secret, HERE)

        with pytest.raises(PermissionDenied):
            await house.identity.keys.revoke(plain, owner.key_id)
        await house.identity.keys.revoke(plain, record.id)

        assert (await house.identity.keys.get(owner, record.id)).revoked_ms == house.clock.now_ms()
