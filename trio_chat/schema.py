"""JSON Schema of the protocol, made from the message classes, with golden lines.

For those who write a client in another language, and for generators of code. It says of
every object whether the codec takes it; what makes a line of an object (UTF-8, its length,
no nesting beyond reason) is the codec's and the framing's business.
"""

import inspect
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs

from trio_chat.messages import (
    MAX_INT,
    VERSION,
    Ack,
    Appoint,
    Ban,
    Banish,
    Called,
    Delete,
    DeviceInfo,
    DeviceList,
    Devices,
    Done,
    Edit,
    Error,
    Event,
    Found,
    Gap,
    Goodbye,
    Hello,
    History,
    Hit,
    Invite,
    Join,
    Kick,
    Leave,
    Limits,
    Marked,
    MaxChars,
    Members,
    Mute,
    Page,
    Ping,
    Pong,
    React,
    Read,
    Register,
    Reply,
    Request,
    Restrict,
    Revoke,
    RoomInfo,
    RoomList,
    Rooms,
    RoomState,
    Say,
    Search,
    Topic,
    Welcome,
    Who,
)
from trio_chat.wire import CLIENT, SERVER, tag

Schema = dict[str, object]

MESSAGES: tuple[type, ...] = (*get_args(Request), *get_args(Reply))
"""The classes that are lines of their own, and so have a `type`."""

PARTS = (Limits, RoomState, RoomInfo, Hit, DeviceInfo)
"""The classes that stand only inside others."""

_DESCRIPTION = """The lines of the trio_chat protocol, one JSON object each.

`Request` is what a client sends and `Reply` what a server sends. Unknown fields are to be
ignored. A field that is not required has its default where it is left out; the writer
leaves it out then. An integer is written without a fraction or an exponent: 1, not 1.0."""


def schema() -> Schema:
    """The JSON Schema (draft 2020-12) of version 1 of the protocol.

    It takes any message. `$defs` has each class by its name, with its golden lines as
    `examples`, and the unions `Request` and `Reply`.
    """
    unions: Schema = {
        "Request": _one_of(get_args(Request), "What a client may send."),
        "Reply": _one_of(get_args(Reply), "What a server may send."),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:trio-chat:protocol:{VERSION}",
        "title": f"trio_chat protocol, version {VERSION}",
        "description": _DESCRIPTION,
        "oneOf": [_ref(union) for union in unions],
        "$defs": unions | {cls.__name__: _object(cls) for cls in (*MESSAGES, *PARTS)},
    }


# ---------------------------------------------------------------- classes


def _object(cls: type) -> Schema:
    fields = attrs.fields(cls)
    # A tag is required inside other messages too: the codec doesn't need it where the class
    # is certain, but always writes it.
    tagged: Schema = {"type": {"const": tag(cls)}} if cls in MESSAGES else {}
    needed = [field.name for field in fields if field.default is attrs.NOTHING]
    return {
        "type": "object",
        "description": inspect.getdoc(cls),
        "properties": tagged | {field.name: _field(field) for field in fields},
        "required": [*tagged, *needed],
        "examples": [_example(value) for value in GOLDEN if value.__class__ is cls],
    }


def _field(field: "attrs.Attribute[Any]") -> Schema:
    """The values of a field; a default of null says no more than that it may be left out."""
    if field.default in (attrs.NOTHING, None):
        return _values(field.type)
    return _values(field.type) | {"default": field.default}


