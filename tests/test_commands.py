"""What a person's typing means."""

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.client.clean import REPLACED
from trio_chat.client.commands import (
    EARLIER,
    Answer,
    Command,
    EditLast,
    Enter,
    Erase,
    Exit,
    Find,
    Govern,
    ListMembers,
    ListRooms,
    ListTexts,
    Lock,
    PutSign,
    Quit,
    SetTopic,
    ShowAccess,
    ShowAround,
    ShowDeeds,
    ShowEarlier,
    ShowHelp,
    Talk,
    Tell,
    ThrowOut,
    UnknownCommand,
    WrongUse,
    complete,
    parse_command,
    sayable,
    usages,
)
from trio_chat.errors import TextTooLong
from trio_chat.messages import Ban, Mute, Restrict

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("hello", Talk("hello")),
        ("  indented code  ", Talk("  indented code")),
        ("/join garden", Enter("garden")),
        ("  /JOIN   Garden  ", Enter("Garden")),
        ("/leave", Exit(None)),
        ("/leave garden", Exit("garden")),
        ("/rooms", ListRooms()),
        ("/who", ListMembers(None)),
        ("/who garden", ListMembers("garden")),
        ("/history", ShowEarlier(EARLIER)),
        ("/history 7", ShowEarlier(7)),
        ("/msg bob hi  there", Tell("bob", "hi  there")),
        ("/msg @Bob one\n\ntwo", Tell("Bob", "one\n\ntwo")),
        ("/query bob", Enter("@bob")),
        ("/query @bob", Enter("@bob")),
        ("/reply yes", Answer(None, "yes")),
        ("/reply\nyes", Answer(None, "yes")),
        ("/reply > quoted", Answer(None, "> quoted")),
        ("/reply >812 yes, do", Answer(812, "yes, do")),
        ("/reply >bob one\ntwo", Answer("bob", "one\ntwo")),
        ("/reply", ListTexts()),
        ("/react 👍", PutSign("👍", None)),
        ("/react 👍 >812", PutSign("👍", 812)),
        ("/react 👍 812", PutSign("👍", 812)),
        ("/react 👍 bob", PutSign("👍", "bob")),
        ("/react", ListTexts()),
        ("/edit-last", EditLast(None)),
        ("/edit-last one\ntwo", EditLast("one\ntwo")),
        ("/delete", Erase(None)),
        ("/delete >812", Erase(812)),
        ("/topic", SetTopic(None)),
        ("/topic the garden party", SetTopic("the garden party")),
        ("/search green  soup", Find("green  soup")),
        ("/search", Find(None)),
        ("/jump 7", ShowAround(7, None)),
        ("/jump @bob 7", ShowAround(7, "@bob")),
        ("/join vault sesame", Enter("vault", "sesame")),
        ("/ban bob", Govern(Ban("", "bob"))),
        ("/ban @bob 7d", Govern(Ban("", "bob"), timedelta(days=7))),
        ("/ban bob too loud", Govern(Ban("", "bob", reason="too loud"))),
        ("/silence bob 1h too  loud", Govern(Mute("", "bob", reason="too  loud"), HOUR)),
        ("/access", ShowAccess()),
        ("/access key", Lock(None)),
        ("/access key open sesame", Lock("open sesame")),
        ("/access public", Govern(Restrict("", "public"))),
        ("/log", ShowDeeds(20)),
        ("/revoke 2", ThrowOut(2)),
        ("/help", ShowHelp()),
        ("/quit", Quit()),
        ("quit", Quit()),
        (" quit \n", Quit()),
        ("quit it", Talk("quit it")),
        ("//etc/passwd", Talk("/etc/passwd")),
        ("///", Talk("//")),
        ("/usr/bin/env\nis code", Talk("/usr/bin/env\nis code")),
        ("/who\nis it", Talk("/who\nis it")),
        ("//a comment\nof two lines", Talk("//a comment\nof two lines")),
        ("\n  a\n\n  b\n", Talk("  a\n\n  b")),
        ("", None),
        (" \n ", None),
    ],
)
def test_what_is_typed_is_understood(typed: str, command: Command | None) -> None:
    assert parse_command(typed) == command


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("/jion lobby", "/join"), ("/hist", "/history"), ("/xyzzy", "/help"), ("/", "/help")],
)
def test_an_unknown_command_gets_the_nearest_one(typed: str, meant: str) -> None:
    with pytest.raises(UnknownCommand, match=meant):
        parse_command(typed)


