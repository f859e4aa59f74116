"""One process of clients: it speaks and reads at a given pace, and writes down all of it.

    python -m tests.proof.load PLAN   # a plan is JSON, see the class

It prints `ready` once everybody has joined. When a line comes in it stops speaking, and
prints `said` once everything is answered; when its input ends it waits until its readers
have read up to the head.

It may be killed at any time: started again with the same plan it reads its own journal,
comes back under its names, says again what was not answered, with the same ids, and reads
on after what it has written down last.
"""

import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from functools import partial
from pathlib import Path
from typing import Any

import trio
from attrs import asdict, define, field, frozen

from tests.proof.log import (
    Acked,
    Began,
    Changed,
    Ended,
    Evidence,
    Granted,
    Invoked,
    Operation,
    Record,
    Refused,
    SawGap,
    digest,
    encode,
    gather,
    saw,
)
from tests.proof.web import dial_web, speaks_web
from trio_chat.client.calls import Receipt
from trio_chat.client.chat import Chat, open_chat
from trio_chat.client.lifeline import State
from trio_chat.client.link import dial_tcp
from trio_chat.errors import LinkLost, NotStored
from trio_chat.errors import Refused as Refusal
from trio_chat.messages import Ack, Event, Gap, Hello

READY = b"ready"
"""What is printed once everybody is in."""

SAID = b"said"
"""What is printed once nothing is to be said any more, and all is answered."""

ROOMS = ("lobby", "garden", "office", "kitchen")

TEXT_CHARS = 200

DRAIN_WITHIN = 90.0
"""Seconds for the last answers and events: longer than a dead line goes unnoticed."""

STARTED_BY = "proof"


@frozen
class Plan:
    """What a load process does.

    `label`: what its clients' names begin with. `rate`: says a second of all senders
    together. `rooms_each`: how many of the rooms each reader follows.
    """

    label: str
    port: int
    journal: str
    seed: int
    senders: int = 8
    readers: int = 20
    rate: float = 200.0
    rooms_each: int = len(ROOMS)

    def encode(self) -> str:
        """As one word of a command line."""
        return json.dumps(asdict(self))


def text_of(id: str) -> str:
    """The text of the say with that id: always the same, and no two alike."""
    return (f"{id} " * TEXT_CHARS)[:TEXT_CHARS]


@define(eq=False)
class Journal:
    """The file that a process writes everything down in; `past`: what it held before."""

    path: Path
    past: Evidence = field(init=False)
    _file: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.past = gather([self.path.read_bytes()] if self.path.exists() else [])
        self._file = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def write(self, record: Record) -> None:
        """Append a record: it is the kernel's when this returns, and outlives a kill."""
        os.write(self._file, encode(record))