def _one_of(classes: Iterable[type], description: str) -> Schema:
    return {"description": description, "oneOf": [_ref(cls.__name__) for cls in classes]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


# ---------------------------------------------------------------- values

_PLAIN: dict[Any, Schema] = {
    NoneType: {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0, "maximum": MAX_INT},
    float: {"type": "number"},
    str: {"type": "string", "pattern": "^[^\\u0000]*$"},
    datetime: {"type": "string", "format": "date-time"},
}


def _values(kind: Any) -> Schema:
    origin = get_origin(kind)
    if origin is Literal:
        return {"enum": [*get_args(kind)]}
    if origin is Annotated:
        return _limited(*get_args(kind))
    if origin is tuple:
        return {"type": "array", "items": _values(get_args(kind)[0])}
    if origin in (Union, UnionType):
        # Never two at once: types differ, and of messages the tags.
        return {"oneOf": [_values(choice) for choice in get_args(kind)]}
    return _ref(kind.__name__) if attrs.has(kind) else dict(_PLAIN[kind])


def _limited(kind: Any, *marks: object) -> Schema:
    (limit,) = (mark.limit for mark in marks if isinstance(mark, MaxChars))
    return _values(kind) | {"maxLength": limit}


# ---------------------------------------------------------------- golden lines

_LIMITS = Limits(
    line=65536,
    text=16384,
    name=32,
    rooms=100,
    page=100,
    rate=10.0,
    burst=50,
    silence=45.0,
    connections=65472,
    per_address=64,
    hello_bytes=4096,
    hello_lines=20,
    hello_within=15.0,
    joins=5.0,
    pages=10.0,
    lists=10.0,
    searches=2.0,
    new_rooms=20,
    new_accounts=10,
)
_STATE = RoomState("lobby", head=12, read=11)
_INFO = RoomInfo("lobby", members=2, head=12)
_TOKEN = "0DNqCgqPuYz8zLqcFhZ1k4n5hmHQAQFqvOAYd3Yf7Xo"  # noqa: S105 # nobody's
_AT = datetime(2026, 11, 20, 18, 0, 0, 123_000, tzinfo=UTC)
_SAID = Event(12, _AT, "alice", Say("lobby", "hi", id="c1"))

_PAIR = "@alice,bob:k7Jx2mQ9"
_DEVICE = DeviceInfo("4503599627370497", "trio_chat 0.1.0", _AT, here=True, this=True)
_HIT = Hit("lobby", 12, _AT, "alice", "… where is the key to the garden …")

GOLDEN: tuple[Request | Reply | Limits | RoomState | RoomInfo | Hit | DeviceInfo, ...] = (
    Hello("alice"),
    Hello("alice", token=_TOKEN, client="nc 1.0", id="h"),
    Hello("alice", password="correct horse", passing=True),  # noqa: S106 # nobody's
    Join("lobby"),
    Join("lobby", after=11, id="j"),
    Join("vault", key="sesame"),
    Join("lobby", quiet=True, id="j"),
    Say("lobby", "hi", id="c1"),
    Say("lobby", 'two\nlines, a " and a \u2028 …'),
    Say("@bob", "just for you", id="c2"),
    Say("lobby", "yes", id="c3", reply_to=12),
    Edit("lobby", 12, "hi there", id="e"),
    Delete("lobby", 12),
    React("lobby", 12, "👍", id="r"),
    React("lobby", 12, "👍", off=True),
    Topic("lobby", "what happens this week"),
    Invite("vault", "bob"),
    Kick("lobby", "eve", "too loud"),
    Ban("lobby", "eve", until=_AT, reason="too loud"),
    Ban("lobby", "eve", off=True),
    Mute("lobby", "eve", until=_AT, reason="too loud"),
    Mute("lobby", "eve", off=True),
    Appoint("lobby", "bob", "moderator"),
    Restrict("vault", "key", "sesame"),
    Leave("lobby"),
    Leave("lobby", lost=True),
    History("lobby", id="p"),
    History("lobby", before=8, limit=100),
    History("lobby", after=12),
    History("lobby", deeds=True),
    Who("lobby"),
    Rooms(),
    Read("lobby", 12),
    Search("garden key", id="s"),
    Search("garden key", room="lobby", before=81, limit=50),
    Register("correct horse", id="g"),
    Register("correct horse", old="battery staple"),
    Devices(id="d"),
    Revoke("4503599627370497", id="v"),
    Banish("eve", until=_AT, reason="spam", id="b"),
    Banish("eve", where=True),
    Banish("192.0.2.7", off=True),
    Ping(id="7"),
    Welcome(
        VERSION, "trio_chat 0.1.0", "alice", _TOKEN, "kzP3vQ1bXo7tYw4m", _LIMITS, (_STATE,), "h"
    ),
    Welcome(
        VERSION, "trio_chat 0.1.0", "alice", _TOKEN, "kzP3vQ1bXo7tYw4m", _LIMITS, account=True
    ),
    _SAID,
    Event(11, _AT, "alice", Join("lobby", id="j")),
    Event(13, _AT, "alice", Leave("lobby", lost=True)),
    Event(12, _AT, "alice", Say("lobby", "hi there", id="c1"), changed=15),
    Event(15, _AT, "alice", Edit("lobby", 12, "hi there", id="e")),
    Event(16, _AT, "alice", Delete("lobby", 12)),
    Event(17, _AT, "bob", React("lobby", 13, "👍")),
    Event(18, _AT, "bob", Topic("lobby", "what happens this week")),
    Event(1, _AT, "alice", Say(_PAIR, "just for you", id="c2")),
    Ack("c1", "lobby", 12),
    Ack("c1", "lobby", 12, again=True),
    Gap("lobby", 1, 10),
    Page("lobby", (_SAID,), more=False, gap=Gap("lobby", 1, 10), id="p"),
    Members("lobby", ("alice",), more=True, id="w"),
    Members("lobby", ("bob",), topic="what happens this week", moderators=("bob",), id="w"),
    Event(19, _AT, "bob", Kick("lobby", "eve", "too loud")),
    RoomList((_INFO,), more=True),
    RoomList(()),
    Marked("lobby", 12),
    Found((_HIT,), next=81, id="s"),
    Found(()),
    Called(_PAIR, "alice", 1),
    DeviceList((_DEVICE,), id="d"),
    Done(id="g"),
    Pong(id="7"),
    Error("not_in_room", "you are not in lobby; join it first", id="c1"),
    Error("server_full", "the server is full", retry=10.0),
    Goodbye("the server is closing", retry=1.0),
    _LIMITS,
    _STATE,
    _INFO,
    _HIT,
    _DEVICE,
)
"""At least one of each class."""


def _example(
    value: Request | Reply | Limits | RoomState | RoomInfo | Hit | DeviceInfo,
) -> object:
    if isinstance(value, Hit):
        (hit,) = json.loads(golden_line(Found((value,))))["hits"]
        return hit
    if isinstance(value, DeviceInfo):
        (device,) = json.loads(golden_line(DeviceList((value,))))["devices"]
        return device
    if isinstance(value, PARTS):
        return attrs.asdict(value)
    return json.loads(golden_line(value))


def golden_line(message: Request | Reply) -> bytes:
    """The line of a message, as its sender writes it."""
    if isinstance(message, Request):
        return CLIENT.encode(message)
    return SERVER.encode(message)
