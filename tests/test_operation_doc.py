"""The operator's guide tells the truth: its limits, its events, its unit."""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from trio_chat import (
    banished,
    charter,
    config,
    failures,
    gate,
    hashing,
    logs,
    outbox,
    pacing,
    reception,
    rooms,
    rules,
    sequencer,
    session,
)
from trio_chat.doors import http
from trio_chat.history import index

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "operation.md").read_text()
UNIT = ROOT / "docs" / "trio-chat.service"

LOGS = re.compile(r"log\.(info|warning|error|exception)$|_note$")

MOST_EXPOSED = 1.2
"""What the guide says of the unit; systemd counts from 0 to 10."""


def table(section: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    text = GUIDE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:1] == "|"]
    return [[cell.strip(" |") for cell in row] for row in rows[2:]]


def test_the_limits_are_those_of_the_code() -> None:
    limits = {row[0]: row[1:] for row in table("Limits")}
    passwords = f"{failures.WAIT_TO / 60:.0f} minutes at most"
    assert limits.pop("wrong passwords and keys")[1].endswith(passwords)
    assert {name: row[0] for name, row in limits.items()} == {
        "told at once that there is no room": f"{gate.TURNED_AWAY}",
        "told at once that they may not come in": f"{gate.UNWANTED}",
        "a last word": f"{session.CLOSE_WITHIN:.0f} s",
        "waiting for one reader": f"{outbox.QUEUED_BYTES // 1024} KiB",
        "a name and its rooms, when the connection is lost": (
            f"{sequencer.COME_BACK_WITHIN:.0f} s"
        ),
        "private rooms": (f"{rules.PRIVATE_EACH} of a person, {rules.PRIVATE_IN_ALL:,} in all"),
        "people with a role, and banned or muted names, in a room": (
            f"{charter.RANKED:,} and {charter.SANCTIONED:,}"
        ),
        "accounts": f"{reception.ACCOUNTS_IN_ALL:,}",
        "addresses that are remembered": f"{pacing.KNOWN:,}",
        "invitations that are told again": f"{rooms.INVITED} of a person",
        "a private room of two guests": f"{reception.ABANDONED_AFTER.days} days",
        "banished": f"{banished.MOST:,}",
        "devices of an account": f"{reception.DEVICES_EACH}",
        "passwords that wait to be looked at": f"{hashing.QUEUE}",
        "a request over HTTP": (
            f"{http.HEAD_BYTES // 1024} KiB of head, {http.BODY_BYTES // 1024} KiB of body"
        ),
        "a search": f"{index.SEARCH_WITHIN:.0f} s",
        "lines of the log that wait": f"{logs.WAITING_LINES:,}",
    }


def logged() -> Iterator[str]:
    """What the server logs, as far as it is a text that stands there."""
    for path in (ROOT / "trio_chat").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func, [ast.Constant(str(text)), *_]) if (
                    LOGS.search(ast.unparse(func)) and "client" not in path.parts
                ):
                    yield text


def test_the_events_are_those_that_are_logged() -> None:
    listed = [event for cell, *_ in table("The log") for event in re.findall("`(.*?)`", cell)]
    said = set(logged()) - {"%s"}  # what was asked for by a signal
    patterns = [re.escape(event).replace("…", ".*") for event in listed]
    assert [one for one in patterns if not any(re.fullmatch(one, text) for text in said)] == []
    assert {
        text for text in said if not any(re.fullmatch(one, text) for one in patterns)
    } == set()


def test_the_settings_of_the_service_are_settings(tmp_path: Path) -> None:
    (text,) = re.findall(r"<<'END'\n(.*?)END\n", GUIDE, re.DOTALL)
    path = tmp_path / "config.toml"
    path.write_text(text)
    _, settings, _ = config.sources(path, ["serve"])
    assert settings.config["doctor"]["tls"] is True
    assert settings.config["backup"]["data"] == "/var/lib/trio_chat"


def test_the_unit_is_one_and_leaves_little_to_attack(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    program = tmp_path / "trio-chat"
    program.touch(0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(
        UNIT.read_text().replace("/opt/trio_chat/.venv/bin/trio-chat", f"{program}")
    )
    assert analyze("verify", str(unit)) == ""
    found = analyze("security", "--offline=yes", str(unit)).splitlines()[-1]
    assert f"level for {UNIT.name}: {MOST_EXPOSED} OK" in found
    assert f"gives it {MOST_EXPOSED} of 10" in GUIDE


def analyze(*words: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
