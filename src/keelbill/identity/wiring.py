"""Puts the parts of identity together. Knows the settings; knows neither ledger nor jobs, whose hooks it is given."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.errors import InvalidInput
from keelbill.core.settings import Settings
from keelbill.db.base import Database
from keelbill.identity import session_repository
from keelbill.identity.audit import AuditLog
from keelbill.identity.authenticate import Authenticator
from keelbill.identity.cache import CredentialCache
from keelbill.identity.external import SignIn
from keelbill.identity.keyring import AfterRevoked, Keys, RevokedHook, nothing_after, nothing_more
from keelbill.identity.mail import ConsoleMailer, Mailer, Postman, SmtpMailer
from keelbill.identity.oidc import Provider
from keelbill.identity.organisations import Organisations, OrgHook
from keelbill.identity.passwords import Passwords
from keelbill.identity.service import Accounts, Parts, Rules, VerifiedHook
from keelbill.identity.sessions import IDLE_MS, Sessions
from keelbill.identity.throttle import WINDOW_MS, Throttle
from keelbill.identity.tokens import OneTimeTokens

GOOGLE_ISSUER = "https://accounts.google.com"


@dataclass(frozen=True)
class Identity:
    """All of identity.

    Attributes:
        accounts: People, organisations, sessions, mail.
        keys: API keys.
        authenticator: Says who a credential belongs to.
        sign_in: Other providers.
    """

    accounts: Accounts
    keys: Keys
    authenticator: Authenticator
    sign_in: SignIn
    postman: Postman
    clock: Clock

    async def start(self) -> None:
        """Begin the background work: times of last use."""
        await self.authenticator.start()

    async def close(self) -> None:
        """Send the mail that waits, write times of last use and end the threads."""
        await self.postman.flush()
        await self.authenticator.close()
        self.accounts.passwords.close()

    def sweep(self, connection: Connection) -> int:
        """Drop sessions, links and failures that no longer matter, and return how many rows went."""
        now = self.clock.now_ms()
        return session_repository.sweep(connection, now, now - IDLE_MS, now - WINDOW_MS)


def build_identity(
    database: Database,
    clock: Clock,
    settings: Settings,
    secret: bytes,
    *,
    on_org_created: OrgHook,
    on_verified: VerifiedHook,
    on_key_revoked: RevokedHook = nothing_more,
    after_key_revoked: AfterRevoked = nothing_after,
    mailer: Mailer | None = None,
    passwords: Passwords | None = None,
) -> Identity:
    """Build everything from the settings.

    Args:
        database: Where it is stored.
        clock: For every time.
        settings: Registration, mail, providers, addresses.
        secret: From `load_secret`.
        on_org_created: Called in the transaction that founds an organisation, with its id.
        on_verified: Called once for each person, with organisation and identity; gives the free credits.
        on_key_revoked: Called in the transaction that revokes a key, with organisation and key.
        after_key_revoked: Awaited after it, with the key.
        mailer: How mail is sent; by the settings if none is given.
        passwords: How passwords are hashed; tests use less memory.
    """
    if mailer is None:
        mailer = SmtpMailer(settings.smtp_url, settings.mail_from) if settings.smtp_url else ConsoleMailer()
    cache = CredentialCache(clock)
    audit = AuditLog(clock)
    sessions = Sessions(clock, secret)
    keys = Keys(database, clock, secret, cache, audit, on_revoked=on_key_revoked, after_revoked=after_key_revoked)
    postman = Postman(mailer)
    tokens = OneTimeTokens(clock, secret)
    parts = Parts(
        database=database,
        clock=clock,
        tokens=tokens,
        sessions=sessions,
        orgs=Organisations(clock, secret, audit, keys, sessions, on_org_created),
        keys=keys,
        passwords=passwords or Passwords(),
        throttle=Throttle(clock, secret),
        audit=audit,
        postman=postman,
    )
    rules = Rules(
        open_registration=settings.open_registration,
        require_verification=settings.require_verification,
        base_url=base_url(settings),
        setup_networks=networks(settings.setup_networks),
    )
    accounts = Accounts(parts, rules, on_verified)
    return Identity(
        accounts=accounts,
        keys=keys,
        authenticator=Authenticator(database, clock, secret, cache, sessions),
        sign_in=SignIn(database, clock, secret, tokens, accounts, providers(settings, clock)),
        postman=postman,
        clock=clock,
    )


def networks(listed: str) -> tuple[str, ...]:
    """Return the CIDR blocks of a list with commas.

    Raises:
        InvalidInput: One of them is none.
    """
    found = []
    for word in listed.replace(",", " ").split():
        try:
            found.append(str(ip_network(word)))
        except ValueError as error:
            raise InvalidInput(
                "setup_networks",
                word,
                "an address or a CIDR block, such as 172.16.0.0/12",
                hint="Separate with commas.",
            ) from error
    return tuple(found)


def base_url(settings: Settings) -> str:
    """Return the address under which users reach the pages, without a slash at the end."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = "localhost" if settings.host in ("", "0.0.0.0", "::") else settings.host  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def providers(settings: Settings, clock: Clock) -> dict[str, Provider]:
    """Return the providers that the settings name, by the word in their addresses; no network is touched."""
    found = {}
    if settings.google_client_id:
        found["google"] = Provider(
            "Google", GOOGLE_ISSUER, settings.google_client_id, settings.google_client_secret, clock
        )
    if settings.oidc_issuer and settings.oidc_client_id:
        found["oidc"] = Provider(
            settings.oidc_name, settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret, clock
        )
    return found
