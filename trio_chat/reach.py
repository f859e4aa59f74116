"""By what others may reach this machine."""

import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

ELSEWHERE = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}
"""Somewhere else: addresses that are for examples."""

SIOCGIFADDR = 0x8915
"""What Linux is asked with for the IPv4 address of an interface, netdevice(7)."""

IF_INET6 = Path("/proc/net/if_inet6")
"""Where Linux tells the IPv6 addresses of all interfaces."""


def own_addresses(family: socket.AddressFamily) -> list[str]:
    """The addresses of this machine, and of no link only; the one first from which it would
    send to the rest of the world, if it has a way there. Nothing is sent."""
    found = [*_outward(family), *_of_interfaces(family)]
    return [address for address in dict.fromkeys(found) if _is_of_use(address)]


def _outward(family: socket.AddressFamily) -> Iterator[str]:
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(ELSEWHERE[family])
        yield str(probe.getsockname()[0])


def _of_interfaces(family: socket.AddressFamily) -> Iterator[str]:
    if sys.platform != "linux":
        return
    if family == socket.AF_INET6:
        with suppress(OSError):
            for line in IF_INET6.read_text().splitlines():
                yield str(ip_address(bytes.fromhex(line.split()[0])))
        return
    with socket.socket(family, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # it has none
                yield _of_interface(any_socket, name)


def _of_interface(any_socket: socket.socket, name: str) -> str:
    import fcntl  # noqa: PLC0415 # there is none on Windows

    # struct ifreq: 16 bytes of a name, and then a struct sockaddr_in.
    asked = struct.pack("16s24x", name.encode())
    answer = fcntl.ioctl(any_socket.fileno(), SIOCGIFADDR, asked)
    return socket.inet_ntoa(answer[20:24])


def _is_of_use(address: str) -> bool:
    ip = ip_address(address)
    return not (ip.is_loopback or ip.is_link_local or ip.is_unspecified)
