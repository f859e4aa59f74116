"""A chat from a program's side: say, join, and iterate over what happens.

A call returns once it is answered, across any number of reconnects: what was not answered
is asked again with the same id, and the server makes one event of it however often it
comes.

What happens is queued for the program to take. The queue never keeps the receiver from
hearing an answer, so a program that only speaks need not listen, and one that is slow
gets what the queue could not hold from the server's history.
"""

import itertools
import math
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Self

import trio
from attrs import define, evolve, field

from trio_chat.client.address import DEFAULT_PORT, PLAIN, SCHEME, find_address, is_pin
from trio_chat.client.calls import Calls, Receipt
from trio_chat.client.feed import Feed, Item
from trio_chat.client.lifeline import Lifeline, State
from trio_chat.client.link import Dial, Link
from trio_chat.client.trust import Tls, dial
from trio_chat.errors import ChatError, LinkLost, Refused, SetupError, TryLater
from trio_chat.messages import (
    Ack,
    Banish,
    Deed,
    Delete,
    DeviceInfo,
    DeviceList,
    Devices,
    Edit,
    Found,
    Hello,
    History,
    Join,
    Leave,
    Members,
    Page,
    Ping,
    React,
    Read,
    Register,
    Reply,
    Request,
    Revoke,
    RoomInfo,
    RoomList,
    Rooms,
    Say,
    Search,
    Topic,
    Welcome,
    Who,
)
from trio_chat.names import parse_name
from trio_chat.pairs import is_private

LEAVE_WITHIN = 1.0
"""Seconds to take leave at the end."""

WAIT_TO = 5.0
"""The most seconds that one waits with a question because the server has said so: for the
next page, say; not until one may guess a password again."""


ASKED_TO = 20
"""How often one asks the same at most: others of this program may have been faster, but not
for ever."""


def _make_ids() -> Iterator[str]:
    prefix = secrets.token_urlsafe(9)
    return (f"{prefix}-{number}" for number in itertools.count(1))


