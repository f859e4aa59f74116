"""A chat with the library `websockets`, and its `broadcast`: `websockets_broadcast.py PORT`.

The first message of a connection is a room and a name; every other is said in that room.
Nothing is compressed, because the load tester asks for no compression, and nobody is
pinged, because it answers no pings.
"""

import asyncio
import sys
from collections import defaultdict

from websockets.asyncio.server import ServerConnection, broadcast, serve

rooms: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def converse(connection: ServerConnection) -> None:
    room, name = str(await connection.recv()).split()
    rooms[room].add(connection)
    try:
        broadcast(rooms[room], f"{name} joined")
        async for text in connection:
            broadcast(rooms[room], f"{name}: {text!s}")
    finally:
        rooms[room].discard(connection)


async def main() -> None:
    port = int(sys.argv[1])
    async with serve(converse, "127.0.0.1", port, ping_interval=None, backlog=4096) as server:
        await server.serve_forever()


asyncio.run(main())
