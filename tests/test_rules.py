"""Tests of the rules: what is logged for a post, and what is refused."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.errors import (
    AlreadyInRoom,
    NoSuchRoom,
    NotInRoom,
    Refused,
    TextTooLong,
    TooManyRooms,
)
from trio_chat.messages import Join, Leave, Post, Say
from trio_chat.names import Name
from trio_chat.rules import ROOMS_EACH, ROOMS_IN_ALL, TEXT_BYTES, Standing, decide

OUTSIDE = Standing(
    Name("lobby"),
    is_member=False,
    is_quiet=False,
    is_new_room=False,
    rooms_joined=0,
    rooms_in_all=1,
)
INSIDE = evolve(OUTSIDE, is_member=True, rooms_joined=1)
QUIET = evolve(INSIDE, is_quiet=True)


def test_who_is_outside_may_join() -> None:
    assert decide(Join("lobby", id="j"), OUTSIDE) == Join("lobby", id="j")


def test_a_join_is_logged_without_its_cursor_and_its_key() -> None:
    assert decide(Join("lobby", after=7, key="sesame"), OUTSIDE) == Join("lobby")


def test_who_is_inside_may_say_and_leave() -> None:
    say, leave = Say("lobby", "hi", id="s"), Leave("lobby", id="l")
    assert decide(say, INSIDE) == say
    assert decide(leave, INSIDE) == leave


def test_who_is_quiet_is_logged_when_it_speaks_and_not_when_it_comes_or_goes() -> None:
    say = Say("lobby", "hi", id="s")
    assert decide(Join("lobby", quiet=True, id="j"), OUTSIDE) is None
    assert decide(say, QUIET) == say
    assert decide(Leave("lobby", id="l"), QUIET) is None


def test_nobody_can_pretend_to_be_lost() -> None:
    assert decide(Leave("lobby", lost=True), INSIDE) == Leave("lobby")


@pytest.mark.parametrize(
    ("post", "standing"),
    [(Join("Lobby"), OUTSIDE), (Say("Lobby", "hi"), INSIDE), (Leave("Lobby"), INSIDE)],
    ids=["join", "say", "leave"],
)
def test_the_name_of_the_room_is_logged_in_its_folded_form(
    post: Post, standing: Standing
) -> None:
    logged = decide(post, standing)
    assert logged is not None
    assert logged.room == "lobby"


REFUSED = [
    ("a join of a room that one is in", Join("lobby"), INSIDE, AlreadyInRoom),
    ("a second quiet join", Join("lobby", quiet=True), QUIET, AlreadyInRoom),
    (
        "a quiet join of no room",
        Join("lobby", quiet=True),
        evolve(OUTSIDE, is_new_room=True),
        NoSuchRoom,
    ),
    (
        "a quiet join of a room more than one may have",
        Join("lobby", quiet=True),
        evolve(OUTSIDE, rooms_joined=ROOMS_EACH),
        TooManyRooms,
    ),
    ("a say from outside", Say("lobby", "hi"), OUTSIDE, NotInRoom),
    ("a leave from outside", Leave("lobby"), OUTSIDE, NotInRoom),
    ("a text that is too long", Say("lobby", "x" * (TEXT_BYTES + 1)), INSIDE, TextTooLong),
    (
        "a room more than one may have",
        Join("lobby"),
        evolve(OUTSIDE, rooms_joined=ROOMS_EACH),
        TooManyRooms,
    ),
    (
        "a room more than the server may have",
        Join("lobby"),
        evolve(OUTSIDE, is_new_room=True, rooms_in_all=ROOMS_IN_ALL),
        TooManyRooms,
    ),
]


@pytest.mark.parametrize(
    ("post", "standing", "error"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_this_is_refused(post: Post, standing: Standing, error: type[Refused]) -> None:
    with pytest.raises(error):
        decide(post, standing)


def test_the_last_room_that_one_may_have_can_be_joined() -> None:
    decide(Join("lobby"), evolve(OUTSIDE, rooms_joined=ROOMS_EACH - 1))


def test_the_last_room_that_a_server_may_have_can_be_made() -> None:
    almost_full = evolve(OUTSIDE, is_new_room=True, rooms_in_all=ROOMS_IN_ALL - 1)
    decide(Join("lobby"), almost_full)


def test_a_full_server_still_lets_people_into_the_rooms_that_it_has() -> None:
    decide(Join("lobby"), evolve(OUTSIDE, rooms_in_all=ROOMS_IN_ALL))


def test_who_has_too_many_rooms_may_still_leave_one() -> None:
    decide(Leave("lobby"), evolve(INSIDE, rooms_joined=ROOMS_EACH))


@given(st.sampled_from(["x", "ü", "…", "🐟"]), st.integers(-3, 3), st.text(max_size=3))
def test_a_text_is_measured_in_bytes(letter: str, off: int, tail: str) -> None:
    text = letter * (TEXT_BYTES // len(letter.encode()) + off) + tail
    try:
        decide(Say("lobby", text), INSIDE)
    except TextTooLong:
        assert len(text.encode()) > TEXT_BYTES
    else:
        assert len(text.encode()) <= TEXT_BYTES
