"""Saying what was typed, and having it back."""

import pytest

from trio_chat.client.commands import Answer, EditLast, Talk, Tell, parse_command
from trio_chat.client.journal import Unsent
from trio_chat.client.speech import typed_as

BOB = "@alice,bob:k7Jx2mQ9"


@pytest.mark.parametrize(
    ("unsent", "command"),
    [
        (Unsent(1, "i", "lobby", "hi"), Talk("hi")),
        (Unsent(1, "i", "lobby", "/etc"), Talk("/etc")),
        (Unsent(1, "i", "lobby", "/etc\n/usr"), Talk("/etc\n/usr")),
        (Unsent(1, "i", "lobby", "hi\nyou", reply_to=4), Answer(4, "hi\nyou")),
        (Unsent(1, "i", "lobby", "hi", edits=4), EditLast("hi")),
        (Unsent(1, "i", BOB, "hi"), Tell("bob", "hi")),
        (Unsent(1, "i", "@bob", "hi\nyou"), Tell("bob", "hi\nyou")),
    ],
)
def test_what_comes_back_means_the_same_when_it_is_typed_again(
    unsent: Unsent, command: object
) -> None:
    line = typed_as(unsent, "lobby", "alice")
    assert line is not None
    assert parse_command(line) == command


def test_in_the_private_room_itself_the_text_is_enough() -> None:
    assert typed_as(Unsent(1, "i", BOB, "hi"), BOB, "alice") == "hi"


def test_what_is_for_another_room_does_not_come_back() -> None:
    assert typed_as(Unsent(1, "i", "garden", "hi"), "lobby", "alice") is None
