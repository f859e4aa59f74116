"""Staying connected: a sender and a receiver for as long as a connection lasts, then the
next connection.

A new connection begins with what the last one left open: every room is resumed where its
cursor is, and what was not answered is asked again with the same id.
"""

import itertools
import logging
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from typing import assert_never

import trio
from attrs import define, evolve, field

from trio_chat.client.calls import IN_FLIGHT, Answer, Calls, Receipt
from trio_chat.client.feed import MOST_ROOMS, Feed
from trio_chat.client.link import Dial, Link
from trio_chat.errors import (
    AlreadyInRoom,
    Banned,
    ChatError,
    Dismissed,
    LinkLost,
    NameTaken,
    NoRoom,
    NotStored,
    TryLater,
    from_code,
)
from trio_chat.messages import (
    Ack,
    Ban,
    Called,
    DeviceList,
    Done,
    Error,
    Event,
    Found,
    Gap,
    Goodbye,
    Hello,
    Join,
    Kick,
    Leave,
    Marked,
    Members,
    Page,
    Ping,
    Pong,
    RoomList,
    Welcome,
)
from trio_chat.pairs import is_private
from trio_chat.wire import CLIENT

CONNECT_WITHIN = 10.0
"""Seconds for a server to answer a hello."""

PING_EVERY = 15.0
"""Seconds between pings."""

SILENCE = 3 * PING_EVERY
"""Seconds without a byte after which the server counts as lost."""

SPARE_LINES = 8
"""Room for pings beside the requests under way."""

NAME_PATIENCE = 60.0
"""Seconds to wait for one's own name: longer than a server holds it for a lost one."""

RESUME_AGAIN = 2.0
"""Seconds after which a room is resumed again that could not be."""

BACKOFF_FROM, BACKOFF_TO = 0.2, 10.0
"""The most seconds before the first and before the later attempts to reconnect."""

RETRY_TO = 300.0
"""The most seconds that one waits because a server has said so: it may be a joker."""

log = logging.getLogger(__name__)


class State(Enum):
    """How a chat stands with its server."""

    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    RESUMED = "resumed"
    AFRESH = "afresh"
    """Connected again, but to another history: what was known of it is void."""


