"""Accounts: signing up and in, proving an address, passwords. Knows no HTTP; answers never tell who has an account.

Whatever could tell it, text or time, is the same for known and unknown addresses: a password is hashed in any case,
the database does the same work, and mail is sent after the answer.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.errors import InvalidRequest
from keelbill.core.ids import new_id
from keelbill.core.principal import DEFAULT_SCOPES, Principal
from keelbill.db.base import Database
from keelbill.identity import repository
from keelbill.identity.addresses import account_identity, address_identity, checked_address, sign_in_form
from keelbill.identity.audit import SYSTEM, Actor, AuditLog
from keelbill.identity.errors import LinkExpired, RegistrationClosed, UnknownThing, WrongPassword
from keelbill.identity.keyring import Keys
from keelbill.identity.mail import Letter, Postman, already_letter, invitation_letter, reset_letter, verification_letter
from keelbill.identity.organisations import Organisations, checked_role
from keelbill.identity.passwords import Passwords, check_new
from keelbill.identity.schemas import Bootstrap, Invitation, KeyOptions, Person, Profile
from keelbill.identity.sessions import OpenedSession, Sessions
from keelbill.identity.throttle import MAILS_PER_ACCOUNT, PER_ACCOUNT, PER_ADDRESS, SIGN_UPS_PER_RANGE, Throttle
from keelbill.identity.tokens import OneTimeTokens

VerifiedHook = Callable[[Connection, str, str], None]

LOCAL_OWNER = "Owner"
FIRST_KEY = "First key"


@dataclass(frozen=True)
class Rules:
    """What the installation's owner decided about accounts.

    Attributes:
        open_registration: Whether strangers may sign up.
        require_verification: Whether free credits wait for a proved address.
        base_url: Where the web pages are, without a slash at the end.
        setup_networks: From where the set-up link works besides this machine.
    """

    open_registration: bool = False
    require_verification: bool = False
    base_url: str = "http://localhost:8000"
    setup_networks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parts:
    """What accounts are built from; see each part's own module."""

    database: Database
    clock: Clock
    tokens: OneTimeTokens
    sessions: Sessions
    orgs: Organisations
    keys: Keys
    passwords: Passwords
    throttle: Throttle
    audit: AuditLog
    postman: Postman


