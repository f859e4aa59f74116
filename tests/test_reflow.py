"""Lines that are on a terminal when it gets another width."""

import pytest

from trio_chat.client.reflow import reflows, rows_gained


@pytest.mark.parametrize(
    ("environ", "does"),
    [
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "linux"}, False),
        ({"TERM": "screen"}, False),
        ({"TERM": "screen", "TMUX": "x"}, True),
        ({"TERM": "tmux-256color"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "6800"}, True),
        ({"TERM": "xterm-kitty"}, True),
        ({}, False),
    ],
)
def test_terminals_that_break_lines_anew_are_known(
    environ: dict[str, str], *, does: bool
) -> None:
    assert reflows(environ) is does


@pytest.mark.parametrize(
    ("widths", "before", "columns", "gained"),
    [
        ([], 0, 80, 0),
        ([79], 7, 80, 0),
        ([80], 7, 80, 0),
        ([81], 7, 80, 1),
        ([79, 0, 79], 7, 40, 2),
        ([79], 50, 20, 5),
    ],
)
def test_what_does_not_fit_any_more_stands_on_more_rows(
    widths: list[int], before: int, columns: int, gained: int
) -> None:
    assert rows_gained(widths, before, columns) == gained
