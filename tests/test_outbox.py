"""The bounded queue before one connection."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.outbox import QUEUED_BYTES, SLOTS, Outbox

Write = Callable[[bytes], int]


class Kernel:
    """A socket's buffer: takes `room` bytes and no more."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = b""

    def write(self, data: bytes) -> int:
        part = data[: self.room - len(self.taken)]
        self.taken += part
        return len(part)


class Silent:
    """A backlog that is not read in this test."""

    async def next_page(self) -> tuple[bytes, bool]:
        await trio.sleep_forever()
        raise AssertionError


class Writers:
    """Takes all that is to be taken of an outbox, and counts how often it is started."""

    def __init__(self, nursery: trio.Nursery, outbox: Outbox) -> None:
        self.taken = b""
        self.started = 0
        self._nursery, self._outbox = nursery, outbox
        outbox.start_writer = self._start

    def _start(self) -> None:
        self.started += 1
        self._nursery.start_soon(self._write)

    async def _write(self) -> None:
        self.taken += await take_all(self._outbox)


async def take_all(outbox: Outbox) -> bytes:
    taken = b""
    while (data := await outbox.take()) is not None:
        taken += data
        outbox.sent(len(data))
    return taken


async def test_what_is_put_comes_out_joined_and_in_order() -> None:
    outbox = Outbox()
    for part in (b"a", b"b", b"c"):
        assert outbox.put(part)
    assert await outbox.take() == b"abc"


