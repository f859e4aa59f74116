"""The one thread of a store. Real threads."""

import threading

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.history.thread import OneThread, one_thread


async def test_what_work_returns_comes_back_and_what_it_raises() -> None:
    with one_thread("worker") as thread:
        assert await thread.run(lambda: threading.current_thread().name) == "worker"
        with pytest.raises(ValueError, match="invalid literal"):
            await thread.run(lambda: int("x"))
        assert await thread.run(lambda: 2) == 2


async def test_one_thing_is_done_after_the_other_and_in_order() -> None:
    done: list[int] = []
    begun = threading.Event()

    def first() -> None:
        begun.wait()
        done.append(1)

    with one_thread("worker") as thread:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(thread.run, first)
            await wait_all_tasks_blocked()
            nursery.start_soon(thread.run, lambda: done.append(2))
            await wait_all_tasks_blocked()
            begun.set()
    assert done == [1, 2]


async def test_what_is_under_way_is_waited_for_and_what_is_not_is_not_begun() -> None:
    go_on = threading.Event()
    done: list[str] = []

    def work() -> None:
        go_on.wait()
        done.append("under way")

    scope = trio.CancelScope()

    async def ask(thread: OneThread) -> None:
        with scope:
            await thread.run(work)
            await thread.run(lambda: done.append("after it was cancelled"))

    with one_thread("worker") as thread:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, thread)
            await wait_all_tasks_blocked()
            scope.cancel()
            await wait_all_tasks_blocked()
            still_waits = bool(nursery.child_tasks)
            go_on.set()
    assert still_waits
    assert done == ["under way"]


async def test_the_thread_ends_with_its_block() -> None:
    with one_thread("worker") as thread:
        worker = await thread.run(threading.current_thread)
    worker.join(5)
    assert not worker.is_alive()
