"""The comparison with other servers: how they are spoken to, and what is made of figures."""

import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import trio

from benchmarks import measure, micro
from benchmarks.cases import CASES, COLUMNS, OWN_COLUMNS
from benchmarks.dialects import Irc, Nats, Plain, Redis, WebSocket
from benchmarks.document import BEGIN, END, README, quote, render
from benchmarks.goals import GOALS, WHY, Goal
from benchmarks.measure import Failed
from benchmarks.plot import draw
from benchmarks.results import Results
from benchmarks.rivals import RIVALS, Rival
from trio_chat import byhand
from trio_chat.bench.plan import Plan, text_of
from trio_chat.bench.verify import Acks, Fault, Kind, Numbering, Passage, Reading

SIZE = 32
TEXT = text_of(0, 0, SIZE)

SENT: dict[str, tuple[Plain, bytes]] = {
    "lines": (Plain("", SIZE), b"alice: %b\n"),
    "websocket": (WebSocket("", SIZE), b"\x81\x27alice: %b"),
    "redis": (Redis("", SIZE), b">3\r\n$7\r\nmessage\r\n$3\r\ntea\r\n$32\r\n%b\r\n"),
    "nats": (Nats("", SIZE), b"MSG tea 1 32\r\n%b\r\n"),
    "irc": (Irc("", SIZE), b":alice!~a@host PRIVMSG #tea :%b\r\n"),
}
"""How each server sends a text."""


def reading(dialect: Plain) -> Reading:
    return Reading(dialect, Numbering({0: "alice", 1: "bob"}, SIZE), Acks(dialect, "eve"), {})


@pytest.mark.parametrize(("dialect", "form"), SENT.values(), ids=SENT)
@pytest.mark.parametrize("size", [1, 10, 1000])
def test_each_server_is_understood(dialect: Plain, form: bytes, size: int) -> None:
    data = b"".join(form % text_of(0, number, SIZE) for number in range(5))
    stream = reading(dialect)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert sum(stream.take(memoryview(piece), 0.0) for piece in pieces) == 5


@pytest.mark.parametrize(("dialect", "form"), SENT.values(), ids=SENT)
@pytest.mark.parametrize(
    ("numbers", "kind"), [([0, 2], Kind.LOST), ([0, 1, 1], Kind.DOUBLED)], ids=["lost", "twice"]
)
def test_what_each_server_does_wrong_is_found(
    dialect: Plain, form: bytes, numbers: list[int], kind: Kind
) -> None:
    data = b"".join(form % text_of(0, number, SIZE) for number in numbers)
    with pytest.raises(Fault) as caught:
        reading(dialect).take(memoryview(data), 0.0)
    assert caught.value.kind is kind


@pytest.mark.parametrize(("dialect", "form"), SENT.values(), ids=SENT)
def test_what_is_none_of_it_is_found(dialect: Plain, form: bytes) -> None:
    data = form % TEXT + b"-ERR you are too slow\r\n" + form % TEXT * 5
    with pytest.raises(Fault):
        reading(dialect).take(memoryview(data), 0.0)


def test_a_chunk_that_another_was_sent_counts_only_where_that_one_was() -> None:
    dialect, form = SENT["nats"]
    first, second = (form % text_of(0, number, SIZE) for number in range(2))
    known: dict[bytes, Passage] = {}
    one, other = (
        Reading(dialect, Numbering({0: "alice"}, SIZE), Acks(dialect, "eve"), known)
        for _ in range(2)
    )
    for chunk in (first, second):
        assert one.take(memoryview(chunk), 0.0) == 1
    assert other.take(memoryview(first), 0.0) == 1
    with pytest.raises(Fault):
        other.take(memoryview(first), 0.0)


def test_a_websocket_that_is_announced_in_pieces() -> None:
    dialect = WebSocket("", SIZE)
    head = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    assert dialect.go_on("al", "tea", head + b"\x81\x09al jo") == b""
    assert dialect.go_on("al", "tea", b"ined") is None


def test_irc_joins_once_it_is_registered() -> None:
    dialect = Irc("", SIZE)
    assert dialect.go_on("al", "tea", b":irc 001 al :Welcome\r\n") == b"JOIN #tea\r\n"
    assert dialect.go_on("al", "tea", b":irc 251 al :There are 366 users\r\n") == b""
    assert dialect.go_on("al", "tea", b":irc 366 al #tea :End of /NAMES list.\r\n") is None


# ---------------------------------------------------------------- the page


def some_results() -> Results:
    results = Results()
    results.facts.update(minutes="1", rounds="3", seconds="1")
    for place, rival in enumerate(RIVALS, start=1):
        for column in (*COLUMNS, *OWN_COLUMNS):
            for figure in (place / 10, place / 5, place):
                results.add(rival, column, figure)
    results.note(RIVALS[2], "one: it did not start")
    return results


