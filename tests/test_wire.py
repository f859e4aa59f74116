"""Tests of the codec: every message comes back, and nothing else comes in."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs
import pytest
from attrs import evolve
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from trio_chat.errors import BadFields, NotJson, UnknownType, WireError
from trio_chat.framing import LINE_BYTES
from trio_chat.messages import (
    ID_CHARS,
    MAX_INT,
    Error,
    Event,
    Hello,
    History,
    Join,
    Leave,
    Page,
    Ping,
    Reply,
    Request,
    Say,
    Welcome,
)
from trio_chat.wire import CLIENT, SERVER, Codec, page_line, tag

AT = datetime(2026, 11, 20, 18, 0, 0, 123_000, tzinfo=UTC)


# ---------------------------------------------------------------- values of the classes

TEXTS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")

PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    NoneType: st.none(),
    bool: st.booleans(),
    int: st.integers(0, MAX_INT),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(TEXTS),
    datetime: st.datetimes(timezones=st.just(UTC)).map(
        lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
    ),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """All values of a field of that type."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return st.text(TEXTS, max_size=args[1].limit)
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(values(args[0]), max_size=3).map(tuple)
    if origin in (Union, UnionType):
        return st.one_of(*map(values, args))
    return instances(kind) if attrs.has(kind) else PLAIN[kind]


@cache
def instances(cls: type) -> st.SearchStrategy[Any]:
    fields = {field.name: values(field.type) for field in attrs.fields(cls)}
    return st.builds(cls, **fields)


# ---------------------------------------------------------------- round trips

# To explain a failure takes minutes where a message has many fields; to find it, a second.
each_class = settings(max_examples=40, phases=set(Phase) - {Phase.explain})


@pytest.mark.parametrize("cls", get_args(Request), ids=tag)
@each_class
@given(data=st.data())
def test_a_request_comes_back_from_its_line(cls: type, data: st.DataObject) -> None:
    request = data.draw(instances(cls))
    assert SERVER.decode(CLIENT.encode(request)) == request


@pytest.mark.parametrize("cls", get_args(Reply), ids=tag)
@each_class
@given(data=st.data())
def test_a_reply_comes_back_from_its_line(cls: type, data: st.DataObject) -> None:
    reply = data.draw(instances(cls))
    assert CLIENT.decode(SERVER.encode(reply)) == reply


@given(st.one_of(*map(instances, get_args(Request))))
def test_a_line_is_one_json_object_in_utf_8_and_ends_once(request: Request) -> None:
    line = CLIENT.encode(request)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert json.loads(line.decode("utf-8", "strict"))["type"] == tag(type(request))


def test_what_is_at_its_default_is_not_written() -> None:
    assert CLIENT.encode(Hello("alice")) == b'{"type":"hello","name":"alice"}\n'
    assert (
        CLIENT.encode(Join("lobby", after=0)) == b'{"type":"join","room":"lobby","after":0}\n'
    )


def test_a_time_is_written_in_utc_with_milliseconds() -> None:
    line = SERVER.encode(
        Event(1, AT.replace(microsecond=0), "alice", Leave("lobby", lost=True))
    )
    assert line == (
        b'{"type":"event","seq":1,"at":"2026-11-20T18:00:00.000Z","by":"alice",'
        b'"message":{"type":"leave","room":"lobby","lost":true}}\n'
    )


def test_a_time_with_another_offset_is_the_same_time_in_utc() -> None:
    line = (
        b'{"type":"event","seq":1,"at":"2026-11-20T19:00:00.123+01:00","by":"alice",'
        b'"message":{"type":"leave","room":"lobby"}}'
    )
    assert CLIENT.decode(line) == Event(1, AT, "alice", Leave("lobby"))


@given(instances(Page))
def test_a_page_of_stored_lines_is_the_page_of_their_events(page: Page) -> None:
    stored = [SERVER.encode(event) for event in page.events]
    assert page_line(evolve(page, events=()), stored) == SERVER.encode(page)


# ---------------------------------------------------------------- good lines

