"""The commands for scripts: `say`, `tail`, `rooms`, `who` and `search`.

They come and go without an event in the room. What fails is raised: its exit status, one of
those in `ending`, tells a script what to do.
"""

import itertools
import math
import re
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Annotated, TypeVar

import trio
from attrs import define, field
from cyclopts import App, Parameter
from cyclopts.validators import Number

from trio_chat.asking import NO_TOKEN, USUAL, PasswordSource, TokenSource
from trio_chat.client.chat import Chat
from trio_chat.client.clean import clean
from trio_chat.client.commands import sayable
from trio_chat.client.lifeline import State
from trio_chat.client.listings import plain_hit
from trio_chat.client.plain import make_printer, print_until
from trio_chat.client.wording import Wording
from trio_chat.client.wrap import cells
from trio_chat.config import LOCAL, PROGRAM, Flag, ServerAddress, TrustNew
from trio_chat.ending import STATUSES, require_stdout, write_out
from trio_chat.errors import (
    BadFields,
    ChatError,
    LinkLost,
    NameTaken,
    NoRoom,
    NotStored,
    Refused,
    SetupError,
)
from trio_chat.framing import LINE_BYTES
from trio_chat.login import ONCE, Visit, log_in
from trio_chat.messages import MAX_INT, Ack, Found, Members, Page, RoomList
from trio_chat.names import NAME_CHARS, parse_name
from trio_chat.pairs import is_private, parse_room
from trio_chat.talking import tell_state
from trio_chat.wire import SERVER

T = TypeVar("T")

WAIT = 30.0
"""Seconds to try: longer than a restart takes, and than a server keeps the name of somebody
whose connection is lost."""

PATIENCE = 10.0
"""Seconds of reconnecting for who has asked a question, and waits for the answer."""

PAUSE_FROM, PAUSE_TO = 0.1, 1.0
"""Seconds between the first tries, and between the later ones."""

LINES = 10
"""Events that `tail` shows, as the other `tail` does."""

HITS = 20
"""Places that `search` shows: a screen. So many are asked for at once."""

app = App(group_parameters="Options")
"""What `cli` takes over as its own."""

Json = Annotated[bool, Flag]


# ---------------------------------------------------------------- the commands


def _check_text(_type: object, text: str) -> None:
    if re.match("-+[A-Za-z]", text):
        raise ValueError("that looks like an option; - says what is on the standard input")


@app.command(
    sort_key=3,
    usage=f"Usage: {PROGRAM} say [OPTIONS] ROOM [TEXT]",
    help_epilogue=f"""\
Examples:
  {PROGRAM} say ops "the backup is done" --name cron
  # Several lines are one message.
  df -h | {PROGRAM} say ops --name cron
  # For one person only.
  {PROGRAM} say @alice "the disk is full" --name cron
  # As a bot, which has a name of its own.
  {PROGRAM} say ops "the build is done" --token-file ~/.ci-token
  # However often a script is started again, this is said once.
  {PROGRAM} say ops "good morning" --name cron --id "$(date +%F)"

{STATUSES}""",
)
async def say(
    room: str,
    text: Annotated[str, Parameter(allow_leading_hyphen=True, validator=_check_text)] = "-",
    /,
    *,
    name: Annotated[str, Parameter(show_default="that of the token")] = "",
    password: PasswordSource = USUAL,
    token: TokenSource = NO_TOKEN,
    server: ServerAddress = LOCAL,
    trust_new: TrustNew = False,
    id: Annotated[str | None, Parameter(show_default=False)] = None,
    wait: Annotated[float, Parameter(validator=Number(gt=0))] = WAIT,
    json: Json = False,
) -> None:
    """Say one message, and wait until it is stored.

    Nobody sees a join or a leave. While the server can't be reached, or another
    program has the name, it tries again.

    Parameters
    ----------
    room
        The room; somebody has to have been there before. @NAME is one person.
    text
        What to say; - is the standard input.
    name
        What you are called: a letter, then letters, digits, - or _.
    server
        HOST, HOST:PORT, a link, or a name that the settings
        have for one. Beyond this machine all of them mean
        TLS; plain://HOST:PORT is without.
    trust_new
        Take a server that nobody vouches for at its word the first time.
    id
        Said again with the same id and NAME, it is still one message.
    wait
        How many seconds to try.
    json
        Print the answer as a line of JSON, that of the protocol.
    """

    login = log_in(name, password, token)

    async def talk() -> None:
        speech = Speech(parse_room(room), _text(text), _checked_id(id))
        ack = await login.insist(
            partial(speech.give, partial(login.open, server, trusts_new=trust_new), wait)
        )
        if json:
            write_out([SERVER.encode(ack)])

    await talk()


