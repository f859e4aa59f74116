"""Tests of the rules: what is logged for a post, and what is refused."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.errors import (
    AlreadyInRoom,
    BadName,
    BadText,
    NoSuchEvent,
    NoSuchRoom,
    NotInRoom,
    NotYours,
    Refused,
    TextTooLong,
    TooManyRooms,
)
from trio_chat.messages import Delete, Edit, Join, Leave, Post, React, Say, Topic
from trio_chat.names import Name
from trio_chat.roles import Access, Role
from trio_chat.rules import (
    NOTHING,
    PRIVATE_EACH,
    PRIVATE_IN_ALL,
    ROOMS_EACH,
    ROOMS_IN_ALL,
    SIGN_CHARS,
    TEXT_BYTES,
    TOPIC_CHARS,
    Standing,
    Target,
    decide,
)

OUTSIDE = Standing(
    Name("lobby"),
    Role.OUTSIDER,
    Access.PUBLIC,
    has_key=False,
    is_in=False,
    is_quiet=False,
    is_shown=False,
    is_new_room=False,
    head=12,
    rooms_joined=0,
    rooms_in_all=1,
    private_begun=0,
    private_in_all=0,
)
INSIDE = evolve(OUTSIDE, role=Role.MEMBER, is_in=True, rooms_joined=1)
QUIET = evolve(INSIDE, is_quiet=True)
PAIR = evolve(INSIDE, room=Name("@alice,bob:12345678"), access=Access.PRIVATE, is_in=False)
NEW_PAIR = evolve(PAIR, is_new_room=True)
NOT_MINE = evolve(PAIR, role=Role.OUTSIDER)
OWN, OTHERS = Target(is_own=True, is_text=True), Target(is_own=False, is_text=True)


def test_who_is_outside_may_join() -> None:
    assert decide(Join("lobby", id="j"), OUTSIDE) == Join("lobby", id="j")


def test_only_an_operator_makes_a_room_that_is_called_as_who_is_in_charge() -> None:
    admin = evolve(OUTSIDE, room=Name("admin"), is_new_room=True)
    with pytest.raises(BadName):
        decide(Join("admin"), admin)
    assert decide(Join("admin"), evolve(admin, role=Role.OPERATOR)) == Join("admin")
    assert decide(Join("admin"), evolve(admin, is_new_room=False)) == Join("admin")
    help = evolve(admin, room=Name("help"))
    assert decide(Join("help"), help) == Join("help")


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
    ("a topic from outside", Topic("lobby", "x"), OUTSIDE, NotInRoom),
    ("a reaction from outside", React("lobby", 1, "x"), OUTSIDE, NotInRoom),
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


POSTS: list[Post] = [
    Join("@bob"),
    Leave("@bob"),
    Edit("@bob", 1, "x"),
    Delete("@bob", 1),
    React("@bob", 1, "x"),
    Topic("@bob", "x"),
]


@pytest.mark.parametrize("post", POSTS, ids=lambda post: type(post).__name__)
def test_a_private_room_begins_with_something_said(post: Post) -> None:
    with pytest.raises(NoSuchRoom):
        decide(post, NEW_PAIR, OWN)
    assert decide(Say("@bob", "hi"), NEW_PAIR) == Say(NEW_PAIR.room, "hi")


@pytest.mark.parametrize(
    "post", [*POSTS, Say("@bob", "x")], ids=lambda post: type(post).__name__
)
def test_a_private_room_of_others_is_no_room(post: Post) -> None:
    for standing in (NOT_MINE, evolve(NOT_MINE, is_new_room=True)):
        with pytest.raises(NoSuchRoom):
            decide(post, standing, OWN)


def test_nobody_is_seen_to_come_to_a_private_room_or_to_go() -> None:
    assert decide(Join("@bob"), PAIR) is None
    assert decide(Leave("@bob"), PAIR) is None
    with pytest.raises(AlreadyInRoom):
        decide(Join("@bob"), evolve(PAIR, is_in=True, is_quiet=True))


def test_who_is_seen_with_another_device_comes_and_goes_quietly() -> None:
    assert decide(Join("lobby"), evolve(OUTSIDE, is_shown=True)) is None
    assert decide(Leave("lobby"), evolve(INSIDE, is_shown=True)) is None


CHANGES: list[Post] = [Edit("Lobby", 3, "x", "e"), Delete("Lobby", 3, "d")]


@pytest.mark.parametrize("post", CHANGES, ids=["edit", "delete"])
def test_what_one_has_said_can_be_changed_and_nothing_else(post: Post) -> None:
    assert decide(post, INSIDE, OWN) == evolve(post, room="lobby")
    with pytest.raises(NotYours):
        decide(post, INSIDE, OTHERS)
    with pytest.raises(NoSuchEvent):
        decide(post, INSIDE, evolve(OWN, is_text=False))
    with pytest.raises(NoSuchEvent):
        decide(post, INSIDE, NOTHING)
    with pytest.raises(NotInRoom):
        decide(post, OUTSIDE, OWN)


@pytest.mark.parametrize("sign", ["👍", "👩\u200d👩\u200d👧", "yes", "x" * SIGN_CHARS])
def test_a_sign_can_be_put_at_what_anybody_has_said(sign: str) -> None:
    post = React("lobby", 3, sign)
    assert decide(post, INSIDE, OTHERS) == decide(post, INSIDE, OWN) == post


@pytest.mark.parametrize("sign", ["", " ", "a b", "\n", "x" * (SIGN_CHARS + 1)])
def test_this_is_no_sign(sign: str) -> None:
    with pytest.raises(BadText):
        decide(React("lobby", 3, sign), INSIDE, OTHERS)


@pytest.mark.parametrize("text", ["", "cats", "x" * TOPIC_CHARS])
def test_this_can_be_a_topic(text: str) -> None:
    assert decide(Topic("Lobby", text), INSIDE) == Topic("lobby", text)


@pytest.mark.parametrize("text", ["x" * (TOPIC_CHARS + 1), "two\nlines", "two\u2028lines"])
def test_this_is_no_topic(text: str) -> None:
    with pytest.raises(BadText):
        decide(Topic("lobby", text), INSIDE)


@pytest.mark.parametrize("seq", [0, 13])
def test_what_is_answered_has_to_be_there(seq: int) -> None:
    assert decide(Say("lobby", "x", reply_to=12), INSIDE) == Say("lobby", "x", reply_to=12)
    with pytest.raises(NoSuchEvent):
        decide(Say("lobby", "x", reply_to=seq), INSIDE)


@pytest.mark.parametrize(
    "full",
    [
        evolve(NEW_PAIR, private_begun=PRIVATE_EACH),
        evolve(NEW_PAIR, private_in_all=PRIVATE_IN_ALL),
    ],
    ids=["of one person", "of the server"],
)
def test_private_rooms_are_limited(full: Standing) -> None:
    with pytest.raises(TooManyRooms):
        decide(Say("@bob", "hi"), full)
    assert decide(Say("@bob", "hi"), evolve(full, is_new_room=False)) is not None


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


def test_a_full_server_says_no_more_of_rooms_that_there_are_not_than_any_other() -> None:
    """What one may not see reads the same as what is not there."""
    full = evolve(OUTSIDE, is_new_room=True, rooms_in_all=ROOMS_IN_ALL)
    with pytest.raises(NoSuchRoom):
        decide(Join("lobby", quiet=True), full)


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
