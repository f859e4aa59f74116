"""Who may come in: how many connections there are, in all and from each address.

A connection counts from the moment in which it is accepted, whatever it is about to be: one
that stalls before its hello costs a descriptor, too.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

import trio
from attrs import define, field

from trio_chat.errors import ServerFull, TooManyConnections

MOST = 65_472
"""The most connections where the system sets no limit, or a higher one."""

EACH = 64
"""Connections of one address: an office behind one router, rather than a botnet's share."""

RETRY = 10.0
"""Seconds after which somebody may have gone."""

TURNED_AWAY = 32
"""How many are told at once that there is no room: half of the descriptors that are kept
spare. Whoever comes then waits to be accepted."""

UNWANTED = 8
"""How many are told at once that they may not come in for what they are themselves, such as
one too many of its address. Nobody else waits for them; whoever of them comes then is hung
up on without a word."""

NETWORK_BITS = 64
"""What of an IPv6 address says whose it is: a household has all addresses below it."""

IN_ONE_PASS = 8
"""How many come or go in one pass of the loop. A thousand who do so in the same moment take
half a second; in step, step by step, they would leave nobody else a turn in it."""

link: ContextVar[int | None] = ContextVar("link", default=None)
"""The number of the connection that this task serves, for the log."""


@lru_cache(1024)  # it is asked a few times for each connection: 9 µs each
def origin_of(address: str | None) -> str | None:
    """Whose address that is: in IPv6 a network's, and None for this machine itself."""
    if address is None:
        return None
    ip = plain_address(ip_address(address))
    if ip.is_loopback:
        return None
    if isinstance(ip, IPv6Address):
        return str(IPv6Address(int(ip) >> NETWORK_BITS << NETWORK_BITS))
    return str(ip)


def plain_address(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address itself: one of IPv4 that came in through IPv6 is still one."""
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return mapped or ip


@define(eq=False)
class Turnstile:
    """Lets some through in each pass of the loop, in the order in which they came."""

    _places: trio.CapacityLimiter = field(
        factory=lambda: trio.CapacityLimiter(IN_ONE_PASS), init=False
    )

    async def pass_through(self) -> None:
        """Wait for one's turn, which is to be taken without waiting for anything."""
        async with self._places:
            pass  # whoever gets the place has it in the next pass


@define(eq=False)
class Gate:
    """Counts who is in. `most`: connections in all; `each`: of one address, 0 for any number.

    The table of addresses has those only who are in, so it is bounded as they are.
    """

    most: int
    each: int
    _numbers: Iterator[int] = field(factory=lambda: itertools.count(1), init=False)
    _total: int = field(default=0, init=False)
    _inside: Counter[str] = field(factory=Counter, init=False)
    _turned_away: int = field(default=0, init=False)
    _unwanted: int = field(default=0, init=False)
    _has_time: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)

    @property
    def inside(self) -> int:
        """How many connections there are."""
        return self._total

    @property
    def addresses(self) -> int:
        """How many addresses are known: those of who is in."""
        return len(self._inside)

    @contextmanager
    def let_in(self, address: str | None) -> Iterator[None]:
        """Count a connection while it lasts; None: it is over memory. It has a number in
        the log from now on. Raises `ServerFull`, `TooManyConnections`."""
        link.set(next(self._numbers))
        origin = origin_of(address)
        self._check(origin)
        self._count(origin, 1)
        try:
            yield
        finally:
            self._count(origin, -1)

    def _check(self, origin: str | None) -> None:
        if self._total >= self.most:
            raise ServerFull("the server is full; try again later", retry=RETRY)
        if self.each and origin is not None and self._inside[origin] >= self.each:
            text = f"the server takes {self.each} connections from one address"
            raise TooManyConnections(text, retry=RETRY)

    def _count(self, origin: str | None, step: int) -> None:
        self._total += step
        if origin is not None:
            self._inside[origin] += step
            if not self._inside[origin]:
                del self._inside[origin]

    @contextmanager
    def turning_away(self) -> Iterator[None]:
        """Count one who is told that there is no room."""
        self._turned_away += 1
        try:
            yield
        finally:
            self._turned_away -= 1
            self._has_time.unpark_all()

    @contextmanager
    def telling_the_unwanted(self) -> Iterator[bool]:
        """Count one who is told what is wrong with it; but is there still time for that?"""
        is_told = self._unwanted < UNWANTED
        self._unwanted += is_told
        try:
            yield is_told
        finally:
            self._unwanted -= is_told

    async def wait_for_time(self) -> None:
        """Wait while so many are turned away that there would be no descriptor left for
        another one."""
        while self._turned_away >= TURNED_AWAY:
            await self._has_time.park()
