"""Signing in through other providers, and tying them to accounts. Knows no signatures; see `oidc`.

An identity is issuer and subject, never the address: whoever gets an old address at a provider must not get the
account. An account that exists already is tied only from a session of its own.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.errors import InvalidRequest, NotFound
from keelbill.core.principal import Principal
from keelbill.db.base import Database
from keelbill.identity import repository
from keelbill.identity.addresses import checked_address, sign_in_form
from keelbill.identity.audit import Actor
from keelbill.identity.errors import RegistrationClosed, SignInFailed
from keelbill.identity.keys import digest
from keelbill.identity.oidc import Claims, Provider
from keelbill.identity.service import Accounts
from keelbill.identity.sessions import OpenedSession
from keelbill.identity.tokens import OneTimeTokens


@dataclass(frozen=True)
class Departure:
    """A browser on its way to a provider.

    Attributes:
        url: Where it goes.
        state: What it must keep in a cookie until it is back.
    """

    url: str
    state: str


@dataclass(frozen=True)
class Arrival:
    """A browser that is back.

    Attributes:
        session: New; for a linked account, the one that asked for it, renewed.
        return_to: The page to show, a path on this server.
    """

    session: OpenedSession
    return_to: str


class SignIn:
    """The flows with every configured provider.

    Args:
        database: Where ties are kept.
        clock: For times.
        secret: The server's.
        tokens: Keeps flows that are under way.
        accounts: Adds people and opens sessions.
        providers: By the word in their addresses.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        secret: bytes,
        tokens: OneTimeTokens,
        accounts: Accounts,
        providers: Mapping[str, Provider],
    ) -> None:
        self._database = database
        self._clock = clock
        self._secret = secret
        self._tokens = tokens
        self._accounts = accounts
        self._providers = providers

    def buttons(self) -> dict[str, str]:
        """Return the providers' names on the buttons, by the word in their addresses; empty where none is set."""
        return {word: provider.name for word, provider in self._providers.items()}

    async def depart(self, word: str, *, return_to: str = "/", link: Principal | None = None) -> Departure:
        """Begin a flow.

        Args:
            word: Which provider.
            return_to: A path on this server to show at the end.
            link: Whose account to tie, if somebody who is signed in asks for it.

        Raises:
            NotFound: There is no such provider.
            InvalidRequest: `return_to` leads elsewhere.
            SignInFailed: The provider cannot be reached.
        """
        provider = self._provider(word)
        if not _is_local_path(return_to):
            raise InvalidRequest("return_to: must be a path on this server, such as /account")
        payload = {
            "provider": word,
            "return_to": return_to,
            "session_id": link.session_id if link else "",
            "user_id": link.user_id if link else "",
        }
        state = await self._database.write(lambda c: self._tokens.make(c, "external", "", json.dumps(payload)))
        url = await provider.authorization_url(self._redirect_uri(word), state, self._nonce(state), self._pkce(state))
        return Departure(url, state)

    async def arrive(
        self, word: str, *, state: str, kept_state: str, code: str, ip: str = "", user_agent: str = ""
    ) -> Arrival:
        """End a flow: open a session, add an account, or tie one.

        Args:
            word: Which provider.
            state: From the address.
            kept_state: From the browser's cookie; must be the same.
            code: From the address.
            ip: From where.
            user_agent: As the browser names itself.

        Raises:
            NotFound: There is no such provider.
            SignInFailed: The answer belongs to no flow of this browser, cannot be believed, or the address belongs to
                an account that is not tied.
            LinkExpired: The flow was ended before or took over ten minutes.
            RegistrationClosed: It is a stranger, and strangers may not sign up.
        """
        provider = self._provider(word)
        if not hmac.compare_digest(state.encode(), kept_state.encode()):
            raise SignInFailed("This sign-in was not begun in this browser; begin again.")
        _, payload = await self._database.write(lambda c: self._tokens.take(c, "external", state))
        flow = json.loads(payload)
        if flow["provider"] != word:
            raise SignInFailed("This sign-in was begun with another provider; begin again.")
        claims = await provider.claims(code, self._redirect_uri(word), self._nonce(state), self._pkce(state))

        def settle(connection: Connection) -> OpenedSession:
            if flow["user_id"]:
                return self._tie(connection, claims, flow["user_id"], flow["session_id"], ip)
            user_id = self._owner(connection, claims, provider.name)
            self._accounts.audit.add(connection, Actor("user", user_id, ip), "session.open", user_id)
            return self._accounts.sessions.open(connection, user_id, ip=ip, user_agent=user_agent)

        return Arrival(await self._database.write(settle), flow["return_to"])

    def _owner(self, connection: Connection, claims: Claims, name: str) -> str:
        user_id = repository.external_owner(connection, claims.issuer, claims.subject)
        if user_id:
            person = repository.find_person(connection, user_id)
            if person is None or person.disabled_ms:
                raise SignInFailed("This account is not active.")
            return user_id
        email = checked_address(claims.email)
        if repository.person_by_email(connection, sign_in_form(email)) is not None:
            raise SignInFailed(
                f"{email} has an account here that is not connected with {name}.",
                hint=f"Sign in as usual, then connect {name} in your account.",
            )
        if not self._accounts.rules.open_registration:
            raise RegistrationClosed
        made = self._accounts.add_person(
            connection, email=email, name=claims.name, is_verified=True, picture_url=claims.picture_url
        )
        if made is None:
            raise SignInFailed("This address was taken at the same moment; try again.")
        self._link(connection, claims, made[0], Actor("user", made[0]))
        return made[0]

    def _tie(self, connection: Connection, claims: Claims, user_id: str, session_id: str, ip: str) -> OpenedSession:
        owner = repository.external_owner(connection, claims.issuer, claims.subject)
        if owner not in ("", user_id):
            raise SignInFailed("This identity is connected with another account.")
        session = self._accounts.sessions.renew(connection, session_id, user_id)
        if not owner:
            self._link(connection, claims, user_id, Actor("user", user_id, ip))
        return session

    def _link(self, connection: Connection, claims: Claims, user_id: str, actor: Actor) -> None:
        now = self._clock.now_ms()
        repository.link_external(connection, claims.issuer, claims.subject, user_id, claims.email[:320], now)
        after: dict[str, object] = {"issuer": claims.issuer}
        self._accounts.audit.add(connection, actor, "person.connect", user_id, after=after)

    def _provider(self, word: str) -> Provider:
        if word not in self._providers:
            raise NotFound(f"provider: there is no provider {word[:64]!r} here")
        return self._providers[word]

    def _redirect_uri(self, word: str) -> str:
        return f"{self._accounts.rules.base_url}/api/sign-in/{word}/callback"

    def _nonce(self, state: str) -> str:
        return digest(self._secret, "nonce", state)

    def _pkce(self, state: str) -> str:
        return digest(self._secret, "pkce", state)


def _is_local_path(path: str) -> bool:
    return path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and len(path) <= 500
