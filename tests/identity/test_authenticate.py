from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest

from keelbill.core.principal import Caps, Principal
from keelbill.db.base import Database, open_database
from keelbill.identity import key_repository, repository
from keelbill.identity.cache import NEGATIVE_S, CredentialCache, Entry
from keelbill.identity.errors import CredentialRefused
from keelbill.identity.keys import checksum, digest, make_key
from keelbill.identity.schemas import KeyOptions
from support.identities import HERE, SECRET, HandClock, House, build_house

GOOD = make_key()
MALFORMED = [
    "",
    " ",
    "sk-",
    "sk-short",
    "Bearer",
    GOOD[:-1],
    GOOD + "0",
    GOOD.lower(),
    GOOD.upper(),
    GOOD[::-1],
    "sk_" + GOOD[3:],
    "pk-" + GOOD[3:],
    " " + GOOD,
    GOOD + " ",
    GOOD + "\n",
    GOOD[:20] + "\x00" + GOOD[21:],
    GOOD[:20] + "é" + GOOD[21:],
    GOOD[:20] + "-" + GOOD[21:],
    "sk-" + "0" * 48,
    "' OR 1=1 --",
    "eyJhbGciOiJub25lIn0.e30.",
    "sk-" + "a" * 100_000,
]


class TestRefusals:
    async def test_malformed(self, house: House) -> None:
        for number, credential in enumerate(MALFORMED, start=1):
            with pytest.raises(CredentialRefused) as caught:
                await house.identity.authenticator.authenticate(credential, HERE)

            assert caught.value.reason == "malformed", credential
            assert caught.value.problems == ("authorization: invalid or missing header value",)
            assert house.identity.authenticator.refused["malformed"] == number

    async def test_well_formed_and_unknown(self, house: House) -> None:
        with pytest.raises(CredentialRefused) as caught:
            await house.identity.authenticator.authenticate(make_key(), HERE)

        assert caught.value.reason == "unknown"

    async def test_expired(self, house: House) -> None:
        owner, _ = await house.owner()
        end = house.clock.now_ms() + 60_000
        _, secret = await house.identity.keys.create(owner, KeyOptions(expires_ms=end))
        assert (await house.identity.authenticator.authenticate(secret, HERE)).key_id

        house.clock.advance(60)

        with pytest.raises(CredentialRefused) as caught:
            await house.identity.authenticator.authenticate(secret, HERE)
        assert caught.value.reason == "expired"

    async def test_from_another_network(self, house: House) -> None:
        owner, _ = await house.owner()
        options = KeyOptions(networks=("192.0.2.0/24", "2001:db8::/32"))
        _, secret = await house.identity.keys.create(owner, options)

        for inside in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1"):
            assert (await house.identity.authenticator.authenticate(secret, inside)).key_id
        for outside in ("192.0.3.1", "", "unknown", "::1", "2001:db9::1"):
            with pytest.raises(CredentialRefused) as caught:
                await house.identity.authenticator.authenticate(secret, outside)
            assert caught.value.reason == "network"

    async def test_of_a_disabled_person(self, house: House) -> None:
        owner, first = await house.owner()

        await house.write(lambda c: house.identity.accounts.disable(c, owner.user_id))
        house.clock.advance(1)

        with pytest.raises(CredentialRefused) as caught:
            await house.identity.authenticator.authenticate(first.key_secret, HERE)
        assert caught.value.reason == "disabled"

    async def test_of_somebody_who_left(self, house: House) -> None:
        owner, first = await house.owner()

        await house.write(lambda c: repository.remove_member(c, owner.org_id, owner.user_id))

        house.identity.keys.forget_cached()
        with pytest.raises(CredentialRefused):
            await house.identity.authenticator.authenticate(first.key_secret, HERE)


class TestPrincipal:
    async def test_carries_what_the_key_allows(self, house: House) -> None:
        owner, _ = await house.owner()
        options = KeyOptions(scopes=frozenset({"generate"}), caps=Caps(per_day=5), rate_limit=7)

        record, secret = await house.identity.keys.create(owner, options)
        found = await house.identity.authenticator.authenticate(secret, HERE)

        assert found.key_id == record.id
        assert found.key_stub == record.stub == f"{secret[:7]}…{secret[-4:]}"
        assert found.scopes == {"generate"}
        assert (found.caps, found.rate_limit) == (Caps(per_day=5), 7)
        assert (found.org_id, found.user_id, found.role) == (owner.org_id, owner.user_id, "owner")

    async def test_staff_has_no_power_through_ordinary_keys(self, house: House) -> None:
        owner, _ = await house.owner()

        assert not owner.is_staff
        assert "admin" not in owner.scopes

    @pytest.mark.parametrize("role", ["viewer", "billing"])
    async def test_a_role_limits_what_keys_of_its_member_may_do(self, house: House, role: str) -> None:
        owner, first = await house.owner()

        await house.write(lambda c: repository.change_member(c, owner.org_id, owner.user_id, role=role))
        house.identity.keys.forget_cached()

        found = await house.identity.authenticator.authenticate(first.key_secret, HERE)
        assert found.scopes == {"history:read", "account:read"}