GOOD_LINES: list[tuple[str, bytes, Request]] = [
    ("a field that nobody knows", b'{"type":"ping","mood":[1,{"a":null}]}', Ping()),
    ("the type at the end", b'{"id":"1","type":"ping"}', Ping("1")),
    ("white space", b' { "type" : "ping" }\t', Ping()),
    ("a carriage return at the end", b'{"type":"ping"}\r', Ping()),
    ("a key twice: the last one wins", b'{"type":"ping","id":"1","id":"2"}', Ping("2")),
    ("null where it is the default", b'{"type":"ping","id":null}', Ping()),
    ("an id as long as it may be", b'{"type":"ping","id":"%s"}' % (b"x" * 64), Ping("x" * 64)),
    ("characters, not bytes, count", '{"type":"ping","id":"🐟"}'.encode(), Ping("🐟")),
    ("a pair of surrogates", b'{"type":"ping","id":"\\ud83d\\udc1f"}', Ping("🐟")),
    ("the largest integer", b'{"type":"join","room":"a","after":%d}' % 2**53, Join("a", 2**53)),
    ("a line end inside", b'{"type":"say","room":"a","text":"1\\r\\n2"}', Say("a", "1\r\n2")),
    ("U+2028, NEL", '{"type":"ping","id":"\u2028\x85"}'.encode(), Ping("\u2028\x85")),
    ("a room is not looked at here", b'{"type":"history","room":""}', History("")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "request_"), [row[1:] for row in GOOD_LINES], ids=[row[0] for row in GOOD_LINES]
)
def test_this_is_understood(line: bytes, request_: Request) -> None:
    assert SERVER.decode(line) == request_


# ---------------------------------------------------------------- bad lines

DEEP = b'{"type":"ping","deep":' + b"[" * 5000 + b"]" * 5000 + b"}"

BAD_LINES: list[tuple[str, bytes, type[WireError]]] = [
    ("nothing", b"", NotJson),
    ("white space", b" \t\r", NotJson),
    ("words", b"hello", NotJson),
    ("another protocol", b"GET / HTTP/1.1\r", NotJson),
    ("a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", NotJson),
    ("half an object", b'{"type":"ping"', NotJson),
    ("two objects", b'{"type":"ping"}{"type":"ping"}', NotJson),
    ("a list", b'[{"type":"ping"}]', NotJson),
    ("a string", b'"ping"', NotJson),
    ("null", b"null", NotJson),
    ("a comma too many", b'{"type":"ping",}', NotJson),
    ("single quotes", b"{'type':'ping'}", NotJson),
    ("a comment", b'{"type":"ping"}//', NotJson),
    ("NaN", b'{"type":"ping","x":NaN}', NotJson),
    ("Infinity", b'{"type":"ping","x":-Infinity}', NotJson),
    ("a number beyond all floats", b'{"type":"ping","x":1e999}', NotJson),
    ("absurd nesting", DEEP, NotJson),
    ("a raw line end in a string", b'{"type":"ping","id":"a\nb"}', NotJson),
    ("a raw NUL in a string", b'{"type":"ping","id":"a\0b"}', NotJson),
    ("a lone high surrogate", b'{"type":"ping","id":"\\ud800"}', NotJson),
    ("a lone low surrogate", b'{"type":"ping","id":"\\udc00"}', NotJson),
    ("a surrogate in UTF-8", b'{"type":"ping","id":"\xed\xa0\x80"}', NotJson),
    ("an overlong UTF-8 form", b'{"type":"ping","id":"\xc0\xaf"}', NotJson),
    ("UTF-8 that is cut off", b'{"type":"ping","id":"\xf0\x9f\x90"}', NotJson),
    ("Latin-1", b'{"type":"ping","id":"\xfc"}', NotJson),
    ("UTF-16", '{"type":"ping"}'.encode("utf-16"), NotJson),
    ("a byte order mark", b'\xef\xbb\xbf{"type":"ping"}', NotJson),
    ("no type", b"{}", UnknownType),
    ("a type that nobody knows", b'{"type":"dance"}', UnknownType),
    ("a type in upper case", b'{"type":"Ping"}', UnknownType),
    ("a number for a type", b'{"type":1}', UnknownType),
    ("null for a type", b'{"type":null}', UnknownType),
    ("a list for a type", b'{"type":["ping"]}', UnknownType),
    ("the type twice: the last one wins", b'{"type":"ping","type":"x"}', UnknownType),
    ("an event", b'{"type":"event","seq":1,"by":"bob"}', UnknownType),
    ("a pong", b'{"type":"pong"}', UnknownType),
    ("a field that is missing", b'{"type":"say","room":"a"}', BadFields),
    ("null for a string", b'{"type":"join","room":null}', BadFields),
    ("a number for a string", b'{"type":"join","room":7}', BadFields),
    ("true for a string", b'{"type":"join","room":true}', BadFields),
    ("a list for a string", b'{"type":"join","room":["a"]}', BadFields),
    ("an object for a string", b'{"type":"join","room":{}}', BadFields),
    ("a string for an integer", b'{"type":"join","room":"a","after":"1"}', BadFields),
    ("true for an integer", b'{"type":"join","room":"a","after":true}', BadFields),
    ("a fraction for an integer", b'{"type":"join","room":"a","after":1.5}', BadFields),
    ("an integer with a fraction", b'{"type":"join","room":"a","after":1.0}', BadFields),
    ("an integer with an exponent", b'{"type":"join","room":"a","after":1e3}', BadFields),
    ("a negative integer", b'{"type":"join","room":"a","after":-1}', BadFields),
    ("2^53 + 1", b'{"type":"join","room":"a","after":9007199254740993}', BadFields),
    ("2^64", b'{"type":"join","room":"a","after":18446744073709551616}', BadFields),
    ("null where it is no default", b'{"type":"hello","name":"a","v":null}', BadFields),
    ("a number for a boolean", b'{"type":"leave","room":"a","lost":1}', BadFields),
    ("a string for a boolean", b'{"type":"leave","room":"a","lost":"true"}', BadFields),
    ("NUL in a string", b'{"type":"say","room":"a","text":"\\u0000"}', BadFields),
    ("an id that is too long", b'{"type":"ping","id":"%s"}' % (b"x" * 65), BadFields),
    ("a number for an id", b'{"type":"ping","id":1}', BadFields),
]  # fmt: skip