@define(eq=False)
class Chat:
    """A conversation with a server. Made by `connect`.

    Iterate over it to get what happens in the rooms: `Event`s, a `Gap` for what can't be had
    any more, and a `Marked` where another device of one's own has read something. A private
    room in which somebody says something is joined by itself. A `room` is meant by its name,
    or by `@` and that of a person. Every method returns once the server has answered, and
    raises its refusal (`Refused`), or `LinkLost` if the server can't be reached any more.
    """

    _lifeline: Lifeline
    _feed: Feed
    _calls: Calls
    _ids: Iterator[str] = field(factory=_make_ids, init=False)

    @property
    def name(self) -> str:
        """One's own name, as the server writes it."""
        return self.welcome.name

    @property
    def welcome(self) -> Welcome:
        """The server's answer to the newest hello."""
        return self._lifeline.welcome

    @property
    def failure(self) -> ChatError | None:
        """What the chat has ended with; it is raised by every call under way and to come."""
        return self._calls.failure

    async def join(
        self,
        room: str,
        *,
        after: int | None = None,
        quiet: bool = False,
        key: str | None = None,
    ) -> int:
        """Enter a room; returns the `seq` of the event.

        `after`: the last `seq` that one has; what came later is shown. By default the
        newest 50 events are. `quiet`: for programs that come and go: the others see no
        event of it, `who` names one as ever; returns the room's newest `seq`. A private room
        is always joined like that. `key`: what opens the room; once is enough.
        """
        if is_private(room):
            return _seq_of(await self._ask(Join(room, after, quiet=True, id=next(self._ids))))
        name = parse_name(room)
        join = Join(name, after, quiet=quiet, key=key, id=next(self._ids))
        receipt = await self._calls.begin(join)
        # No await up to the send: a new connection resumes every room that has a cursor,
        # unless its join is under way.
        is_first = self._feed.follow(name, after, is_quiet=quiet)
        self._lifeline.send(receipt.line)
        try:
            return _seq_of(await receipt.wait())
        except Refused:
            if is_first:
                self._feed.give_up(name)
            raise

    async def say(
        self, room: str, text: str, *, reply_to: int | None = None, id: str | None = None
    ) -> int:
        """Say something in a room; returns its `seq` once it stands in the room's log.

        `reply_to`: the `seq` of what it answers. If this is cancelled, it is not known
        whether it was said; saying it again with the same `id` says it once.
        """
        receipt = await self.submit(room, text, reply_to=reply_to, id=id)
        return _seq_of(await receipt.wait())

    async def submit(
        self, room: str, text: str, *, reply_to: int | None = None, id: str | None = None
    ) -> Receipt:
        """Begin to say something: for many in a row, which keep their order.

        Waits only while too many have not been answered. Whoever wants to know what
        became of it awaits the receipt's `wait`.
        """
        return await self._begin(Say(room, text, id or next(self._ids), reply_to))

    async def edit(self, room: str, seq: int, text: str) -> int:
        """Say something else instead of one's own event `seq`; returns the `seq` of that."""
        return _seq_of(await self._ask(Edit(room, seq, text, next(self._ids))))

    async def delete(self, room: str, seq: int) -> int:
        """Take back one's own event `seq`; returns the `seq` of that."""
        return _seq_of(await self._ask(Delete(room, seq, next(self._ids))))

    async def react(self, room: str, seq: int, sign: str, *, off: bool = False) -> int:
        """Put a sign beside event `seq`, or take it away; returns the `seq` of that."""
        return _seq_of(await self._ask(React(room, seq, sign, off, next(self._ids))))

    async def set_topic(self, room: str, text: str) -> int:
        """Say what a room is about; returns the `seq` of that."""
        return _seq_of(await self._ask(Topic(room, text, next(self._ids))))

    async def moderate(self, deed: Deed) -> int:
        """Do what moderators do: `Invite`, `Kick`, `Ban`, `Mute`, `Appoint` or `Restrict`;
        returns the `seq` of the event."""
        return _seq_of(await self._ask(evolve(deed, id=next(self._ids))))

    async def leave(self, room: str) -> int:
        """Leave a room; returns the last `seq` that one gets of it: that of the event, or
        the room's newest if one was there quietly."""
        name = room if is_private(room) else parse_name(room)
        ack = _ack_of(await self._ask(Leave(name, id=next(self._ids))))
        self._feed.end(ack.room, ack.seq)
        return ack.seq

    async def read(self, room: str, seq: int) -> None:
        """Tell the server, and so one's other devices, that one has read up to event `seq`."""
        await self._ask(Read(room, seq, next(self._ids)))

    async def search(
        self, words: str, *, room: str | None = None, before: int | None = None, limit: int = 20
    ) -> Found:
        """Where `words` have been said, newest first: in a room, or in all that one may read.
        `before`: the `next` of what was found last."""
        (found,) = await self._ask(Search(words, room, before, limit, next(self._ids)))
        assert isinstance(found, Found)
        return found

    async def history(
        self,
        room: str,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
        deeds: bool = False,
    ) -> Page:
        """Events of a room, right before or right after a `seq`; by default the newest.
        `deeds`: only what moderators have done."""
        id = next(self._ids)
        (page,) = await self._ask(History(room, before, after, limit, deeds, id))
        assert isinstance(page, Page)
        return page

    async def who(self, room: str) -> tuple[str, ...]:
        """The names of those who are in a room."""
        return (await self.members(room)).names

    async def members(self, room: str) -> Members:
        """Those who are in a room, and what it is about."""
        parts = await self._ask(Who(room, next(self._ids)))
        members = [part for part in parts if isinstance(part, Members)]
        names = tuple(name for part in members for name in part.names)
        moderators = tuple(name for part in members for name in part.moderators)
        return Members(members[0].room, names, topic=members[0].topic, moderators=moderators)

    async def rooms(self) -> tuple[RoomInfo, ...]:
        """All rooms, and one's private ones."""
        parts = await self._ask(Rooms(next(self._ids)))
        return tuple(
            room for part in parts if isinstance(part, RoomList) for room in part.rooms
        )

    async def register(self, password: str, *, old: str | None = None) -> None:
        """Make one's name one's own; or, with the `old` one, change the password."""
        await self._ask(Register(password, old, next(self._ids)))
        self._lifeline.welcome = evolve(self.welcome, account=True)

    async def devices(self) -> tuple[DeviceInfo, ...]:
        """Those that may come back under one's name."""
        (devices,) = await self._ask(Devices(next(self._ids)))
        assert isinstance(devices, DeviceList)
        return devices.devices

    async def revoke(self, device: str) -> None:
        """Throw out a device of one's own."""
        await self._ask(Revoke(device, next(self._ids)))

    async def banish(self, banish: Banish) -> None:
        """Keep somebody out of the whole server, as its operator."""
        await self._ask(evolve(banish, id=next(self._ids)))

    async def ping(self) -> float:
        """Seconds to the server and back."""
        start = trio.current_time()
        await self._ask(Ping(next(self._ids)))
        return trio.current_time() - start

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        await trio.lowlevel.checkpoint()
        while (item := self._feed.take_nowait()) is None:
            behind = self._feed.find_behind()
            if behind is None:
                return await self._feed.take()
            await self._catch_up(*behind)
        return item

    async def _catch_up(self, room: str, after: int) -> None:
        id = next(self._ids)
        self._feed.expect(id)
        await self._ask(History(room, after=after, limit=self.welcome.limits.page, id=id))

    async def _ask(self, request: Request) -> list[Reply]:
        """Ask, and again if it was only a little too early."""
        times = 0
        while True:
            receipt = await self._begin(request)
            times += 1
            try:
                return await receipt.wait()
            except TryLater as refusal:
                if refusal.retry is None or refusal.retry > WAIT_TO or times == ASKED_TO:
                    raise
                await trio.sleep(max(0.0, refusal.retry))

    async def _begin(self, request: Request) -> Receipt:
        receipt = await self._calls.begin(request)
        self._lifeline.send(receipt.line)
        return receipt

    def is_in(self, room: str) -> bool:
        """Is one in a room, or about to be? Its name is meant in full."""
        return room in self._feed.joined()

    async def take_leave(self) -> None:
        """Leave all rooms, so that the others see that one has gone on purpose."""
        if not self._lifeline.is_connected:
            return
        with suppress(ChatError):
            rooms = self._feed.joined()
            leaves = [await self._begin(Leave(room, id=next(self._ids))) for room in rooms]
            for leave in leaves:
                with suppress(Refused):  # one that has been left already, say
                    await leave.wait()


