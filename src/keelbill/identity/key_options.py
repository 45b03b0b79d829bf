"""What may be chosen about a key: names, scopes, caps, networks, an end. Knows no callers and no tables."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import fields, replace

from keelbill.core.errors import InvalidRequest
from keelbill.core.principal import ALL_SCOPES
from keelbill.identity.schemas import KeyOptions

MAX_NAME = 100
MAX_NETWORKS = 32
MAX_RATE_LIMIT = 100_000
MAX_CAP = 10**15


def checked_options(options: KeyOptions, now_ms: int) -> KeyOptions:
    """Check what was chosen and write it in its canonical form.

    Args:
        options: The choice.
        now_ms: An end must lie after this time.

    Raises:
        InvalidRequest: Something is out of range; names all of it.
    """
    problems = []
    name = " ".join(options.name.split())
    if len(name) > MAX_NAME or not name.isprintable():
        problems.append(f"name: must be printable and at most {MAX_NAME} characters long")
    if unknown := sorted(options.scopes - ALL_SCOPES):
        problems.append(f"scopes: {', '.join(unknown)} unknown; must be of {', '.join(sorted(ALL_SCOPES))}")
    if not options.scopes:
        problems.append("scopes: at least one is needed")
    for cap in fields(options.caps):
        value = getattr(options.caps, cap.name)
        if value is not None and not 0 <= value <= MAX_CAP:
            problems.append(f"caps.{cap.name}: must be from 0 to {MAX_CAP // 1_000_000} credits")
    if options.rate_limit is not None and not 1 <= options.rate_limit <= MAX_RATE_LIMIT:
        problems.append(f"rate_limit: must be from 1 to {MAX_RATE_LIMIT} requests per window")
    if options.expires_ms and options.expires_ms <= now_ms:
        problems.append("expires_ms: must lie in the future, or be 0 for never")
    networks = []
    for text in options.networks[: MAX_NETWORKS + 1]:
        try:
            networks.append(str(ipaddress.ip_network(text.strip())))
        except ValueError:
            problems.append(f"networks: {text[:64]!r} is not a CIDR block such as 192.0.2.0/24 or 2001:db8::/32")
    if len(options.networks) > MAX_NETWORKS:
        problems.append(f"networks: at most {MAX_NETWORKS} are allowed, not {len(options.networks)}")
    if problems:
        raise InvalidRequest(*problems)
    return replace(options, name=name, networks=tuple(networks))


def is_within(network: str, outer: Iterable[str]) -> bool:
    """Whether a CIDR block lies within one of several others."""
    inner = ipaddress.ip_network(network)
    for text in outer:
        block = ipaddress.ip_network(text)
        if (
            isinstance(inner, ipaddress.IPv4Network)
            and isinstance(block, ipaddress.IPv4Network)
            and inner.subnet_of(block)
        ):
            return True
        if (
            isinstance(inner, ipaddress.IPv6Network)
            and isinstance(block, ipaddress.IPv6Network)
            and inner.subnet_of(block)
        ):
            return True
    return False
