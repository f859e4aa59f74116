"""What signals do to a server: end it, have its certificate read anew, show what it does."""

import logging
import os
import signal
import sys
from collections.abc import AsyncIterable

import trio

from trio_chat.doors.tls import Tls
from trio_chat.errors import SetupError

ENDING = (signal.SIGINT, signal.SIGTERM)
"""Those that end a server; a second one, at once."""

HANGUP = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()
"""That which has a certificate read anew; but of a terminal that is gone it tells, too."""

TASKS = (signal.SIGUSR1,) if hasattr(signal, "SIGUSR1") else ()
"""That which shows the tree of tasks."""

log = logging.getLogger(__name__)


async def heed(signals: AsyncIterable[int], tls: Tls | None, *, had_terminal: bool) -> None:
    """Do what signals want, until one wants the server to end."""
    async with trio.open_nursery() as showing:
        async for number in signals:
            if number in TASKS:
                showing.start_soon(show_tasks)
            elif number in HANGUP and not (had_terminal and not is_at_terminal()):
                reload(tls)
            else:
                log.info("stopping", extra={"signal": signal.Signals(number).name})
                break
        showing.cancel_scope.cancel(reason="stopping")


def end_at_once(number: int, _frame: object) -> None:
    """For the second signal. What is acknowledged is on the disk, so nothing is lost; an
    exception would wait for every session's last second, and for the history's thread. Only
    the log has a moment to be written."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(128 + number)


def is_at_terminal() -> bool:
    """Does somebody see the log? Not any more, when the terminal is gone."""
    return sys.stderr is not None and sys.stderr.isatty()


def reload(tls: Tls | None) -> None:
    """Read the certificate anew."""
    if tls is None:
        log.info("nothing to reload: there is no certificate")
        return
    try:
        tls.reload()
    except SetupError as exc:
        log.warning("the certificate is still the old one", extra={"why": str(exc)})
        return
    log.info("reloaded the certificate", extra={"file": str(tls.certificate)})


async def show_tasks() -> None:
    """Log what every task waits for, each below the one that has started it.

    One takes some 5 ms, so others have their turn in between.
    """
    try:
        import stackscope  # noqa: PLC0415 # few have it
    except ImportError:
        log.warning("to show its tasks a server needs stackscope: pip install stackscope")
        return
    tasks = [(0, trio.lowlevel.current_root_task())]
    while tasks:
        depth, task = tasks.pop()
        if task is None:  # so the root's type says, for where no trio runs
            continue
        for line in stackscope.extract(task).format(ascii_only=True, show_contexts=False):
            log.info("%s", "  " * depth + line.rstrip())
        children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        tasks += [(depth + 1, child) for child in children]
        await trio.lowlevel.checkpoint()
