"""What has happened since the start, as plain numbers: adding to one costs next to nothing,
and whoever wants to see them brings his own form."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from attrs import define, field, frozen

COMMIT_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
"""From a fast disk to one that is about to fail."""

BATCH_EVENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

LAG_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@define(eq=False)
class Histogram:
    """How many values were up to each of `bounds`, and, last of `counts`, beyond them."""

    bounds: Sequence[float]
    counts: list[int] = field(init=False)
    sum: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@define(eq=False)
class Tally:
    """`deliveries`: events handed to those who were up to date. `refusals`: by their codes.
    `lag_seconds`: how late a task is that was to wake up."""

    events: int = field(default=0, init=False)
    deliveries: int = field(default=0, init=False)
    refusals: Counter[str] = field(factory=Counter, init=False)
    commit_seconds: Histogram = field(factory=lambda: Histogram(COMMIT_SECONDS), init=False)
    batch_events: Histogram = field(factory=lambda: Histogram(BATCH_EVENTS), init=False)
    lag_seconds: Histogram = field(factory=lambda: Histogram(LAG_SECONDS), init=False)


@frozen
class Vitals:
    """How a server is doing at one moment, and what it has done so far.

    `behind`: the rooms in which somebody has to be read to from the log. `outbox_bytes`: what
    waits for those who don't read fast enough. `tasks`: trio's, its own among them.
    """

    connections: int
    sessions: int
    members: int
    rooms: int
    private_rooms: int
    behind: int
    outbox_bytes: int
    tasks: int
    tally: Tally
