"""What came of a run, for people and for programs."""

from collections.abc import Iterator
from typing import Any

from attrs import frozen

from trio_chat.bench.plan import Plan
from trio_chat.bench.verify import Fault

BUSY = 0.9
"""The part of a core from which on the load tester may be what limits the figures."""

BEHIND = 0.95
"""The part of the rate that was asked for, below which it was not reached."""


@frozen
class Cost:
    """What the server cost, if it runs on this machine. `cpu`: seconds while it was measured;
    `memory`: resident bytes at the end; `memory_each`: what each connection added."""

    cpu: float
    memory: int
    memory_each: float | None


@frozen
class Report:
    """The figures of a run; times in seconds.

    `latency`: the parts of the deliveries, such as 0.99, and what they took at most.
    `joins`: members a second who came in. `own_cpu`: seconds of the load tester. `pace`: says
    a second, if that is what the server slows each connection down to. `fault`: what the
    server did wrong. `is_cut`: it was ended before its time.
    """

    plan: Plan
    server: str
    seconds: float
    said: int
    delivered: int
    latency: dict[float, float]
    joins: float
    own_cpu: float
    cost: Cost | None
    pace: float = 0
    fault: Fault | None = None
    is_cut: bool = False

    @property
    def is_limit(self) -> bool:
        """Is it the load tester that could not do more, and not the server?"""
        busy = BUSY * self.seconds
        return self.own_cpu > busy and (self.cost is None or self.cost.cpu < busy)

    def as_json(self) -> dict[str, Any]:
        """The figures as they are, in seconds, bytes, and per second."""
        cost = self.cost
        return {
            "server": self.server,
            "members": self.plan.members,
            "senders": self.plan.senders,
            "rooms": self.plan.rooms,
            "size": self.plan.size,
            "in_flight": self.plan.in_flight,
            "rate": self.plan.rate or None,
            "seconds": self.seconds,
            "said": self.said,
            "delivered": self.delivered,
            "says_per_second": _per(self.said, self.seconds),
            "deliveries_per_second": _per(self.delivered, self.seconds),
            "joins_per_second": self.joins,
            "latency": {_name(part): value for part, value in self.latency.items()},
            "server_cpu_per_delivery": cost and _per(cost.cpu, self.delivered),
            "server_cpu_share": cost and _per(cost.cpu, self.seconds),
            "server_memory": cost and cost.memory,
            "server_memory_per_connection": cost and cost.memory_each,
            "own_cpu_share": _per(self.own_cpu, self.seconds),
            "is_limit": self.is_limit,
            "slowed_down_to": self.pace or None,
            "interrupted": self.is_cut,
            "fault": self.fault and str(self.fault),
        }

    def as_lines(self) -> Iterator[str]:
        """The figures for a person."""
        plan, seconds = self.plan, self.seconds
        says = "each acked, " if self.fault is None else ""
        yield f"server      {self.server}"
        total = f"{self.delivered:,} in {seconds:.1f} s"
        yield f"deliveries  {_rate(self.delivered, seconds)}/s  ({total})"
        yield f"says        {_rate(self.said, seconds)}/s  ({says}{plan.size} bytes)"
        times = (f"{_name(part)} {_time(value)}" for part, value in self.latency.items())
        yield f"latency     {', '.join(times) or 'unknown'}"
        yield f"joins       {self.joins:,.0f}/s"
        if self.cost is not None:
            yield from self._cost_lines(self.cost)
        yield f"this tester {self.own_cpu / seconds:.0%} of a core"
        yield ""
        yield from self._remarks()

    def _cost_lines(self, cost: Cost) -> Iterator[str]:
        each = "unknown" if not self.delivered else f"{cost.cpu / self.delivered * 1e6:.2f} µs"
        yield f"CPU         {each} for a delivery, {cost.cpu / self.seconds:.0%} of a core"
        connection = (
            f", grown by {cost.memory_each / 1024:.1f} KiB for a connection"
            if cost.memory_each is not None
            else ""
        )
        yield f"memory      {cost.memory / 2**20:.0f} MiB{connection}"

    def _remarks(self) -> Iterator[str]:
        if self.pace:
            yield (
                f"the server slows each connection down to {self.pace:g} messages/s;"
                " serve with --rate 0 to see how fast it is"
            )
        rate = self.plan.rate
        if self.said < BEHIND * rate * self.seconds:
            yield f"{rate:g} messages/s were asked for and not reached"
        if self.is_limit:
            yield (
                "the load tester itself is the limit here: the server may be able to do more"
            )
        yield (
            "everything arrived exactly once, in order"
            if self.fault is None
            else f"WRONG: {self.fault}"
        )


def _per(amount: float, of: float) -> float | None:
    return amount / of if of else None


def _rate(amount: int, seconds: float) -> str:
    return f"{amount / seconds:12,.0f}" if seconds else f"{'-':>12}"


def _name(part: float) -> str:
    return "max" if part == 1 else f"p{part * 100:g}"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