EVENT = b'{"type":"event","seq":1,"at":%s,"by":"a","message":%s}'
NOW = b'"2026-11-20T18:00:00.123Z"'
LEAVE = b'{"type":"leave","room":"a"}'

BAD_REPLIES: list[tuple[str, bytes, type[WireError]]] = [
    ("a request", b'{"type":"say","room":"a","text":"hi"}', UnknownType),
    ("a time without its offset", EVENT % (b'"2026-11-20T18:00:00"', LEAVE), BadFields),
    ("a time that is none", EVENT % (b'"now"', LEAVE), BadFields),
    ("a number for a time", EVENT % (b"1", LEAVE), BadFields),
    ("null for a time", EVENT % (b"null", LEAVE), BadFields),
    ("a time before all times", EVENT % (b'"0001-01-01T00:00:00+23:00"', LEAVE), BadFields),
    ("an event of nothing", EVENT % (NOW, b"null"), BadFields),
    ("an event of a string", EVENT % (NOW, b'"leave"'), BadFields),
    ("an event of what is no post", EVENT % (NOW, b'{"type":"ping"}'), BadFields),
    ("an event of what has no type", EVENT % (NOW, b'{"room":"a"}'), BadFields),
    ("an event of a half post", EVENT % (NOW, b'{"type":"leave"}'), BadFields),
    ("null for a list", b'{"type":"members","room":"a","names":null}', BadFields),
    ("a string for a list", b'{"type":"members","room":"a","names":"bob"}', BadFields),
    ("an object for a list", b'{"type":"members","room":"a","names":{"b":1}}', BadFields),
    ("null in a list", b'{"type":"members","room":"a","names":["a",null]}', BadFields),
    ("a string for an object", b'{"type":"roomlist","rooms":["a"]}', BadFields),
    ("a half object in a list", b'{"type":"roomlist","rooms":[{"room":"a"}]}', BadFields),
    ("a string for a number", b'{"type":"goodbye","reason":"","retry":"1"}', BadFields),
    ("true for a number", b'{"type":"goodbye","reason":"","retry":true}', BadFields),
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "error"), [row[1:] for row in BAD_LINES], ids=[row[0] for row in BAD_LINES]
)
def test_a_server_refuses(line: bytes, error: type[WireError]) -> None:
    with pytest.raises(WireError) as caught:
        SERVER.decode(line)
    assert caught.type is error


@pytest.mark.parametrize(
    ("line", "error"), [row[1:] for row in BAD_REPLIES], ids=[row[0] for row in BAD_REPLIES]
)
def test_a_client_refuses(line: bytes, error: type[WireError]) -> None:
    with pytest.raises(WireError) as caught:
        CLIENT.decode(line)
    assert caught.type is error


def test_the_two_directions_share_no_message() -> None:
    assert not set(map(tag, get_args(Request))) & set(map(tag, get_args(Reply)))


def test_the_reason_names_the_field_and_not_what_stood_in_it() -> None:
    with pytest.raises(BadFields, match=r"expected a string @ hello\.password") as caught:
        SERVER.decode(b'{"type":"hello","name":"a","password":123456}')
    assert "123456" not in str(caught.value)


def test_all_fields_that_are_wrong_are_named() -> None:
    with pytest.raises(BadFields, match=r"say\.room.*say\.text"):
        SERVER.decode(b'{"type":"say","room":1}')


# ---------------------------------------------------------------- the id of what went wrong

