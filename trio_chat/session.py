"""One connection's conversation, from hello to the end: a nursery with two tasks.

The reader hears the peer out; the writer empties the outbox, and is there only while there is
something to write that the kernel does not take at once. A polite end is to close the outbox
and let the writer finish.

Posts go to the sequencer, by the postbox. Questions are answered from here, after the posts
that came before them; a pong is given at once.
"""

import logging
import math
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from typing import assert_never

import trio
from attrs import define, field, frozen

from trio_chat import errors, names, questions, rules
from trio_chat._version import __version__
from trio_chat.errors import LinkLost, NotStored, Refused, WireError
from trio_chat.framing import LINE_BYTES, LineBuffer
from trio_chat.gate import EACH, MOST, Turnstile, origin_of
from trio_chat.history import HasRead
from trio_chat.hub import Hub, Proof
from trio_chat.messages import (
    VERSION,
    Appoint,
    Ban,
    Banish,
    Delete,
    DeviceList,
    Devices,
    Done,
    Edit,
    Error,
    Goodbye,
    Hello,
    History,
    Invite,
    Join,
    Kick,
    Leave,
    Limits,
    Marked,
    Mute,
    Ping,
    Pong,
    React,
    Read,
    Register,
    Reply,
    Request,
    Restrict,
    Revoke,
    Rooms,
    Say,
    Search,
    Topic,
    Welcome,
    Who,
)
from trio_chat.outbox import GOODBYE, PUT_OUT, TAKEN_OVER, Outbox
from trio_chat.pacing import BURST, RATE, Pace
from trio_chat.pairs import is_private
from trio_chat.postbox import Postbox
from trio_chat.quotas import (
    ACCOUNTS,
    JOINS,
    LISTS,
    PAGES,
    PRIVATE_ROOMS,
    PRIVATE_TIMES,
    ROOMS,
    SEARCHES,
    Quota,
    Quotas,
)
from trio_chat.reception import Reception
from trio_chat.roles import Verb
from trio_chat.rooms import Device
from trio_chat.sequencer import Sequencer, Submission
from trio_chat.wire import SERVER, read_say
from trio_chat.writer import Writer

HELLO_WITHIN = 15.0
"""Seconds from connecting to a hello: enough to type one by hand into nc. A door's own
handshake is part of them."""

NO_HELLO = Error(errors.NoHello.code, f"no hello within {HELLO_WITHIN:.0f} s")

HELLO_BYTES, HELLO_LINES = 4096, 20
"""The most that comes up to a hello, whoever sends it: it is longer than any hello, and one
may try a few names."""

SILENCE = 45.0
"""Seconds without a byte after which a peer that pings, or is pinged, is taken for lost:
three pings."""

CHUNK_BYTES = 64 * 1024
"""The most bytes read at once."""

CLOSE_WITHIN = 1.0
"""Seconds for a peer to hear the last word and close, when it is let go."""

LINGER_BYTES = 128 * 1024
"""The most bytes thrown away while a peer that still talks is let go."""

SERVER_NAME = f"trio_chat {__version__}"

_QUOTAS: Mapping[type[questions.Question], Quota] = {
    History: PAGES,
    Who: LISTS,
    Rooms: LISTS,
    Search: SEARCHES,
}

log = logging.getLogger(__name__)


@frozen
class Settings:
    """What the operator may choose. `rate`: says a second of one connection, 0 for no
    limit, also of all else that it asks for; `burst`: says at once. `per_address`:
    connections from one address, 0 for any number; `connections`: in all. `guests`: may
    somebody come whose name is nobody's? `new_rooms`: from one address in an hour, 0 for any
    number."""

    rate: float = RATE
    burst: int = BURST
    per_address: int = EACH
    connections: int = MOST
    guests: bool = True
    new_rooms: int = int(ROOMS.number)

    @property
    def limits(self) -> Limits:
        """What a client is told of it, with what nobody may choose."""
        return Limits(
            line=LINE_BYTES,
            text=rules.TEXT_BYTES,
            name=names.NAME_CHARS,
            rooms=rules.ROOMS_EACH,
            page=questions.PAGE_EVENTS,
            rate=self.rate,
            burst=self.burst,
            silence=SILENCE,
            connections=self.connections,
            per_address=self.per_address,
            hello_bytes=HELLO_BYTES,
            hello_lines=HELLO_LINES,
            hello_within=HELLO_WITHIN,
            joins=self._a_second(JOINS),
            pages=self._a_second(PAGES),
            lists=self._a_second(LISTS),
            searches=self._a_second(SEARCHES),
            new_rooms=self.new_rooms,
            new_accounts=int(ACCOUNTS.number),
        )

    def _a_second(self, quota: Quota) -> float:
        return quota.number if self.rate != 0 else 0.0