@define(eq=False)
class Crew:
    """All clients of one process. `complete` is set once everybody has joined, `stopping`
    when nothing new is to be said, `said` once nothing is, and all is answered, `over` when
    readers need not wait any longer."""

    plan: Plan
    journal: Journal
    complete: trio.Event = field(factory=trio.Event, init=False)
    stopping: trio.Event = field(factory=trio.Event, init=False)
    over: trio.Event = field(factory=trio.Event, init=False)
    said: trio.Event = field(factory=trio.Event, init=False)
    cursors: dict[tuple[str, str], int] = field(factory=dict, init=False)
    _moved: trio.Event = field(factory=trio.Event, init=False)
    _in: int = field(default=0, init=False)
    _silent: int = field(default=0, init=False)

    def _note_in(self) -> None:
        self._in += 1
        if self._in == self.plan.senders + self.plan.readers:
            self.complete.set()

    # ------------------------------------------------------------ connections

    @asynccontextmanager
    async def enter(self, name: str) -> AsyncIterator[Chat]:
        """Connect, with the token of the time before if there was one."""
        chats: list[Chat] = []
        hello = Hello(name, token=self.journal.past.tokens.get(name), client=STARTED_BY)
        on_state = partial(self._note_state, name, chats)
        async with AsyncExitStack() as stack:
            dial = partial(self._dial, name)
            chat = await _open(stack, partial(open_chat, dial, hello, on_state))
            chats.append(chat)
            self.journal.write(Granted(name, chat.welcome.token))
            yield chat

    async def _dial(self, name: str) -> trio.abc.Stream:
        if speaks_web(name):
            return await dial_web(self.plan.port, name)
        return await dial_tcp("127.0.0.1", self.plan.port)

    def _note_state(self, name: str, chats: list[Chat], state: State) -> None:
        self.journal.write(Changed(time.monotonic(), name, state.value))
        if chats and state is State.RESUMED:
            self.journal.write(Granted(name, chats[0].welcome.token))

    # ------------------------------------------------------------ speaking

    async def speak(self, number: int) -> None:
        """One sender: what was left open, then new texts until told to stop."""
        name = f"{self.plan.label}-s{number}"
        async with self.enter(name) as chat, trio.open_nursery() as receipts:
            for room in ROOMS:
                await insist(partial(chat.join, room))
            self._note_in()
            for operation in self.journal.past.unanswered(name):
                await self._say(chat, operation, receipts)
            await self._go_on(chat, name, receipts)
            receipts.cancel_scope.deadline = trio.current_time() + DRAIN_WITHIN
        self._silent += 1
        if self._silent == self.plan.senders:
            self.said.set()

    async def _go_on(self, chat: Chat, name: str, receipts: trio.Nursery) -> None:
        rooms = random.Random(f"{self.plan.seed} {name}")
        count = sum(sender == name for sender, _ in self.journal.past.operations)
        due = trio.current_time() + rooms.uniform(0, self.plan.senders / self.plan.rate)
        while not self.stopping.is_set():
            with trio.move_on_at(due):
                await self.stopping.wait()
                return
            count += 1
            await self._say_new(chat, name, f"{name}.{count:06}", rooms.choice(ROOMS), receipts)
            due = max(due + self.plan.senders / self.plan.rate, trio.current_time() - 1)

    async def _say_new(
        self, chat: Chat, name: str, id: str, room: str, receipts: trio.Nursery
    ) -> None:
        text = digest(text_of(id))
        self.journal.write(Invoked(time.monotonic(), name, id, room, text))
        await self._say(chat, Operation(name, id, room, text), receipts)

    async def _say(self, chat: Chat, operation: Operation, receipts: trio.Nursery) -> None:
        receipt = await chat.submit(operation.room, text_of(operation.id), id=operation.id)
        receipts.start_soon(self._await_answer, operation, receipt)

    async def _await_answer(self, operation: Operation, receipt: Receipt) -> None:
        sender, id = operation.sender, operation.id
        try:
            (ack,) = await receipt.wait()
        except LinkLost:
            return  # nobody knows
        except Refusal as refusal:
            self.journal.write(Refused(time.monotonic(), sender, id, refusal.code))
        else:
            assert isinstance(ack, Ack)
            self.journal.write(Acked(time.monotonic(), sender, id, ack.seq, ack.again))

    # ------------------------------------------------------------ reading

    async def read(self, number: int) -> None:
        """One reader: all that happens in its rooms, from the first event on."""
        name = f"{self.plan.label}-r{number}"
        rooms = [ROOMS[(number + step) % len(ROOMS)] for step in range(self.plan.rooms_each)]
        async with self.enter(name) as chat:
            for room in rooms:
                await self._follow(chat, name, room)
            self._note_in()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._take_all, chat, name)
                await self.over.wait()
                nursery.cancel_scope.cancel(reason="over")
            self.journal.write(Ended(name))

    async def _follow(self, chat: Chat, name: str, room: str) -> None:
        view = self.journal.past.views.get((name, room))
        if view is None:
            self.journal.write(Began(name, room))
        self.cursors[name, room] = 0 if view is None else view.last
        await insist(partial(chat.join, room, after=self.cursors[name, room]))

    async def _take_all(self, chat: Chat, name: str) -> None:
        async for item in chat:
            if isinstance(item, Gap):
                self.journal.write(SawGap(name, item.room, item.first, item.last))
                self._move(name, item.room, item.last)
            elif isinstance(item, Event):
                self.journal.write(saw(name, item))
                self._move(name, item.message.room, item.seq)

    def _move(self, name: str, room: str, seq: int) -> None:
        self.cursors[name, room] = seq
        self._moved.set()

    # ------------------------------------------------------------ the end

    async def finish(self) -> None:
        """Wait until every reader is at the head."""
        if self.cursors:
            heads = await self._heads()
            with trio.move_on_after(DRAIN_WITHIN):
                await self._read_up_to(heads)
        self.over.set()

    async def _heads(self) -> Mapping[str, int]:
        while True:
            with suppress(LinkLost):  # the first connection may meet a fault, too
                async with self.enter(f"{self.plan.label}-end") as chat:
                    return {room.room: room.head for room in await chat.rooms()}
            await trio.sleep(0.2)

    async def _read_up_to(self, heads: Mapping[str, int]) -> None:
        while any(last < heads[room] for (_, room), last in self.cursors.items()):
            self._moved = trio.Event()
            await self._moved.wait()


async def _open(
    stack: AsyncExitStack, connect: Callable[[], AbstractAsyncContextManager[Chat]]
) -> Chat:
    """Connect for the first time, which a client does not try again by itself."""
    while True:
        try:
            return await stack.enter_async_context(connect())
        except LinkLost:
            await trio.sleep(0.1)


async def insist(ask: Callable[[], Any]) -> None:
    """Ask until the server can store it."""
    while True:
        try:
            await ask()
        except NotStored:
            await trio.sleep(0.1)
        else:
            return


async def run(plan: Plan) -> None:
    """Do what the plan says."""
    async with trio.open_nursery() as nursery:
        crew = Crew(plan, Journal(Path(plan.journal)))
        for number in range(plan.readers):
            nursery.start_soon(crew.read, number)
        for number in range(plan.senders):
            nursery.start_soon(crew.speak, number)
        if not plan.senders:
            crew.said.set()
        await crew.complete.wait()
        print(READY.decode(), flush=True)
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as orders:
            await orders.receive_some()
            crew.stopping.set()
            await crew.said.wait()
            print(SAID.decode(), flush=True)
            await orders.receive_some()
        await crew.finish()


if __name__ == "__main__":
    trio.run(run, Plan(**json.loads(sys.argv[1])))