@define(eq=False)
class Lifeline:
    """The connections of one chat, one after the other.

    `patience`: seconds of reconnecting after which there is no hope.
    """

    dial: Dial
    hello: Hello
    feed: Feed
    calls: Calls
    on_state: Callable[[State], None]
    patience: float
    welcome: Welcome = field(init=False)
    _outgoing: trio.MemorySendChannel[bytes] | None = field(default=None, init=False)
    _is_leaving: bool = field(default=False, init=False)
    _has_ended: trio.Event = field(factory=trio.Event, init=False)
    _retry: float = field(default=0.0, init=False)
    _dismissal: Dismissed | Banned | None = field(default=None, init=False)
    _resuming: dict[str, str] = field(factory=dict, init=False)  # rooms, by request
    _numbers: Iterator[int] = field(factory=itertools.count, init=False)
    _called: dict[str, int] = field(factory=dict, init=False)  # to be joined, after that event
    _heads: dict[str, int] | None = field(default=None, init=False)  # of private rooms

    @property
    def is_connected(self) -> bool:
        """Is there a connection now?"""
        return self._outgoing is not None

    def send(self, line: bytes) -> None:
        """Send the line of a request that is under way, if there is a connection; the
        next one begins with it otherwise."""
        if self._outgoing is not None:
            self._outgoing.send_nowait(line)

    async def enter(self) -> Link:
        """Connect and say hello. Raises `LinkLost`, or what the server refuses with."""
        with trio.move_on_after(CONNECT_WITHIN):
            link = Link(await self.dial(), SILENCE)
            try:
                await self._greet(link)
            except BaseException:
                await trio.aclose_forcefully(link.stream)
                raise
            return link
        raise LinkLost(f"the server did not answer within {CONNECT_WITHIN:.0f} s")

    async def _greet(self, link: Link) -> None:
        await link.send([CLIENT.encode(self.hello)])
        reply = await link.receive()
        match reply:
            case Welcome():
                self.welcome = reply
                # The token of one that passes by does not last.
                password = self.hello.password if self.hello.passing else None
                self.hello = evolve(self.hello, token=reply.token, password=password)
            case Error():
                raise from_code(reply.code, reply.text, reply.retry)
            case Goodbye():
                self._part(reply)
            case _:
                raise LinkLost("the other side does not answer a hello")

    async def hang_up(self) -> None:
        """Say all that is to be said, and wait until the server has seen the end: then
        the name is free for whoever connects next."""
        self._is_leaving = True
        if self._outgoing is not None:
            self._outgoing.close()  # the sender says the rest, and then that this was all
            self._outgoing = None
            await self._has_ended.wait()

    async def run(self, link: Link) -> None:
        """Talk, and reconnect, until cancelled, hung up, or without hope."""
        try:
            while True:
                try:
                    await self._talk(link)
                except* LinkLost as lost:
                    log.info("connection lost", extra={"why": str(lost.exceptions[0])})
                if self._is_leaving:
                    break
                if self._dismissal is not None:  # who comes back would be let go again
                    raise self._dismissal
                self.on_state(State.RECONNECTING)
                link = await self._reconnect()
        except ChatError as failure:
            self.fail(failure)
        finally:
            self._has_ended.set()

    def fail(self, failure: ChatError) -> None:
        """End: there will be no answers and no events any more."""
        self.calls.fail(failure)
        self.feed.close(failure)

    # ------------------------------------------------------------ one connection

    async def _talk(self, link: Link) -> None:
        self._outgoing, lines = trio.open_memory_channel[bytes](IN_FLIGHT + SPARE_LINES)
        backlog = self._backlog()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, link, backlog, lines)
                nursery.start_soon(self._keep_pinging, self._outgoing)
                await self._receive(link)
        finally:
            self._outgoing = None
            await trio.aclose_forcefully(link.stream)

    def _backlog(self) -> list[bytes]:
        """What the connection before left open, in the order in which it was asked."""
        joining = {call.request.room for call in self.calls if isinstance(call.request, Join)}
        resumed = [room for room in self.feed.joined() if room not in joining]
        self._resuming = {f"resume-{number}": room for number, room in enumerate(resumed)}
        self._call_missed()
        joins = [self._rejoin(room, id) for id, room in self._resuming.items()]
        return joins + [call.line for call in self.calls]

    def _call_missed(self) -> None:
        """What was said in private, since it was known last, is as if one was called now."""
        self._called.clear()
        states = [state for state in self.welcome.rooms if is_private(state.room)]
        for state in states if self._heads is not None else ():
            assert self._heads is not None
            after = self._heads.get(state.room, 0)
            if state.head > after:
                self._called[state.room] = after
        self._heads = {state.room: state.head for state in states}

    def _rejoin(self, room: str, id: str) -> bytes:
        cursor = self.feed.cursors[room]
        return CLIENT.encode(Join(room, cursor.last, quiet=cursor.is_quiet, id=id))

    async def _send(
        self, link: Link, backlog: Sequence[bytes], lines: trio.MemoryReceiveChannel[bytes]
    ) -> None:
        if backlog:
            await link.send(backlog)
        async for line in lines:
            batch = [line]
            with suppress(trio.WouldBlock, trio.EndOfChannel):
                while True:
                    batch.append(lines.receive_nowait())
            await link.send(batch)
        await link.end()

    async def _keep_pinging(self, outgoing: trio.MemorySendChannel[bytes]) -> None:
        while True:
            # Full: then there is enough under way. Closed: this is the end.
            with suppress(trio.WouldBlock, trio.ClosedResourceError):
                outgoing.send_nowait(CLIENT.encode(Ping()))
            self._answer_calls()
            await trio.sleep(PING_EVERY)

    async def _receive(self, link: Link) -> None:
        while True:
            reply = await link.receive()
            match reply:
                case Event() | Gap():
                    self.feed.put(reply)
                    self._see_if_put_out(reply)
                case Marked(id=None):
                    self.feed.put(reply)
                case (
                    Ack()
                    | Error()
                    | Page()
                    | Members()
                    | RoomList()
                    | Marked()
                    | Found()
                    | DeviceList()
                    | Done()
                    | Pong()
                ):
                    self._take_answer(reply)
                case Called() if not is_private(reply.room):
                    self.feed.put(reply)
                case Called():
                    if len(self._called) + len(self.feed.cursors) < MOST_ROOMS:
                        self._called.setdefault(reply.room, reply.seq - 1)
                    self._answer_calls()
                case Goodbye():
                    self._part(reply)
                case Welcome():
                    log.warning("a second welcome")
                case _:
                    assert_never(reply)

    def _see_if_put_out(self, item: Event | Gap) -> None:
        """One who was put out of a room gets nothing more of it."""
        match item:
            case Event(seq, message=Kick(room, name) | Ban(room, name, off=False)):
                if name == self.welcome.name:
                    self.feed.put_out(room, seq)
            case _:
                pass

    def _take_answer(self, answer: Answer) -> None:
        if isinstance(answer, Page):
            self.feed.fill(answer)
        receipt = self.calls.answer(answer)
        if receipt is not None and isinstance(answer, Ack):
            self._take_ack(receipt, answer)
        if receipt is None and isinstance(answer, Ack) and answer.id in self._resuming:
            self.feed.begin(answer.room, answer.seq + answer.again)
        if receipt is not None or not isinstance(answer, Error):
            return
        log.warning("refused", extra={"code": answer.code, "text": answer.text})
        error = from_code(answer.code, answer.text)
        if isinstance(error, Dismissed | Banned) and answer.id is None:
            self._dismissal = error
        if answer.id in self._resuming:
            self._fail_to_resume(self._resuming[answer.id], answer)

    def _take_ack(self, receipt: Receipt, ack: Ack) -> None:
        join = receipt.request
        if isinstance(join, Leave) and self._heads is not None:
            self._heads[ack.room] = ack.seq
        if not isinstance(join, Join):
            return
        if is_private(join.room):  # only now its name is known
            self.feed.follow(ack.room, join.after, is_quiet=True)
        self.feed.begin(ack.room, ack.seq if not ack.again else ack.seq + 1)

    def _answer_calls(self) -> None:
        """Join the private rooms in which something is said, as far as there is space; that
        of the requests is theirs."""
        while self._called and self._has_spare_space():
            room, after = next(iter(self._called.items()))
            if room not in self.feed.joined():
                id = f"called-{next(self._numbers)}"
                self.send(CLIENT.encode(Join(room, after, quiet=True, id=id)))
                self._resuming[id] = room
                self.feed.follow(room, after, is_quiet=True)
            del self._called[room]

    def _has_spare_space(self) -> bool:
        """If not, there is with the next call, or the next ping."""
        if self._outgoing is None:
            return False
        return self._outgoing.statistics().current_buffer_used < SPARE_LINES

    def _fail_to_resume(self, room: str, refusal: Error) -> None:
        """A room that is not followed any more would be missed in silence: try again, or
        give it up if one may not be there any more."""
        failure = from_code(refusal.code, refusal.text, refusal.retry)
        if isinstance(failure, AlreadyInRoom):  # the program has joined it meanwhile
            return
        if isinstance(failure, NotStored | TryLater):
            self._come_back_after(failure.retry or RESUME_AGAIN)
            raise LinkLost(f"could not resume {room}: {refusal.text}")
        self.feed.give_up(room)

    def _part(self, goodbye: Goodbye) -> None:
        self._come_back_after(goodbye.retry)
        raise LinkLost(goodbye.reason)

    def _come_back_after(self, retry: float | None) -> None:
        self._retry = min(max(0.0, retry or 0.0), RETRY_TO)

    # ------------------------------------------------------------ the next one

    async def _reconnect(self) -> Link:
        """Connect again, however often it takes. Raises what there is no hope against."""
        start = trio.current_time()
        taken_since = math.inf
        epoch = self.welcome.epoch
        for attempt in itertools.count():
            await trio.sleep(self._delay(attempt))
            try:
                link = await self.enter()
                break
            except (LinkLost, NoRoom) as failure:
                if trio.current_time() >= start + self.patience:
                    raise
                if isinstance(failure, NoRoom):
                    self._come_back_after(failure.retry)
            except NameTaken:
                taken_since = min(taken_since, trio.current_time())
                if trio.current_time() >= taken_since + min(NAME_PATIENCE, self.patience):
                    raise
        self._resume(is_same=self.welcome.epoch == epoch)
        return link

    def _delay(self, attempt: int) -> float:
        """Full jitter, so that those who were cut off together don't come back together."""
        retry, self._retry = self._retry, 0.0
        ceiling = min(BACKOFF_TO, BACKOFF_FROM * 2.0 ** min(attempt, 10))
        return retry + random.uniform(0, ceiling)  # noqa: S311 # no secret

    def _resume(self, *, is_same: bool) -> None:
        if not is_same:
            self.feed.start_afresh()
            self._heads = {}
        self.on_state(State.RESUMED if is_same else State.AFRESH)
