"""Decides which addresses may be called from here, so that nobody reaches inside by registering a URL. Sends nothing.

A name is resolved once; every address it stands for must be a globally routable unicast address, in whatever form it is
written; the caller then dials exactly the address that was vetted.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from keelbill.webhooks.errors import ForbiddenAddress

PORTS: Final = (443, 8443)
MAX_URL: Final = 2048
RESOLVE_S: Final = 10.0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[list[str]]]

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL: Final = ipaddress.IPv6Network("64:ff9b:1::/48")
_SITE_LOCAL: Final = ipaddress.IPv6Network("fec0::/10")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_EXAMPLES: Final = ipaddress.IPv6Network("3fff::/20")  # RFC 9637; newer than some standard libraries
# Routed for a while, or by convention never answered from the open Internet.
_UNROUTED_V4: Final = tuple(
    ipaddress.IPv4Network(block) for block in ("192.88.99.0/24", "192.0.0.0/24", "100.64.0.0/10", "0.0.0.0/8")
)


@dataclass(frozen=True)
class Target:
    """Where a call goes.

    Attributes:
        scheme: ``https``, or ``http`` where private targets are allowed.
        host: The name as the user wrote it, for TLS and the Host header.
        port: As written, or the scheme's.
        address: The vetted address that is dialled.
        path: Path and query, beginning with a slash.
    """

    scheme: str
    host: str
    port: int
    address: str
    path: str


@dataclass(frozen=True)
class ParsedUrl:
    """A URL whose form is allowed; its name is not resolved yet."""

    scheme: str
    host: str
    port: int
    path: str


def parse_url(url: str, *, allow_private: bool = False) -> ParsedUrl:
    """Check the form of a URL.

    Args:
        url: As the user wrote it.
        allow_private: Whether plain HTTP and any port are allowed too.

    Raises:
        ForbiddenAddress: Scheme, port or form is not allowed; the message says which.
    """
    if len(url) > MAX_URL or not url.isascii() or any(ord(c) <= 32 or ord(c) == 127 or c == "\\" for c in url):
        raise ForbiddenAddress(f"url: at most {MAX_URL} visible ASCII characters, without spaces or backslashes")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise ForbiddenAddress("url: not a URL") from error
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes or not host:
        raise ForbiddenAddress(f"url: must begin with {' or '.join(f'{scheme}://' for scheme in schemes)} and a host")
    if "@" in parts.netloc:
        raise ForbiddenAddress("url: must not contain a user name or password")
    if parts.fragment:
        raise ForbiddenAddress("url: must not contain a fragment (#…)")
    port = port or (443 if parts.scheme == "https" else 80)
    if port not in PORTS and not allow_private:
        raise ForbiddenAddress("url: the port must be 443 or 8443")
    path = parts.path or "/"
    return ParsedUrl(parts.scheme, host, port, f"{path}?{parts.query}" if parts.query else path)


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the open Internet, looking through addresses that wrap another."""
    if isinstance(address, ipaddress.IPv6Address):
        if any(inner is not None for inner in (address.ipv4_mapped, address.sixtofour, address.teredo)):
            return False  # a tunnel to something else; nobody's webhook needs one
        if any(address in network for network in (_NAT64, _NAT64_LOCAL, _SITE_LOCAL, _COMPATIBLE, _EXAMPLES)):
            return False
    elif any(address in network for network in _UNROUTED_V4):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


async def system_resolver(host: str, port: int) -> list[str]:
    """Return all addresses of a name, as the operating system resolves it."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


async def vet(url: str, *, allow_private: bool = False, resolver: Resolver = system_resolver) -> Target:
    """Resolve a URL's name once and return what may be dialled.

    Args:
        url: As the user wrote it.
        allow_private: Whether private addresses and plain HTTP are allowed, for tests and networks at home.
        resolver: Turns a name and a port into addresses.

    Raises:
        ForbiddenAddress: The form is not allowed, the name is unknown, or one of its addresses is not public.
    """
    parsed = parse_url(url, allow_private=allow_private)
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await resolver(parsed.host, parsed.port)
        addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in found]
    except (OSError, ValueError, UnicodeError) as error:  # asyncio's timeout is an OSError
        raise ForbiddenAddress(f"url: the host {parsed.host!r} cannot be resolved") from error
    if not addresses:
        raise ForbiddenAddress(f"url: the host {parsed.host!r} has no address")
    if not allow_private and not all(is_public(address) for address in addresses):
        raise ForbiddenAddress(f"url: the host {parsed.host!r} does not lie in the public Internet")
    return Target(parsed.scheme, parsed.host, parsed.port, str(addresses[0]), parsed.path)
