"""No URL that a user registers lets anybody reach inside: every known way to write an inner address is refused."""

from __future__ import annotations

import asyncio

import pytest

from keelbill.webhooks import addresses
from keelbill.webhooks.addresses import is_public, parse_url, system_resolver, vet
from keelbill.webhooks.errors import ForbiddenAddress

INNER = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "0.0.0.0", "0.1.2.3", "100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",  # noqa: S104
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1",
    "2002:7f00:1::", "2002:808:808::", "2001:0:53aa:64c::1", "2001:db8::1", "fc00::1", "fd12:3456::1", "fe80::1",
    "fec0::1", "ff02::1", "100::1", "3fff::1",
]  # fmt: skip
OUTER = ["8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:82f::200e"]


async def resolved(url: str, *found: str, allow_private: bool = False) -> str:
    async def resolver(host: str, port: int) -> list[str]:
        return list(found)

    return (await vet(url, allow_private=allow_private, resolver=resolver)).address


@pytest.mark.parametrize("address", INNER)
async def test_inner_addresses_are_refused(address: str) -> None:
    with pytest.raises(ForbiddenAddress, match="public"):
        await resolved("https://example.com/hook", address)


@pytest.mark.parametrize("address", OUTER)
async def test_outer_addresses_are_dialled(address: str) -> None:
    assert await resolved("https://example.com/hook", address) == address


async def test_one_inner_address_among_outer_ones_is_enough() -> None:
    with pytest.raises(ForbiddenAddress):
        await resolved("https://example.com/", "8.8.8.8", "10.0.0.1")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "[::ffff:127.0.0.1]"]
)
async def test_odd_ways_to_write_this_machine(host: str) -> None:
    with pytest.raises(ForbiddenAddress):
        await vet(f"https://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/",
        "https://", "https:///path", "https://user:secret@example.com/", "https://user@example.com/",
        "https://example.com:80/", "https://example.com:22/", "https://example.com:99999/", "https://example.com:x/",
        "https://example.com/#fragment", "https://exa mple.com/", "https://example.com/\r\nhost: inner",
        "https://example.com\\@inner/", "https://exämple.com/", "https://[::1/", "https://example.com/" + "x" * 2048,
        "javascript:alert(1)", "https://example.com\x00/", "//example.com/",
    ],
)  # fmt: skip
def test_forms_that_are_refused(url: str) -> None:
    with pytest.raises(ForbiddenAddress):
        parse_url(url)


@pytest.mark.parametrize(
    ("url", "port", "path"),
    [
        ("https://example.com", 443, "/"),
        ("https://example.com:8443/hook?a=1&b=2", 8443, "/hook?a=1&b=2"),
        ("https://EXAMPLE.com/%20", 443, "/%20"),
    ],
)
def test_forms_that_are_allowed(url: str, port: int, path: str) -> None:
    parsed = parse_url(url)
    assert (parsed.scheme, parsed.host, parsed.port, parsed.path) == ("https", "example.com", port, path)


async def test_at_home_private_targets_may_be_allowed() -> None:
    assert await resolved("http://printer:9100/x", "192.168.1.20", allow_private=True) == "192.168.1.20"


async def test_names_that_stand_for_nothing() -> None:
    with pytest.raises(ForbiddenAddress, match="no address"):
        await resolved("https://example.com/")
    with pytest.raises(ForbiddenAddress, match="resolved"):
        await resolved("https://example.com/", "not an address")


async def test_a_name_that_is_unknown() -> None:
    with pytest.raises(ForbiddenAddress, match="resolved"):
        await vet("https://no-such-host.invalid/")


async def test_a_resolver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hanging(host: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(addresses, "RESOLVE_S", 0.05)
    with pytest.raises(ForbiddenAddress):
        await vet("https://example.com/", resolver=hanging)


async def test_the_system_resolver_knows_this_machine() -> None:
    assert set(await system_resolver("localhost", 443)) <= {"127.0.0.1", "::1"}


def test_scoped_addresses_are_not_public() -> None:
    import ipaddress

    assert not is_public(ipaddress.ip_address("fe80::1%eth0"))
