"""What calls a person."""

from datetime import UTC, datetime

import pytest

from trio_chat.client.attention import Attention
from trio_chat.messages import Edit, Event, Gap, Join, React, Say

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def said(text: str, by: str = "bob", room: str = "lobby") -> Event:
    return Event(1, NOON, by, Say(room, text))


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("alice: look", True),
        ("ask @Alice, she knows", True),
        ("(ALICE)", True),
        ("alice's", True),
        ("malice", False),
        ("alice2", False),
        ("alice-bot", False),
        ("all release notes", False),
        ("the release is out", True),
        ("a.c", True),
        ("abc", False),
        ("bobs", False),
        ("bob-c", True),
    ],
)
def test_ones_name_and_words_call_where_they_are_words(text: str, *, calls: bool) -> None:
    words = {"the release", "a.c", "bob", "bob-c"}
    assert Attention("alice", words).calls(said(text)) is calls


@pytest.mark.parametrize(
    ("me", "text", "calls"),
    [
        ("jürgen", "JÜRGEN?", True),
        ("jürgen", "Ju\u0308rgen?", True),
        ("jürgen", "jürgens", False),
        ("jürgen", "jurgen", False),
        ("ольга", "где Ольга?", True),
        ("ольга", "Ольгадар", False),
        ("नेह", "नेहा कहाँ है", False),
        ("नेह", "नेह कहाँ है", True),
        ("עמית", "שלום עמית", True),
        ("王明", "你好王明你在吗", True),
        ("山田", "山田さん、どうぞ", True),
        ("김철수", "김철수는 어디에", True),
        ("สมชาย", "คุณสมชายอยู่ไหน", True),
    ],
)
def test_a_name_of_any_script_calls_as_it_stands_in_a_text(
    me: str, text: str, *, calls: bool
) -> None:
    assert Attention(me).calls(said(text)) is calls


def test_nobody_calls_oneself_and_who_is_ignored_or_in_a_muted_room_calls_nobody() -> None:
    attention = Attention("alice", ignored={"eve"}, muted={"noise"})
    assert not attention.calls(said("alice", by="alice"))
    assert not attention.calls(said("alice", by="eve"))
    assert not attention.calls(said("alice", room="noise"))
    assert not attention.calls(Event(1, NOON, "bob", Join("alice")))
    assert not attention.calls(Gap("lobby", 1, 2))
    assert attention.calls(said("alice"))


def test_what_is_said_in_private_calls_and_so_does_an_answer() -> None:
    attention = Attention("alice", ignored={"eve"}, muted={"noise", "@dave"})
    known = {4: said("x", by="alice"), 5: said("x", by="carol")}

    def calls(room: str, reply_to: int | None = None, by: str = "bob") -> bool:
        return attention.calls(Event(9, NOON, by, Say(room, "hi", reply_to=reply_to)), known)

    assert calls("@alice,bob:x")
    assert not calls("@alice,bob:x", by="alice")
    assert not calls("@alice,dave:x", by="dave")
    assert not calls("@alice,eve:x", by="eve")
    assert not calls("@bob,carol:x")
    assert calls("lobby", 4)
    assert not calls("noise", 4)
    assert not calls("lobby", 4, by="alice")
    assert not calls("lobby", 5)
    assert not calls("lobby", 6)
    assert not attention.calls(Event(9, NOON, "bob", React("lobby", 4, "alice")), known)
    assert not attention.calls(Event(9, NOON, "bob", Edit("lobby", 5, "alice?")), known)


def test_what_counts_as_unread_is_what_others_say() -> None:
    attention = Attention("alice", ignored={"eve"}, muted={"noise"})
    assert attention.counts(said("hi"))
    assert attention.counts(said("hi", room="noise"))
    assert not attention.counts(said("hi", by="alice"))
    assert not attention.counts(said("hi", by="eve"))
    assert not attention.counts(Event(1, NOON, "bob", Join("lobby")))
    assert not attention.counts(Event(1, NOON, "bob", React("lobby", 1, "👍")))
    assert not attention.counts(Event(1, NOON, "bob", Say("lobby", ""), changed=2))
    assert attention.hides(Event(1, NOON, "eve", Join("lobby")))
    assert not attention.hides(Gap("lobby", 1, 2))
