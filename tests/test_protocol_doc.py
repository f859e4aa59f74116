"""Tests of docs/protocol.md: what it shows is what is sent."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import attrs
import pytest

from trio_chat.errors import BY_CODE
from trio_chat.framing import LINE_BYTES
from trio_chat.messages import (
    ID_CHARS,
    VERSION,
    AccessName,
    Limits,
    Post,
    RankName,
    Reply,
    Request,
)
from trio_chat.names import NAME_BYTES, NAME_CHARS
from trio_chat.pacing import BURST, RATE
from trio_chat.questions import HITS
from trio_chat.rooms import NEWEST, ROOMS_TOLD
from trio_chat.rules import SIGN_CHARS, TEXT_BYTES, TOPIC_CHARS
from trio_chat.schema import MESSAGES, PARTS
from trio_chat.sequencer import COME_BACK_WITHIN
from trio_chat.session import HELLO_WITHIN, SILENCE, Settings
from trio_chat.wire import CLIENT, SERVER, tag
from trio_chat.writer import PIECE_BYTES, STUCK

PAGE = (Path(__file__).parents[1] / "docs" / "protocol.md").read_text("utf-8")

FENCES = re.findall(r"^```(.*)\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)

LINES = [line for _, block in FENCES for line in block.splitlines()]

SECTIONS = dict(re.findall(r"^#+ `?(.+?)`?\n((?:(?!#).*\n)*)", PAGE, re.MULTILINE))


def decode(example: str) -> Request | Reply:
    """The message of an example line: → is from the client, ← from the server."""
    arrow, line = example[:2], example[2:].encode()
    assert arrow in ("→ ", "← ")
    return SERVER.decode(line) if arrow == "→ " else CLIENT.decode(line)


def encode(message: Request | Reply) -> str:
    if isinstance(message, Request):
        return f"→ {CLIENT.encode(message).decode()}"
    return f"← {SERVER.encode(message).decode()}"


def table(section: str) -> list[list[str]]:
    """The cells of a section's table, without its head; code marks are taken off."""
    rows = [row for row in SECTIONS[section].splitlines() if row.startswith("|")]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows[2:]]


# ---------------------------------------------------------------- examples


def test_there_are_examples_and_all_of_them_are_marked() -> None:
    assert len(LINES) > len(MESSAGES)
    assert {language for language, _ in FENCES} == {"json"}
    assert PAGE.count("```") == 2 * len(FENCES)


@pytest.mark.parametrize("example", LINES)
def test_an_example_is_byte_for_byte_what_is_sent(example: str) -> None:
    assert encode(decode(example)) == example + "\n"


@pytest.mark.parametrize("cls", MESSAGES, ids=tag)
def test_a_message_has_an_example_in_its_section(cls: type) -> None:
    examples = re.findall(r"^[→←] .*", SECTIONS[tag(cls)], re.MULTILINE)
    assert cls in {type(decode(example)) for example in examples}


# ---------------------------------------------------------------- tables of fields

WORDS: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    datetime: "time",
    Post: "a post",
    RankName: "`member`, `moderator` or `owner`",
    AccessName: "`public`, `invitation` or `key`",
}

DEFAULTS: dict[Any, str] = {
    attrs.NOTHING: "",
    None: "null",
    False: "false",
    (): "[]",
    "": '""',
    "public": '"public"',
}


def word(kind: Any) -> str:
    """What the table calls the type of a field; that it may be null, its default says."""
    if kind in WORDS:
        return WORDS[kind]
    if attrs.has(kind):
        return f"`{tag(kind)}`"
    (inner, *_) = get_args(kind)  # of Annotated, of X | None, of tuple
    if get_origin(kind) is not tuple:
        return word(inner)
    return f"array of {'strings' if inner is str else word(inner)}"


def test_a_word_says_what_an_annotation_says() -> None:
    assert word(Annotated[str, "a mark"] | None) == "string"


def rows(cls: type) -> list[list[str]]:
    """The first cells that the table of a class must have."""
    return [
        [field.name, word(field.type).strip("`"), default(field.default)]
        for field in attrs.fields(cls)
    ]


def default(value: object) -> str:
    return str(value) if type(value) is int else DEFAULTS[value]


@pytest.mark.parametrize("cls", [cls for cls in (*MESSAGES, *PARTS) if cls != Limits], ids=tag)
def test_a_class_is_documented_with_all_its_fields(cls: type) -> None:
    assert [cells[:3] for cells in table(tag(cls))] == rows(cls)


def test_the_limits_are_those_of_a_server() -> None:
    shown = {name: float(number) for name, _, number, _ in table("limits")}
    assert shown == attrs.asdict(Settings().limits)
    assert [cells[:2] for cells in table("limits")] == [
        [field.name, word(field.type)] for field in attrs.fields(Limits)
    ]


# ---------------------------------------------------------------- errors and numbers


def test_every_error_is_in_the_table_with_what_becomes_of_the_link() -> None:
    shown = {code: ends for code, ends, _ in table("Errors")}
    assert shown == {code: "yes" if cls.ends_link else "no" for code, cls in BY_CODE.items()}


def test_no_code_and_no_class_is_named_that_is_none() -> None:
    fields = {field.name for cls in (*MESSAGES, *PARTS) for field in attrs.fields(cls)}
    values = {*get_args(RankName), *get_args(AccessName)}
    known = {*BY_CODE, *map(tag, (*MESSAGES, *PARTS)), *fields, *values, "type"}
    prose = re.sub(r"^[→←] .*", "", PAGE, flags=re.MULTILINE)
    named = set(re.findall(r"`([a-z_]+)`", prose))
    assert named - known == {"nc", "alice", "_"}


@pytest.mark.parametrize(
    "words",
    [
        f"version {VERSION}",
        f"at most {LINE_BYTES:,} bytes",
        f"at most {TEXT_BYTES:,} bytes",
        f"at most {ID_CHARS} characters",
        f"up to {NAME_CHARS - 1} letters",
        f"at most {NAME_BYTES} bytes in UTF-8",
        f"within {HELLO_WITHIN:.0f} seconds",
        f"for {STUCK:.0f} seconds ({PIECE_BYTES // 1024} KiB",
        f"its rooms for {COME_BACK_WITHIN:.0f} seconds",
        f"{SILENCE:.0f} seconds without a byte",
        f"at most {SIGN_CHARS} characters",
        f"at most {TOPIC_CHARS} characters",
        f"from 1 to {HITS}",
        f"together at most {ROOMS_TOLD}",
        f"the newest {NEWEST} ",
        f"newest {NEWEST} events",
        f"| {RATE:.0f} | says a second",
        f"| {BURST} | says at once",
    ],
)
def test_a_number_of_the_text_is_that_of_the_code(words: str) -> None:
    assert words in PAGE


def test_a_sentence_has_a_line_of_its_own() -> None:
    prose = [line for line in PAGE.splitlines() if not line.startswith(("|", "→", "←"))]
    assert [line for line in prose if re.search(r"[a-z`)][.?!] [A-Z`]", line)] == []
