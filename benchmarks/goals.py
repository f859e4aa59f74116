"""What trio_chat wants to reach, and whether it has."""

from collections.abc import Sequence

from attrs import frozen

from benchmarks.results import Results
from benchmarks.rivals import OURS

MEMORY = f"{OURS}-memory"
BATCHED, SINGLE = "limit-batched", "limit"


@frozen
class Goal:
    """A column's figure of `ours` is to be below `most`, or beyond `least`, or below `factor`
    times that of every one of `rivals`, in the same column or in that which is named by `of`.
    `is_aim`: it would be nice."""

    column: str
    text: str
    most: float | None = None
    least: float | None = None
    rivals: Sequence[str] = ()
    factor: float = 1.0
    of: str | None = None
    ours: str = OURS
    is_aim: bool = False

    def verdict(self, results: Results) -> str:
        """`met` or `missed`, with the two figures; nothing if one of them is not known."""
        ours = results.median(self.ours, self.column)
        bound = self._bound(results)
        if ours is None or bound is None:
            return ""
        is_met = ours <= bound if self.least is None else ours >= bound
        word = "met" if is_met else "missed"
        limit = "at most" if self.least is None else "at least"
        return f"{word}: {_number(ours)}, {limit} {_number(bound)}"

    def _bound(self, results: Results) -> float | None:
        if self.most is not None or self.least is not None:
            return self.most if self.least is None else self.least
        theirs = [results.median(rival, self.of or self.column) for rival in self.rivals]
        known = [figure for figure in theirs if figure is not None]
        return self.factor * min(known) if known else None


def _number(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


WHY = {
    "10": "what a say costs before anybody hears it is shared by ten only",
    "100": "what a say costs before anybody hears it is shared by a hundred",
    "1000": "the lines are longer than the limit's, and the members' sockets fill up",
    "1000x8": "lines have a number, a time, a name and an id; rounds move by half",
    "one": "each message wakes the reader, the sequencer and, to be stored, a thread",
    "rooms": "what a say costs is shared by ten, and each speaker wakes a task",
    "p50": "the limit's part, the program's, and a thread and a commit: a third each",
    "p99": "the limit has half of it; then two changes of threads, and the disk",
    "idle": "a task, a nursery, its scopes, and who it is",
    "elsewhere": "rounds move by half; nothing that is done for a say looks elsewhere",
    "receive": "see what a say costs, below",
    "joins": "for each a nursery, two tasks, a channel, a token to store and a page to read",
    "start": "imports: trio, attrs, cyclopts and structlog above all",
}
"""What a figure is made of, for where a goal is missed; the parts are measured, too."""

IRC = ("inspircd", "ngircd")

GOALS = [
    Goal("1000", "below redis, nats and every IRC server", rivals=("redis", "nats", *IRC)),
    Goal("1000", "at most 4 times the batched limit", rivals=(BATCHED,), factor=4),
    Goal("1000x8", "below redis, nats and every IRC server", rivals=("redis", "nats", *IRC)),
    Goal("1000x8", "at most 4 times the batched limit", rivals=(BATCHED,), factor=4),
    Goal("100", "below nats and ngIRCd", rivals=("nats", "ngircd")),
    Goal("100", "below redis", rivals=("redis",), is_aim=True),
    Goal("10", "at most 1.2 µs", most=1.2),
    Goal("10", "below nats", rivals=("nats",), is_aim=True),
    Goal(
        "one",
        "at most 1.6 times the limit with `--no-history`",
        rivals=(SINGLE,),
        factor=1.6,
        ours=MEMORY,
    ),
    Goal(
        "one",
        "at most 2.6 times the limit, each message on the disk",
        rivals=(SINGLE,),
        factor=2.6,
    ),
    Goal("rooms", "at most 4.5 µs", most=4.5),
    Goal("rooms", "below ngIRCd", rivals=("ngircd",)),
    Goal("rooms", "below nats", rivals=("nats",), is_aim=True),
    Goal("p50", "below 2 ms", most=2.0),
    Goal("p99", "below 10 ms", most=10.0),
    Goal("idle", "at most 12 KiB", most=12.0),
    Goal(
        "elsewhere", "at most 1.2 times as without them", rivals=(OURS,), factor=1.2, of="100"
    ),
    Goal("receive", "30,000 says a second, stored", least=30_000),
    Goal("joins", "2,000 a second, and that with the leave", least=2_000),
    Goal("crowd", "within 2 s", most=2.0),
    Goal("start", "0.5 s", most=0.5),
    Goal("start-long", "at most 1.2 times that", rivals=(OURS,), factor=1.2, of="start"),
]
