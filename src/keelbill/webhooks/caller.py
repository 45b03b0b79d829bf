"""Sends one signed message to one address. Knows nothing of tries, tables or who registered the address."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import httpx

from keelbill import __version__
from keelbill.webhooks.addresses import Resolver, system_resolver, vet
from keelbill.webhooks.errors import CallFailed

TIMEOUT_S: Final = 10.0


@dataclass(frozen=True)
class Caller:
    """Calls addresses that are vetted on each call, without redirects, proxies, cookies or compression.

    Attributes:
        allow_private: Whether private addresses and plain HTTP are allowed.
        resolver: Turns names into addresses.
        transport: Replaces the network, for tests.
        timeout_s: For the whole call, from the name to the status line.
    """

    allow_private: bool = False
    resolver: Resolver = system_resolver
    transport: httpx.AsyncBaseTransport | None = None
    timeout_s: float = TIMEOUT_S

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        """Send a message and return the status of the answer; the answer's body is never read.

        Raises:
            CallFailed: No connection, no answer in time, or an invalid one.
            ForbiddenAddress: The URL's name stands for an address that may not be called.
        """
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._post(url, body, headers)
        except TimeoutError as error:
            raise CallFailed(f"no answer within {self.timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            raise CallFailed(f"{type(error).__name__}: {error}"[:200]) from error

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        target = await vet(url, allow_private=self.allow_private, resolver=self.resolver)
        shown_host = f"[{target.host}]" if ":" in target.host else target.host
        usual = 443 if target.scheme == "https" else 80
        sent = {
            **headers,
            "host": shown_host if target.port == usual else f"{shown_host}:{target.port}",
            "content-type": "application/json",
            "user-agent": f"keelbill/{__version__}",
            "accept-encoding": "identity",
        }
        address = f"[{target.address}]" if ":" in target.address else target.address
        dialled = f"{target.scheme}://{address}:{target.port}{target.path}"
        client = httpx.AsyncClient(
            verify=self._tls, trust_env=False, follow_redirects=False, timeout=self.timeout_s, transport=self.transport
        )
        async with client:
            request = client.build_request(
                "POST", dialled, content=body, headers=sent, extensions={"sni_hostname": target.host}
            )
            answer = await client.send(request, stream=True)
            await answer.aclose()
            return answer.status_code
