"""The server's log: one line for each thing that matters, and never what somebody said.

Everything logs through the standard library, with fields in `extra`; structlog makes the
lines: for eyes on a terminal, JSON elsewhere. Names and the like come from strangers, so no
value can break a line or steer the terminal.

Imported only by who serves: structlog takes its time.
"""

import logging
import os
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TextIO

import structlog
from structlog.processors import ExceptionRenderer
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from trio_chat.gate import link

COMPLAIN_EVERY = 10.0
"""Seconds between two complaints that trio would repeat ten times a second."""

WAITING_LINES = 10_000
"""The most lines that wait to be written: some MB, a minute of a busy server."""

AT_ONCE = 100
"""The most lines that are taken to be written together."""

WHOLE_BYTES = getattr(select, "PIPE_BUF", 512)
"""What a pipe takes in one piece, so that no line of another program gets into one of ours."""

REST = 0.02
"""Seconds from one write to the next: whoever logs meanwhile wakes no thread. With that, and
what is left out of a record, 7 % more can come in a second."""

FLUSH_WITHIN = 1.0
"""Seconds that the last lines have to be written, at the end."""


def configure(stream: TextIO) -> None:
    """Log to `stream`, from the level INFO on. Nobody waits for it."""
    handler = Patient(write_to(stream))
    handler.setFormatter(make_formatter(is_terminal=stream.isatty()))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    _leave_out_what_no_line_has()
    logging.getLogger("trio.serve_listeners").addFilter(Seldom(COMPLAIN_EVERY))


def _leave_out_what_no_line_has() -> None:
    """Half of what a line costs is to find out which thread, process and line of code it is
    from (the logging HOWTO of Python, "Optimization")."""
    logging._srcfile = None  # noqa: SLF001 # it is documented, underscore and all
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def make_formatter(*, is_terminal: bool) -> logging.Formatter:
    """What makes a line of a record."""
    return ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.ExtraAdder(),
            structlog.stdlib.add_log_level,
            _add_link,
        ],
        processors=_for_terminal() if is_terminal else _for_programs(),
    )


def _add_link(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Say which connection it is about, if it is one of those who serve it that log."""
    number = link.get()
    return event if number is None else {"link": number, **event}


class Patient(logging.Handler):
    """Has a thread of its own write the lines, so that nobody else waits where a terminal
    was stopped with Ctrl-S, or a pipe is not emptied.

    Beyond WAITING_LINES lines are lost, and counted.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__()
        self._write = write
        # One that what is logged while it is in use, as by a finaliser, can't lock up.
        self._waiting: SimpleQueue[str | threading.Event] = SimpleQueue()
        self._lost = 0
        # A daemon: one that never comes to its end does not keep the process from its own.
        threading.Thread(target=self._work, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have it written."""
        if self._waiting.qsize() >= WAITING_LINES:
            self._lost += 1
            return
        self._waiting.put(f"{self.format(record)}\n")

    def flush(self) -> None:
        """Wait until all is written, but not for long."""
        is_written = threading.Event()
        self._waiting.put(is_written)
        is_written.wait(FLUSH_WITHIN)

    def _work(self) -> None:
        told = 0
        while True:
            items = self._gather()
            for text in _together(item for item in items if isinstance(item, str)):
                self._write(text)
            lost = self._lost
            if lost > told:
                self._write(f"{self.format(_complaint(lost - told))}\n")
                told = lost
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()
            if len(items) < AT_ONCE:  # or lines come faster than that
                time.sleep(REST)

    def _gather(self) -> list[str | threading.Event]:
        """What waits, once something does."""
        items = [self._waiting.get()]
        with suppress(Empty):
            while len(items) < AT_ONCE:
                items.append(self._waiting.get_nowait())
        return items


def _together(lines: Iterable[str]) -> Iterator[str]:
    """The lines, as many joined as stay WHOLE_BYTES."""
    joined, size = "", 0
    for line in lines:
        more = len(_encode(line))
        if joined and size + more > WHOLE_BYTES:
            yield joined
            joined, size = "", 0
        joined, size = joined + line, size + more
    if joined:
        yield joined


def write_failure(text: str) -> None:
    """Write why a server does not run, or not any more, as the last line of a log for
    programs."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    at_once = logging.StreamHandler(sys.stderr)  # where the process ends, no thread writes
    at_once.setFormatter(make_formatter(is_terminal=False))
    log = logging.Logger(__name__)
    log.addHandler(at_once)
    log.error("can't serve", extra={"why": text})


def _complaint(lost: int) -> logging.LogRecord:
    text = "lines of this log are lost: nobody read it"
    fields = {"levelno": logging.WARNING, "levelname": "WARNING", "msg": text, "lost": lost}
    return logging.makeLogRecord({"name": __name__, **fields})


def write_to(stream: TextIO) -> Callable[[str], object]:
    """What writes to a stream, below its buffers: a thread that waits in there would hold a
    lock that Python takes at its end."""
    try:
        number = stream.fileno()
    except OSError:  # over memory
        return stream.write
    return partial(_write_all, number)


def _write_all(number: int, text: str) -> None:
    data = _encode(text)
    with suppress(OSError):  # nobody is there to read it any more
        while data:
            try:
                data = data[os.write(number, data) :]
            except BlockingIOError:  # others may have set it up like that
                select.select([], [number], [])


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


class Seldom(logging.Filter):
    """Lets one record through every so many seconds, and without its traceback.

    For what trio logs while it can't accept connections: the reason says all.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._last = -seconds

    def filter(self, record: logging.LogRecord) -> bool:
        """Is it time for another one?"""
        if 0 <= record.created - self._last < self._seconds:
            return False
        self._last = record.created
        record.exc_info = None
        return True


# ---------------------------------------------------------------- for programs


def _for_programs() -> list[Processor]:
    return [
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Local variables may be passwords, tokens and what people say.
        ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
        ProcessorFormatter.remove_processors_meta,
        structlog.processors.JSONRenderer(),
    ]


# ---------------------------------------------------------------- for eyes


def _for_terminal() -> list[Processor]:
    return [
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        ProcessorFormatter.remove_processors_meta,
        _escape_event,
        structlog.dev.ConsoleRenderer(
            colors="NO_COLOR" not in os.environ,
            pad_event_to=0,
            repr_native_str=True,  # which escapes what can't be printed
            exception_formatter=_write_traceback,  # the default one shows local variables
        ),
    ]


def _escape_event(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """The event itself is shown as it is, unlike the fields."""
    event["event"] = escape(str(event["event"]))
    return event


def _write_traceback(stream: TextIO, exc_info: ExcInfo) -> None:
    text = "".join(traceback.format_exception(*exc_info))
    stream.writelines(f"\n{escape(line)}" for line in text.splitlines())


def escape(text: str) -> str:
    """The text with everything that can't be printed, line ends included, made visible."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape_char(char) for char in text)


def _escape_char(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