@app.command(
    sort_key=4,
    usage=f"Usage: {PROGRAM} tail [OPTIONS] ROOM",
    help_epilogue=f"""\
Examples:
  {PROGRAM} tail ops
  # All that was ever said, and will be, as lines of JSON.
  {PROGRAM} tail ops --json --after 0 --follow

{STATUSES}""",
)
async def tail(
    room: str,
    /,
    *,
    lines: Annotated[int, Parameter(validator=Number(gte=0))] = LINES,
    after: Annotated[
        int | None, Parameter(validator=Number(gte=0, lte=MAX_INT), show_default=False)
    ] = None,
    follow: Annotated[bool, Flag] = False,
    visit: Visit = ONCE,
    json: Json = False,
) -> None:
    """Print the newest events of a room, the oldest of them first.

    Nobody sees a join or a leave, but who asks who is there is told of you.
    With --follow a lost connection is made anew, and nothing is missed.

    Parameters
    ----------
    room
        The room.
    lines
        How many of the newest events.
    after
        All events after the one with this number, instead.
    follow
        Go on with what happens from now on, each event once.
    json
        Print lines of JSON, those of the protocol.
    """
    login = visit.log_in("tail")
    afresh = trio.lowlevel.ParkingLot()

    def on_state(state: State) -> None:
        tell_state(state)
        if state is State.AFRESH:
            afresh.unpark_all()

    async def talk() -> None:
        require_stdout()
        known = parse_name(room)
        patience = math.inf if follow else PATIENCE
        async with visit.open(login, patience=patience, on_state=on_state) as chat:
            start = await _start(chat, known, lines) if after is None else after
            printer = make_printer(chat, known, json=json)
            newest = await chat.join(known, after=start, quiet=True)
            if follow:
                await print_until(lambda: _stay(chat, known, afresh), chat, printer)
            elif newest > start:
                await print_until(lambda: printer.wait_for(newest), chat, printer)

    await login.insist(talk)


@app.command(
    sort_key=5,
    usage=f"Usage: {PROGRAM} rooms [OPTIONS]",
    help_epilogue=f"""\
Example:
  {PROGRAM} rooms --json | jq '.rooms[].room'
""",
)
async def rooms(
    *,
    visit: Visit = ONCE,
    json: Json = False,
) -> None:
    """Print which rooms there are.

    Parameters
    ----------
    json
        Print a line of JSON, that of the protocol.
    """

    login = visit.log_in("rooms")

    async def talk() -> None:
        async with visit.open(login, patience=PATIENCE) as chat:
            known = await chat.rooms()
        lines = [
            f"{name}{' ' * (NAME_CHARS - cells(name))}"
            f" {room.members:5} here {room.head:10} events"
            for name, room in ((clean(room.room), room) for room in known)
        ]
        write_out([SERVER.encode(RoomList(known))] if json else _encoded(lines))

    await login.insist(talk)


@app.command(
    sort_key=6,
    usage=f"Usage: {PROGRAM} who [OPTIONS] ROOM",
    help_epilogue=f"""\
Example:
  {PROGRAM} who lobby
""",
)
async def who(
    room: str,
    /,
    *,
    visit: Visit = ONCE,
    json: Json = False,
) -> None:
    """Print who is in a room, one name a line.

    Parameters
    ----------
    room
        The room.
    json
        Print a line of JSON, that of the protocol.
    """

    login = visit.log_in("who")

    async def talk() -> None:
        known = parse_name(room)
        async with visit.open(login, patience=PATIENCE) as chat:
            names = await chat.who(known)
        write_out(
            [SERVER.encode(Members(known, names))] if json else _encoded(map(clean, names))
        )

    await login.insist(talk)