@pytest.mark.parametrize("size", [1, QUEUED_BYTES // 4])
def test_events_are_refused_when_it_is_full_in_slots_or_bytes(size: int) -> None:
    outbox = Outbox()
    accepted = 0
    while outbox.put(b"x" * size):
        accepted += 1

    assert accepted == min(SLOTS, QUEUED_BYTES // size)


async def test_what_was_taken_counts_until_it_is_sent() -> None:
    outbox = Outbox()
    outbox.put(b"x" * QUEUED_BYTES)
    data = await outbox.take()
    assert data is not None
    assert not outbox.put(b"more")

    outbox.sent(len(data))

    assert outbox.put(b"more")


async def test_a_closed_outbox_writes_nothing_even_after_a_look_at_it() -> None:
    kernel = Kernel(room=100)
    outbox = Outbox(kernel.write)
    outbox.close()
    assert await outbox.take() is None
    outbox.put(b"late")
    assert kernel.taken == b""


def test_what_is_closed_keeps_nobody() -> None:
    outbox = Outbox()
    nobody, outbox.start_writer = outbox.start_writer, lambda: None
    outbox.close()
    assert outbox.start_writer is nobody


async def test_an_answer_finds_room_when_events_do_not() -> None:
    outbox = Outbox()
    while outbox.put(b"event"):
        pass
    outbox.answer(b"answer")
    outbox.close(b"goodbye")
    assert (await take_all(outbox)).endswith(b"answergoodbye")


async def test_who_waits_for_room_is_woken_when_there_is_some() -> None:
    outbox = Outbox()
    outbox.put(b"x" * QUEUED_BYTES)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.wait_for_space)
        await wait_all_tasks_blocked()
        data = await outbox.take()
        assert data is not None
        outbox.sent(len(data))
    assert not outbox.is_full


async def test_who_waits_for_room_is_woken_when_it_closes() -> None:
    outbox = Outbox()
    outbox.put(b"x" * QUEUED_BYTES)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.wait_for_space)
        await wait_all_tasks_blocked()
        outbox.close()


async def test_a_closed_outbox_takes_nothing_and_calls_nobody_slow() -> None:
    outbox = Outbox()
    outbox.put(b"before")
    outbox.close(b"goodbye")
    assert outbox.put(b"after")
    outbox.answer(b"after")
    assert await take_all(outbox) == b"beforegoodbye"


async def test_the_kernel_has_it_at_once_and_a_writer_what_it_does_not_take() -> None:
    kernel = Kernel(room=8)
    outbox = Outbox(kernel.write)
    async with trio.open_nursery() as nursery:
        writers = Writers(nursery, outbox)
        outbox.put(b"12345")
        assert (kernel.taken, writers.started) == (b"12345", 0)
        outbox.put(b"6789")  # the kernel takes a part: the rest must not be overtaken
        outbox.put(b"abc")
        kernel.room = 100
        outbox.put(b"def")
        outbox.close()
    assert (kernel.taken, writers.taken) == (b"12345678", b"9abcdef")
    assert writers.started == 1


async def test_when_all_is_written_the_writer_ends_and_the_kernel_has_the_next() -> None:
    kernel = Kernel(room=3)
    outbox = Outbox(kernel.write)
    async with trio.open_nursery() as nursery:
        writers = Writers(nursery, outbox)
        outbox.put(b"12345")
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks
        kernel.room = 6
        outbox.put(b"67890")
        await wait_all_tasks_blocked()
        outbox.close()
        outbox.put(b"nothing")
    assert (kernel.taken, writers.taken) == (b"123678", b"4590")
    assert writers.started == 2


async def test_where_it_can_not_be_written_at_once_one_writer_waits() -> None:
    outbox = Outbox()
    async with trio.open_nursery() as nursery:
        writers = Writers(nursery, outbox)
        for part in (b"1", b"2"):
            outbox.put(part)
            await wait_all_tasks_blocked()
        outbox.close(b"3")
    assert (writers.taken, writers.started) == (b"123", 1)


async def test_nothing_is_written_past_a_writer_that_is_busy() -> None:
    kernel = Kernel(room=0)
    outbox = Outbox(kernel.write)
    outbox.put(b"first")
    kernel.room = 100
    assert await outbox.take() == b"first"
    outbox.put(b"second")  # it is still sending
    assert kernel.taken == b""


async def test_an_answer_that_is_held_is_not_written_past_a_writer_either() -> None:
    kernel = Kernel(room=100)
    outbox = Outbox(kernel.write)
    async with trio.open_nursery() as nursery:
        writers = Writers(nursery, outbox)
        outbox.hold(b"ack")
        outbox.fall_behind(Silent())  # its pages come from the writer
        outbox.let_go()
        outbox.put(b"event")
        assert kernel.taken == b""
        outbox.close()
    assert writers.taken == b"ackevent"


async def test_a_broken_socket_is_left_to_the_writer() -> None:
    def broken(_: bytes) -> int:
        raise BrokenPipeError

    outbox = Outbox(broken)
    assert outbox.put(b"data")
    assert await outbox.take() == b"data"


@pytest.mark.parametrize("write", [None, Kernel(room=100).write], ids=["waiting", "at once"])
async def test_falling_behind_wakes_or_starts_a_writer(write: Write | None) -> None:
    outbox = Outbox(write)
    async with trio.open_nursery() as nursery:
        Writers(nursery, outbox)
        outbox.put(b"data")
        await wait_all_tasks_blocked()
        outbox.fall_behind(Silent())
        assert outbox.has_queued
        outbox.close()
    assert len(outbox.behind) == 1


def test_the_writer_sends_at_once_what_the_kernel_takes() -> None:
    kernel = Kernel(room=3)
    outbox = Outbox(kernel.write)
    assert outbox.write_at_once(b"abcde") == 3
    assert outbox.write_at_once(b"de") == 0


def test_the_writer_sends_nothing_at_once_where_that_is_not_possible() -> None:
    def full(_: bytes) -> int:
        raise BlockingIOError

    assert Outbox().write_at_once(b"a") == 0
    assert Outbox(full).write_at_once(b"a") == 0
    kernel = Kernel(room=3)
    closed = Outbox(kernel.write)
    closed.cut()
    assert closed.write_at_once(b"a") == 0
    assert not kernel.taken
