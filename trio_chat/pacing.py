"""How fast one connection may speak.

The server does not refuse and does not drop what comes too fast: it reads that socket more
slowly, and TCP slows the sender down.
"""

import math

from attrs import define, field

RATE = 10.0
"""Says a second: more than a person types, enough for a bot that reports."""

BURST = 50
"""Says at once: a pasted list, a page of a log."""


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
