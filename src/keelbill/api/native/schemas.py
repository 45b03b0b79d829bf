"""The JSON of accounts, keys, organisations and sessions. Knows no rules beyond the shape."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from keelbill.api.native.bodies import Body, View
from keelbill.core.principal import Caps, Role, Scope
from keelbill.core.types import credits_of, micro
from keelbill.identity.schemas import Invitation, KeyOptions, KeyRecord, Member, Profile, SessionRecord

Email = Field(min_length=3, max_length=320, description="Mail address.", examples=["ada@example.org"])
Password = Field(min_length=1, max_length=512, description="8 to 128 characters.", examples=["seven lighthouses"])
Token = Field(min_length=16, max_length=128, description="From the link.", examples=["x" * 43])
Name = Field(default="", max_length=200, description="For greeting.", examples=["Ada"])
Amount = Field(
    default=None,
    pattern=r"^[0-9]{1,9}(\.[0-9]{1,6})?$",
    description="Credits as a decimal number in a string; null is no limit.",
    examples=["25", "6.5"],
)


class SignUp(Body):
    """A wish for an account."""

    email: str = Email
    password: str = Password
    name: str = Name


class SignIn(Body):
    """Address and password."""

    email: str = Email
    password: str = Password


class SetUp(Body):
    """The first owner's account."""

    token: str = Token
    email: str = Email
    password: str = Password
    name: str = Name


class Join(Body):
    """An account for somebody who was invited."""

    token: str = Token
    password: str = Password
    name: str = Name


class OnlyToken(Body):
    """A token from a link."""

    token: str = Token


class OnlyEmail(Body):
    """An address."""

    email: str = Email


class OnlyPassword(Body):
    """The password, entered again."""

    password: str = Password


class NewPassword(Body):
    """A token from a link and a password."""

    token: str = Token
    password: str = Password


class ChangePassword(Body):
    """The old and a new password."""

    password: str = Password
    new_password: str = Password


class Accepted(View):
    """What is said whether or not the address has an account."""

    message: str = Field(examples=["If this address can be used, a mail is on its way."])


class SessionView(View):
    """A browser that is signed in."""

    id: str = Field(description="Names it in lists; opens nothing.", examples=["01a204ec7c0b70e3ab1290cd8a4b04b3"])
    org_id: str
    is_current: bool
    created_ms: int
    last_seen_ms: int
    expires_ms: int
    ip: str
    user_agent: str

    @classmethod
    def of(cls, record: SessionRecord, current: str) -> SessionView:
        """Return what its user may see of a session."""
        shown = {name: value for name, value in vars(record).items() if name not in ("user_id", "authenticated_ms")}
        return cls(**shown, is_current=record.id == current)


class OrganizationView(View):
    """An organisation of the caller."""

    id: str
    name: str
    kind: Literal["personal", "team"]
    role: Role
    is_default: bool = Field(description="Whether this credential acts for it.")


class Me(View):
    """The caller."""

    id: str
    email: str
    name: str
    picture_url: str
    is_verified: bool
    has_password: bool
    is_staff: bool
    organizations: list[OrganizationView]

    @classmethod
    def of(cls, profile: Profile) -> Me:
        """Return a profile as JSON."""
        orgs = [OrganizationView(**vars(found)) for found in profile.organizations]
        return cls(**{**vars(profile), "organizations": orgs})


class MeChange(Body):
    """How the caller wants to be greeted."""

    name: str = Field(max_length=200, examples=["Ada"])


class CurrentSession(View):
    """The caller's session, with what pages need for writing."""

    csrf_token: str = Field(description="To be sent in the header x-csrf-token with every write.")
    is_recent: bool = Field(description="Whether the password was proved within the last 15 minutes.")
    user: Me


class CapsBody(Body):
    """Limits in credits; null is no limit."""

    per_request: str | None = Amount
    per_day: str | None = Amount
    per_month: str | None = Amount
    total: str | None = Amount

    def caps(self) -> Caps:
        """Return them in micro-credits."""
        given = self.model_dump()
        return Caps(**{name: None if text is None else int(micro(text)) for name, text in given.items()})


class CapsView(View):
    """Limits in credits; null is no limit."""

    per_request: str | None
    per_day: str | None
    per_month: str | None
    total: str | None

    @classmethod
    def of(cls, caps: Caps) -> CapsView:
        """Return caps as credits."""
        return cls(**{n: None if v is None else f"{credits_of(v):f}" for n, v in vars(caps).items()})


