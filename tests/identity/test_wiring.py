"""What the settings decide about accounts."""

from __future__ import annotations

import pytest

from keelbill.core.errors import InvalidInput
from keelbill.identity.wiring import networks


def test_no_network_but_this_machine_by_default() -> None:
    assert networks("") == ()


@pytest.mark.parametrize("listed", ["172.16.0.0/12,10.0.0.7,fd00::/8", " 172.16.0.0/12, 10.0.0.7 ,fd00::/8,"])
def test_several_networks(listed: str) -> None:
    assert networks(listed) == ("172.16.0.0/12", "10.0.0.7/32", "fd00::/8")


@pytest.mark.parametrize("listed", ["everywhere", "10.0.0.1/8", "10.0.0.0/33", "172.16.0.0/12,?"])
def test_what_is_no_network(listed: str) -> None:
    with pytest.raises(InvalidInput, match=r"setup_networks .* CIDR block"):
        networks(listed)
