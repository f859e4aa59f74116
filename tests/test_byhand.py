"""What is done by hand is what the converter does."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_wire import instances
from trio_chat.byhand import FIELDS_OF, build_say
from trio_chat.errors import WireError
from trio_chat.messages import ID_CHARS, MAX_INT, Ack, Edit, Event, Say
from trio_chat.wire import (
    CLIENT,
    SERVER,
    _builder,
    _converter,
    _fields,
    read_say,
    said_line,
    stored_line,
    tag,
)

ODD: list[Any] = ["\0", "x" * ID_CHARS, "x" * (ID_CHARS + 1), "", [], {}, None, True, 1.0]
ODD += [-1, 0, MAX_INT, MAX_INT + 1]

VALUES: st.SearchStrategy[Any] = st.one_of(st.text(max_size=9), st.sampled_from(ODD))


@pytest.mark.parametrize("cls", [Say, Ack, Event], ids=tag)
@given(data=st.data())
def test_the_fields_of_a_message_are_the_same_in_the_same_order(
    cls: type, data: st.DataObject
) -> None:
    message = data.draw(instances(cls))
    exact = {"type": tag(cls), **_fields(cls, _converter)(message)}
    assert list(FIELDS_OF[cls](message).items()) == list(exact.items())


@given(
    st.fixed_dictionaries(
        {"room": VALUES, "text": VALUES},
        optional={"id": VALUES, "reply_to": VALUES, "x": VALUES},
    )
)
def test_a_say_is_built_if_and_only_if_it_would_be(fields: dict[str, Any]) -> None:
    assert _attempt(build_say, fields) == _attempt(_builder(Say), fields)


@pytest.mark.parametrize("name", ["room", "text", "id", "reply_to", "x"])
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_one_odd_field_makes_no_difference_to_that(name: str, value: object) -> None:
    fields = {"room": "lobby", "text": "hi", name: value}
    assert _attempt(build_say, fields) == _attempt(_builder(Say), fields)


@given(
    message=instances(Say),
    seq=st.integers(1, MAX_INT),
    at=st.datetimes(timezones=st.just(UTC)),
    by=st.text(max_size=9),
)
def test_a_line_that_is_made_without_an_object_is_that_of_the_object(
    message: Say, seq: int, at: datetime, by: str
) -> None:
    assert said_line(seq, at, by, message) == SERVER.encode(Event(seq, at, by, message))
    assert stored_line(by, message.room, seq) == SERVER.encode(Ack(by, message.room, seq))


@given(st.one_of(instances(Say), instances(Edit)))
def test_a_say_is_read_as_it_would_be_and_nothing_else(request: Say | Edit) -> None:
    line = CLIENT.encode(request)
    assert read_say(line) == (SERVER.decode(line) if isinstance(request, Say) else None)


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"{", b"[]", b"7", b"{}", b'{"type":["say"]}', b'{"type":"say","room":"lobby"}'),
        b'{"type":"say","room":"lobby","text":null}',
        b'{"type":"say","room":"lobby","text":"\\ud800"}',
    ],
)
def test_a_say_in_which_something_is_wrong_is_left_to_the_codec(line: bytes) -> None:
    assert read_say(line) is None
    with pytest.raises(WireError):
        SERVER.decode(line)


def test_a_field_that_is_needed_is_missed() -> None:
    assert _attempt(build_say, {"room": "lobby"}) is None


def _attempt(build: Any, fields: dict[str, Any]) -> Any:
    try:
        return build(fields, Say)
    except Exception:
        return None
