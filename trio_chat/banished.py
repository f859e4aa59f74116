"""Who may not come to this server at all: names, and addresses and their networks.

A room has bans of its own, in its charter. These here are made by the operators of the
server. No clock: it is an argument.
"""

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from attrs import define, field

from trio_chat.charter import Sanction
from trio_chat.errors import BadName, TooMany
from trio_chat.gate import plain_address
from trio_chat.names import parse_name

MOST = 1000
"""The most that can be banished at once: each address that comes is compared with all
networks."""

MAPPED_BITS = 96
"""What of an IPv6 address says that one of IPv4 follows."""

Network = IPv4Network | IPv6Network


def parse_banished(raw: str) -> str:
    """A name, an address or a network, as it is kept. Raises `BadName`."""
    if not _is_network(raw):
        return parse_name(raw)
    try:
        network = ip_network(raw, strict=False)
    except ValueError as exc:
        raise BadName(f"{raw[:64]!a} is no name, address or network") from exc
    network = _plain(network)
    if network.is_loopback:
        raise BadName("this machine can't be banished")
    return str(network)


def _plain(network: Network) -> Network:
    """The network itself: one of IPv4, written as one of IPv6, is still one."""
    bits = network.prefixlen - MAPPED_BITS
    if isinstance(network, IPv4Network) or bits < 0:
        return network
    mapped = network.network_address.ipv4_mapped
    return network if mapped is None else IPv4Network((mapped, bits))


def _is_network(what: str) -> bool:
    """Is it an address, and no name?"""
    return "." in what or ":" in what


@define(eq=False)
class Outlaws:
    """Those who may not come, as long as that is so."""

    sanctions: Mapping[str, Sanction] = field(factory=dict, init=False)
    _networks: dict[Network, Sanction] = field(factory=dict, init=False)

    def know(self, sanctions: Mapping[str, Sanction]) -> None:
        """These are banished, and no others."""
        self.sanctions = sanctions
        self._networks = {
            ip_network(what): sanction
            for what, sanction in sanctions.items()
            if _is_network(what)
        }

    def make_space(
        self, wanted: Mapping[str, Sanction | None], now: datetime
    ) -> Mapping[str, Sanction | None]:
        """What is to be changed for that: what is over goes with it. Raises `TooMany`."""
        over = {what: None for what, known in self.sanctions.items() if not known.holds(now)}
        changes = over | dict(wanted)
        if any(wanted.values()) and len(self._changed(changes)) > MOST:
            raise TooMany(f"at most {MOST} can be banished")
        return changes

    def change(self, changes: Mapping[str, Sanction | None]) -> None:
        """Banish somebody, or not any more."""
        self.know(self._changed(changes))

    def _changed(self, changes: Mapping[str, Sanction | None]) -> Mapping[str, Sanction]:
        changed = {**self.sanctions, **changes}
        return {what: known for what, known in changed.items() if known is not None}

    def require(self, name: str | None, address: str | None, now: datetime) -> None:
        """May somebody come under that name, from that address? Raises `Banned`."""
        for sanction in (self.sanctions.get(name or ""), self._of(address, now)):
            if sanction is not None and sanction.holds(now):
                raise sanction.refusal("this server", now)

    def _of(self, address: str | None, now: datetime) -> Sanction | None:
        if address is None or not self._networks:
            return None
        ip = plain_address(ip_address(address))
        if ip.is_loopback:  # whatever network it is in: it may be anybody, behind a proxy
            return None
        found = [known for network, known in self._networks.items() if ip in network]
        return next((known for known in found if known.holds(now)), None)
