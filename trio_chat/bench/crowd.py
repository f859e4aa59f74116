"""The members of a run: how they come in, how what counts begins, and how they leave."""

import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Self

import trio
from attrs import define, field

from trio_chat.bench.dialect import Dialect
from trio_chat.bench.plan import Plan
from trio_chat.bench.process import LocalProcess, Usage
from trio_chat.bench.sockets import Connection, Sockets, connect
from trio_chat.bench.verify import (
    Acks,
    Comparing,
    Latencies,
    Numbering,
    Passage,
    Reading,
    Stream,
    Tape,
)
from trio_chat.client.link import dial_tcp
from trio_chat.errors import LinkLost

PATIENCE = 10.0
"""Seconds without a byte, while something is due, after which it will not come any more."""

Show = Callable[[float, str], None]
"""Is told which part is done, and of what."""


@define(eq=False)
class Room:
    """`readers`: how many are sent what one of its speakers says. `speakers`: their names, by
    their numbers. `tape`: what everybody is sent, if that is the same for all; `known`: what
    somebody is, if not."""

    name: str
    readers: int
    speakers: dict[int, str]
    tape: Tape | None
    known: dict[bytes, Passage] = field(factory=dict, init=False)


@define(eq=False)
class Member:
    """`number`: which of all it is. `acks`: of what it says. `stream`: checks what it is
    sent, once what counts has begun. `rest`: the beginning of a line, until then."""

    number: int
    name: str
    room: Room
    acks: Acks
    stream: Stream
    connection: Connection = field(init=False)
    rest: bytes = field(default=b"", init=False)


