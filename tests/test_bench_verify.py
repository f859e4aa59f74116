"""The load tester's verdict: each way in which a stream can be wrong is found."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from trio_chat.bench.dialect import Dialect
from trio_chat.bench.json_lines import JsonLines
from trio_chat.bench.plan import text_of
from trio_chat.bench.verify import (
    FORGET_BYTES,
    Acks,
    Comparing,
    Fault,
    Kind,
    Latencies,
    Numbering,
    Reading,
    Tape,
    sift,
)
from trio_chat.errors import BadName, LinkLost
from trio_chat.messages import Ack, Error, Event, Gap, Goodbye, Leave, Reply, Say
from trio_chat.wire import SERVER

SIZE = 32
NAMES = {0: "alice", 3: "bob"}
AT = datetime(2026, 11, 24, tzinfo=UTC)


def event(seq: int, sender: int, number: int, text: bytes | None = None) -> bytes:
    said = text_of(sender, number, SIZE) if text is None else text
    return SERVER.encode(Event(seq, AT, NAMES[sender], Say("tea", said.decode(), f"{number}")))


def ack(number: int, *, again: bool = False) -> bytes:
    return SERVER.encode(Ack(f"{number}", "tea", number + 2, again))


LINES = [event(2, 0, 0), event(3, 3, 0), event(4, 0, 1), event(5, 0, 2), event(6, 3, 1)]
"""What a room with two speakers is sent."""


def make_tape(*, said: int = 1000) -> Tape:
    tape = Tape(JsonLines(SIZE), Numbering(NAMES, SIZE), Latencies())
    for sender in NAMES:
        tape.expect(sender, said, 0.0)
    return tape


def make_acks(said: int = 0) -> Acks:
    acks = Acks(JsonLines(SIZE), "alice")
    acks.said = said
    return acks


def reader_of(tape: Tape, name: str = "carol") -> Comparing:
    return Comparing(tape, name, make_acks())


def take(stream: Comparing | Reading, data: bytes, now: float = 1.0) -> int:
    return stream.take(memoryview(data), now)


def take_pieces(stream: Comparing | Reading, data: bytes, size: int) -> int:
    return sum(take(stream, data[at : at + size]) for at in range(0, len(data), size))


# ---------------------------------------------------------------- what is right


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_a_stream_is_right_however_it_is_cut(size: int) -> None:
    tape = make_tape()
    streams = [reader_of(tape) for _ in range(3)]
    data = b"".join(LINES)
    counts = [0, 0, 0]
    for start in range(0, len(data), size):
        for place, stream in enumerate(streams):  # each is first at some time
            counts[place] += take(stream, data[start : start + size])
        streams = [*streams[1:], streams[0]]
        counts = [*counts[1:], counts[0]]
    assert counts == [len(LINES)] * 3


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
def test_acks_may_stand_between_any_two_events(size: int) -> None:
    tape = make_tape()
    speaker = Comparing(tape, "alice", make_acks(said=3))
    data = LINES[0] + ack(0) + ack(1) + LINES[1] + ack(2) + b"".join(LINES[2:])
    count = take_pieces(speaker, data, size)
    assert count == take(reader_of(tape), b"".join(LINES)) == len(LINES)
    assert speaker.acks.is_complete


def test_a_stream_that_is_read_by_itself_is_right_in_any_order_of_its_speakers() -> None:
    dialect: Dialect = JsonLines(SIZE)
    lines = [event(2, 3, 0), event(3, 3, 1), event(4, 0, 0)]
    for size in (1, 7, 1000):
        stream = Reading(dialect, Numbering(NAMES, SIZE), make_acks(), {})
        assert take_pieces(stream, b"".join(lines), size) == 3


def test_fields_in_another_order_are_read_too() -> None:
    line = (
        b'{"by":"alice","type":"event","at":"2026-11-24T00:00:00.000Z","seq":2,"new":1,'
        b'"message":{"text":"%b","type":"say","room":"tea"}}\n' % text_of(0, 0, SIZE)
    )
    assert take(reader_of(make_tape()), line) == 1


def test_what_everybody_has_passed_is_forgotten() -> None:
    tape = make_tape(said=20_000)
    fast, slow = reader_of(tape), reader_of(tape)
    for number in range(20_000):
        line = event(number + 2, 0, number)
        assert take(fast, line) == 1
        assert take(slow, line) == 1
    assert tape.start > FORGET_BYTES
    assert len(tape.window) < 2 * FORGET_BYTES


def test_latency_is_that_of_the_oldest_message_of_a_chunk() -> None:
    tape = Tape(JsonLines(SIZE), Numbering(NAMES, SIZE), Latencies())
    tape.expect(0, 1, 1.0)
    tape.expect(3, 1, 3.0)
    take(reader_of(tape), LINES[0] + LINES[1], now=5.0)
    assert (
        tape.latencies.quantile(0) == tape.latencies.quantile(1) == pytest.approx(4, rel=0.01)
    )


def test_quantiles() -> None:
    latencies = Latencies()
    assert latencies.quantile(0.5) is None
    for millis in range(1, 101):
        latencies.add(millis / 1000)
    found = [latencies.quantile(part) for part in (0.5, 0.9, 0.99, 1)]
    assert found == pytest.approx([0.05, 0.09, 0.099, 0.1], rel=0.016)


def test_own_lines_are_cut_out() -> None:
    dialect = JsonLines(SIZE)
    data = ack(0) + LINES[0] + ack(1) + ack(2) + LINES[1] + b'{"type":"a'
    assert sift(dialect, data) == (
        LINES[0] + LINES[1],
        [ack(0), ack(1), ack(2)],
        b'{"type":"a',
    )


# ---------------------------------------------------------------- what is wrong

Break = Callable[[Sequence[bytes]], list[bytes]]

BROKEN: dict[str, tuple[Break, set[Kind]]] = {
    "lost": (lambda lines: [*lines[:2], *lines[3:]], {Kind.LOST}),
    "doubled": (lambda lines: [*lines[:3], lines[2], *lines[3:]], {Kind.DOUBLED}),
    "reordered": (
        # The first to be read lacks 3 at once; that it comes later it can't know.
        lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]],
        {Kind.REORDERED, Kind.LOST},
    ),
    "altered": (lambda lines: [*lines[:2], lines[2].replace(b"..", b".,")], {Kind.ALTERED}),
    "signed by another": (
        lambda lines: [*lines[:2], lines[2].replace(b"alice", b"bob")],
        {Kind.ALTERED},
    ),
    "made up": (lambda lines: [*lines, event(7, 0, 9, b"9 0 hello")], {Kind.FOREIGN}),
    "of somebody else": (lambda lines: [*lines, event(7, 0, 9, b"hello")], {Kind.FOREIGN}),
    "another event": (
        lambda lines: [*lines, SERVER.encode(Event(7, AT, "bob", Leave("tea", lost=True)))],
        {Kind.FOREIGN},
    ),
    "a gap": (
        lambda lines: [*lines[:2], SERVER.encode(Gap("tea", 4, 4)), *lines[3:]],
        {Kind.FOREIGN},
    ),
}


@pytest.mark.parametrize(("broken", "kinds"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("size", [40, 10_000])
def test_a_fault_is_found_in_what_comes_first(
    broken: Break, kinds: set[Kind], size: int
) -> None:
    stream, data = reader_of(make_tape()), b"".join(broken(LINES))
    with pytest.raises(Fault) as caught:
        take_pieces(stream, data, size)
    assert caught.value.kind in kinds


@pytest.mark.parametrize(("broken", "kinds"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("size", [40, 10_000])
def test_a_fault_is_found_in_what_others_had_without(
    broken: Break, kinds: set[Kind], size: int
) -> None:
    tape = make_tape()
    take(reader_of(tape), b"".join([*LINES, event(7, 3, 2), event(8, 3, 3)]))
    stream, data = reader_of(tape), b"".join(broken(LINES))
    with pytest.raises(Fault) as caught:
        take_pieces(stream, data, size)
    assert caught.value.kind in kinds


@pytest.mark.parametrize(("broken", "kinds"), BROKEN.values(), ids=BROKEN)
def test_a_fault_is_found_in_a_stream_that_is_read_by_itself(
    broken: Break, kinds: set[Kind]
) -> None:
    stream = Reading(JsonLines(SIZE), Numbering(NAMES, SIZE), make_acks(), {})
    with pytest.raises(Fault) as caught:
        take(stream, b"".join(broken(LINES)))
    assert caught.value.kind in kinds


def test_what_was_not_said_yet_can_not_arrive() -> None:
    with pytest.raises(Fault, match="not been said"):
        take(reader_of(make_tape(said=1)), event(2, 0, 0) + event(3, 0, 1))


def test_a_hole_in_the_numbers_of_the_room_is_found() -> None:
    with pytest.raises(Fault, match="event 4 came after event 2"):
        take(reader_of(make_tape()), event(2, 0, 0) + event(4, 0, 1))


WRONG_ACKS = {
    "missing": ack(0) + ack(2),
    "twice": ack(0) + ack(0),
    "again": ack(0) + ack(1, again=True),
    "of nothing": ack(0) + ack(1) + ack(2) + ack(3),
}


@pytest.mark.parametrize("data", WRONG_ACKS.values(), ids=WRONG_ACKS)
def test_a_wrong_ack_is_found(data: bytes) -> None:
    speaker = Comparing(make_tape(), "alice", make_acks(said=3))
    with pytest.raises(Fault) as caught:
        take(speaker, data)
    assert caught.value.kind is Kind.UNACKED


def test_an_ack_that_is_due_still_is_known() -> None:
    speaker = Comparing(make_tape(), "alice", make_acks(said=3))
    take(speaker, ack(0) + ack(1))
    assert not speaker.acks.is_complete


@pytest.mark.parametrize(
    ("reply", "raised"),
    [
        (Goodbye("the server is closing"), LinkLost),
        (Error("bad_name", "no"), BadName),
    ],
)
def test_the_end_is_not_a_fault(reply: Reply, raised: type[Exception]) -> None:
    for before in ([], LINES):
        tape = make_tape()
        take(reader_of(tape), b"".join(LINES))
        with pytest.raises(raised):
            take(reader_of(tape), b"".join(before) + SERVER.encode(reply))


def test_the_texts_differ() -> None:
    texts = [text_of(sender, number, 16) for sender in range(12) for number in range(120)]
    assert all(one != other for one, other in pairwise(sorted(texts)))
    assert {len(text) for text in texts} == {16}
