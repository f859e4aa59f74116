"""The chat of the classic tutorial, a thread for each client: `threads.py PORT`.

The first line of a connection is a room and a name; every other is said in that room. A
lock keeps the lines of two speakers apart and in one order, which the tutorials forget.
"""

import socket
import sys
import threading
from collections import defaultdict

rooms: defaultdict[bytes, set[socket.socket]] = defaultdict(set)
lock = threading.Lock()


def broadcast(room: bytes, line: bytes) -> None:
    with lock:
        for client in rooms[room]:
            client.sendall(line)


def serve(client: socket.socket) -> None:
    with client, client.makefile("rb") as lines:
        room, name = lines.readline().split()
        with lock:
            rooms[room].add(client)
        broadcast(room, b"%b joined\n" % name)
        try:
            for line in lines:
                broadcast(room, b"%b: %b" % (name, line))
        except ConnectionError:
            pass
        finally:
            with lock:
                rooms[room].discard(client)


with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096) as listener:
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(client,), daemon=True).start()
