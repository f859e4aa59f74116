"""By what others may reach a machine: the one that the tests run on, and made up ones."""

import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from trio_chat import reach
from trio_chat.reach import own_addresses

FAMILIES = (socket.AF_INET, socket.AF_INET6)

IF_INET6 = """\
fe80000000000000bc8d0dfffe3f1c0a 02 40 20 80     eth0
fd000000000000000000000000000007 02 40 00 80     eth0
00000000000000000000000000000001 01 80 10 80       lo
"""


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_found_can_be_listened_on(family: socket.AddressFamily) -> None:
    for address in own_addresses(family):
        assert not ip_address(address).is_loopback
        with socket.socket(family) as listener:
            listener.bind((address, 0))


def test_where_it_would_send_from_comes_first_and_nothing_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = ["127.0.0.1", "172.17.0.1", "10.0.0.5", "169.254.1.1"]
    monkeypatch.setattr(reach, "_outward", lambda _: iter(["10.0.0.5"]))
    monkeypatch.setattr(reach, "_of_interfaces", lambda _: iter(found))
    assert own_addresses(socket.AF_INET) == ["10.0.0.5", "172.17.0.1"]


def test_addresses_of_a_link_are_of_no_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reach, "IF_INET6", tmp_path / "if_inet6")
    monkeypatch.setattr(reach, "_outward", lambda _: iter(()))
    monkeypatch.setattr("sys.platform", "linux")
    assert own_addresses(socket.AF_INET6) == []
    (tmp_path / "if_inet6").write_text(IF_INET6)
    assert own_addresses(socket.AF_INET6) == ["fd00::7"]
    monkeypatch.setattr("sys.platform", "darwin")
    assert own_addresses(socket.AF_INET6) == []
