"""The server's log: one line each, whatever strangers send, and no secrets."""

import contextvars
import io
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator

import pytest

from trio_chat import logs
from trio_chat.gate import link
from trio_chat.signals import end_at_once

PATIENCE = 60.0
"""Seconds that a test waits for the log, on a machine that is busy with the rest."""

NASTY = [
    ("line end", "a\nb"),
    ("carriage return", "a\rb"),
    ("escape", "\x1b[2J"),
    ("8-bit escape", "\x9b2J"),
    ("bidi override", "\u202etxt"),
    ("line separator", "a\u2028b"),
    ("lone surrogate", "\ud800"),
    ("quotes and equals", "a=\"b\" c='d'"),
]
"""What a client may call itself."""


def make_record(event: str = "hello", **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("trio_chat.session", logging.INFO, "", 0, event, (), None)
    record.__dict__.update(fields)
    return record


def make_failure() -> logging.LogRecord:
    """The record of a bug in a function that knows a secret."""
    password = "hunter" + "2"
    try:
        raise ExceptionGroup("several", [RuntimeError(f"bug\x1b {len(password)}")])
    except ExceptionGroup:
        info = sys.exc_info()
    return logging.LogRecord("trio_chat", logging.ERROR, "", 0, "bug", (), info)


@pytest.fixture(params=[True, False], ids=["terminal", "JSON"])
def formatter(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> logging.Formatter:
    monkeypatch.setenv("NO_COLOR", "1")
    return logs.make_formatter(is_terminal=request.param)


@pytest.mark.parametrize("text", [text for _, text in NASTY], ids=[name for name, _ in NASTY])
def test_no_value_breaks_a_line_or_steers_the_terminal(
    formatter: logging.Formatter, text: str
) -> None:
    line = formatter.format(make_record(text, client=text, list=[text]))
    assert line.isprintable()
    assert "\\" in line or text.isprintable()


def test_a_line_of_json_has_the_fields() -> None:
    line = logs.make_formatter(is_terminal=False).format(make_record(link=3, who="alice"))
    fields = json.loads(line)
    assert fields.pop("timestamp").endswith("Z")
    assert fields == {
        "event": "hello",
        "level": "info",
        "logger": "trio_chat.session",
        "link": 3,
        "who": "alice",
    }


def test_a_line_for_eyes_has_the_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    line = logs.make_formatter(is_terminal=True).format(make_record(link=3, who="alice"))
    assert line.endswith("hello link=3 who='alice'")


def test_a_line_for_eyes_has_colours_unless_they_are_unwanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" in logs.make_formatter(is_terminal=True).format(make_record())


def test_a_traceback_shows_no_variables(formatter: logging.Formatter) -> None:
    text = formatter.format(make_failure())
    assert "RuntimeError" in text
    assert "hunter2" not in text
    assert "\x1b" not in text


def test_a_traceback_is_one_line_of_json() -> None:
    line = logs.make_formatter(is_terminal=False).format(make_failure())
    assert line.isprintable()
    assert json.loads(line)["exception"]


# ---------------------------------------------------------------- not too much


def test_a_complaint_is_not_repeated_for_a_while() -> None:
    seldom = logs.Seldom(10)
    record = make_record()
    passed = []
    for tick in range(300):  # ten times a second, as trio does
        record.created = 1000 + tick / 10
        if seldom.filter(record):
            passed.append(record.created)
    assert passed == [1000, 1010, 1020]


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    seldom = logs.Seldom(10)
    record = make_record()
    assert seldom.filter(record)
    record.created -= 3600
    assert seldom.filter(record)


def test_a_complaint_has_no_traceback() -> None:
    record = make_failure()
    assert logs.Seldom(10).filter(record)
    assert record.exc_info is None


# ---------------------------------------------------------------- in force


@pytest.fixture
def log_stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """A stream that everything logs to, until the end of the test."""
    for name in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing"):
        monkeypatch.setattr(logging, name, getattr(logging, name))
    stream = io.StringIO()
    root, complainer = logging.getLogger(), logging.getLogger("trio.serve_listeners")
    handlers, level, filters = list(root.handlers), root.level, list(complainer.filters)
    logs.configure(stream)
    yield stream
    root.handlers[:], complainer.filters[:] = handlers, filters
    root.setLevel(level)


def test_off_a_terminal_every_module_logs_json(log_stream: io.StringIO) -> None:
    logging.getLogger("trio_chat.session").info("closed", extra={"link": 7})
    logging.getLogger("trio_chat.session").debug("not this")
    for _ in range(3):
        logging.getLogger("trio.serve_listeners").error("accept returned %s", "EMFILE")
    for handler in logging.getLogger().handlers:
        handler.flush()
    lines = [json.loads(line) for line in log_stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["closed", "accept returned EMFILE"]
    assert lines[0]["link"] == 7


# ---------------------------------------------------------------- nobody waits for it


def test_who_logs_does_not_wait_and_what_is_lost_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "WAITING_LINES", 10)
    monkeypatch.setattr(logs, "AT_ONCE", 1)
    monkeypatch.setattr(logs, "FLUSH_WITHIN", PATIENCE)
    may_write, lines = threading.Event(), list[str]()

    def write(line: str) -> None:
        may_write.wait()
        lines.append(line)

    handler = logs.Patient(write)
    for number in range(100):
        handler.handle(make_record(f"{number}"))
    may_write.set()
    handler.flush()
    written = [line for line in lines if "lost" not in line]
    assert 10 <= len(written) <= 11, "one may be on its way"
    assert written == [f"{number}\n" for number in range(len(written))]
    (complaint,) = (line for line in lines if "lost" in line)
    assert "lines of this log are lost" in complaint


def test_what_is_logged_while_others_are_written_is_written_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "FLUSH_WITHIN", PATIENCE)
    has_begun, may_write, written = threading.Event(), threading.Event(), list[str]()

    def write(text: str) -> None:
        has_begun.set()
        may_write.wait()
        written.append(text)

    handler = logs.Patient(write)
    handler.handle(make_record("first"))
    has_begun.wait()
    for number in range(3):
        handler.handle(make_record(f"{number}"))
    may_write.set()
    handler.flush()
    assert written == ["first\n", "0\n1\n2\n"]


def test_no_line_of_another_program_gets_into_one_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "FLUSH_WITHIN", PATIENCE)
    may_write, written = threading.Event(), list[str]()

    def write(text: str) -> None:
        may_write.wait()
        written.append(text)

    handler, texts = logs.Patient(write), [f"é{number:0999}" for number in range(20)]
    for text in texts:
        handler.handle(make_record(text))
    may_write.set()
    handler.flush()
    assert "".join(written).splitlines() == texts
    assert all(
        len(text.encode()) <= logs.WHOLE_BYTES or text.count("\n") == 1 for text in written
    )


