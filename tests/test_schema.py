"""Tests of the schema: it says of an object what the codec says."""

import json
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from trio_chat.errors import WireError
from trio_chat.messages import MAX_INT, Reply, Request
from trio_chat.schema import GOLDEN, MESSAGES, PARTS, golden_line, schema
from trio_chat.session import Settings
from trio_chat.wire import CLIENT, SERVER, tag

SCHEMA: dict[str, Any] = json.loads(json.dumps(schema()))
DEFS: dict[str, Any] = SCHEMA["$defs"]

EXAMPLES = [
    pytest.param(cls.__name__, example, id=f"{cls.__name__}-{number}")
    for cls in (*MESSAGES, *PARTS)
    for number, example in enumerate(DEFS[cls.__name__]["examples"], 1)
]


def validator(name: str) -> Draft202012Validator:
    """Validates one of `$defs`."""
    return Draft202012Validator(SCHEMA | {"oneOf": [{"$ref": f"#/$defs/{name}"}]})


VALIDATORS = {name: validator(name) for name in DEFS}


def is_valid(name: str, instance: object) -> bool:
    return VALIDATORS[name].is_valid(instance)


# ---------------------------------------------------------------- the document


def test_it_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_every_class_is_in_it_and_nothing_else() -> None:
    names = {cls.__name__ for cls in (*MESSAGES, *PARTS)}
    assert names | {"Request", "Reply"} == set(DEFS)


@pytest.mark.parametrize("cls", [*MESSAGES, *PARTS], ids=tag)
def test_every_field_of_a_class_is_in_it(cls: type) -> None:
    fields = {field.name for field in attrs.fields(cls)}
    assert set(DEFS[cls.__name__]["properties"]) - {"type"} == fields


@pytest.mark.parametrize("cls", [*MESSAGES, *PARTS], ids=tag)
def test_every_class_is_described(cls: type) -> None:
    description = DEFS[cls.__name__]["description"]
    assert cls.__doc__ is not None
    assert description.startswith(cls.__doc__.splitlines()[0])


def test_all_that_is_referred_to_is_there() -> None:
    text = json.dumps(SCHEMA)
    for reference in text.split('"$ref": "')[1:]:
        name = reference.partition('"')[0].removeprefix("#/$defs/")
        assert name in DEFS


def test_it_is_the_same_each_time() -> None:
    assert json.dumps(schema()) == json.dumps(schema())


# ---------------------------------------------------------------- golden lines


def test_every_class_has_a_golden_line() -> None:
    assert {type(value) for value in GOLDEN} == {*MESSAGES, *PARTS}
    assert {param.values[0] for param in EXAMPLES} == set(DEFS) - {"Request", "Reply"}


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_a_golden_line_is_valid(name: str, example: object) -> None:
    VALIDATORS[name].validate(example)


@pytest.mark.parametrize(
    "message", [value for value in GOLDEN if isinstance(value, Request | Reply)], ids=ascii
)
def test_a_golden_line_is_what_is_sent(message: Request | Reply) -> None:
    line = golden_line(message)
    codec = SERVER if isinstance(message, Request) else CLIENT
    assert codec.decode(line) == message
    example = json.dumps(json.loads(line), ensure_ascii=False, separators=(",", ":"))
    assert f"{example}\n".encode() == line
    assert json.loads(line) in DEFS[type(message).__name__]["examples"]


@pytest.mark.parametrize("cls", [*MESSAGES, *PARTS], ids=tag)
def test_every_field_stands_in_some_golden_line(cls: type) -> None:
    definition = DEFS[cls.__name__]
    shown = {name for example in definition["examples"] for name in example}
    everywhere = {"id", "v", "password"}  # an id is the same everywhere; v is 1, the default
    assert set(definition["properties"]) - shown <= everywhere


def test_the_golden_limits_are_those_of_a_server() -> None:
    assert DEFS["Limits"]["examples"] == [attrs.asdict(Settings().limits)]


# ---------------------------------------------------------------- bad objects