def test_the_page_has_every_server_and_every_goal() -> None:
    page = render(some_results())
    assert all(f"| {rival.title}" in page for rival in RIVALS)
    assert all(goal.text in page for goal in GOALS)
    assert "- redis pub/sub: one: it did not start." in page
    assert "| 0.10–1.0 |" in page, "how far the rounds were apart"  # noqa: RUF001 # a range
    assert "`--members 1000 --rooms 100 --senders 100 --in-flight 400`" in page
    assert "{" not in page


def test_the_readme_quotes_the_figures_of_the_last_time_only() -> None:
    readme = f"before\n{BEGIN}old\n{END}after\n"
    once = quote(readme, some_results())
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    assert "old" not in once
    assert all(rival.title in once for rival in RIVALS)
    assert quote(once, some_results()) == once
    assert {BEGIN, END} <= set(README.read_text(encoding="utf-8").splitlines(keepends=True))


def test_what_was_not_measured_is_left_out() -> None:
    results = Results()
    results.facts.update(minutes="1", rounds="3", seconds="1")
    results.add(RIVALS[0], COLUMNS[0], 1.0)
    page = render(results)
    assert f"{COLUMNS[0].title}, {COLUMNS[0].unit}" in page
    assert f"{COLUMNS[1].title}, {COLUMNS[1].unit}" not in page
    ET.fromstring(draw(results))  # noqa: S314 # it is ours


def test_the_plot_is_svg_with_a_dot_for_each_figure() -> None:
    plot = draw(some_results())
    ET.fromstring(plot)  # noqa: S314 # it is ours
    assert plot.count("<circle") == len(RIVALS) * len(COLUMNS)


@pytest.mark.parametrize(
    ("goal", "verdict"),
    [
        (Goal("10", "", most=0.3), "met: 0.2, at most 0.3"),
        (Goal("10", "", most=0.1), "missed: 0.2, at most 0.1"),
        (Goal("10", "", least=0.1), "met: 0.2, at least 0.1"),
        (Goal("10", "", least=3000), "missed: 0.2, at least 3,000"),
        (Goal("10", "", rivals=["redis", "nats"]), "met: 0.2, at most 0.6"),
        (Goal("10", "", rivals=["redis"], factor=0.1), "missed: 0.2, at most 0.06"),
        (Goal("none", "", rivals=["redis"], of="10"), ""),
        (Goal("10", "", rivals=["nobody"]), ""),
    ],
)
def test_verdicts(goal: Goal, verdict: str) -> None:
    assert goal.verdict(some_results()) == verdict


def test_goals_are_about_what_is_measured() -> None:
    names = {rival.name for rival in RIVALS}
    for goal in GOALS:
        columns = {column.key for column in (*COLUMNS, *OWN_COLUMNS)}
        assert columns >= {goal.column, goal.of or goal.column}
        assert names >= {goal.ours, *goal.rivals}


def test_whatever_is_missed_is_explained() -> None:
    small = {"crowd", "start-long"}  # nothing but what they are compared with
    assert WHY.keys() == {goal.column for goal in GOALS} - small


def test_results_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    some_results().save(path)
    assert Results.load(path) == some_results()


# ---------------------------------------------------------------- a run, with a process


def rival_called(name: str) -> Rival:
    (rival,) = (rival for rival in RIVALS if rival.name == name)
    return rival


def test_a_run_of_a_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    report = measure.run(rival_called("asyncio"), Plan(members=3, senders=2, duration=0.2))
    assert report.fault is None
    assert report.cost is not None
    assert report.delivered > 0
    assert not list(tmp_path.iterdir())


def test_a_server_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    broken = Rival("broken", "", lambda _port, _folder: ["sh", "-c", "echo oh dear"])
    with pytest.raises(Failed, match="oh dear"):
        measure.run(broken, CASES[0].plan(0.1))


# ---------------------------------------------------------------- single parts


@pytest.fixture
def micros(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], micro.Times]:
    """Measures in a moment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(micro, "SECONDS", 0.02)
    monkeypatch.setattr(micro, "BATCH_SECONDS", 0.001)
    monkeypatch.setattr(micro, "FOLLOWERS", 10)
    return lambda: trio.run(micro.measure)


def test_every_part_is_measured_and_nothing_is_left(
    micros: Callable[[], micro.Times], tmp_path: Path
) -> None:
    times = micros()
    assert len(times) == 13
    assert min(times.values()) > 0
    assert not list(tmp_path.iterdir())


def test_what_has_become_slower_is_found_by_its_cause(
    micros: Callable[[], micro.Times], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = micros()
    lost, clock = [0.0], time.process_time

    def slowly(at: datetime) -> str:
        lost[0] += 0.02  # as if it had taken so long
        return str(at)

    monkeypatch.setattr(time, "process_time", lambda: clock() + lost[0])
    monkeypatch.setattr(byhand, "time_text", slowly)
    after = micros()
    slower = {part for part in before if after[part] > before[part] + 10_000}
    assert slower == {
        "an event is encoded",
        *(part for part in before if part.startswith("a say is ordered")),
    }
