"""What a process costs: the server's, if it runs on this machine."""

import os
import socket
from typing import Self

import psutil
from attrs import frozen

from trio_chat.errors import LinkLost


@frozen
class Usage:
    """CPU seconds, user's and system's, and resident bytes, of a process so far."""

    cpu: float
    memory: int


@frozen
class LocalProcess:
    """A process of this machine."""

    pid: int

    @classmethod
    def serving(cls, connection: socket.socket) -> Self | None:
        """Who is at the other end; None if that can't be known: it is on another machine,
        or belongs to another user."""
        here, there = connection.getsockname()[:2], connection.getpeername()[:2]
        if here[0] != there[0]:
            return None
        try:
            known = psutil.net_connections("tcp")
        except psutil.AccessDenied:
            return None
        ends = (one.pid for one in known if (one.laddr, one.raddr) == (there, here))
        pid: int | None = next(ends, None)
        return None if pid is None or pid == os.getpid() else cls(pid)

    def usage(self) -> Usage:
        """What it has used so far. Raises `LinkLost` if it is not there any more."""
        try:
            process = psutil.Process(self.pid)
            cpu, memory = process.cpu_times(), process.memory_info()
        except psutil.NoSuchProcess as exc:
            raise LinkLost("the server has ended") from exc
        return Usage(cpu.user + cpu.system, memory.rss)
