"""The proof's checker finds each kind of error, and nothing in a log that is right."""

from collections.abc import Sequence

import pytest

from tests.proof.checker import KINDS, Verdict, check
from tests.proof.log import (
    Acked,
    Began,
    Changed,
    Ended,
    Evidence,
    Granted,
    Hole,
    Invoked,
    Operation,
    Outcome,
    Record,
    Refused,
    Saw,
    SawGap,
    Seen,
    Span,
    View,
    decode,
    encode,
    gather,
    interruptions,
    quantile,
)
from tests.proof.traces import check_order, count_injected

Items = Sequence[Seen | Hole]


def said(number: int, outcome: Outcome = Outcome.ACKED, seq: int | None = None) -> Operation:
    """What alice said as number `number`; it stands one after her join."""
    seq = number + 1 if seq is None else seq
    return Operation("alice", f"a{number}", "tea", f"t{number}", outcome=outcome, seq=seq)


def event(seq: int, number: int | None = None, by: str = "alice", stamp: float = 0.0) -> Seen:
    """Event `seq`, which has what alice said as the one before it unless told otherwise."""
    number = seq - 1 if number is None else number
    return Seen(seq, by, f"a{number}", f"t{number}", stamp)


JOIN = Seen(1, "alice", None, "Join")

RIGHT: list[Seen | Hole] = [JOIN, event(2), event(3), event(4)]

SAID = [said(1), said(2), said(3)]


def judge(
    history: Items = RIGHT,
    view: Items = RIGHT,
    said: Sequence[Operation] = SAID,
    *,
    stayed: bool = True,
) -> Verdict:
    return check(said, {"tea": history}, [View("bob", "tea", list(view), stayed)])


def kinds_of(verdict: Verdict) -> set[str]:
    return {kind for kind, count in zip(KINDS, verdict.counts, strict=True) if count}


def test_nothing_is_wrong_with_what_is_right() -> None:
    verdict = judge()
    assert verdict.is_clean
    assert verdict.counts == (0, 0, 0, 0, 0)
    assert list(verdict.examples()) == []


def test_what_nobody_was_told_of_may_be_there_or_not() -> None:
    unknown = said(3, Outcome.UNKNOWN)
    assert judge(said=[said(1), said(2), unknown]).is_clean
    assert judge(RIGHT[:3], RIGHT[:3], [said(1), said(2), unknown]).is_clean


def test_what_was_refused_is_not_there() -> None:
    assert judge(RIGHT[:3], RIGHT[:3], [said(1), said(2), said(3, Outcome.REFUSED)]).is_clean


def test_a_reader_who_left_has_not_seen_the_end() -> None:
    assert judge(view=RIGHT[:2], stayed=False).is_clean


def test_what_is_not_kept_any_more_may_be_missing_if_that_is_said() -> None:
    pruned: list[Seen | Hole] = [Hole(1, 2), event(3), event(4)]
    assert judge(pruned, pruned, [said(2), said(3)]).is_clean


WRONG = [
    ("acked, not in the history", {"lost"}, RIGHT[:3], RIGHT[:3]),
    ("not shown to a reader who stayed", {"lost"}, RIGHT, RIGHT[:3]),
    ("twice in the history", {"duplicate"}, [*RIGHT, event(5, 3)], [*RIGHT, event(5, 3)]),
    ("twice in a view", {"duplicate"}, RIGHT, [*RIGHT, event(4)]),
    ("shown backwards", {"reordered", "gap"}, RIGHT, [JOIN, event(3), event(2), event(4)]),
    (
        "other events under the same numbers",
        {"reordered"},
        RIGHT,
        [JOIN, event(2, 2), event(3, 1), event(4)],
    ),
    (
        "shown as somebody else's",
        {"reordered", "lost"},
        RIGHT,
        [*RIGHT[:3], event(4, by="eve")],
    ),
    (
        "stored in another order than said",
        {"reordered"},
        [JOIN, event(2, 2), event(3, 1), event(4)],
        [JOIN, event(2, 2), event(3, 1), event(4)],
    ),
    ("never sent", {"phantom"}, [*RIGHT, event(5, 9)], [*RIGHT, event(5, 9)]),
    ("shown, not in the history", {"phantom"}, RIGHT, [*RIGHT, event(5, 9)]),
    ("jumped in silence", {"gap", "lost"}, RIGHT, [JOIN, event(3), event(4)]),
    ("said to be gone, and kept", {"gap", "lost"}, RIGHT, [JOIN, Hole(2, 3), event(4)]),
    ("a hole in the history", {"gap", "lost"}, [*RIGHT[:2], event(4)], [*RIGHT[:2], event(4)]),
]


@pytest.mark.parametrize(
    ("kinds", "history", "view"),
    [pytest.param(*case, id=name) for name, *case in WRONG],
)
def test_what_is_wrong_is_found(kinds: set[str], history: Items, view: Items) -> None:
    verdict = judge(history, view)
    assert kinds_of(verdict) == kinds
    assert list(verdict.examples())


def test_a_time_that_goes_back_is_found() -> None:
    backwards = [JOIN, event(2, stamp=9.0), event(3, stamp=8.0), event(4, stamp=9.0)]
    assert kinds_of(judge(backwards, backwards)) == {"reordered"}


def test_an_ack_with_another_number_is_found() -> None:
    assert kinds_of(judge(said=[said(1, seq=3), *SAID[1:]])) == {"reordered"}


