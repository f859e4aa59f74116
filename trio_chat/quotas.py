"""How often somebody may ask for what costs the others something.

Says that come too fast are read more slowly (`pacing.py`). All this is refused, and told when
to ask again: who asks for a page waits for it, and would take silence for a lost connection.

Pure: the clock is an argument.
"""

import math

from attrs import define, evolve, field, frozen

from trio_chat.errors import TryLater
from trio_chat.pacing import ROUNDING, Paces
from trio_chat.rules import PRIVATE_FOLLOWED, ROOMS_EACH

BACK_AT_ONCE = ROOMS_EACH + PRIVATE_FOLLOWED
"""What a client asks for at most when it comes back: one thing for each of its rooms."""

HOUR = 3600.0

PRIVATE_TIMES = 10
"""How many private rooms may be begun where one room may be made: they are for two, and one
writes to many people sooner than one makes as many rooms."""


@frozen
class Quota:
    """So many of `what` in so many `seconds`, or `at_once`; a `number` of 0 is no limit."""

    what: str
    number: float
    seconds: float
    at_once: int

    def of(self, number: int) -> "Quota":
        """The same, for as many at once."""
        return evolve(self, number=number, at_once=number)


JOINS = Quota("joins", 5, 1, BACK_AT_ONCE)
"""Of one connection. Each makes an event, and reads a page of the log."""

PAGES = Quota("pages", 10, 1, BACK_AT_ONCE)
"""Of one connection: a thousand events a second, more than anybody scrolls through."""

LISTS = Quota("lists", 10, 1, BACK_AT_ONCE)
"""Of one connection: who is there, and which rooms are, which may be ten thousand."""

SEARCHES = Quota("searches", 2, 1, 20)
"""Of one connection. One may take two seconds, and they are made one after the other."""

ROOMS = Quota("new rooms from there", 20, HOUR, 20)
"""From one address: rooms stay, so who may make them must not do it for ever."""

PRIVATE_ROOMS = Quota("new private rooms from there", 200, HOUR, 200)

ACCOUNTS = Quota("new names from there", 10, HOUR, 10)
"""From one address: a class that begins, and no more."""


@define(eq=False)
class Quotas:
    """What has been used of them, and by whom."""

    _paces: dict[Quota, Paces] = field(factory=dict, init=False)

    def take(self, quota: Quota, now: float, whom: str = "") -> None:
        """Use one. Raises `TryLater`, and then nothing is used."""
        paces = self._paces.get(quota) or Paces(quota.number / quota.seconds, quota.at_once)
        self._paces[quota] = paces
        wait = paces.wait(whom, now)
        if wait > 0:
            told = f"too many {quota.what}; try again in {math.ceil(wait)} s"
            raise TryLater(told, retry=math.ceil(1000 * (wait - ROUNDING)) / 1000)