@define(eq=False)
class Crowd:
    """All members, and their connections. Use it as a context, whose end closes them.

    `latencies`: of what they are sent. `joins`: how many came in a second. `process`: the
    server's, if it is known, and `memory_each` the bytes that each of them added to it.
    """

    plan: Plan
    dialect: Dialect
    latencies: Latencies
    show: Show
    sockets: Sockets = field(factory=Sockets, init=False)
    members: list[Member] = field(factory=list, init=False)
    joins: float = field(default=0.0, init=False)
    process: LocalProcess | None = field(default=None, init=False)
    memory_each: float | None = field(default=None, init=False)
    rooms: list[Room] = field(init=False)
    _through: int = field(default=0, init=False)  # how many have come through this phase

    def __attrs_post_init__(self) -> None:
        self.rooms = [self._make_room(number) for number in range(self.plan.rooms)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sockets.close()

    # ------------------------------------------------------------ coming in

    async def enter(self, host: str, port: int) -> None:
        """Have everybody connect and join. Raises `LinkLost`, and what is refused."""
        first = await _dial(host, port)
        family, address = first.family, first.getpeername()
        self._admit(first)
        await self._until(1, "members are in")
        self.process = LocalProcess.serving(first)
        empty = self.usage()
        began = time.perf_counter()
        for count in range(1, self.plan.members):
            # Who joins quietly needs a room that is there.
            opened = self.plan.rooms if count >= self.plan.rooms else 1
            await self._until(max(opened, count + 1 - self.plan.entering), "members are in")
            self._admit(connect(family, address))
        await self._until(self.plan.members, "members are in")
        self.joins = (self.plan.members - 1) / (time.perf_counter() - began)
        full = self.usage()
        # One that has had as many before has the memory still, and grows little or not.
        grown = full.memory - empty.memory if empty is not None and full is not None else 0
        if grown > 0 and self.plan.members > 1:
            self.memory_each = grown / (self.plan.members - 1)

    def usage(self) -> Usage | None:
        """What the server has used so far, if that is known."""
        return None if self.process is None else self.process.usage()

    def _admit(self, link: socket.socket) -> None:
        member = self._make_member(len(self.members), link)
        self.members.append(member)
        self.sockets.add(member.connection)
        hello = self.dialect.enter(member.name, member.room.name)
        self.sockets.send(member.connection, hello)

    def _hear_entry(self, member: Member, data: memoryview, _now: float) -> int:
        heard = self._whole_lines(member, data)
        answer = self.dialect.go_on(member.name, member.room.name, heard)
        if answer:
            self.sockets.send(member.connection, answer)
        if answer is not None:
            return 0
        member.connection.take = partial(self._hear_beginning, member)
        return 1

    # ------------------------------------------------------------ what counts

    async def begin(self) -> None:
        """Say something in each room: what comes after it is the same for everybody there,
        because all joins, and all that was replayed, were sent before."""
        self._through = 0
        for member in self.members[: self.plan.rooms]:
            said = self.dialect.begin(member.name, member.room.name, self.plan.beginning)
            self.sockets.send(member.connection, said)
        await self._until(self.plan.members, "members have heard something")

    def _hear_beginning(self, member: Member, data: memoryview, now: float) -> int:
        word, end = self.plan.beginning.encode(), self.dialect.end
        heard = member.rest + data
        at = heard.find(word)
        stop = heard.find(end, at + len(word))
        if at < 0 or stop < 0:
            member.rest = heard[at if at >= 0 else -len(word) :]
            return 0
        member.connection.take = member.stream.take
        member.stream.take(memoryview(heard)[stop + len(end) :], now)
        return 1

    # ------------------------------------------------------------ the end

    async def leave(self) -> None:
        """Have everybody leave, as far as the server lets them within PATIENCE."""
        self._through = 0
        for member in self.members:
            member.rest = b""
            member.connection.take = partial(self._hear_exit, member)
            if goodbye := self.dialect.leave(member.room.name):
                self.sockets.send(member.connection, goodbye)
        if self.dialect.leave("") is not None:
            await self._until(self.plan.members, "members have left")

    def _hear_exit(self, member: Member, data: memoryview, _now: float) -> int:
        if not self.dialect.has_left(self._whole_lines(member, data)):
            return 0
        self.sockets.remove(member.connection)
        return 1

    # ------------------------------------------------------------ shared

    async def _until(self, count: int, what: str) -> None:
        """Wait until so many are through. Raises `LinkLost` if nothing happens any more."""
        while self._through < count:
            if not await self.sockets.wait(PATIENCE):
                raise LinkLost(
                    f"only {self._through} of {self.plan.members} {what}, and nothing comes"
                    f" for {PATIENCE:.0f} s"
                )
            self._through += self.sockets.pump() or 0
            self.show(self._through / self.plan.members, f"{self._through:,} {what}")

    def _whole_lines(self, member: Member, data: memoryview) -> bytes:
        heard = member.rest + data
        cut = heard.rfind(self.dialect.end) + len(self.dialect.end)
        member.rest = heard[cut:]
        return heard[:cut]

    def _make_room(self, number: int) -> Room:
        plan, dialect = self.plan, self.dialect
        speakers = {
            sender: plan.name_of(sender)
            for sender in range(plan.senders)
            if plan.room_of(sender) == number
        }
        size = len(range(number, plan.members, plan.rooms))
        is_same = dialect.one_order or len(speakers) <= 1
        numbering = Numbering(speakers, plan.size)
        tape = Tape(dialect, numbering, self.latencies) if is_same else None
        readers = size if dialect.echoes else size - 1
        return Room(plan.room_name(number), readers, speakers, tape)

    def _make_member(self, number: int, link: socket.socket) -> Member:
        room, name = self.rooms[self.plan.room_of(number)], self.plan.name_of(number)
        acks = Acks(self.dialect, name)
        stream = self._make_stream(number, name, room, acks)
        member = Member(number, name, room, acks, stream)
        member.connection = Connection(link, partial(self._hear_entry, member))
        return member

    def _make_stream(self, number: int, name: str, room: Room, acks: Acks) -> Stream:
        hears_all = self.dialect.echoes or number not in room.speakers
        if room.tape is not None and hears_all:
            return Comparing(room.tape, name, acks)
        heard = dict(room.speakers)
        if not hears_all:
            del heard[number]
        return Reading(self.dialect, Numbering(heard, self.plan.size), acks, room.known)


async def _dial(host: str, port: int) -> socket.socket:
    """The first connection: it finds out where the server is, and says so if nowhere."""
    stream = await dial_tcp(host, port)
    assert isinstance(stream, trio.SocketStream)
    link = socket.socket(fileno=stream.socket.detach())
    link.settimeout(0)
    return link
