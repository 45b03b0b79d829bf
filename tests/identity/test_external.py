from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from joserfc.jwk import RSAKey

from keelbill.core.errors import InvalidRequest, NotFound
from keelbill.core.principal import Principal
from keelbill.db.base import Database, metadata, open_database
from keelbill.identity.addresses import address_identity
from keelbill.identity.errors import LinkExpired, RegistrationClosed, SignInFailed
from keelbill.identity.external import Arrival
from keelbill.identity.wiring import providers
from support.identities import HERE, House, build_house
from support.oidc import CLIENT_ID, CLIENT_SECRET, Provider, oidc_provider


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with oidc_provider() as provider:
        yield provider


@pytest.fixture
def provider(running: Provider) -> Provider:
    fresh = Provider(url=running.url)
    vars(running).update(vars(fresh))
    return running


@pytest.fixture
def database(tmp_path: Path) -> Database:
    opened = open_database(f"sqlite:///{tmp_path / 'test.db'}")
    metadata.create_all(opened.engine)
    return opened


@pytest_asyncio.fixture
async def house(database: Database, tmp_path: Path, provider: Provider) -> AsyncIterator[House]:
    built = build_house(
        database,
        tmp_path,
        oidc_issuer=provider.url,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=CLIENT_SECRET,
        oidc_name="Example",
    )
    provider.now_s = built.clock.now_ms() // 1000
    yield built
    await built.identity.close()
    await database.close()


async def travel(house: House, provider: Provider, link: Principal | None = None) -> Arrival:
    """Go to the provider and come back."""
    departure = await house.identity.sign_in.depart("oidc", return_to="/studio", link=link)
    code, state = provider.sign_in(departure.url)
    return await house.identity.sign_in.arrive("oidc", state=state, kept_state=departure.state, code=code, ip=HERE)


def forged(public_key: bytes) -> str:
    """A token whose signature is an HMAC over the public key, for servers that let the token choose."""

    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    head = part(b'{"alg": "HS256", "kid": "one"}')
    signed = head + "." + part(b'{"sub": "subject-1"}')
    return f"{signed}.{part(hmac.new(public_key, signed.encode(), hashlib.sha256).digest())}"


class TestSignIn:
    async def test_a_stranger_gets_an_account_and_the_free_credits(self, house: House, provider: Provider) -> None:
        arrival = await travel(house, provider)

        principal = await house.principal(arrival.session)
        profile = await house.identity.accounts.profile(principal)
        assert (profile.email, profile.name, profile.is_verified, profile.has_password) == (
            "ada@example.org",
            "Ada",
            True,
            False,
        )
        assert profile.picture_url == "https://example.org/ada.png"
        assert arrival.return_to == "/studio"
        assert house.grants == [(principal.org_id, address_identity("ada@example.org"))]

    async def test_the_same_subject_is_the_same_person_under_any_address(
        self, house: House, provider: Provider
    ) -> None:
        first = await house.principal((await travel(house, provider)).session)
        provider.user["email"] = "other@example.org"

        again = await house.principal((await travel(house, provider)).session)

        assert again.user_id == first.user_id
        assert len(house.grants) == 1

    async def test_another_subject_with_the_same_address_is_somebody_else(
        self, house: House, provider: Provider
    ) -> None:
        await travel(house, provider)
        provider.user["sub"] = "subject-2"

        with pytest.raises(SignInFailed, match="not connected"):
            await travel(house, provider)

    async def test_an_account_with_a_password_is_not_taken_over(self, house: House, provider: Provider) -> None:
        await house.person()

        with pytest.raises(SignInFailed) as caught:
            await travel(house, provider)

        assert "connect Example" in caught.value.hint

    async def test_strangers_where_nobody_may_sign_up(self, house: House, provider: Provider) -> None:
        house.identity.accounts.rules = replace(house.identity.accounts.rules, open_registration=False)

        with pytest.raises(RegistrationClosed):
            await travel(house, provider)

    async def test_a_disabled_person(self, house: House, provider: Provider) -> None:
        principal = await house.principal((await travel(house, provider)).session)
        await house.write(lambda c: house.identity.accounts.disable(c, principal.user_id))

        with pytest.raises(SignInFailed, match="not active"):
            await travel(house, provider)

    async def test_no_provider_of_that_name(self, house: House) -> None:
        with pytest.raises(NotFound):
            await house.identity.sign_in.depart("google")

    @pytest.mark.parametrize("path", ["https://evil.example", "//evil.example", "/\\evil.example", "studio", "/a\nb"])
    async def test_the_way_back_stays_on_this_server(self, house: House, path: str) -> None:
        with pytest.raises(InvalidRequest, match="return_to"):
            await house.identity.sign_in.depart("oidc", return_to=path)


class TestConnecting:
    async def test_from_a_session_of_the_account(self, house: House, provider: Provider) -> None:
        user_id = await house.person("ada@work.example")
        principal, _ = await house.signed_in("ada@work.example")

        connected = await travel(house, provider, link=principal)

        assert (await house.principal(connected.session)).user_id == user_id
        assert (await house.principal((await travel(house, provider)).session)).user_id == user_id

    async def test_an_identity_of_somebody_else(self, house: House, provider: Provider) -> None:
        await travel(house, provider)
        await house.person("bob@example.org")
        bob, _ = await house.signed_in("bob@example.org")

        with pytest.raises(SignInFailed, match="another account"):
            await travel(house, provider, link=bob)


