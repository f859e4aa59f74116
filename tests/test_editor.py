"""Writing a text in an editor: a real process each time."""

import os
from pathlib import Path

import pytest

from trio_chat.client.editor import edited
from trio_chat.errors import SetupError


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """An editor that does what its first argument says with the file."""
    script = tmp_path / "an editor"
    script.write_text('#!/bin/sh\neval "$1"\n')
    script.chmod(0o700)
    return script


def environ(script: Path, does: str) -> dict[str, str]:
    return {"VISUAL": f"'{script}' '{does}'", "EDITOR": "/nowhere"}


@pytest.mark.parametrize(
    ("does", "left"),
    [
        (":", "a\ntext"),
        ('printf "äh\n" > "$2"', "äh"),
        ('printf "\n\n" > "$2"', "\n"),
        (': > "$2"', ""),
    ],
)
def test_what_is_left_is_the_text(script: Path, does: str, left: str) -> None:
    assert edited("a\ntext", environ(script, does)) == left


def test_nobody_else_can_read_it(script: Path) -> None:
    does = 'stat -c %a "$(dirname "$2")" > "$2"'
    assert edited("a secret", environ(script, does)) == "700"


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("exit 3", "has failed; the text is what it was"),
        ('rm "$2"', "no file for an editor: No such file"),
        ('printf "\\377" > "$2"', "not in UTF-8"),
    ],
)
def test_what_an_editor_does_wrong_is_told(script: Path, does: str, why: str) -> None:
    with pytest.raises(SetupError, match=why):
        edited("text", environ(script, does))


@pytest.mark.parametrize(
    ("named", "why"),
    [
        (
            "/nowhere/editor",
            "can't start the editor /nowhere/editor: No such file.*names another",
        ),
        ("/", "can't start the editor /: Permission denied"),
        ("'vi", "can't be read: No closing quotation"),
        (" ", "names no editor"),
    ],
)
def test_a_name_of_no_editor_is_told_and_no_other_one_is_taken(named: str, why: str) -> None:
    with pytest.raises(SetupError, match=why):
        edited("text", {"EDITOR": named, "PATH": os.environ["PATH"]})


def test_one_that_is_there_is_taken_if_nobody_names_one(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(script.parent))
    with pytest.raises(SetupError, match=r"there is no editor; \$EDITOR names one"):
        edited("text", {})
    script.rename(script.parent / "nano").write_text("#!/bin/sh\necho nano > $1\n")
    assert edited("text", {}) == "nano"
