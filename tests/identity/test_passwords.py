from __future__ import annotations

import asyncio

import pytest
from argon2 import extract_parameters

from keelbill.core.errors import Unavailable
from keelbill.identity.common_passwords import common_passwords, is_common
from keelbill.identity.errors import WeakPassword
from keelbill.identity.passwords import MAX_WAITING, Passwords, check_new


class TestChoice:
    @pytest.mark.parametrize("password", ["", "1234567", "abc def", "x" * 129])
    def test_too_short_or_too_long(self, password: str) -> None:
        with pytest.raises(WeakPassword, match="8 to 128 characters"):
            check_new(password)

    @pytest.mark.parametrize(
        "password",
        [
            *("password", "P4ssw0rd", "PASSWORD1!", "qwertyuiop", "12345678", "aaaaaaaa", "abcabcabc", "Summer2024!"),
            *("iloveyou1", "987654321", "1q2w3e4r", "liverpool7", "01011990", "dragon123", "keelbill2026"),
        ],
    )
    def test_common(self, password: str) -> None:
        with pytest.raises(WeakPassword, match="attackers"):
            check_new(password)

    @pytest.mark.parametrize("password", ["Ada.Love@example.org", "ADA.LOVE"])
    def test_the_own_address(self, password: str) -> None:
        with pytest.raises(WeakPassword, match="address"):
            check_new(password, address="ada.love@example.org")

    @pytest.mark.parametrize(
        "password", ["seven lighthouses", "пароль-маяк", "灯台の夕暮れの光と波", "k9#vQ2!x", " " * 3 + "a b c d e"]
    )
    def test_good_ones(self, password: str) -> None:
        check_new(password, address="ada@example.org")

    def test_length_counts_after_normalisation(self) -> None:
        with pytest.raises(WeakPassword, match="not 7"):
            check_new("e\u0301" * 7)

    def test_the_list_is_long(self) -> None:
        assert len(common_passwords()) > 10_000
        assert not is_common("correct horse battery staple")


class TestHashing:
    async def test_round_trip(self) -> None:
        passwords = Passwords(memory_kib=64, passes=1)

        stored = await passwords.hash("seven lighthouses")

        assert await passwords.verify("seven lighthouses", stored)
        assert not await passwords.verify("Seven lighthouses", stored)
        passwords.close()

    async def test_other_keyboards_type_the_same_password(self) -> None:
        passwords = Passwords(memory_kib=64, passes=1)

        stored = await passwords.hash("café \ufb01ne lights")

        assert await passwords.verify("cafe\u0301 fine lights", stored)
        passwords.close()

    async def test_nobody_has_the_dummy_password(self) -> None:
        passwords = Passwords(memory_kib=64, passes=1)

        assert not await passwords.verify("nobody's password", "")
        assert not await passwords.verify("anything at all", "not a hash")
        passwords.close()

    async def test_parameters_are_those_of_owasp(self) -> None:
        found = extract_parameters(await (passwords := Passwords()).hash("seven lighthouses"))

        assert (found.type.name, found.memory_cost, found.time_cost, found.parallelism) == ("ID", 19456, 2, 1)
        passwords.close()

    def test_older_hashes_are_recognised(self) -> None:
        old = Passwords(memory_kib=64, passes=1)
        new = Passwords(memory_kib=128, passes=1)

        assert new.is_outdated(old.hash_now("seven lighthouses"))
        assert not new.is_outdated(new.hash_now("seven lighthouses"))

    async def test_too_many_at_once_are_told_to_wait(self) -> None:
        passwords = Passwords(memory_kib=64, passes=1)

        answers = await asyncio.gather(*(passwords.hash("x") for _ in range(MAX_WAITING + 3)), return_exceptions=True)

        assert sum(isinstance(answer, Unavailable) for answer in answers) == 3
        passwords.close()