@define(eq=False)
class Arrival:
    """How a connection came: `at` which time, in trio's; from which `address`, unless over
    memory; `heard`: what was read of it, to see what it speaks. `more`: what has come since,
    without waiting for it."""

    at: float = field(factory=trio.current_time)
    address: str | None = None
    heard: bytes = field(default=b"", repr=False)
    more: Callable[[], bytes] = bytes

    def take(self) -> bytes:
        """What was heard, once. There may be a password in it, and much behind that; who has
        read it shall not keep it for as long as the connection lasts."""
        heard, self.heard = self.heard, b""
        return heard


@define(eq=False, repr=False)
class Session:
    """The conversation on `stream`. What a peer does wrong never gets out of `run`.

    `exit`: whoever has hung up waits there, and whose time is over.
    """

    stream: trio.abc.Stream
    outbox: Outbox
    hub: Hub
    sequencer: Sequencer
    reception: Reception
    exit: Turnstile
    settings: Settings
    arrival: Arrival
    _lines: LineBuffer = field(factory=lambda: LineBuffer(HELLO_BYTES), init=False)
    _strange_lines: int = field(default=0, init=False)
    _strange_bytes: int = field(default=0, init=False)
    _postbox: Postbox = field(init=False)
    _writer: Writer = field(init=False)
    _quotas: Quotas = field(factory=Quotas, init=False)
    _life: trio.Nursery | None = field(default=None, init=False)  # for the writer, and its end
    _context: Context = field(factory=copy_context, init=False)
    _listening: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _device: Device | None = field(default=None, init=False)
    _fell_silent: bool = field(default=False, init=False)
    _farewell: Goodbye | None = field(default=None, init=False)
    _dismissal: bytes = field(default=b"", init=False)

    def __attrs_post_init__(self) -> None:
        pace = Pace(self.settings.rate, self.settings.burst)
        self._postbox = Postbox(self.sequencer, self.outbox, pace)
        self._writer = Writer(self.stream, self.outbox)

    @property
    def address(self) -> str | None:
        """Where the peer is; None over memory."""
        return self.arrival.address

    def say_goodbye(self, farewell: Goodbye) -> None:
        """End politely: hear no more, answer what was heard, say goodbye."""
        self._part(self._farewell or farewell)
        self._listening.cancel(reason=farewell.reason)

    async def run(self) -> None:
        """Serve the connection to its end."""
        try:
            async with trio.open_nursery() as nursery:
                self._life = nursery
                self.outbox.start_writer = self._start_writer
                try:
                    await self._listen()
                finally:  # or a writer might be wanted when the nursery takes none any more
                    self.outbox.cut()
        except* LinkLost as lost:
            self._note("link lost", why=str(lost.exceptions[0]))
        except* Exception:
            log.exception("bug: a session died")
        finally:
            device = self._device
            if device is not None and device.connection is self and not device.is_gone:
                self._lose(device)
            with trio.move_on_after(CLOSE_WITHIN, shield=True):
                await hang_up(self.stream, self._parting_word())
            self._note("closed")

    def cut_off(self, why: str, ending: str = PUT_OUT) -> None:
        """End at once: what is queued is not sent any more."""
        self.outbox.ending = ending
        self.outbox.cut()
        error = self._dismiss(why, ending)
        self._dismissal = self._encode(Error(error.code, str(error), retry=error.retry))
        assert self._life is not None, "who is in has a connection that runs"
        self._life.cancel_scope.cancel(reason=why)

    def _dismiss(self, why: str, ending: str) -> Refused:
        if ending == TAKEN_OVER:
            return errors.TakenOver(why)
        name = None if self._device is None else self._device.name
        try:  # who is banished hears what it would hear at the door: why, and how long
            self.hub.banished.require(name, self.address, self.sequencer.now())
        except errors.Banned as banned:
            return banned
        return errors.PutOut(why)

    def _parting_word(self) -> bytes:
        """What to tell who is cut off; nothing within a line that was sent in part."""
        is_amid = self._writer.is_torn or self.outbox.queued_bytes > 0
        return b"" if is_amid else self._dismissal

    def _lose(self, device: Device) -> None:
        """The connection is over. Who pings means to stay, and is expected back; who does
        not, such as nc, has hung up; and who was silent for long has been waited for."""
        if device.is_gone:  # it was thrown out
            return
        if device.has_pinged and device.is_seen and not self._fell_silent:
            self.hub.lose(device, trio.current_time())
        else:
            self.sequencer.depart(device)

    def _note(self, what: str, **fields: object) -> None:
        log.info(what, extra=fields)

    # ------------------------------------------------------------ the reader

    async def _listen(self) -> None:
        self._listening.deadline = self.arrival.at + HELLO_WITHIN
        with self._listening:
            await self._converse()
        if self._listening.cancelled_caught and self._farewell is None:
            await self.exit.pass_through()  # the time of a thousand may be over at once
        last_word = self._last_word() if self._listening.cancelled_caught else None
        await self._postbox.settled()
        self.outbox.close(b"" if last_word is None else self._encode(last_word))

    def _last_word(self) -> Reply:
        self.outbox.ending = GOODBYE
        if self._farewell is not None:
            return self._farewell
        if self._device is None:
            self.outbox.ending = NO_HELLO.code
            self.hub.tally.refusals[NO_HELLO.code] += 1
            return NO_HELLO
        self._fell_silent = True
        return self._part(Goodbye(f"nothing heard for {SILENCE:.0f} s", retry=0))

    def _part(self, farewell: Goodbye) -> Goodbye:
        """From now on all that is queued is sent, but nothing more is read from the log."""
        self._farewell = farewell
        self._writer.reads_on = False
        return farewell

    async def _converse(self) -> None:
        """Hear and answer until the peer has said all, or makes no sense any more."""
        chunk = self.arrival.take()
        try:
            while chunk := chunk or await self._receive():
                for line in self._lines.feed(chunk):
                    if not self._hear_say(line):
                        await self._hear(line)
                chunk = await self._hear_meanwhile()
                if not chunk:
                    await self._submit()
            for line in self._lines.end():
                await self._hear(line)
            await self._submit()
        except (WireError, Refused) as error:
            self.outbox.ending = error.code
            await self._reply_to(error)

    async def _hear_meanwhile(self) -> bytes:
        """What has come while the posts before are under way goes with those that wait for
        them. Without, every other batch is a small one: who says more as soon as the first
        have heard it, says a little first, and the rest a moment later."""
        if self._postbox.is_settled or not self._postbox.posts:
            return b""
        await self._postbox.settled()
        return self.arrival.more()

    @property
    def _most(self) -> int:
        """How much is read at once: of a stranger no more than what a hello may have."""
        return CHUNK_BYTES if self._device is not None else HELLO_BYTES

    async def _receive(self) -> bytes:
        pings = self._device is not None and self._device.has_pinged
        if pings:
            self._listening.deadline = trio.current_time() + SILENCE
        chunk, failure = b"", None
        try:
            chunk = bytes(await self.stream.receive_some(self._most))
        except trio.TooSlowError:  # the stream pings by itself
            self._listening.cancel(reason="silent")
            await trio.sleep_forever()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            failure = exc
        finally:
            if pings:
                self._listening.deadline = math.inf  # not while it is us who keep it waiting
        if not chunk:
            await self.exit.pass_through()
        if failure is not None:
            raise LinkLost("connection reset") from failure
        return chunk

    def _hear_say(self, line: bytes) -> bool:
        """Most of what is heard is said in a room, and is only kept here for the sequencer:
        2 µs instead of 4. False if it is something else, or if anything is wrong with it."""
        say = None if self._device is None else read_say(line)
        if say is None or is_private(say.room):
            return False
        self._postbox.posts.append(say)
        return True

    async def _hear(self, line: bytes) -> None:
        if self._device is None:
            self._count_strange(line)
        id = None
        try:
            request = SERVER.decode(line)
            id = request.id
            if self._device is None:
                await self._greet(request)
            else:
                await self._heed(request, self._device)
        except (WireError, Refused) as error:
            error.id = error.id or id
            # A browser that is made to post here says no hello first.
            is_stranger = self._device is None and isinstance(error, errors.NotJson)
            if error.ends_link or is_stranger:
                raise
            await self._reply_to(error)

    def _count_strange(self, line: bytes) -> None:
        """Not much is listened to before a hello. Raises what ends the link."""
        self._strange_lines += 1
        self._strange_bytes += len(line) + 1
        if self._strange_lines > HELLO_LINES:
            raise errors.NoHello(f"no hello in the first {HELLO_LINES} lines")
        if self._strange_bytes > HELLO_BYTES:
            raise errors.LineTooLong(f"no hello in the first {HELLO_BYTES} bytes")

    async def _greet(self, request: Request) -> None:
        if not isinstance(request, Hello):
            raise errors.HelloFirst("say hello first")
        if request.v != VERSION:
            raise errors.BadVersion(f"version {VERSION} of the protocol is spoken here")
        name = names.parse_name(request.name)
        self.hub.banished.require(name, self.address, self.sequencer.now())
        device, token, proof = await self._let_in(name, request)
        self._device = device
        self._listening.deadline = math.inf
        self._lines.limit = LINE_BYTES
        self._note("hello", who=name, address=self.address, client=request.client)
        if device.is_remembered or proof.rehashed is not None:
            token = await self._renew(device, token, proof)
        if proof.has_password:
            await self._make_space(device)
        self.outbox.answer(self._encode(self._welcome(device, token, request.id)))
        self.hub.remind(device, self.sequencer.now())

    async def _let_in(self, name: names.Name, hello: Hello) -> tuple[Device, str, Proof]:
        try:
            proof = await self.reception.prove(name, hello, origin_of(self.address))
            # What was decided meanwhile holds, too; no await up to the enter.
            self.hub.banished.require(name, self.address, self.sequencer.now())
            return *self.hub.enter(name, self, proof), proof
        except (errors.AccountNeeded, errors.PasswordNeeded) as refusal:
            if self.settings.guests:
                raise
            # The same whether there is such a name or not: nobody learns which there are.
            raise errors.PasswordNeeded(
                "there are no guests here; a name that is registered needs its password"
            ) from refusal

    async def _make_space(self, device: Device) -> None:
        try:
            await self.reception.make_space(device)
        except NotStored as failure:  # the next time will do
            self._note("too many devices", error=str(failure))

    async def _renew(self, device: Device, fresh: str, proof: Proof) -> str:
        """Have the new token stored before it is given out; the old one if that fails."""
        changes = [] if proof.rehashed is None else [proof.rehashed]
        submission = Submission(device, self.outbox, changes=changes, renews=True)
        await self._postbox.submit(submission)
        await self._postbox.settled()
        if submission.is_stored or proof.token is None:
            return fresh
        self.hub.keep_token(device, proof.token)
        return proof.token

    def _welcome(self, device: Device, token: str, id: str | None) -> Welcome:
        rooms = device.member.states(device)
        epoch = self.hub.history.epoch
        return Welcome(
            VERSION,
            SERVER_NAME,
            device.name,
            token,
            epoch,
            self.settings.limits,
            rooms,
            id,
            device.member.has_account,
        )

    async def _heed(self, request: Request, device: Device) -> None:
        match request:
            case Join():
                await self._let_join(request, device)
                self._postbox.posts.append(request)
            case Say():
                if is_private(request.room):
                    await self._let_begin(PRIVATE_ROOMS, PRIVATE_TIMES, request.room, device)
                self._postbox.posts.append(request)
            case (
                Leave()
                | Edit()
                | Delete()
                | React()
                | Topic()
                | Invite()
                | Kick()
                | Ban()
                | Mute()
                | Appoint()
                | Restrict()
            ):
                self._postbox.posts.append(request)
            case Ping():
                device.has_pinged = True
                await self.outbox.wait_for_space()
                self.outbox.answer(self._encode(Pong(request.id)))
            case History() | Who() | Rooms() | Search():
                self._take(_QUOTAS[type(request)])
                await self._catch_up()
                asker = questions.Asker(self.hub, device, self.sequencer.now())
                lines = await questions.answer(request, asker)
                self.outbox.answer(self.outbox.format(lines))
            case Read():
                await self._catch_up()
                self._mark(request, device)
            case Register() | Devices() | Revoke() | Banish():
                await self._catch_up()
                reply = await self._attend(request, device)
                self.outbox.answer(self._encode(reply))
            case Hello():
                raise errors.HelloTwice(f"you are {device.name} already")
            case _:
                assert_never(request)

    async def _let_join(self, join: Join, device: Device) -> None:
        """See that nobody joins too much, makes too many rooms, or guesses their keys.

        Raises `TryLater`, `BadName`, `Banned`.
        """
        if device.comes_back_to(join.room):
            return
        self._take(JOINS)
        self.hub.refuse_banned(device, join.room, self.sequencer.now())
        if join.key is not None:
            await self._catch_up()
            self.reception.try_key(device, join, origin_of(self.address))
        if not (join.quiet or is_private(join.room)):
            await self._let_begin(ROOMS, 1, join.room, device)

    async def _let_begin(self, quota: Quota, times: int, room: str, device: Device) -> None:
        """See that nobody makes too many rooms. Raises `TryLater`."""
        origin, number = origin_of(self.address), self.settings.new_rooms * times
        if not origin or not number or self.hub.is_there(device.member, room):
            return
        await self._catch_up()  # what was posted before may have made it
        if not self.hub.is_there(device.member, room):
            self.reception.take(quota.of(number), origin)

    def _take(self, quota: Quota) -> None:
        """Use one of what the connection has. Raises `TryLater`."""
        if self.settings.rate != 0:
            self._quotas.take(quota, trio.current_time())

    async def _attend(
        self, request: Register | Devices | Revoke | Banish, device: Device
    ) -> Reply:
        match request:
            case Register():
                origin = origin_of(self.address)
                try:
                    await self.reception.register(device, request, origin)
                except errors.WrongPassword as error:  # who is in may stay
                    return Error(error.code, str(error), request.id)
            case Devices():
                return DeviceList(await self.reception.devices(device), request.id)
            case Revoke():
                await self.reception.revoke(device, request.device)
            case Banish():
                await self.reception.banish(device, request)
            case _:
                assert_never(request)
        return Done(request.id)

    def _mark(self, request: Read, device: Device) -> None:
        member = device.member
        room = self.hub.find_room(device, request.room, Verb.SEE, self.sequencer.now())
        if not room.is_private and room.name not in device.rooms:
            raise errors.NotInRoom(f"you are not in {room.name}; join it first")
        member.mark(room.name, min(request.seq, room.head), besides=device)
        read = member.read[room.name]
        self.sequencer.note(HasRead(member.identity, room.name, read))
        self.outbox.answer(self._encode(Marked(room.name, read, request.id)))

    async def _reply_to(self, error: WireError | Refused) -> None:
        self.hub.tally.refusals[error.code] += 1
        await self._catch_up()
        reply = Error(error.code, str(error), error.id, error.retry)
        self.outbox.answer(self._encode(reply))

    async def _catch_up(self) -> None:
        """Before an answer from here: what was posted before comes first; and let others have
        their answers, and the peer read."""
        await self._submit()
        await self._postbox.settled()
        await trio.lowlevel.checkpoint()
        await self.outbox.wait_for_space()

    async def _submit(self) -> None:
        if self._postbox.posts:
            assert self._device is not None, "who has not said hello has no posts"
            await self._postbox.empty(self._device)

    def _encode(self, reply: Reply) -> bytes:
        return self.outbox.format([SERVER.encode(reply)])

    # ------------------------------------------------------------ the writer

    def _start_writer(self) -> None:
        assert self._life is not None, "nothing is said to a connection that does not run"
        # It is somebody else who has something to say; but what is logged is about this one.
        self._context.run(self._life.start_soon, self._writer.run)


# ---------------------------------------------------------------- the end


async def hang_up(stream: trio.abc.Stream, last_word: bytes = b"") -> None:
    """Close, but let a peer that was still talking hear the last word, sent already or here:
    closing with unread input sends a reset, which may overtake it (RFC 2525, section 2.17).
    The caller allows CLOSE_WITHIN."""
    try:
        if last_word:
            await stream.send_all(last_word)
        if isinstance(stream, trio.abc.HalfCloseableStream):
            await stream.send_eof()
            await _read_out(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        log.info("reset while closing")
    finally:
        await trio.aclose_forcefully(stream)


async def _read_out(stream: trio.abc.ReceiveStream) -> None:
    left = LINGER_BYTES
    while left > 0 and (data := await stream.receive_some(left)):
        left -= len(data)
