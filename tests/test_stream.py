"""The stream of a connection, over real sockets."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from trio.testing import check_two_way_stream, wait_all_tasks_blocked

from trio_chat.doors.stream import TcpStream, direct_write, lean

BUFFER_BYTES = 64 * 1024


async def make_pair() -> tuple[TcpStream, TcpStream]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = await trio.open_tcp_stream("127.0.0.1", listener.getsockname()[1])
        far, _ = listener.accept()
    far.settimeout(0)
    return lean(near), TcpStream(far)


async def make_clogged_pair() -> tuple[TcpStream, TcpStream]:
    """A pair of which neither can send any more."""
    pair = await make_pair()
    for stream in pair:
        with suppress(BlockingIOError):
            while True:
                stream.socket.send(bytes(BUFFER_BYTES))
    return pair


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[TcpStream, TcpStream]]:
    near, far = await make_pair()
    async with near, far:
        yield near, far


async def test_it_does_what_a_stream_has_to() -> None:
    await check_two_way_stream(make_pair, make_clogged_pair)


async def test_it_can_be_closed_in_one_direction() -> None:
    async with pair() as (near, far):
        await near.send_eof()
        assert await far.receive_some() == b""
        await far.send_all(b"the last word")
        assert await near.receive_some() == b"the last word"


async def test_a_reset_is_a_broken_stream() -> None:
    async with pair() as (near, far):
        linger = b"\1\0\0\0\0\0\0\0"
        far.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        far.close()
        with pytest.raises(trio.BrokenResourceError):
            await near.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await near.send_all(b"x")


async def test_what_is_written_at_once_arrives_and_what_is_too_much_does_not_wait() -> None:
    async with pair() as (near, far):
        write = direct_write(near)
        assert write is not None
        assert write(b"hello") == 5
        assert await far.receive_some() == b"hello"
        written = 1
        with suppress(BlockingIOError):
            while written:
                written = write(bytes(BUFFER_BYTES))


async def test_the_address_is_that_of_the_other_end() -> None:
    async with pair() as (near, _):
        assert near.address == "127.0.0.1"
        near.close()
        assert near.address is None


async def test_who_waits_hears_that_it_is_closed() -> None:
    async def expect_the_end(stream: TcpStream) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()

    async with pair() as (near, _), trio.open_nursery() as nursery:
        nursery.start_soon(expect_the_end, near)
        await wait_all_tasks_blocked()
        near.close()
