"""Tests of the framing: lines do not depend on how the network cut them."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_chat.errors import LineTooLong
from trio_chat.framing import LINE_BYTES, LineBuffer

LIMIT = 8
"""A short limit, so that generated lines are often just below, at and beyond it."""

STREAMS = st.lists(st.sampled_from([b"\n", b"a", b"{}", b"\r", b"123456"])).map(b"".join)


def heard(chunks: Iterable[bytes], limit: int = LIMIT) -> tuple[list[bytes], bool]:
    """The lines in `chunks`, and whether one was too long."""
    buffer = LineBuffer(limit)
    lines: list[bytes] = []
    try:
        for chunk in chunks:
            for line in buffer.feed(chunk):
                lines.append(line)  # noqa: PERF402 # what came before the error counts
    except LineTooLong:
        return lines, True
    return lines, False


def expected(stream: bytes) -> tuple[list[bytes], bool]:
    """The same, the obvious way."""
    *whole, rest = stream.split(b"\n")
    for index, line in enumerate(whole):
        if len(line) + 1 > LIMIT:
            return whole[:index], True
    return whole, len(rest) + 1 > LIMIT


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(STREAMS, st.lists(st.integers(0, 200)))
@example(b"1234567\n", [7])
@example(b"12345678\n", [8])
@example(b"a\n12345678", [])
def test_lines_do_not_depend_on_how_the_network_cut_them(
    stream: bytes, places: list[int]
) -> None:
    assert heard(cut(stream, places)) == expected(stream)


@given(STREAMS)
def test_bytes_one_by_one_make_the_same_lines(stream: bytes) -> None:
    assert heard(bytes([byte]) for byte in stream) == expected(stream)


@given(st.lists(st.binary().map(lambda line: line.replace(b"\n", b""))))
def test_what_was_written_as_lines_is_read_as_these_lines(lines: list[bytes]) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    assert heard([stream], LINE_BYTES) == (lines, False)


def test_lines_that_are_glued_together_come_apart() -> None:
    assert heard([b"one\ntwo\nth", b"ree\n"]) == ([b"one", b"two", b"three"], False)


def test_a_line_that_is_split_comes_whole() -> None:
    assert heard([b"o", b"n", b"", b"e", b"\n"]) == ([b"one"], False)


def test_a_line_without_its_end_is_not_given() -> None:
    assert heard([b"one\ntwo"]) == ([b"one"], False)


@pytest.mark.parametrize(
    "inside",
    ["\u2028", "\u2029", "\x85", "\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\0"],
    ids=ascii,
)
def test_nothing_but_a_line_feed_ends_a_line(inside: str) -> None:
    line = f"a{inside}b".encode()
    assert heard([line + b"\n"]) == ([line], False)


def test_an_empty_line_is_a_line() -> None:
    assert heard([b"\n\na\n"]) == ([b"", b"", b"a"], False)


def test_a_line_may_have_as_many_bytes_as_the_limit_says_its_end_included() -> None:
    longest = b"x" * (LINE_BYTES - 1)
    assert heard([longest + b"\n"], LINE_BYTES) == ([longest], False)
    assert heard([longest + b"x\n"], LINE_BYTES) == ([], True)


def test_a_line_that_is_too_long_is_noticed_before_its_end_comes() -> None:
    assert heard([b"1234567"]) == ([], False)
    assert heard([b"1234567", b"8"]) == ([], True)


@pytest.mark.parametrize("end", [b"", b"\n", b"\nmore\n"], ids=ascii)
def test_lines_before_one_that_is_too_long_are_delivered(end: bytes) -> None:
    assert heard([b"o", b"ne\ntwo\n12345678" + end]) == ([b"one", b"two"], True)