def _ack_of(replies: list[Reply]) -> Ack:
    (ack,) = replies
    assert isinstance(ack, Ack)
    return ack


def _seq_of(replies: list[Reply]) -> int:
    return _ack_of(replies).seq


def _ignore(_: State) -> None:
    pass


@asynccontextmanager
async def connect(
    host: str = "localhost",
    port: int = DEFAULT_PORT,
    *,
    name: str,
    password: str | None = None,
    tls: Tls | None = None,
    token: str | None = None,
    client: str | None = None,
    on_state: Callable[[State], None] = _ignore,
    patience: float = math.inf,
) -> AsyncIterator[Chat]:
    """Connect to a server under `name`, stay connected, and leave at the end of the block.

    `host`: its name or address, or HOST:PORT; or a link, which has what `tls` says, too.
    `tls`: is the connection encrypted? True, as it is beyond this machine if nothing is said:
    yes, and an authority that this system trusts has to vouch for the host; a text: yes, and
    the server's certificate has to have this pin; a context: as that says.
    `password`: that of a registered name. `token`: that of the newest `Welcome` of an earlier
    run; it gives a registered name back, and that of a guest while the server still holds it.
    `client`: what your program is called, for the server's log. `on_state`: called, not
    awaited, when the state of the connection changes.
    `patience`: seconds of trying to reconnect before giving up.

    Raises `SetupError` if that is no address or no pin, `LinkLost` if no server answers,
    `Untrusted` if it is not the one that is meant, and what the server refuses with:
    `NameTaken`, `BadName`, `ServerFull`, `TooManyConnections`.
    """
    call = partial(dial, *_whom_to_call(host, port, tls))
    hello = Hello(name, password=password, token=token, client=client)
    async with open_chat(call, hello, on_state, patience) as chat:
        yield chat


def _whom_to_call(host: str, port: int, tls: Tls | None) -> tuple[str, int, Tls]:
    try:
        address = find_address(host, port)
    except ValueError as exc:
        raise SetupError(str(exc)) from exc
    if isinstance(tls, str) and not is_pin(tls):
        raise SetupError(f"the pin of a certificate has 43 characters, {tls!r} is none")
    if tls is None or host.startswith((SCHEME, PLAIN)):
        tls = address.pin or address.is_secure
    return address.host, address.port, tls


@asynccontextmanager
async def open_chat(
    dial: Dial,
    hello: Hello,
    on_state: Callable[[State], None] = _ignore,
    patience: float = math.inf,
) -> AsyncIterator[Chat]:
    """As `connect`, over connections that `dial` makes."""
    feed, calls = Feed(), Calls()
    lifeline = Lifeline(dial, hello, feed, calls, on_state, patience)
    link = await lifeline.enter()
    on_state(State.CONNECTED)
    chat = Chat(lifeline, feed, calls)
    # Shielded, so that leave can be taken when the block is cancelled. Its end is that of
    # the block, and a second more.
    life = trio.CancelScope(shield=True)
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stay_connected, lifeline, link, life)
            try:
                yield chat
            except Exception as exc:  # raised below, bare, outside of the nursery
                failure = exc
            finally:
                try:
                    with trio.move_on_after(LEAVE_WITHIN, shield=True):
                        await chat.take_leave()
                        await lifeline.hang_up()
                finally:  # a bug in there must not keep it connected for ever
                    lifeline.fail(LinkLost("the chat is closed"))
                    life.cancel(reason="the block has ended")
    finally:
        if failure is not None:
            raise failure


async def _stay_connected(lifeline: Lifeline, link: Link, life: trio.CancelScope) -> None:
    with life:
        await lifeline.run(link)