class Accounts:
    """People and how they come in.

    Args:
        parts: What it is built from.
        rules: The owner's decisions.
        on_verified: Called at most once for each person, with the organisation and an identity (64 hex digits) that
            is the same for all spellings of an address; gives the free credits.

    Attributes:
        sessions: For listing and ending sessions.
        orgs: For members, roles and invitations.
        audit: The log.
        passwords: For other parts that prove passwords.
    """

    def __init__(self, parts: Parts, rules: Rules, on_verified: VerifiedHook) -> None:
        self.rules = rules
        self.sessions = parts.sessions
        self.orgs = parts.orgs
        self.audit = parts.audit
        self.passwords = parts.passwords
        self._database = parts.database
        self._clock = parts.clock
        self._tokens = parts.tokens
        self._keys = parts.keys
        self._throttle = parts.throttle
        self._postman = parts.postman
        self._on_verified = on_verified

    # Making people; inside the caller's transaction

    def add_person(
        self,
        connection: Connection,
        *,
        email: str = "",
        name: str = "",
        password_hash: str = "",
        is_verified: bool = False,
        is_staff: bool = False,
        picture_url: str = "",
        actor: Actor = SYSTEM,
    ) -> tuple[str, str] | None:
        """Add a person with a personal organisation.

        Args:
            connection: A transaction.
            email: As it is shown, checked before; "" for none.
            name: For greeting.
            password_hash: From `Passwords`, or "".
            is_verified: Whether the address is proved.
            is_staff: Whether the person administers the installation.
            picture_url: Of another provider.
            actor: For the audit log.

        Returns:
            The person's and the organisation's id; nothing if the address is taken.
        """
        user_id = new_id()
        now = self._clock.now_ms()
        is_new = repository.add_person(
            connection,
            user_id,
            now,
            email=sign_in_form(email) if email else None,
            email_shown=email,
            name=name,
            password_hash=password_hash,
            picture_url=picture_url,
            verified_ms=now if is_verified else 0,
            is_staff=is_staff,
        )
        if not is_new:
            return None
        org_id = self.orgs.create(connection, user_id, name or email.partition("@")[0] or LOCAL_OWNER, "personal")
        if is_verified or not self.rules.require_verification:
            proved = address_identity(email) if is_verified and email else account_identity(user_id)
            self._grant(connection, user_id, org_id, proved)
        self.audit.add(connection, actor, "person.create", user_id, org_id=org_id, after={"is_staff": is_staff})
        return user_id, org_id

    def bootstrap(self, connection: Connection) -> Bootstrap:
        """Make the first account, its organisation and one API key; on a database with people, make nothing.

        The first account has no password and no address. Its owner claims it with the set-up token, which this
        returns at every start until then; tokens of earlier starts stop to work.
        """
        key_secret = ""
        if repository.is_empty(connection):
            made = self.add_person(connection, name=LOCAL_OWNER, is_staff=True)
            if made is None:
                raise RuntimeError("an account without an address cannot collide")
            options = KeyOptions(name=FIRST_KEY, scopes=DEFAULT_SCOPES | {"keys:write"})
            _, key_secret = self._keys.make(connection, made[1], made[0], options)
        owner = repository.unclaimed_owner(connection)
        if owner is not None:
            token = self._tokens.make(connection, "setup", owner.id)
            return Bootstrap(key_secret, token, repository.personal_org(connection, owner.id), owner.id)
        first = repository.all_people(connection, limit=1)[0]
        return Bootstrap(key_secret, "", repository.personal_org(connection, first.id), first.id)

    # Signing up

    async def sign_up(self, email: str, password: str, *, name: str = "", ip: str = "") -> None:
        """Ask for an account. The outcome is told by mail only, so that nobody learns who has one.

        Raises:
            RegistrationClosed: Strangers may not sign up here.
            InvalidRequest: The address is none, or the password is too short, too long or too common.
            RateLimited: Too many from this range of addresses.
        """
        if not self.rules.open_registration:
            raise RegistrationClosed
        email = checked_address(email)
        check_new(password, address=email)
        await self._database.write(lambda c: self._throttle.count(c, SIGN_UPS_PER_RANGE, address_range(ip)))
        password_hash = await self.passwords.hash(password)

        def add(connection: Connection) -> Letter:
            made = self.add_person(connection, email=email, name=name, password_hash=password_hash)
            token = self._tokens.make(connection, "verify", made[0] if made else "", sign_in_form(email))
            if made is None:
                return already_letter(email, self.rules.base_url)
            return verification_letter(email, self.link("verify", token))

        self._postman.post(await self._database.write(add))

    async def send_verification(self, principal: Principal) -> None:
        """Send the link that proves the address again.

        Raises:
            RateLimited: Too many mails to this address.
        """

        def make(connection: Connection) -> Letter | None:
            person = self._person(connection, principal.user_id)
            if person.verified_ms or not person.email:
                return None
            self._throttle.count(connection, MAILS_PER_ACCOUNT, person.id)
            token = self._tokens.make(connection, "verify", person.id, sign_in_form(person.email))
            return verification_letter(person.email, self.link("verify", token))

        letter = await self._database.write(make)
        if letter is not None:
            self._postman.post(letter)

    async def verify(self, token: str) -> None:
        """Prove an address with the token from a mail; gives the free credits if they wait for it.

        Raises:
            LinkExpired: The token was used, has expired or never was, or the address was changed since.
        """

        def use(connection: Connection) -> None:
            user_id, email = self._tokens.take(connection, "verify", token)
            person = repository.find_person(connection, user_id)
            if person is None or sign_in_form(person.email) != email:
                raise LinkExpired
            self._mark_verified(connection, person)
            self.audit.add(connection, Actor("user", user_id), "person.verify", user_id)

        await self._database.write(use)

    async def join(
        self, token: str, password: str, *, name: str = "", ip: str = "", user_agent: str = ""
    ) -> OpenedSession:
        """Follow an invitation without having an account: add one for the invited address, and sign in.

        Works where strangers may not sign up, and proves the address, since the link was sent there.

        Raises:
            LinkExpired: The invitation was used, withdrawn or has expired, or its address has an account, which must
                sign in to accept it.
            InvalidRequest: The password is too short, too long or too common.
        """
        check_new(password)
        await self._database.read(lambda c: self.orgs.check_invitation(c, token))
        password_hash = await self.passwords.hash(password)

        def add(connection: Connection) -> OpenedSession:
            record = self.orgs.take_invitation(connection, token)
            check_new(password, address=record.email)
            made = self.add_person(
                connection, email=record.email, name=name, password_hash=password_hash, is_verified=True
            )
            if made is None:
                raise LinkExpired
            self.orgs.join(connection, record, made[0], actor=Actor("user", made[0], ip))
            return self.sessions.open(connection, made[0], org_id=record.org_id, ip=ip, user_agent=user_agent)

        return await self._database.write(add)

    # Signing in

    async def sign_in(self, email: str, password: str, *, ip: str = "", user_agent: str = "") -> OpenedSession:
        """Open a session for the holder of an address and its password.

        Raises:
            WrongPassword: They do not belong together, or there is no such address, or it is disabled.
            RateLimited: Too many failures before; says when to try again.
        """
        form = sign_in_form(email.strip()[:320])

        def begin(connection: Connection) -> tuple[str, str]:
            self._throttle.count(connection, PER_ACCOUNT, form)
            self._throttle.count(connection, PER_ADDRESS, ip)
            person = repository.person_by_email(connection, form)
            known = person is not None and not person.disabled_ms
            return (person.id, repository.password_of(connection, person.id)) if person and known else ("", "")

        user_id, stored = await self._database.write(begin)
        if not await self.passwords.verify(password, stored):
            raise WrongPassword
        renewed = await self.passwords.hash(password) if self.passwords.is_outdated(stored) else ""

        def finish(connection: Connection) -> OpenedSession:
            if repository.password_of(connection, user_id) != stored:
                raise WrongPassword
            self._throttle.forget(connection, PER_ACCOUNT, form)
            self._throttle.undo(connection, PER_ADDRESS, ip)
            if renewed:
                repository.change_person(connection, user_id, password_hash=renewed)
            self.audit.add(connection, Actor("user", user_id, ip), "session.open", user_id)
            return self.sessions.open(connection, user_id, ip=ip, user_agent=user_agent)

        return await self._database.write(finish)

    async def prove_again(self, principal: Principal, password: str, *, ip: str = "") -> OpenedSession:
        """Prove the password of a session that is older than 15 minutes; the session gets a new cookie.

        Raises:
            WrongPassword: It is another one.
            RateLimited: Too many failures before.
        """
        await self._require_password(principal, password, ip)
        return await self._database.write(
            lambda c: self.sessions.renew(c, principal.session_id, principal.user_id, is_proved=True)
        )

    async def switch_org(self, principal: Principal, org_id: str) -> OpenedSession:
        """Let a session act for another organisation of its user; it gets a new cookie.

        Raises:
            UnknownThing: The user is no member of it.
        """

        def switch(connection: Connection) -> OpenedSession:
            if repository.role_in(connection, org_id, principal.user_id) is None:
                raise UnknownThing("organization", org_id)
            return self.sessions.renew(connection, principal.session_id, principal.user_id, org_id=org_id)

        return await self._database.write(switch)

    # Passwords

    async def request_reset(self, email: str, *, ip: str = "") -> None:
        """Send a link for a new password, if the address has an account; says the same if it has none.

        Raises:
            RateLimited: Too many such requests for this address or from this client.
        """
        form = sign_in_form(email.strip()[:320])

        def make(connection: Connection) -> Letter | None:
            self._throttle.count(connection, MAILS_PER_ACCOUNT, form)
            self._throttle.count(connection, PER_ADDRESS, f"reset {ip}")
            person = repository.person_by_email(connection, form)
            token = self._tokens.make(connection, "reset", person.id if person else "", form)
            if person is None or person.disabled_ms:
                return None
            return reset_letter(person.email, self.link("reset", token))

        letter = await self._database.write(make)
        if letter is not None:
            self._postman.post(letter)

    async def reset_password(self, token: str, password: str) -> None:
        """Set a new password with the token from a mail; proves the address and ends every session.

        Raises:
            LinkExpired: The token was used, has expired or never was.
            InvalidRequest: The password is too short, too long or too common.
        """
        check_new(password)
        await self._database.read(lambda c: self._tokens.check(c, "reset", token))
        password_hash = await self.passwords.hash(password)

        def use(connection: Connection) -> None:
            user_id, form = self._tokens.take(connection, "reset", token)
            person = repository.find_person(connection, user_id)
            if person is None or person.disabled_ms or sign_in_form(person.email) != form:
                raise LinkExpired
            check_new(password, address=person.email)
            self.set_password(connection, user_id, password_hash, actor=Actor("user", user_id))
            self._mark_verified(connection, person)

        await self._database.write(use)

    async def change_password(
        self, principal: Principal, password: str, new_password: str, *, ip: str = ""
    ) -> OpenedSession:
        """Change the password of somebody who knows the old one; ends the other sessions and renews this one.

        Raises:
            WrongPassword: The old one is another.
            InvalidRequest: The new one is too short, too long or too common.
            RateLimited: Too many failures before.
        """
        person = await self._database.read(lambda c: self._person(c, principal.user_id))
        check_new(new_password, address=person.email)
        await self._require_password(principal, password, ip)
        password_hash = await self.passwords.hash(new_password)

        def change(connection: Connection) -> OpenedSession:
            actor = Actor.of(principal, ip)
            self.set_password(connection, principal.user_id, password_hash, actor=actor, besides=principal.session_id)
            return self.sessions.renew(connection, principal.session_id, principal.user_id, is_proved=True)

        return await self._database.write(change)

    def set_password(
        self, connection: Connection, user_id: str, password_hash: str, *, actor: Actor, besides: str = ""
    ) -> None:
        """Set a password hash, end every session but `besides` and void links that were sent before."""
        repository.change_person(connection, user_id, password_hash=password_hash)
        self.sessions.end_all(connection, user_id, besides=besides)
        self._tokens.drop(connection, user_id, "reset", "setup")
        self.audit.add(connection, actor, "person.password", user_id)

    # The first start

    def may_set_up(self, ip: str) -> bool:
        """Whether the set-up link works from an address: this machine, or one that its owner allowed."""
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return address.is_loopback or any(
            address in ipaddress.ip_network(network) for network in self.rules.setup_networks
        )

    async def set_up(
        self, token: str, email: str, password: str, *, name: str = "", ip: str = "", user_agent: str = ""
    ) -> OpenedSession:
        """Claim the first account: give it an address and a password, and sign in.

        Raises:
            LinkExpired: The token was used, has expired or never was, or the caller is elsewhere.
            InvalidRequest: The address is none or taken, or the password is too short, too long or too common.
        """
        if not self.may_set_up(ip):
            raise LinkExpired
        email = checked_address(email)
        check_new(password, address=email)
        await self._database.read(lambda c: self._tokens.check(c, "setup", token))
        password_hash = await self.passwords.hash(password)

        def claim(connection: Connection) -> OpenedSession:
            user_id, _ = self._tokens.take(connection, "setup", token)
            form = sign_in_form(email)
            if repository.person_by_email(connection, form) is not None:
                raise InvalidRequest("email: this address has an account already")
            changes = {"email": form, "email_shown": email} | ({"name": name} if name else {})
            repository.change_person(connection, user_id, **changes)
            self.set_password(connection, user_id, password_hash, actor=Actor("user", user_id, ip))
            return self.sessions.open(connection, user_id, ip=ip, user_agent=user_agent)

        return await self._database.write(claim)

    # The own account

    async def profile(self, principal: Principal) -> Profile:
        """Return who the caller is, with all organisations."""

        def look(connection: Connection) -> Profile:
            person = self._person(connection, principal.user_id)
            return Profile(
                id=person.id,
                email=person.email,
                name=person.name,
                picture_url=person.picture_url,
                is_verified=bool(person.verified_ms),
                has_password=person.has_password,
                is_staff=person.is_staff,
                organizations=repository.orgs_of(connection, person.id, principal.org_id),
            )

        return await self._database.read(look)

    def rename(self, connection: Connection, principal: Principal, name: str) -> None:
        """Let people say how they want to be greeted.

        Raises:
            InvalidRequest: The name is longer than 200 characters.
        """
        shown = " ".join(name.split())
        if len(shown) > 200:
            raise InvalidRequest("name: at most 200 characters")
        repository.change_person(connection, principal.user_id, name=shown)

    async def invite(self, principal: Principal, email: str, role: str, *, actor: Actor) -> Invitation:
        """Invite an address to the caller's organisation by mail; see `Organisations.invite`."""

        def make(connection: Connection) -> tuple[Invitation, Letter]:
            record, token = self.orgs.invite(connection, principal, email, checked_role(role), actor=actor)
            names = [o.name for o in repository.orgs_of(connection, principal.user_id) if o.id == principal.org_id]
            return record, invitation_letter(record.email, self.link("invitation", token), names[0])

        record, letter = await self._database.write(make)
        self._postman.post(letter)
        return record

    # For staff and the command line; inside the caller's transaction

    def promote(self, connection: Connection, user_id: str, *, is_staff: bool, actor: Actor = SYSTEM) -> None:
        """Let a person administer the installation, or no longer; ends the person's sessions.

        Raises:
            UnknownThing: There is no such person.
        """
        before = self._person(connection, user_id)
        repository.change_person(connection, user_id, is_staff=is_staff)
        self.sessions.end_all(connection, user_id)
        repository.bump_version(connection)
        self.audit.add(
            connection,
            actor,
            "person.staff",
            user_id,
            before={"is_staff": before.is_staff},
            after={"is_staff": is_staff},
        )

    def disable(self, connection: Connection, user_id: str, *, is_disabled: bool = True, actor: Actor = SYSTEM) -> None:
        """Take a person's access away, or give it back; ends sessions, and keys pause within a second.

        Raises:
            UnknownThing: There is no such person.
        """
        self._person(connection, user_id)
        repository.change_person(connection, user_id, disabled_ms=self._clock.now_ms() if is_disabled else 0)
        self.sessions.end_all(connection, user_id)
        self._tokens.drop(connection, user_id, "reset", "verify", "setup")
        repository.bump_version(connection)
        self.audit.add(connection, actor, "person.disable" if is_disabled else "person.enable", user_id)

    def link(self, page: str, token: str) -> str:
        """Return the address of a page that uses a token; after ``#``, so that it reaches no log and no referrer."""
        return f"{self.rules.base_url}/{page}#token={token}"

    def _grant(self, connection: Connection, user_id: str, org_id: str, identity: str) -> None:
        if repository.mark_granted(connection, user_id, self._clock.now_ms()):
            self._on_verified(connection, org_id, identity)

    def _mark_verified(self, connection: Connection, person: Person) -> None:
        if not person.verified_ms:
            repository.change_person(connection, person.id, verified_ms=self._clock.now_ms())
        org_id = repository.personal_org(connection, person.id)
        self._grant(connection, person.id, org_id, address_identity(person.email))

    def _person(self, connection: Connection, user_id: str) -> Person:
        person = repository.find_person(connection, user_id)
        if person is None:
            raise UnknownThing("person", user_id)
        return person

    async def _require_password(self, principal: Principal, password: str, ip: str) -> None:
        who = f"session {principal.user_id}"

        def begin(connection: Connection) -> str:
            self._throttle.count(connection, PER_ACCOUNT, who)
            self._throttle.count(connection, PER_ADDRESS, ip)
            return repository.password_of(connection, principal.user_id)

        stored = await self._database.write(begin)
        if not await self.passwords.verify(password, stored):
            raise WrongPassword

        def forget(connection: Connection) -> None:
            self._throttle.forget(connection, PER_ACCOUNT, who)
            self._throttle.undo(connection, PER_ADDRESS, ip)

        await self._database.write(forget)


def address_range(ip: str) -> str:
    """Return the range that one subscriber usually has: /24 of version 4, /64 of version 6."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return "unknown"
    prefix = 24 if address.version == 4 else 64
    return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False))