BAD: list[tuple[str, str, object]] = [
    ("no object", "Ping", "ping"),
    ("no type", "Ping", {}),
    ("another type", "Ping", {"type": "pong"}),
    ("a missing field", "Say", {"type": "say", "room": "a"}),
    ("null for a string", "Join", {"type": "join", "room": None}),
    ("a number for a string", "Join", {"type": "join", "room": 7}),
    ("NUL", "Join", {"type": "join", "room": "a\0"}),
    ("NUL after a line end", "Join", {"type": "join", "room": "a\n\0"}),
    ("a negative integer", "Join", {"type": "join", "room": "a", "after": -1}),
    ("2^53 + 1", "Join", {"type": "join", "room": "a", "after": MAX_INT + 1}),
    ("a fraction", "Join", {"type": "join", "room": "a", "after": 1.5}),
    ("true for an integer", "Join", {"type": "join", "room": "a", "after": True}),
    ("null where it is no default", "Hello", {"type": "hello", "name": "a", "v": None}),
    ("a number for a boolean", "Leave", {"type": "leave", "room": "a", "lost": 1}),
    ("an id that is too long", "Ping", {"type": "ping", "id": "x" * 65}),
    ("a reply among requests", "Request", {"type": "pong"}),
    ("a request among replies", "Reply", {"type": "ping"}),
    ("a part as a message", "Reply", {"room": "a", "head": 1}),
    ("a string for a list", "Members", {"type": "members", "room": "a", "names": "bob"}),
    ("null in a list", "Members", {"type": "members", "room": "a", "names": [None]}),
]


@pytest.mark.parametrize(
    ("name", "instance"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_this_is_not_valid(name: str, instance: object) -> None:
    assert not is_valid(name, instance)


def test_an_event_of_what_is_no_post_is_not_valid() -> None:
    (event, *_) = DEFS["Event"]["examples"]
    assert is_valid("Event", event)
    assert not is_valid("Event", event | {"message": {"type": "ping"}})
    assert not is_valid("Event", event | {"message": {"room": "lobby", "text": "hi"}})


def test_unknown_fields_are_valid() -> None:
    assert is_valid("Request", {"type": "ping", "mood": {"any": ["thing"]}})


# ---------------------------------------------------------------- agreement with the codec

JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, 1, -1, 0.5, MAX_INT, MAX_INT + 1, "", "x\0", "x" * 64, "x" * 65, [], {}]
)

PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    NoneType: st.none(),
    bool: st.booleans(),
    int: st.sampled_from([0, MAX_INT]),
    float: st.sampled_from([0, 1.5, -3]),
    str: st.sampled_from(["", "lobby", "\n", "🐟" * 64]),
    datetime: st.just("2026-11-20T18:00:00.123Z"),
}


def near(kind: Any) -> st.SearchStrategy[Any]:
    """JSON for a field of that type, mostly right."""
    right = exactly(kind)
    # Of a time, the schema knows only that it is a string; its format is an annotation.
    is_time = datetime in (kind, *get_args(kind))
    return right if is_time else st.one_of(right, right, right, JUNK)


def exactly(kind: Any) -> st.SearchStrategy[Any]:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return PLAIN[str]
    if origin is Literal:
        return st.sampled_from([*args, args[0].upper()])
    if origin is tuple:
        return st.lists(near(args[0]), max_size=2)
    if origin in (Union, UnionType):
        return st.one_of(*map(exactly if datetime in args else near, args))
    return objects(kind) if attrs.has(kind) else PLAIN[kind]


@cache
def objects(cls: type) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of a class, mostly right; its type is certain."""
    tagged = {"type": st.just(tag(cls))} if cls in MESSAGES else {}
    fields = {field.name: near(field.type) for field in attrs.fields(cls)}
    return st.fixed_dictionaries(tagged, optional=fields)


def decodes(cls: type, line: bytes) -> bool:
    codec = SERVER if cls in get_args(Request) else CLIENT
    try:
        return isinstance(codec.decode(line), cls)
    except WireError:
        return False


@pytest.mark.parametrize("cls", MESSAGES, ids=tag)
@settings(max_examples=40, phases=set(Phase) - {Phase.explain})  # that takes minutes
@given(data=st.data())
def test_an_object_is_valid_if_and_only_if_the_codec_takes_it(
    cls: type, data: st.DataObject
) -> None:
    instance = data.draw(objects(cls))
    taken = decodes(cls, json.dumps(instance).encode())
    assert is_valid(cls.__name__, instance) == taken
    assert is_valid("Request" if cls in get_args(Request) else "Reply", instance) == taken
