"""What an attack came to: figures, each beside the one to reach. Pure."""

from collections.abc import Callable, Sequence

from attrs import field, frozen

Show = Callable[[float], str]
"""Writes a figure with its unit."""


def ms(seconds: float) -> str:
    """Seconds, in milliseconds."""
    return f"{seconds * 1000:,.3g} ms" if seconds < 0.1 else f"{seconds * 1000:,.0f} ms"


def s(seconds: float) -> str:
    """Seconds."""
    return f"{seconds:.1f} s"


def mib(size: float) -> str:
    """Bytes, in MiB."""
    return f"{size / 2**20:.1f} MiB"


def kib(size: float) -> str:
    """Bytes, in KiB."""
    return f"{size / 2**10:,.0f} KiB"


def count(number: float) -> str:
    """How many."""
    return f"{number:,.0f}"


def percent(part: float) -> str:
    """A part of a whole."""
    return f"{part:.0%}"


def per_second(rate: float) -> str:
    """How often a second."""
    return f"{rate:,.0f}/s"


MOVING = (ms, s, percent, per_second, mib)
"""The units of what depends on what else the machine does, and on how long it goes on: the
first use of anything takes memory that is not given back."""


@frozen
class Figure:
    """`what` was measured, the `goal`, and what it was; in words. `moves`: does it depend on
    what else the machine does, and on how long it goes on?"""

    what: str
    goal: str
    measured: str
    is_met: bool
    moves: bool = False


def at_most(what: str, measured: float, goal: float, show: Show) -> Figure:
    """A figure that is good if it is small."""
    met = measured <= goal
    return Figure(what, f"at most {show(goal)}", show(measured), met, show in MOVING)


def at_least(what: str, measured: float, goal: float, show: Show) -> Figure:
    """A figure that is good if it is large."""
    met = measured >= goal
    return Figure(what, f"at least {show(goal)}", show(measured), met, show in MOVING)


def exactly(what: str, measured: object, goal: object) -> Figure:
    """A figure that can be only right or wrong."""
    return Figure(what, _words(goal), _words(measured), measured == goal)


def _words(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


@frozen
class Row:
    """What one attack came to. `done`: what was done, in numbers. `broken`: why there is
    no more to say."""

    attack: str
    done: str = ""
    figures: tuple[Figure, ...] = ()
    seconds: float = 0.0
    broken: str | None = None

    @property
    def missed(self) -> Sequence[Figure]:
        """The figures that were not reached."""
        return [figure for figure in self.figures if not figure.is_met]


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which that part of all lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


@frozen
class Times:
    """What something took, again and again; in seconds."""

    what: str
    seconds: list[float] = field(factory=list)

    def slowest(self, goal: float) -> Figure:
        """None may take longer."""
        return at_most(f"{self._all}, slowest", max(self.seconds), goal, ms)

    def p99(self, goal: float) -> Figure:
        """Of a hundred, one may take longer."""
        return at_most(f"{self._all}, p99", quantile(self.seconds, 0.99), goal, ms)

    @property
    def _all(self) -> str:
        return f"{len(self.seconds):,} {self.what}"
