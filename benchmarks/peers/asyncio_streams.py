"""A chat as asyncio's streams invite one to write it: `asyncio_streams.py PORT`.

The first line of a connection is a room and a name; every other is said in that room.
"""

import asyncio
import sys
from collections import defaultdict

rooms: defaultdict[bytes, set[asyncio.StreamWriter]] = defaultdict(set)


async def broadcast(room: bytes, line: bytes) -> None:
    """To everybody at once, so that all are told the same in the same order; then wait for
    those who are slow."""
    writers = list(rooms[room])
    for writer in writers:
        writer.write(line)
    for writer in writers:
        await writer.drain()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        room, name = (await reader.readline()).split()
        rooms[room].add(writer)
        await broadcast(room, b"%b joined\n" % name)
        while line := await reader.readline():
            await broadcast(room, b"%b: %b" % (name, line))
    except ConnectionError:
        pass
    finally:
        rooms[room].discard(writer)
        writer.close()


async def main() -> None:
    port = int(sys.argv[1])
    async with await asyncio.start_server(serve, "127.0.0.1", port, backlog=4096) as server:
        await server.serve_forever()


asyncio.run(main())