@pytest.mark.parametrize(
    "typed",
    [
        *(
            "/join",
            "/join a b c",
            "/access all",
            "/access public x",
            "/register x",
            "/rooms x",
            "/history x",
            "/history 0",
            "/history ²",
        ),
        *("/quit now", "/msg", "/msg bob", "/msg bob\n ", "/query", "/query a b"),
        *(
            "/reply >bob",
            "/reply >",
            "/reply >0 x",
            "/react a b c",
            "/react x >",
            "/delete a b",
        ),
        *("/jump", "/jump x", "/jump lobby x", "/jump 1 2 3"),
    ],
)
def test_wrong_use_says_the_right_one(typed: str) -> None:
    with pytest.raises(WrongUse, match=typed.split(maxsplit=1)[0]):
        parse_command(typed)


@pytest.mark.parametrize("typed", ["/ban bob 1x loud", "/silence bob 7 days", "/banish eve 7"])
def test_a_mistyped_time_is_not_for_ever(typed: str) -> None:
    with pytest.raises(WrongUse, match="as in 7d"):
        parse_command(typed)


@given(st.text() | st.text("/ quitjo\n1²"))
def test_anything_typed_is_a_command_or_a_friendly_error(typed: str) -> None:
    with suppress(UnknownCommand, WrongUse):
        parse_command(typed)


@given(st.text(min_size=1).filter(lambda name: not name.isspace()))
def test_an_error_does_not_repeat_all_that_was_typed(name: str) -> None:
    with pytest.raises(UnknownCommand) as caught:
        parse_command(f"/xyzzy{name.replace(chr(10), '')}" + "y" * 1000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("before", "options"),
    [
        ("al", ["alan: ", "alice: "]),
        ("well, al", ["well, alan ", "well, alice "]),
        ("/h", ["/help", "/highlight ", "/history "]),
        ("/join g", ["/join garden "]),
        ("/who ", ["/who garden ", "/who lobby "]),
        ("/history ", []),
        ("@al", ["@alan ", "@alice "]),
        ("well, @b", ["well, @bob "]),
        ("/reply so @b", ["/reply so @bob "]),
        ("/msg @b", ["/msg @bob "]),
        ("/join @", []),
        ("/msg al", ["/msg alan ", "/msg alice "]),
        ("/msg bob ask al", ["/msg bob ask alan ", "/msg bob ask alice "]),
        ("/query b", ["/query bob "]),
        ("/reply >b", ["/reply >bob "]),
        ("/react x >b", ["/react x >bob "]),
        ("/jump l", ["/jump lobby "]),
        ("z", []),
    ],
)
def test_names_rooms_and_commands_are_completed(before: str, options: list[str]) -> None:
    assert complete(before, {"alice", "alan", "bob"}, {"lobby", "garden"}) == options


def test_what_can_be_said_can_be_encoded() -> None:
    assert sayable("a\0b", 100) == f"a{REPLACED}b"
    sayable("a\udc80b", 100).encode()


def test_a_text_that_would_end_the_connection_is_refused_here() -> None:
    assert sayable("é" * 8, 16) == "é" * 8
    with pytest.raises(TextTooLong, match="16 bytes"):
        sayable("é" * 9, 16)


def test_each_line_of_the_help_fits_on_a_terminal() -> None:
    width = max(len(usage) for usage, _ in usages()) + 2
    assert [help for _, help in usages() if width + len(help) > 80] == []
