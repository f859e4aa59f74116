"""One thread, which does what it is asked to, one thing after the other.

`trio.to_thread` borrows a thread for each job, with a limiter, a context and a name: 70 µs of
CPU instead of 38. A commit is such a job, and so is each page that is read for who joins.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import outcome
import trio
from attrs import define, field

T = TypeVar("T")

_Job = tuple[Callable[[], Any], trio.lowlevel.Task]


@define(eq=False)
class OneThread:
    """Made by `one_thread`."""

    _trio: trio.lowlevel.TrioToken = field(factory=trio.lowlevel.current_trio_token, init=False)
    _jobs: SimpleQueue[_Job | None] = field(factory=SimpleQueue, init=False)

    async def run(self, work: Callable[[], T]) -> T:
        """Have `work` done; returns what it returns, raises what it raises. It can be
        cancelled before it is asked for, not after."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._jobs.put((work, trio.lowlevel.current_task()))
        result: T = await trio.lowlevel.wait_task_rescheduled(_is_not_cancelled)
        return result

    def stop(self) -> None:
        """End, after what was asked for."""
        self._jobs.put(None)

    def work(self) -> None:
        """In the thread: do what is asked for, until it is to stop."""
        while (job := self._jobs.get()) is not None:
            work, task = job
            result = outcome.capture(work)
            del work, job  # or what it holds would stay until the next one
            with suppress(trio.RunFinishedError):
                self._trio.run_sync_soon(trio.lowlevel.reschedule, task, result)


def _is_not_cancelled(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED


@contextmanager
def one_thread(name: str) -> Iterator[OneThread]:
    """A thread for as long as the block lasts."""
    one = OneThread()
    # A daemon: a disk that hangs must not keep the process from ending.
    Thread(target=one.work, name=name, daemon=True).start()
    try:
        yield one
    finally:
        one.stop()
