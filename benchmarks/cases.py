"""What is measured: the cases, and which figures of their reports count."""

from collections.abc import Callable, Sequence

from attrs import frozen

from trio_chat.bench.plan import Plan
from trio_chat.bench.report import Report

IDLE_SECONDS = 0.5
"""How long those are looked at who say next to nothing: their memory is known by then."""


LATENCY_SECONDS = 6.0
"""How long it is measured how long a message takes, at least: of 300 messages three are
slower than the 99th of a hundred, and none of them says much."""

CROWD_SECONDS = 5.0
"""How long ten thousand are told something each second."""


@frozen
class Column:
    """A figure: `key` among the results, `title` in the table; None if it is not known."""

    key: str
    title: str
    unit: str
    figure: Callable[[Report], float | None]


@frozen
class Case:
    """A load, called `name` on the command line; `plan` makes it for so many seconds. `once`:
    its figures hardly move from one round to the next."""

    name: str
    plan: Callable[[float], Plan]
    columns: Sequence[Column]
    once: bool = False


def _cpu(report: Report) -> float | None:
    if report.cost is None or not report.delivered:
        return None
    return report.cost.cpu / report.delivered * 1e6


def _memory(report: Report) -> float | None:
    if report.cost is None or report.cost.memory_each is None:
        return None
    return report.cost.memory_each / 1024


def _says(report: Report) -> float | None:
    return report.said / report.seconds


def _latency(part: float) -> Callable[[Report], float | None]:
    def figure(report: Report) -> float | None:
        seconds = report.latency.get(part)
        return None if seconds is None else seconds * 1e3

    return figure


def _load(
    name: str,
    title: str,
    members: int,
    *,
    senders: int = 1,
    rooms: int = 1,
    in_flight: int = 64,
) -> Case:
    def plan(seconds: float) -> Plan:
        return Plan(members, senders, rooms, in_flight=in_flight, duration=seconds)

    return Case(name, plan, [Column(name, title, "µs", _cpu)])


CASES = [
    _load("10", "10 members, 64 in flight", 10),
    _load("100", "100, 64 in flight", 100),
    _load("1000", "1000, 64 in flight", 1000),
    _load("1000x8", "1000, 8 senders", 1000, senders=8),
    _load("one", "100, one in flight", 100, in_flight=1),
    _load("rooms", "100 rooms of 10, 4 each", 1000, senders=100, rooms=100, in_flight=4 * 100),
    Case(
        "latency",
        lambda seconds: Plan(100, 1, rate=50, duration=max(seconds, LATENCY_SECONDS)),
        [
            Column("p50", "p50 at 50/s", "ms", _latency(0.5)),
            Column("p99", "p99 at 50/s", "ms", _latency(0.99)),
        ],
    ),
    Case(
        "idle",
        lambda _seconds: Plan(5000, 1, 500, rate=10, duration=IDLE_SECONDS),
        [Column("idle", "a connection, of 5,000", "KiB", _memory)],
        once=True,
    ),
]

COLUMNS = [column for case in CASES for column in case.columns]

OURS_ONLY = [
    Case(
        "elsewhere",
        lambda seconds: Plan(5000, 1, 50, duration=seconds),
        [Column("elsewhere", "100, 64 in flight, and 4,900 in other rooms", "µs", _cpu)],
    ),
    Case(
        "receive",
        lambda seconds: Plan(8, 8, 8, in_flight=512, duration=seconds),
        [Column("receive", "8 senders, rooms of one", "says/s", _says)],
    ),
    Case(
        "joins",
        lambda _seconds: Plan(2000, 1, 200, rate=10, duration=IDLE_SECONDS),
        [
            Column(
                "joins", "connect and join, rooms of 10", "joins/s", lambda report: report.joins
            )
        ],
    ),
    Case(
        "crowd",
        lambda _seconds: Plan(10_000, 1, rate=1, duration=CROWD_SECONDS, quiet=True),
        [Column("crowd", "a message to all of 10,000", "s", lambda r: r.latency.get(1.0))],
        once=True,
    ),
]
"""What others were not asked to reach."""

START = Column("start", "start", "s CPU", lambda _report: None)

START_LONG = Column("start-long", "start, 1,000,000 events stored", "s CPU", lambda _: None)

OWN_COLUMNS = [*(column for case in OURS_ONLY for column in case.columns), START, START_LONG]
