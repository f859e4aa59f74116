"""The bounded queue before one connection."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.outbox import QUEUED_BYTES, SLOTS, Outbox


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


async def test_an_idle_writer_lets_the_kernel_have_it_at_once() -> None:
    kernel = Kernel(room=8)
    outbox = Outbox(kernel.write)
    taken = b""

    async def writer() -> None:
        nonlocal taken
        taken = await take_all(outbox)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer)
        await wait_all_tasks_blocked()
        outbox.put(b"12345")
        assert kernel.taken == b"12345"
        outbox.put(b"6789")  # the kernel takes a part: the rest must not be overtaken
        outbox.put(b"abc")
        kernel.room = 100
        outbox.put(b"def")
        outbox.close()
    assert kernel.taken + taken == b"123456789abcdef"


async def test_nothing_is_written_past_a_writer_that_is_busy() -> None:
    kernel = Kernel(room=100)
    outbox = Outbox(kernel.write)
    outbox.put(b"first")  # no writer is waiting yet
    assert kernel.taken == b""
    assert await outbox.take() == b"first"
    outbox.put(b"second")  # and now it is sending
    assert kernel.taken == b""


async def test_a_broken_socket_is_left_to_the_writer() -> None:
    def broken(_: bytes) -> int:
        raise BrokenPipeError

    outbox = Outbox(broken)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.take)
        await wait_all_tasks_blocked()
        assert outbox.put(b"data")


async def test_falling_behind_wakes_an_idle_writer() -> None:
    outbox = Outbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.take)
        await wait_all_tasks_blocked()
        outbox.fall_behind(Silent())
    assert len(outbox.behind) == 1
