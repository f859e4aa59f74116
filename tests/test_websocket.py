"""WebSocket without a network: bytes in, lines out, and the other way round."""

import itertools
from collections.abc import Iterable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_pair
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    TextMessage,
)

from tests.test_stream import pair
from trio_chat import errors
from trio_chat.doors.http import GUARDS, Exchange, NotServed
from trio_chat.doors.websocket import Frames, FrameStream, shake_hands, text_frames
from trio_chat.framing import LINE_BYTES
from trio_chat.outbox import GOODBYE, PUT_OUT, TAKEN_OVER, Outbox


def client() -> Connection:
    return Connection(ConnectionType.CLIENT)


def server() -> Frames:
    return Frames(Connection(ConnectionType.SERVER))


def sent(*events: Event) -> bytes:
    peer = client()
    return b"".join(peer.send(event) for event in events)


def text(data: str, *, ends: bool = True) -> TextMessage:
    return TextMessage(data, message_finished=ends)


def feed(frames: Frames, data: bytes, cuts: Iterable[int] = ()) -> list[bytes]:
    """The lines, if the network cuts the data there."""
    ends = sorted(cut % (len(data) + 1) for cut in cuts)
    parts = [data[a:b] for a, b in itertools.pairwise([0, *ends, len(data)])]
    lines = b"".join(frames.feed(part) for part in parts)
    return [line + b"\n" for line in lines.split(b"\n")[:-1]]


# ---------------------------------------------------------------- in

SIZES = [0, 1, 125, 126, 127, 254, 255, 256, 65535]


@pytest.mark.parametrize("size", SIZES)
def test_a_text_of_any_length_is_a_line(size: int) -> None:
    said = "x" * size
    assert feed(server(), sent(text(said))) == [f"{said}\n".encode()]


@pytest.mark.parametrize("cut", range(1, 12))
def test_the_network_may_cut_a_head(cut: int) -> None:
    for size in (5, 300):
        data = sent(text("x" * size), text("y"))
        assert feed(server(), data, [cut]) == [b"x" * size + b"\n", b"y\n"]


said = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=300)
events = st.lists(
    st.one_of(
        said.map(lambda one: [text(one)]),
        st.tuples(said, said).map(lambda two: [text(two[0], ends=False), text(two[1])]),
        st.binary(max_size=125).map(lambda data: [Ping(data)]),
        st.just([Pong(b"")]),
    ),
    max_size=8,
)


@given(heard=events, cuts=st.lists(st.integers(0, 10_000), max_size=6))
def test_the_lines_do_not_depend_on_how_frames_are_cut(
    heard: list[list[Event]], cuts: list[int]
) -> None:
    flat = [event for group in heard for event in group]
    frames = server()
    lines = feed(frames, sent(*flat), cuts)
    texts = [
        "".join(part.data for part in group if isinstance(part, TextMessage))
        for group in heard
        if isinstance(group[0], TextMessage)
    ]
    assert lines == [f"{one}\n".encode() for one in texts]
    assert frames.failure is None
    asked = [event for event in flat if isinstance(event, Ping)]
    assert answered(frames) == [bytes(ping.payload) for ping in asked]


class Untouched(Connection):
    """Is not to be asked."""

    def receive_data(self, data: bytes | None) -> None:
        assert not data


@pytest.mark.parametrize("cut", range(1, 24))
def test_answers_to_our_pings_do_not_make_it_slow(cut: int) -> None:
    """A client that is idle now and then would be read by wsproto from then on."""
    peer, frames = client(), Frames(Untouched(ConnectionType.SERVER))
    pong, said = peer.send(Pong()), peer.send(text("hi"))
    data = pong + said + pong + pong + said + pong
    assert feed(frames, data, [cut, cut + 3]) == [b"hi\n", b"hi\n"]
    assert feed(frames, pong * 100_000) == []
    assert feed(frames, said) == [b"hi\n"]


def answered(frames: Frames) -> list[bytes]:
    peer = client()
    peer.receive_data(frames.answers)
    return [bytes(event.payload) for event in peer.events() if isinstance(event, Pong)]