class KeyBody(Body):
    """What is chosen about a key. Members that are left out keep their default, or when changed, their value."""

    name: str = Field(default="", max_length=100, examples=["My script"])
    scopes: list[Scope] | None = Field(default=None, max_length=8, description="What it may do; null is the default.")
    caps: CapsBody = CapsBody()
    rate_limit: int | None = Field(default=None, ge=1, le=100_000, description="Requests per window, if its own.")
    networks: list[str] = Field(default=[], max_length=32, description="CIDR blocks from which it works; empty: all.")
    expires_ms: int = Field(default=0, ge=0, lt=2**53, description="Its end, milliseconds since 1970; 0 is never.")

    def options(self, present: KeyOptions) -> KeyOptions:
        """Return `present` with what was sent."""
        sent = self.model_fields_set
        return KeyOptions(
            name=self.name if "name" in sent else present.name,
            scopes=frozenset(self.scopes) if self.scopes is not None else present.scopes,
            caps=self.caps.caps() if "caps" in sent else present.caps,
            rate_limit=self.rate_limit if "rate_limit" in sent else present.rate_limit,
            networks=tuple(self.networks) if "networks" in sent else present.networks,
            expires_ms=self.expires_ms if "expires_ms" in sent else present.expires_ms,
        )


class NewKey(KeyBody):
    """A key to be made."""

    user_id: str = Field(default="", max_length=32, description="For which member; the caller if left out.")


class Rotation(Body):
    """How long the old key lives on."""

    overlap_s: int = Field(default=86_400, ge=0, le=2_592_000, description="Seconds; 0 ends it at once.")


class KeyView(View):
    """A key without its secret."""

    id: str
    user_id: str
    name: str
    stub: str = Field(examples=["sk-abcd…wxyz"])
    scopes: list[Scope]
    caps: CapsView
    rate_limit: int | None
    networks: list[str]
    is_active: bool
    created_ms: int
    expires_ms: int
    last_used_ms: int
    last_used_ip: str
    revoked_ms: int
    rotated_from: str
    replaced_by: str

    @classmethod
    def of(cls, record: KeyRecord, now_ms: int) -> KeyView:
        """Return a key as JSON."""
        options = record.options
        return cls(
            id=record.id,
            user_id=record.user_id,
            name=options.name,
            stub=record.stub,
            scopes=sorted(options.scopes),
            caps=CapsView.of(options.caps),
            rate_limit=options.rate_limit,
            networks=list(options.networks),
            is_active=record.is_active(now_ms),
            created_ms=record.created_ms,
            expires_ms=options.expires_ms,
            last_used_ms=record.last_used_ms,
            last_used_ip=record.last_used_ip,
            revoked_ms=record.revoked_ms,
            rotated_from=record.rotated_from,
            replaced_by=record.replaced_by,
        )


class MadeKey(View):
    """A new key. The secret is shown this once."""

    key: KeyView
    secret: str = Field(description="Shown this once.", examples=["sk-" + "0" * 48])


class OrgName(Body):
    """An organisation's name."""

    name: str = Field(min_length=1, max_length=200, examples=["Lighthouse studio"])


class MemberView(View):
    """A member of an organisation."""

    user_id: str
    email: str
    name: str
    role: Role
    caps: CapsView
    created_ms: int

    @classmethod
    def of(cls, member: Member) -> MemberView:
        """Return a member as JSON."""
        return cls(**{**vars(member), "caps": CapsView.of(member.caps)})


class MemberChange(Body):
    """Another role, other caps, or both."""

    role: Role | None = None
    caps: CapsBody | None = None


class NewInvitation(Body):
    """Whom to invite."""

    email: str = Email
    role: Role = "member"


class InvitationView(View):
    """An open invitation."""

    id: str
    email: str
    role: Role
    created_ms: int
    expires_ms: int

    @classmethod
    def of(cls, record: Invitation) -> InvitationView:
        """Return an invitation as JSON."""
        return cls(**{name: getattr(record, name) for name in cls.model_fields})


class AuditView(View):
    """A line of the audit log."""

    id: str
    at_ms: int
    actor_kind: str
    actor_id: str
    action: str
    target: str
    before: str
    after: str
    ip: str
    request_id: str