class TestRevocation:
    async def test_works_at_once_in_the_same_process(self, house: House) -> None:
        owner, _ = await house.owner()
        record, secret = await house.identity.keys.create(owner, KeyOptions())
        await house.identity.authenticator.authenticate(secret, HERE)

        await house.identity.keys.revoke(owner, record.id)

        with pytest.raises(CredentialRefused) as caught:
            await house.identity.authenticator.authenticate(secret, HERE)
        assert caught.value.reason == "revoked"
        assert house.revoked == [(owner.org_id, record.id)]
        assert house.after_revoked == [record.id]

    async def test_takes_less_than_a_second_in_another_process(
        self, database: Database, database_url: str, tmp_path: Path
    ) -> None:
        from keelbill.core.clock import SystemClock

        here = build_house(database, tmp_path)
        there = build_house(open_database(database_url), tmp_path)
        there.identity.authenticator._clock = SystemClock()
        owner, _ = await here.owner()
        record, secret = await here.identity.keys.create(owner, KeyOptions())
        await there.identity.authenticator.authenticate(secret, HERE)

        await here.identity.keys.revoke(owner, record.id)
        began = time.monotonic()
        while time.monotonic() - began < 60:
            try:
                await there.identity.authenticator.authenticate(secret, HERE)
            except CredentialRefused:
                break
            await asyncio.sleep(0.01)

        assert time.monotonic() - began < 10
        await there.database.close()
        await database.close()

    async def test_during_a_look_up_is_not_forgotten(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        owner, _ = await house.owner()
        record, secret = await house.identity.keys.create(owner, KeyOptions())
        looking = key_repository.holder
        house.identity.keys.forget_cached()

        def slow(*arguments: object) -> object:
            found = looking(*arguments)  # type: ignore[arg-type]
            house.identity.keys.forget_cached([record.id])  # as a revocation does between our look and our note
            return found

        monkeypatch.setattr(key_repository, "holder", slow)
        await house.identity.authenticator.authenticate(secret, HERE)
        monkeypatch.setattr(key_repository, "holder", looking)
        await house.write(lambda c: key_repository.revoke(c, record.id, 1))

        with pytest.raises(CredentialRefused):
            await house.identity.authenticator.authenticate(secret, HERE)


class TestCache:
    async def test_a_known_key_needs_no_look_up(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        _, first = await house.owner()

        def never(*_: object) -> None:
            raise AssertionError("the database was asked")

        monkeypatch.setattr(key_repository, "holder", never)
        monkeypatch.setattr(repository, "read_version", never)

        assert (await house.identity.authenticator.authenticate(first.key_secret, HERE)).key_id

    async def test_an_unknown_key_is_looked_up_once_a_second(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []
        looking = key_repository.holder
        monkeypatch.setattr(key_repository, "holder", lambda *a: asked.append(1) or looking(*a))  # type: ignore[func-returns-value]
        wrong = make_key()

        for _ in range(5):
            with pytest.raises(CredentialRefused):
                await house.identity.authenticator.authenticate(wrong, HERE)
        assert len(asked) == 1
        house.clock.advance(NEGATIVE_S)
        with pytest.raises(CredentialRefused):
            await house.identity.authenticator.authenticate(wrong, HERE)

        assert len(asked) == 2

    def test_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("keelbill.identity.cache.MAX_KEYS", 3)
        cache = CredentialCache(HandClock())

        for number in range(10):
            entry = Entry(Principal("o", "u", key_id=str(number)), 0, ())
            cache.put(f"d{number}", entry, cache.generation)
            cache.put_unknown(f"x{number}")

        assert len(cache) == 3
        assert cache.get("d9") is not None
        assert cache.get("d0") is None
        assert not cache.is_unknown("x0")

    def test_nothing_is_kept_that_was_read_before_a_drop(self) -> None:
        cache = CredentialCache(HandClock())
        before = cache.generation

        cache.drop("other")
        cache.put("d", Entry(Principal("o", "u", key_id="k"), 0, ()), before)

        assert cache.get("d") is None


class TestLastUse:
    async def test_is_written_at_most_once_a_minute_and_later(self, house: House) -> None:
        owner, first = await house.owner()
        get = house.identity.keys.get
        assert (await get(owner, owner.key_id)).last_used_ms == 0

        await house.identity.authenticator.flush()
        used = house.clock.now_ms()
        house.clock.advance(30)
        await house.identity.authenticator.authenticate(first.key_secret, "192.0.2.9")
        await house.identity.authenticator.flush()
        soon = await get(owner, owner.key_id)
        house.clock.advance(31)
        await house.identity.authenticator.authenticate(first.key_secret, "192.0.2.9")
        await house.identity.authenticator.flush()
        later = await get(owner, owner.key_id)

        assert (soon.last_used_ms, soon.last_used_ip) == (used, HERE)
        assert (later.last_used_ms, later.last_used_ip) == (house.clock.now_ms(), "192.0.2.9")

    async def test_is_written_when_the_server_ends(self, house: House) -> None:
        owner, _ = await house.owner()

        await house.identity.start()
        await house.identity.close()

        assert (await house.identity.keys.get(owner, owner.key_id)).last_used_ms == house.clock.now_ms()


async def test_a_key_appears_in_no_log_and_no_text(house: House, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        owner, first = await house.owner()
        record, canary = await house.identity.keys.create(owner, KeyOptions(name="canary"))
        await house.identity.authenticator.authenticate(canary, HERE)
        await house.identity.keys.revoke(owner, record.id)
        for credential in (canary, canary[:-1] + "_"):
            with pytest.raises(CredentialRefused) as caught:
                await house.identity.authenticator.authenticate(credential, HERE)
            assert canary[3:-6] not in str(caught.value) + repr(caught.value)
    shown = caplog.text + repr(first) + repr(owner) + repr(record) + repr(house.identity.authenticator)
    audit = await house.database.read(lambda c: house.identity.accounts.audit.entries(c))

    assert canary[3:-6] not in shown + repr(audit)
    assert first.key_secret[3:-6] not in shown + repr(audit)
    assert digest(SECRET, "key", canary) not in shown + repr(audit)


def test_a_well_formed_key_checks_its_own_sum() -> None:
    assert checksum(GOOD[:-6]) == GOOD[-6:]
    assert replace(KeyOptions(), name="x").name == "x"