@app.command(
    sort_key=7,
    usage=f"Usage: {PROGRAM} search [OPTIONS] WORDS...",
    help_epilogue=f"""\
Examples:
  {PROGRAM} search green soup
  {PROGRAM} search backup --room ops --json | jq '.hits[].seq'
""",
)
async def search(
    word: str,
    /,
    *words: str,
    room: Annotated[str | None, Parameter(show_default="all of them")] = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1))] = HITS,
    visit: Visit = ONCE,
    json: Json = False,
) -> None:
    """Print where all of these words were said, the newest at the end.

    Upper and lower case are one, and a word is found by its beginning.

    Parameters
    ----------
    word
        What was said.
    words
        What was said besides.
    room
        Only there.
    limit
        How many of the newest places.
    json
        Print lines of JSON, those of the protocol, the newest first.
    """

    login = visit.log_in("search")

    async def talk() -> None:
        known = None if room is None else parse_name(room)
        async with visit.open(login, patience=PATIENCE) as chat:
            found = [part async for part in _find(chat, " ".join((word, *words)), known, limit)]
            wording = Wording(chat.name)
        hits = [hit for part in found for hit in part.hits]
        lines = [plain_hit(hit, wording) for hit in reversed(hits)]
        write_out(map(SERVER.encode, found) if json else _encoded(lines))

    await login.insist(talk)


# ---------------------------------------------------------------- connections


def _encoded(lines: Iterable[str]) -> list[bytes]:
    return [f"{line}\n".encode() for line in lines]


# ---------------------------------------------------------------- saying

Connect = Callable[[], AbstractAsyncContextManager[Chat]]


@define(eq=False)
class Speech:
    """One message; it is the same however often it is given."""

    room: str
    text: str
    id: str
    _is_unanswered: bool = field(default=False, init=False)

    async def give(self, connect: Connect, wait: float) -> Ack:
        """Say it, for as long as there is time and hope.

        Raises what it is refused with, or `LinkLost`.
        """
        try:
            return await _insist(partial(self._give, connect), wait)
        except (LinkLost, Refused) as failure:
            if not self._is_unanswered:
                raise
            raise LinkLost(
                f"no answer within {wait:g} s; it may have been said, and --id {self.id}"
                " keeps it from being said twice"
            ) from failure

    async def _give(self, connect: Connect) -> Ack:
        async with connect() as chat:
            text = sayable(self.text, chat.welcome.limits.text)
            if not is_private(self.room):
                # It comes to speak: what was there before is of no interest.
                await chat.join(self.room, after=MAX_INT, quiet=True)
            receipt = await chat.submit(self.room, text, id=self.id)
            self._is_unanswered = True
            try:
                (ack,) = await receipt.wait()
            except ChatError:
                self._is_unanswered = chat.failure is not None
                raise
            assert isinstance(ack, Ack)
            return ack


def _text(text: str) -> str:
    """What to say, without the ends of line that it ends with."""
    if text == "-":
        if sys.stdin is None:  # as after `<&-`
            raise SetupError("standard input has to be open, or a TEXT given")
        # No server takes more than a line.
        text = sys.stdin.buffer.read(LINE_BYTES + 1).decode("utf-8", "replace")
    text = text.rstrip("\r\n")
    if not text.strip():
        raise BadFields("there is nothing to say")
    return text


def _checked_id(id: str | None) -> str:
    if id == "":
        raise BadFields("an --id can't be empty")
    return id or secrets.token_urlsafe(9)


async def _insist(attempt: Callable[[], Awaitable[T]], wait: float) -> T:
    """Try until it succeeds, or there is no time left, or no hope."""
    failure: ChatError = LinkLost(f"the server did not answer within {wait:g} s")
    with trio.move_on_after(wait):
        for pause in _pauses():
            retry = 0.0
            try:
                return await attempt()
            except LinkLost as lost:
                failure = lost
            except (NameTaken, NoRoom, NotStored) as refusal:
                failure, retry = refusal, refusal.retry or 0.0
            await trio.sleep(max(pause, retry))
    raise failure


def _pauses() -> Iterator[float]:
    return (min(PAUSE_TO, PAUSE_FROM * 2.0 ** min(count, 10)) for count in itertools.count())


# ---------------------------------------------------------------- listening


async def _start(chat: Chat, room: str, lines: int) -> int:
    """The event after which the newest `lines` come."""
    return max(0, _newest(await chat.history(room, limit=1)) - lines)


def _newest(page: Page) -> int:
    if page.events:
        return page.events[-1].seq
    return 0 if page.gap is None else page.gap.last


async def _find(chat: Chat, words: str, room: str | None, limit: int) -> AsyncIterator[Found]:
    """So many places at most, in parts."""
    found = Found(())
    while limit > 0:
        found = await chat.search(words, room=room, before=found.next, limit=min(limit, HITS))
        limit -= len(found.hits)
        yield found
        if found.next is None:
            break


async def _stay(chat: Chat, room: str, afresh: trio.lowlevel.ParkingLot) -> None:
    """Never ends. Raises `NoSuchRoom` if another history has no such room: one would wait
    for ever for what happens there."""
    while True:
        await afresh.park()
        await chat.who(room)