def test_a_line_feed_in_a_message_does_not_end_it() -> None:
    assert feed(server(), sent(text('{"type":\n"ping"}'))) == [b'{"type": "ping"}\n']


BAD = {
    "binary": (sent(BytesMessage(b"{}")), "bad_frame", 1003),
    "not masked": (b"\x81\x02{}", "bad_frame", 1002),
    "long, and not masked": (b"\x81\x0a" + b"x" * 10, "bad_frame", 1002),
    "longer, and not masked": (b"\x81\x7e\0\x80" + b"x" * 128, "bad_frame", 1002),
    "no utf-8": (b"\x81\x82\0\0\0\0\xff\xfe", "bad_frame", 1007),
    "half a character": (b"\x81\x81\0\0\0\0\xc3", "bad_frame", 1007),
    "a surrogate": (b"\x81\x83\0\0\0\0\xed\xa0\x80", "bad_frame", 1007),
    "compressed": (b"\xc1\x82\0\0\0\0{}", "bad_frame", 1002),
    "unknown opcode": (b"\x83\x80\0\0\0\0", "bad_frame", 1002),
    "length in too many bytes": (b"\x81\xfe\0\x02\0\0\0\0{}", "bad_frame", 1002),
    "continues nothing": (b"\x80\x80\0\0\0\0", "bad_frame", 1002),
    "long ping": (b"\x89\xfe\0\x7e\0\0\0\0" + b"x" * 126, "bad_frame", 1002),
    "too long": (sent(text("x" * LINE_BYTES)), "too_long", 1009),
    "too long in pieces": (
        sent(*[text("x" * 1000, ends=False)] * 65, text("x" * 1000)),
        "too_long",
        1009,
    ),
    "too long in bytes": (sent(text("ä" * (LINE_BYTES // 2))), "too_long", 1009),
    "absurdly long": (
        b"\x81\xff" + b"\x7f" * 8 + bytes(4) + b"x" * LINE_BYTES,
        "too_long",
        1009,
    ),
}


@pytest.mark.parametrize(("data", "code", "close"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("step", [1, 7, 10**9])
def test_what_breaks_the_rules_ends_it_after_what_came_before(
    data: bytes, code: str, close: int, step: int
) -> None:
    frames = server()
    lines = feed(frames, sent(text("before")) + data, range(0, min(len(data), 1000), step))
    assert lines == [b"before\n"]
    assert frames.failure is not None
    assert frames.failure.code == code
    assert frames.is_over
    assert closing(frames.close(code)) == close


def test_a_message_may_be_as_long_as_a_line() -> None:
    frames = server()
    longest = "x" * (LINE_BYTES - 1)
    parts = [text(longest[:100], ends=False), text(longest[100:])]
    assert feed(frames, sent(text(longest), *parts)) == [f"{longest}\n".encode()] * 2
    assert frames.failure is None


@pytest.mark.parametrize("size", [100, 1000])
def test_what_is_too_long_for_now_is_refused_before_it_is_there(size: int) -> None:
    frames = Frames(Connection(ConnectionType.SERVER), limit=100)
    said = sent(text("x" * 99), text("x" * size))
    assert feed(frames, said[: 99 + 20]) == [b"x" * 99 + b"\n"]
    assert isinstance(frames.failure, errors.LineTooLong)


def test_a_flood_that_never_ends_is_not_kept() -> None:
    frames = server()
    feed(frames, b"\x01\xff" + b"\x7f" * 8 + bytes(4))
    for _ in range(100):
        feed(frames, b"x" * 1000)
    assert frames.failure is not None
    assert isinstance(frames.failure, errors.LineTooLong)


# ---------------------------------------------------------------- the end


def closing(data: bytes) -> int:
    peer = client()
    peer.receive_data(data)
    (event,) = peer.events()
    assert isinstance(event, CloseConnection)
    return event.code


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_a_peer_that_closes_is_answered_with_its_own_code(code: int) -> None:
    frames = server()
    peer = client()
    data = peer.send(text("bye")) + peer.send(CloseConnection(code))
    assert feed(frames, data + b"and more") == [b"bye\n"]
    assert frames.is_over
    assert frames.failure is None
    assert closing(frames.close(None)) == code


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (GOODBYE, 1001),
        ("too_long", 1009),
        ("name_taken", 1008),
        ("no_hello", 1008),
        ("hello_first", 1008),
        (TAKEN_OVER, 4000),
        (PUT_OUT, 4001),
        (None, 1011),
    ],
)
def test_the_code_says_what_ended_it(ending: str | None, code: int) -> None:
    frames = server()
    assert closing(frames.close(ending)) == code
    peer = client()
    frames.feed(peer.send(CloseConnection(code)))
    assert frames.is_over


# ---------------------------------------------------------------- out

OUT = [0, 1, 125, 126, 127, 1023, 1024, 65535, 65536]
"""Lengths at which heads change, or how they are made."""


@given(st.lists(st.sampled_from(OUT).map(lambda n: b"x" * n)))
def test_each_line_is_a_text_frame(lines: list[bytes]) -> None:
    peer = client()
    peer.receive_data(text_frames(lines))
    heard = [event.data for event in peer.events() if isinstance(event, Message)]
    assert [one.encode() for one in heard] == lines


# ---------------------------------------------------------------- the handshake

ASKED = {
    "Host": "a",
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
    "Sec-WebSocket-Protocol": "chat",
}


def ask(**changed: str | None) -> bytes:
    fields = {**ASKED, **{name.replace("_", "-"): value for name, value in changed.items()}}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    request = Exchange().hear("\r\n".join(["GET /ws HTTP/1.1", *lines, "", ""]).encode())
    assert request is not None
    return shake_hands(request)[0]


def test_the_handshake_is_accepted_without_compression_and_guarded() -> None:
    accepted = ask().decode()
    assert accepted.startswith("HTTP/1.1 101 ")
    assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in accepted, "the example of RFC 6455"
    assert "extensions" not in accepted.lower()
    assert "protocol" not in accepted.lower().replace("switching protocols", "")
    assert f"Content-Security-Policy: {GUARDS['Content-Security-Policy']}" in accepted


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Upgrade": None}, 400),
        ({"Upgrade": "h2c"}, 400),
        ({"Connection": "close"}, 400),
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Sec_WebSocket_Version": None}, 400),
        ({"Sec_WebSocket_Version": "12"}, 426),
    ],
)
def test_what_asks_for_no_websocket_gets_none(
    changed: dict[str, str | None], status: int
) -> None:
    with pytest.raises(NotServed) as refused:
        ask(**changed)
    assert refused.value.response.status == status
    assert refused.value.response.headers["Sec-WebSocket-Version"] == "13"


# ---------------------------------------------------------------- the stream


async def test_what_has_come_meanwhile_is_there_without_waiting() -> None:
    """Over real sockets, which are the only ones that can be asked."""
    async with pair() as (near, far):
        stream = FrameStream(near, Outbox(), server())
        assert stream.receive_nowait() == b""
        peer = client()
        await far.send_all(peer.send(text("one")) + peer.send(text("two")))
        await trio.lowlevel.wait_readable(near.socket)
        assert stream.receive_nowait() == b"one\ntwo\n"
        await far.send_all(peer.send(BytesMessage(b"three")))
        await trio.lowlevel.wait_readable(near.socket)
        assert stream.receive_nowait() == b""
        await far.send_all(peer.send(text("four")))
        await trio.lowlevel.wait_readable(near.socket)
        assert stream.receive_nowait() == b"", "it is over"
        with pytest.raises(errors.BadFrame):
            await stream.receive_some()


async def test_what_can_not_be_asked_has_nothing_meanwhile() -> None:
    near, far = memory_stream_pair()
    await far.send_all(client().send(text("one")))
    assert FrameStream(near, Outbox(), server()).receive_nowait() == b""