def test_another_text_is_found() -> None:
    other = Operation("alice", "a3", "tea", "other", outcome=Outcome.UNKNOWN)
    assert kinds_of(judge(said=[*SAID[:2], other])) == {"phantom"}


def test_a_refusal_that_was_none_is_found() -> None:
    assert kinds_of(judge(said=[*SAID[:2], said(3, Outcome.REFUSED)])) == {"phantom"}


def test_a_reader_who_was_shown_nothing_is_found() -> None:
    assert judge(view=[]).counts == (3, 0, 0, 0, 0)


def test_one_id_in_two_rooms_is_found() -> None:
    verdict = check(SAID, {"tea": RIGHT, "pub": [event(1, 1)]}, [])
    assert "duplicate" in kinds_of(verdict)


# ---------------------------------------------------------------- the log

RECORDS: list[Record] = [
    Invoked(1.0, "alice", "a1", "tea", "t1"),
    Invoked(2.0, "alice", "a2", "tea", "t2"),
    Invoked(3.0, "alice", "a3", "tea", "t3"),
    Acked(4.0, "alice", "a1", 2, again=True),
    Refused(5.0, "alice", "a2", "busy"),
    Began("bob", "tea"),
    Saw("bob", "tea", 2, "alice", "a1", "t1", 7.5),
    SawGap("bob", "tea", 3, 4),
    Began("eve", "tea"),
    Changed(6.0, "alice", "resumed"),
    Granted("alice", "secret"),
    Ended("bob"),
]


def test_a_journal_is_read_as_it_was_written() -> None:
    assert list(decode(b"".join(map(encode, RECORDS)))) == RECORDS


def test_a_line_that_a_killed_process_did_not_finish_is_none() -> None:
    whole, cut = encode(RECORDS[0]), encode(RECORDS[1])[:-3]
    assert list(decode(whole + cut)) == RECORDS[:1]


def test_journals_come_to_operations_and_views() -> None:
    evidence = gather([b"".join(map(encode, RECORDS))])
    assert [op.outcome for op in evidence.operations.values()] == [
        Outcome.ACKED,
        Outcome.REFUSED,
        Outcome.UNKNOWN,
    ]
    assert evidence.count(Outcome.ACKED) == 1
    assert evidence.tokens == {"alice": "secret"}
    _check_views(evidence)


def _check_views(evidence: Evidence) -> None:
    bob, eve = evidence.views["bob", "tea"], evidence.views["eve", "tea"]
    assert bob.items == [Seen(2, "alice", "a1", "t1", 7.5), Hole(3, 4)]
    assert (bob.stayed, bob.last) == (True, 4)
    assert (eve.stayed, eve.last, eve.items) == (False, 0, [])


def test_what_was_not_answered_is_said_again_in_order() -> None:
    evidence = gather([b"".join(map(encode, RECORDS[:5]))])
    assert [op.id for op in evidence.unanswered("alice")] == ["a3"]
    assert evidence.unanswered("bob") == []


def test_recovery_is_counted_from_the_beginning_of_a_fault() -> None:
    faults = [Span(1.0, 2.0), Span(5.0, 6.0), Span(20.0, 21.0)]
    assert interruptions(faults, [1.5, 3.0, 7.0, 8.0]) == [2.0, 2.0]


def test_quantiles() -> None:
    assert quantile([], 0.5) == 0
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2
    assert quantile([3.0, 1.0, 2.0], 0.99) == 3


# ---------------------------------------------------------------- traces

WAL, WIRE = "11</d/chat.db-wal>", "14<TCP:[127.0.0.1:1->127.0.0.1:2]>"

WRITTEN = f'7  pwrite64({WAL}, "..x.000001..", 12, 32) = 12'
SYNCED = f"7  fdatasync({WAL}) = 0"
SENT = f'5  write({WIRE}, "{{\\"type\\":\\"ack\\",\\"id\\":\\"x.000001\\"}}\\n", 9) = 9'
BEGUN = f"7  fdatasync({WAL} <unfinished ...>"
DONE = "7  <... fdatasync resumed>) = 0"
FAILED = "7  <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED)"

ORDERS = [
    ("written, synced, sent", [WRITTEN, SYNCED, SENT], 0),
    ("written, synced in two lines, sent", [WRITTEN, BEGUN, DONE, SENT], 0),
    ("sent at once", [SENT, WRITTEN, SYNCED], 1),
    ("sent before it was synced", [WRITTEN, SENT, SYNCED], 1),
    ("sent while it was synced", [WRITTEN, BEGUN, SENT, DONE], 1),
    ("written while something else was synced", [BEGUN, WRITTEN, DONE, SENT], 1),
    ("sync failed", [WRITTEN, BEGUN, FAILED, SENT], 1),
    ("another file was synced", [WRITTEN, SYNCED.replace("-wal", ""), SENT], 1),
]


@pytest.mark.parametrize(
    ("lines", "early"), [pytest.param(*case, id=name) for name, *case in ORDERS]
)
def test_what_leaves_too_early_is_found_in_a_trace(lines: list[str], early: int) -> None:
    order = check_order(lines, r"x\.\d{6}")
    assert (order.sent, len(order.early)) == (1, early)


def test_failures_that_were_made_are_counted() -> None:
    assert count_injected(f"{WRITTEN}\n{FAILED}\n{FAILED}\n".encode()) == 2
