"""What is written to a terminal for a person who looks elsewhere."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.client.notify import NOTE_COLUMNS, notification

ITERM = {"TERM_PROGRAM": "iTerm.app", "TERM": "xterm-256color"}
FOOT = {"TERM": "foot"}
VTE = {"TERM": "xterm", "VTE_VERSION": "7000"}


@pytest.mark.parametrize(
    ("environ", "written"),
    [
        (ITERM, "\x1b]9;bob in lobby: hi there\x1b\\"),
        ({"TERM": "xterm-kitty"}, "\x1b]9;bob in lobby: hi there\x1b\\"),
        (FOOT, "\x1b]777;notify;bob in lobby;hi there\x1b\\"),
        (
            {"TERM": "xterm", "VTE_VERSION": "7000"},
            "\x1b]777;notify;bob in lobby;hi there\x1b\\",
        ),
        ({"TERM": "xterm-256color"}, ""),
        ({"TERM": "linux"}, ""),
        ({**ITERM, "TMUX": "a socket"}, ""),
        ({**FOOT, "TERM": "screen-256color"}, ""),
        ({}, ""),
    ],
)
def test_each_terminal_is_told_in_its_way(environ: dict[str, str], written: str) -> None:
    assert notification(environ, "bob in lobby", "hi\n  there") == written


@pytest.mark.parametrize("environ", [ITERM, FOOT])
@given(st.text(), st.text())
def test_nothing_of_others_ends_it_or_begins_something_else(
    environ: dict[str, str], title: str, text: str
) -> None:
    body = notification(environ, title, text)[2:-2]
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", body)
    assert body.count(";") == (1 if body.startswith("9") else 2) + text_semicolons(body, text)
    assert len(body) < 3 * NOTE_COLUMNS


def text_semicolons(body: str, text: str) -> int:
    """Those of the text, which stands last, do no harm."""
    parts = 1 if body.startswith("9") else 2
    return body.split(";", parts)[-1].count(";")
