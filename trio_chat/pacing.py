"""How fast one connection may speak.

The server does not refuse and does not drop what comes too fast: it reads that socket more
slowly, and TCP slows the sender down. Only where each request is a connection of its own
there is nothing to slow down, and who comes too often is told when to come again.
"""

import math
from collections import OrderedDict
from collections.abc import Hashable

from attrs import define, field

RATE = 10.0
"""Says a second: more than a person types, enough for a bot that reports."""

BURST = 50
"""Says at once: a pasted list, a page of a log."""


ROUNDING = 1e-6
"""Seconds by which a token may be taken too early: so much is lost in adding up."""


@define
class Pace:
    """A token bucket, as the time at which the next token is free (GCRA, ITU-T I.371).

    `rate`: tokens a second; 0 is no limit. `burst`: tokens that pile up while unused.
    """

    rate: float = RATE
    burst: int = BURST
    _free_at: float = field(default=-math.inf, init=False)

    def take(self, now: float) -> float:
        """Take a token; the time from which on it may be used."""
        if self.rate == 0:
            return now
        earliest = now - self.burst / self.rate
        self._free_at = max(self._free_at, earliest) + 1 / self.rate
        return self._free_at

    def try_to_take(self, now: float) -> float:
        """Take a token, if there is one, and 0; or the seconds until there is one."""
        before = self._free_at
        wait = self.take(now) - now
        if wait <= ROUNDING:
            return 0.0
        self._free_at = before
        return wait


KNOWN = 10_000
"""The most whose pace is remembered; those who came last."""


@define(eq=False)
class Paces:
    """How often each of many may come. `rate` and `burst` are those of a `Pace`."""

    rate: float
    burst: int
    _paces: OrderedDict[Hashable, Pace] = field(factory=OrderedDict, init=False)

    def wait(self, who: Hashable, now: float) -> float:
        """Seconds until `who` may come again; 0, and it has come."""
        pace = self._paces.setdefault(who, Pace(self.rate, self.burst))
        self._paces.move_to_end(who)
        if len(self._paces) > KNOWN:
            self._paces.popitem(last=False)
        return pace.try_to_take(now)
