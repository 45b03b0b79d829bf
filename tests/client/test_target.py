"""Keys and addresses: what is wrong with them first."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelbill.client import AuthenticationError, BadRequestError, Client, KeyTidiedWarning
from keelbill.client.target import (
    DEFAULT_BASE_URL,
    Target,
    checksum,
    find_target,
    has_keelbill_shape,
    has_typo,
    stub,
    tidy_key,
    tidy_url,
)
from support.apidouble import KEY, OTHER_MAKER_KEY


class TestKeysThatCannotBeUsed:
    def test_none_anywhere(self) -> None:
        with pytest.raises(AuthenticationError, match=r"There is no API key\. Set KEELBILL_API_KEY"):
            find_target(environ={})

    @pytest.mark.parametrize("key", ["", "  ", "''", '"\n"'])
    def test_empty(self, key: str) -> None:
        with pytest.raises(AuthenticationError, match=r"no API key|is empty"):
            find_target(key, environ={})

    @pytest.mark.parametrize("key", ["sk-one two", "sk-one\ntwo", "sk-onë", "sk-\u0000", "Bearer sk-a sk-b"])
    def test_things_inside(self, key: str) -> None:
        with pytest.raises(AuthenticationError, match="has spaces, line ends or special characters inside") as caught:
            find_target(key, environ={})
        assert key.split()[-1] not in str(caught.value)

    @pytest.mark.parametrize("place", [3, 20, 44, 45, 50])
    def test_one_character_mistyped(self, place: int) -> None:
        wrong = KEY[:place] + ("7" if KEY[place] != "7" else "8") + KEY[place + 1 :]
        with pytest.raises(AuthenticationError, match="has a typo") as caught:
            find_target(wrong, environ={})
        assert wrong not in str(caught.value)
        assert stub(wrong) in str(caught.value)

    def test_two_characters_swapped(self) -> None:
        wrong = KEY[:4] + KEY[5] + KEY[4] + KEY[6:]
        with pytest.raises(AuthenticationError, match="has a typo"):
            find_target(wrong, environ={})


class TestKeysThatAreForgiven:
    @pytest.mark.parametrize(
        "wrapped", [f" {KEY}", f"{KEY}\n", f'"{KEY}"', f"'{KEY}' ", f"Bearer {KEY}", f"\u201c{KEY}\u201d"]
    )
    def test_things_round_it(self, wrapped: str) -> None:
        with pytest.warns(KeyTidiedWarning, match="had spaces, quotes or other characters round it") as caught:
            assert find_target(wrapped, environ={}).key == KEY
        assert KEY not in str(caught[0].message)

    def test_a_clean_key_warns_of_nothing(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert find_target(KEY, environ={}).key == KEY

    @pytest.mark.parametrize("key", ["sk-short", "sk-" + "x" * 60, "anything-at-all"])
    def test_other_shapes_are_left_to_the_server(self, key: str) -> None:
        assert find_target(key, environ={}).key == key

    def test_a_hosted_key_for_the_hosted_service(self) -> None:
        assert find_target(OTHER_MAKER_KEY, "https://api.stability.ai", environ={}).is_hosted

    def test_a_hosted_key_elsewhere_must_be_meant(self) -> None:
        with pytest.raises(AuthenticationError, match="check_key=False"):
            find_target(OTHER_MAKER_KEY, environ={})
        assert find_target(OTHER_MAKER_KEY, check_key=False, environ={}).key == OTHER_MAKER_KEY


class TestWhereTheyComeFrom:
    def test_arguments_before_the_environment(self) -> None:
        found = find_target(KEY, "localhost:1", environ={"KEELBILL_API_KEY": "sk-a", "KEELBILL_BASE_URL": "http://b"})
        assert found == Target("http://localhost:1", KEY, "argument", "argument")

    def test_our_variables_before_the_others(self) -> None:
        both = {"KEELBILL_API_KEY": "sk-ours", "STABILITY_API_KEY": "sk-theirs", "STABILITY_HOST": "http://c:3"}
        found = find_target(environ={**both, "STABILITY_API_HOST": "http://b:2", "KEELBILL_BASE_URL": "http://a:1"})
        assert (found.key, found.key_source) == ("sk-ours", "KEELBILL_API_KEY")
        assert (found.base_url, found.url_source) == ("http://a:1", "KEELBILL_BASE_URL")

    def test_the_others_in_their_order(self) -> None:
        values = {"STABILITY_API_KEY": "sk-theirs", "STABILITY_HOST": "http://c:3", "STABILITY_API_HOST": "http://b:2"}
        assert find_target(environ=values).base_url == "http://b:2"
        del values["STABILITY_API_HOST"]
        assert find_target(environ=values).url_source == "STABILITY_HOST"

    def test_an_empty_variable_is_none(self) -> None:
        found = find_target(environ={"KEELBILL_API_KEY": " ", "STABILITY_API_KEY": "sk-x", "KEELBILL_BASE_URL": ""})
        assert (found.key, found.base_url, found.url_source) == ("sk-x", DEFAULT_BASE_URL, "default")

    def test_the_process_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STABILITY_API_KEY", KEY)
        monkeypatch.setenv("KEELBILL_BASE_URL", "http://localhost:9/")
        with Client() as client:
            assert client.base_url == "http://localhost:9"


class TestAddresses:
    @pytest.mark.parametrize(
        ("given", "meant"),
        [
            ("localhost:8000", "http://localhost:8000"),
            ("127.0.0.1:8000/", "http://127.0.0.1:8000"),
            ("[::1]:8000", "http://[::1]:8000"),
            ("pictures.example.org", "https://pictures.example.org"),
            ("https://api.stability.ai/v2beta/", "https://api.stability.ai"),
            ("http://a:1/v1", "http://a:1"),
            ("http://a:1/v2beta/stable-image", "http://a:1"),
            ("http://a:1/proxy/stability/", "http://a:1/proxy/stability"),
            (' "http://a:1" ', "http://a:1"),
        ],
    )
    def test_what_is_meant(self, given: str, meant: str) -> None:
        assert tidy_url(given) == meant

    @pytest.mark.parametrize(
        "address",
        [
            "ftp://a",
            "http://",
            "http://a:port",
            "http://a:99999",
            "http://u:p@a",
            "http://a?x=1",
            "http://a#b",
            "grpc.stability.ai:443",
            "",
            "http://a:0",
            KEY,
        ],
    )
    def test_what_is_no_address(self, address: str) -> None:
        with pytest.raises(BadRequestError, match="base_url: "):
            tidy_url(address)

    def test_a_key_in_place_of_the_address_is_not_shown(self) -> None:
        with pytest.raises(BadRequestError) as caught:
            tidy_url(KEY)
        assert KEY not in str(caught.value)

    @pytest.mark.parametrize(
        ("address", "local", "hosted"),
        [
            ("http://localhost:1", True, False),
            ("http://127.1.2.3", True, False),
            ("https://api.stability.ai", False, True),
            ("https://stability.ai.example.org", False, False),
            ("https://notstability.ai", False, False),
        ],
    )
    def test_whose_it_is(self, address: str, local: bool, hosted: bool) -> None:
        target = Target(address, KEY)
        assert (target.is_local, target.is_hosted) == (local, hosted)


class TestChecksums:
    def test_a_worked_example(self) -> None:
        # CRC-32 of "123456789" is 0xCBF43926 = 3421780262, the usual check value; in base 62 that is 3jZRMU.
        rest = 3421780262
        digits = []
        for _ in range(6):
            rest, digit = divmod(rest, 62)
            digits.append(digit)
        alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
        assert checksum("123456789") == "".join(alphabet[digit] for digit in reversed(digits))

    @given(st.text("0123456789abcxyzABCXYZ", min_size=42, max_size=42), st.integers(0, 44), st.sampled_from("qQ5"))
    def test_every_single_typo_is_found(self, random: str, place: int, other: str) -> None:
        head = f"sk-{random}"
        key = head + checksum(head)
        assert has_keelbill_shape(key)
        assert not has_typo(key)
        wrong = key[:place] + other + key[place + 1 :]
        assert wrong == key or not has_keelbill_shape(wrong) or has_typo(wrong)


def test_keys_are_not_shown() -> None:
    target = find_target(KEY, environ={})
    with Client(KEY) as client:
        assert KEY not in repr(target) + repr(client) + str(client)
    assert stub("sk-tiny") == "…"


def test_keys_that_this_server_makes_pass() -> None:
    keys = pytest.importorskip("keelbill.identity.keys", reason="the server's part is not there")
    for _ in range(20):
        made = keys.make_key()
        assert tidy_key(made) == made
        assert has_keelbill_shape(made)
        assert not has_typo(made)