class TestFlow:
    async def test_begun_in_another_browser(self, house: House, provider: Provider) -> None:
        mine = await house.identity.sign_in.depart("oidc")
        theirs = await house.identity.sign_in.depart("oidc")
        code, state = provider.sign_in(theirs.url)

        with pytest.raises(SignInFailed, match="this browser"):
            await house.identity.sign_in.arrive("oidc", state=state, kept_state=mine.state, code=code)

    async def test_ended_twice(self, house: House, provider: Provider) -> None:
        departure = await house.identity.sign_in.depart("oidc")
        code, state = provider.sign_in(departure.url)
        await house.identity.sign_in.arrive("oidc", state=state, kept_state=state, code=code)

        with pytest.raises(LinkExpired):
            await house.identity.sign_in.arrive("oidc", state=state, kept_state=state, code=code)

    async def test_took_too_long(self, house: House, provider: Provider) -> None:
        departure = await house.identity.sign_in.depart("oidc")
        code, state = provider.sign_in(departure.url)
        house.clock.advance(601)

        with pytest.raises(LinkExpired):
            await house.identity.sign_in.arrive("oidc", state=state, kept_state=state, code=code)

    async def test_with_the_code_of_another_flow(self, house: House, provider: Provider) -> None:
        first = await house.identity.sign_in.depart("oidc")
        stolen, _ = provider.sign_in(first.url)
        second = await house.identity.sign_in.depart("oidc")
        _, state = provider.sign_in(second.url)

        with pytest.raises(SignInFailed, match="status 400"):
            await house.identity.sign_in.arrive("oidc", state=state, kept_state=state, code=stolen)


class TestBelief:
    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"iss": "https://evil.example"}, "another issuer"),
            ({"aud": "another-client"}, "another client"),
            ({"aud": [CLIENT_ID, "another-client"]}, "several clients"),
            ({"azp": "another-client"}, "another client"),
            ({"exp": 1}, "expired"),
            ({"exp": "never"}, "expired"),
            ({"iat": 1}, "another time"),
            ({"nonce": "another"}, "another request"),
            ({"sub": ""}, "no user"),
            ({"sub": 7}, "no user"),
            ({"email_verified": False}, "not confirmed"),
            ({"email_verified": "true"}, "not confirmed"),
            ({"email": ""}, "not confirmed"),
        ],
    )
    async def test_claims_that_do_not_fit(
        self, house: House, provider: Provider, changed: dict[str, Any], said: str
    ) -> None:
        provider.changed = changed

        with pytest.raises(SignInFailed, match=said):
            await travel(house, provider)

    @pytest.mark.parametrize("name", ["iss", "aud", "exp", "iat", "nonce", "sub", "email", "email_verified"])
    async def test_claims_that_are_missing(self, house: House, provider: Provider, name: str) -> None:
        provider.left_out = (name,)

        with pytest.raises(SignInFailed):
            await travel(house, provider)

    async def test_signed_by_somebody_else(self, house: House, provider: Provider) -> None:
        provider.signs_with = RSAKey.generate_key(2048, {"kid": "one"})

        with pytest.raises(SignInFailed, match="did not sign"):
            await travel(house, provider)

    async def test_signed_with_the_public_key_as_a_password(self, house: House, provider: Provider) -> None:
        provider.raw_token = forged(provider.published.as_pem(private=False))

        with pytest.raises(SignInFailed, match="did not sign"):
            await travel(house, provider)

    @pytest.mark.parametrize("token", ["eyJhbGciOiJub25lIn0.e30.", "not.a.token", "x"])
    async def test_not_signed_at_all(self, house: House, provider: Provider, token: str) -> None:
        provider.raw_token = token

        with pytest.raises(SignInFailed, match="did not sign"):
            await travel(house, provider)

    async def test_new_keys_are_fetched(self, house: House, provider: Provider) -> None:
        first = await house.principal((await travel(house, provider)).session)
        provider.rotate()
        house.clock.advance(61)
        provider.now_s += 61

        assert (await house.principal((await travel(house, provider)).session)).user_id == first.user_id
        assert provider.asked.count("/keys") == 2

    @pytest.mark.parametrize(
        "wrong",
        [
            {"issuer": "https://evil.example"},
            {"token_endpoint": "http://evil.example/token"},
            {"jwks_uri": None},
            {"authorization_endpoint": "javascript:alert(1)"},
        ],
    )
    async def test_a_description_that_is_not_safe(
        self, house: House, provider: Provider, wrong: dict[str, Any]
    ) -> None:
        provider.metadata = wrong

        with pytest.raises(SignInFailed, match="describes"):
            await house.identity.sign_in.depart("oidc")

    async def test_an_endless_answer(self, house: House, provider: Provider) -> None:
        provider.padding = 1_000_000

        with pytest.raises(SignInFailed, match="too much"):
            await house.identity.sign_in.depart("oidc")

    async def test_the_secret_may_go_in_the_body(self, house: House, provider: Provider) -> None:
        provider.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}

        assert (await travel(house, provider)).session.cookie

    async def test_no_provider_at_all(self, house: House, tmp_path: Path) -> None:
        away = build_house(house.database, tmp_path, oidc_issuer="http://127.0.0.1:1", oidc_client_id="x")

        with pytest.raises(SignInFailed, match="cannot be reached"):
            await away.identity.sign_in.depart("oidc")

    async def test_plain_http_is_for_this_machine_only(self, house: House, tmp_path: Path) -> None:
        away = build_house(house.database, tmp_path, oidc_issuer="http://example.org", oidc_client_id="x")

        with pytest.raises(SignInFailed, match="https"):
            await away.identity.sign_in.depart("oidc")


async def test_buttons_show_only_what_is_set_up(house: House, tmp_path: Path) -> None:
    google = build_house(house.database, tmp_path, google_client_id="x")

    assert house.identity.sign_in.buttons() == {"oidc": "Example"}
    assert google.identity.sign_in.buttons() == {"google": "Google"}
    assert build_house(house.database, tmp_path).identity.sign_in.buttons() == {}
    assert providers.__doc__