def test_who_ends_at_once_lets_the_last_lines_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_write, lines = threading.Event(), list[str]()

    class Slow(logs.Patient):
        def flush(self) -> None:
            may_write.set()
            super().flush()

    def write(line: str) -> None:
        may_write.wait()
        lines.append(line)

    handler, ended = Slow(write), list[tuple[int, list[str]]]()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    monkeypatch.setattr(os, "_exit", lambda status: ended.append((status, list(lines))))
    handler.handle(make_record("closing"))
    end_at_once(15, None)
    may_write.set()
    assert ended == [(128 + 15, ["closing\n"])]


def test_a_log_that_can_not_be_written_is_no_reason_to_wait_or_to_fail() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        handler = logs.Patient(logs.write_to(stream))
        handler.handle(make_record())
        handler.flush()  # or it would be written to what has the number of this file next


def test_lines_are_whole_where_the_other_end_takes_little_at_a_time() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    text = "x" * 1_000_000
    with os.fdopen(reader, "rb") as source, os.fdopen(writer, "w") as stream:
        handler = logs.Patient(logs.write_to(stream))
        handler.handle(make_record(text))
        read = b""
        while len(read) <= len(text):
            read += source.read1()
    assert read.decode() == f"{text}\n"


def test_each_line_says_which_connection_it_is_about(formatter: logging.Formatter) -> None:
    def about_five() -> str:
        link.set(5)
        return formatter.format(make_record())

    line = contextvars.copy_context().run(about_five)
    assert re.search(r"\blink\W+5\b", line)
    assert "link" not in formatter.format(make_record())
