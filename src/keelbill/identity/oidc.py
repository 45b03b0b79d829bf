"""Another provider's proof of who somebody is: OpenID Connect Core 1.0 by authorization code. Knows no accounts.

Whatever the provider sends is checked: who signed it, for whom, for which request, until when. Addresses are fetched
when they are needed, so an installation without a network starts as usual.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from keelbill.core.clock import Clock
from keelbill.identity.errors import SignInFailed

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 256 * 1024
METADATA_S = 3600.0
KEYS_PAUSE_S = 60.0
LEEWAY_S = 60
MAX_AGE_S = 3600
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")


@dataclass(frozen=True)
class Claims:
    """What a provider vouches for.

    Attributes:
        issuer: The provider's own address.
        subject: Names the user there for ever.
        email: The address, proved there; never names the user.
        name: For greeting, or "".
        picture_url: An https address, or "".
    """

    issuer: str
    subject: str
    email: str
    name: str
    picture_url: str


@dataclass(frozen=True)
class Metadata:
    """The parts of a provider's discovery document that we use."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    secret_in_body: bool


class Provider:
    """One OpenID Connect provider.

    Args:
        name: On the button.
        issuer: Its address; https, except on this machine.
        client_id: Ours, there.
        client_secret: Ours, there.
        clock: For the times in tokens.
    """

    def __init__(self, name: str, issuer: str, client_id: str, client_secret: str, clock: Clock) -> None:
        self.name = name
        self.issuer = issuer.rstrip("/")
        self._client_id = client_id
        self._client_secret = client_secret
        self._clock = clock
        self._metadata: Metadata | None = None
        self._metadata_until_s = 0.0
        self._keys: KeySet | None = None
        self._keys_s = float("-inf")
        self._lock = asyncio.Lock()

    async def authorization_url(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Return where the browser goes to sign in.

        Args:
            redirect_uri: Where it comes back to.
            state: Binds the answer to this browser.
            nonce: Binds the token to this request.
            verifier: The secret of PKCE (RFC 7636), 43 to 128 characters; only its hash goes out.

        Raises:
            SignInFailed: The provider cannot be reached or describes itself wrongly.
        """
        metadata = await self._describe()
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid email profile",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        join = "&" if urlsplit(metadata.authorization_endpoint).query else "?"
        return f"{metadata.authorization_endpoint}{join}{urlencode(query)}"

    async def claims(self, code: str, redirect_uri: str, nonce: str, verifier: str) -> Claims:
        """Exchange the code that the browser brought back for what the provider vouches for.

        Raises:
            SignInFailed: The provider cannot be reached, refuses, or says something that cannot be believed.
        """
        metadata = await self._describe()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        auth = None
        if metadata.secret_in_body:
            form |= {"client_id": self._client_id, "client_secret": self._client_secret}
        else:
            auth = httpx.BasicAuth(self._client_id, self._client_secret)
        answer = await self._fetch("POST", metadata.token_endpoint, data=form, auth=auth)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise self._failed("sent no identity")
        return self._believe(await self._decoded(token), nonce)

    def _believe(self, claims: Mapping[str, Any], nonce: str) -> Claims:
        now_s = self._clock.now_ms() // 1000
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        issued, ends = _seconds(claims.get("iat")), _seconds(claims.get("exp"))
        if str(claims.get("iss", "")).rstrip("/") != self.issuer:
            raise self._failed("signed for another issuer")
        if self._client_id not in audiences or claims.get("azp", self._client_id) != self._client_id:
            raise self._failed("signed for another client")
        if len(audiences) > 1 and "azp" not in claims:
            raise self._failed("signed for several clients")
        if ends + LEEWAY_S < now_s:
            raise self._failed("sent an identity that has expired")
        if not now_s - MAX_AGE_S <= issued <= now_s + LEEWAY_S:
            raise self._failed("sent an identity of another time")
        if claims.get("nonce") != nonce:
            raise self._failed("answered another request")
        subject, email = claims.get("sub"), claims.get("email")
        if not isinstance(subject, str) or not 1 <= len(subject) <= 255:
            raise self._failed("named no user")
        if claims.get("email_verified") is not True or not isinstance(email, str) or not email:
            raise SignInFailed(f"{self.name} has not confirmed your mail address; confirm it there first.")
        name, picture = claims.get("name"), claims.get("picture")
        return Claims(
            issuer=self.issuer,
            subject=subject,
            email=email,
            name=" ".join(name.split())[:200] if isinstance(name, str) and name.isprintable() else "",
            picture_url=picture if isinstance(picture, str) and _is_web(picture) else "",
        )

    async def _decoded(self, token: str) -> Mapping[str, Any]:
        for is_last in (False, True):
            keys = await self._key_set(is_fresh=is_last)
            try:
                return jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims
            except (JoseError, ValueError) as error:
                if is_last:
                    raise self._failed("sent an identity that it did not sign") from error
        raise self._failed("sent no identity")

    async def _key_set(self, *, is_fresh: bool) -> KeySet:
        """Return the provider's keys; fetch them again if one seems to be new, at most once a minute."""
        async with self._lock:
            now = self._clock.monotonic_s()
            if self._keys is None or (is_fresh and now - self._keys_s >= KEYS_PAUSE_S):
                answer = await self._fetch("GET", (await self._describe()).jwks_uri)
                try:
                    self._keys = KeySet.import_key_set({"keys": answer["keys"]})
                except (JoseError, ValueError, KeyError, TypeError) as error:
                    raise self._failed("sent keys that cannot be read") from error
                self._keys_s = now
            return self._keys

    async def _describe(self) -> Metadata:
        now = self._clock.monotonic_s()
        if self._metadata is not None and now < self._metadata_until_s:
            return self._metadata
        document = await self._fetch("GET", f"{self.issuer}/.well-known/openid-configuration")
        if str(document.get("issuer", "")).rstrip("/") != self.issuer:
            raise self._failed("describes another issuer")
        found = [document.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        if not all(isinstance(address, str) and self._is_safe(address) for address in found):
            raise self._failed("describes itself without safe addresses")
        methods = document.get("token_endpoint_auth_methods_supported")
        in_body = isinstance(methods, list) and "client_secret_basic" not in methods and "client_secret_post" in methods
        authorization, token, keys = (str(address) for address in found)
        self._metadata = Metadata(authorization, token, keys, secret_in_body=in_body)
        self._metadata_until_s = now + METADATA_S
        return self._metadata

    async def _fetch(
        self, method: str, address: str, *, data: dict[str, str] | None = None, auth: httpx.BasicAuth | None = None
    ) -> dict[str, Any]:
        if not self._is_safe(address):
            raise self._failed("is not reached over https")
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as client,
                client.stream(
                    method, address, data=data, auth=auth, headers={"accept": "application/json"}
                ) as response,
            ):
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise self._failed("answered too much")
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._failed(f"cannot be reached ({type(error).__name__})") from error
        if response.status_code != 200:
            raise self._failed(f"answered with status {response.status_code}")
        try:
            found = json.loads(body)
        except ValueError as error:
            raise self._failed("answered no JSON") from error
        if not isinstance(found, dict):
            raise self._failed("answered no JSON object")
        return found

    def _is_safe(self, address: str) -> bool:
        parts = urlsplit(address)
        is_local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
        return bool(parts.hostname) and (parts.scheme == "https" or is_local)

    def _failed(self, what: str) -> SignInFailed:
        return SignInFailed(f"{self.name} {what}; try again, or sign in another way.")


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")


def _seconds(value: object) -> float:
    """Return a time in a token; what is no number is long ago."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _is_web(address: str) -> bool:
    return len(address) <= 2000 and address.startswith("https://") and address.isascii() and address.isprintable()