IDS: list[tuple[str, bytes, str | None]] = [
    ("an id with NUL", b'{"type":"dance","id":"a\\u0000"}', None),
    ("an unknown type", b'{"type":"dance","id":"c1"}', "c1"),
    ("no type", b'{"id":"c1"}', "c1"),
    ("a missing field", b'{"type":"say","room":"a","id":"c1"}', "c1"),
    ("a wrong field", b'{"type":"join","room":1,"id":"c1"}', "c1"),
    ("the longest id", b'{"type":"dance","id":"%s"}' % (b"x" * ID_CHARS), "x" * ID_CHARS),
    ("no id", b'{"type":"dance"}', None),
    ("an id that is too long", b'{"type":"ping","id":"%s"}' % (b"x" * 65), None),
    ("an id that is no string", b'{"type":"ping","id":5}', None),
    ("a line that is no object", b'["id","c1"]', None),
]  # fmt: skip


@pytest.mark.parametrize(("line", "id"), [row[1:] for row in IDS], ids=[row[0] for row in IDS])
def test_an_error_carries_the_id_of_its_request(line: bytes, id: str | None) -> None:
    with pytest.raises(WireError) as caught:
        SERVER.decode(line)
    assert caught.value.id == id


def test_a_text_that_is_no_unicode_can_not_be_sent() -> None:
    with pytest.raises(BadFields) as caught:
        CLIENT.encode(Say("lobby", "\ud800", id="c1"))
    assert caught.value.id == "c1"


# ---------------------------------------------------------------- anything at all

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**54), 2**54)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(TEXTS)
    | st.sampled_from(["say", "2026-11-20T18:00:00Z", "9999-12-31T23:59:59-23:00"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(TEXTS), inner, max_size=3)
    ),
    max_leaves=5,
)

FIELDS = sorted({f.name for cls in get_args(Request | Reply) for f in attrs.fields(cls)})

OBJECTS = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=8).flatmap(
    lambda fields: st.sampled_from([tag(cls) for cls in get_args(Request | Reply)]).map(
        lambda name: json.dumps({"type": name, **fields}).encode()
    )
)
"""Objects of a known type whose fields are anything."""

both = pytest.mark.parametrize("codec", [SERVER, CLIENT], ids=["server", "client"])


def understood(codec: Codec[Any, Any], line: bytes) -> bool:
    """Is there a message in `line`? Anything but a message or a `WireError` is a bug."""
    try:
        message = codec.decode(line)
    except WireError:
        return False
    return isinstance(message, Request | Reply)


@both
@given(line=st.binary())
def test_any_bytes_are_a_message_or_a_wire_error(codec: Codec[Any, Any], line: bytes) -> None:
    understood(codec, line)


@both
@given(line=OBJECTS)
def test_any_object_is_a_message_or_a_wire_error(codec: Codec[Any, Any], line: bytes) -> None:
    understood(codec, line)


@given(
    instances(Say) | instances(Hello) | instances(History),
    st.integers(0),
    st.integers(0, 255),
)
def test_a_line_with_one_byte_changed_is_a_message_or_a_wire_error(
    request: Request, place: int, byte: int
) -> None:
    line = bytearray(CLIENT.encode(request))
    line[place % len(line)] = byte
    understood(SERVER, bytes(line))


@given(OBJECTS)
def test_what_was_wrong_can_be_told_in_a_line(line: bytes) -> None:
    try:
        SERVER.decode(line)
    except WireError as error:
        told = Error(error.code, str(error), error.id)
        assert CLIENT.decode(SERVER.encode(told)) == told
        assert len(SERVER.encode(told)) < LINE_BYTES


HOSTILE: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("nesting", lambda _: b'{"type":"say","text":' + b"[" * (LINE_BYTES - 30)),
    ("many keys", lambda _: b'{"type":"say",' + b",".join([b'"a":1'] * 10_000) + b"}"),
    ("a long type", lambda x: b'{"type":"' + x + b'"}'),
    ("a long number", lambda x: b'{"type":"join","room":"a","after":' + b"9" * len(x) + b"}"),
    ("a long name", lambda x: b'{"type":"say","' + x + b'":1}'),
]


@pytest.mark.parametrize("make", [row[1] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_a_long_and_hostile_line_gets_a_short_answer(make: Callable[[bytes], bytes]) -> None:
    with pytest.raises(WireError) as caught:
        SERVER.decode(make(b"x" * (LINE_BYTES - 40)))
    assert len(str(caught.value)) < 300


def test_secrets_do_not_show_in_a_log() -> None:
    hello = Hello("alice", password="hunter2", token="hunter2")  # noqa: S106 # a test
    join = Join("lobby", key="hunter2")
    assert "hunter2" not in f"{hello!r} {join!r}"
    token = next(field for field in attrs.fields(Welcome) if field.name == "token")
    assert not token.repr
