"""Did everything arrive exactly once, in order, at everybody? At the speed of memory.

The members of a room are sent the same bytes. So those that arrive first at anybody become
the room's `Tape`, which is read message by message, and what the others are sent is
compared with it as bytes. Lines that only one member is sent, such as acks, are cut out
before. A server that does not promise one order to all has each stream read by itself.

Nothing here does I/O or knows the time.
"""

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Mapping
from enum import Enum
from typing import Protocol

from attrs import define, field, frozen

from trio_chat.bench.dialect import Dialect, Message
from trio_chat.bench.plan import text_of
from trio_chat.errors import ChatError

FORGET_BYTES = 1024 * 1024
"""How much a tape grows before it is looked what of it everybody has passed."""


KNOWN_CHUNKS = 1000
"""How many chunks are kept that another member may be sent, too."""


class Kind(Enum):
    """What can be wrong."""

    LOST = "lost"
    DOUBLED = "doubled"
    REORDERED = "reordered"
    ALTERED = "altered"
    FOREIGN = "foreign"
    UNACKED = "not acked"


class Fault(ChatError):
    """The server did not do what it promises; the text says what came instead of what."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(f"{kind.value}: {text}")
        self.kind = kind


class Stream(Protocol):
    """What one member is sent, checked."""

    def take(self, data: memoryview, now: float) -> int:
        """Check what has arrived `now`; returns how many messages it completes.

        Raises `Fault`.
        """
        ...


# ---------------------------------------------------------------- latencies


@define(eq=False)
class Latencies:
    """How long messages took, in seconds, rounded down by less than 1 %: bounded however
    many they are."""

    _counts: Counter[int] = field(factory=Counter, init=False)

    def add(self, seconds: float) -> None:
        """Count one."""
        micros = int(seconds * 1e6)
        shift = max(0, micros.bit_length() - 8)
        self._counts[micros >> shift << shift] += 1

    def clear(self) -> None:
        """Forget them all."""
        self._counts.clear()

    def quantile(self, part: float) -> float | None:
        """The latency that this part of them does not exceed; None if there are none."""
        due = part * self._counts.total()
        for micros in sorted(self._counts):
            due -= self._counts[micros]
            if due <= 0:
                return micros / 1e6
        return None


# ---------------------------------------------------------------- single messages


@define(eq=False)
class Numbering:
    """Whose turn it is to be heard: each speaker's own messages come in its order.

    `speakers`: the names of those who speak, by their numbers. `size`: bytes of a text.
    """

    speakers: Mapping[int, str]
    size: int
    _next: dict[int, int] = field(init=False)
    _seq: int | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._next = dict.fromkeys(self.speakers, 0)

    def due(self) -> dict[int, int]:
        """The number of each speaker's next message."""
        return dict(self._next)

    def skip(self, before: dict[int, int], after: dict[int, int]) -> bool:
        """Go on as another stream has, which was where this one is; False if it was not."""
        if self._next != before or self._seq is not None:
            return False
        self._next = dict(after)
        return True

    def check(self, message: Message) -> int:
        """Returns the number of who said it. Raises `Fault`."""
        sender, number = _parse(message.text)
        if sender not in self._next:
            raise Fault(Kind.FOREIGN, f"nobody here says {message.text!r:.80}")
        due = self._next[sender]
        if number != due:
            kind = Kind.DOUBLED if number < due else Kind.LOST
            name = self.speakers[sender]
            raise Fault(kind, f"message {number} of {name} came where {due} is due")
        self._check_stamp(message, sender, number)
        self._next[sender] = due + 1
        return sender

    def _check_stamp(self, message: Message, sender: int, number: int) -> None:
        name = self.speakers[sender]
        if message.text != text_of(sender, number, self.size):
            raise Fault(Kind.ALTERED, f"{name} did not say {message.text!r:.80}")
        if message.by is not None and message.by != name.encode():
            raise Fault(Kind.ALTERED, f"{name}'s message is signed {message.by!r:.80}")
        if message.seq is not None:
            if self._seq is not None and message.seq != self._seq + 1:
                kind = Kind.LOST if message.seq > self._seq else Kind.REORDERED
                raise Fault(kind, f"event {message.seq} came after event {self._seq}")
            self._seq = message.seq


def _parse(text: bytes) -> tuple[int, int]:
    """Who says a text, and the how many-th of it this is; (-1, -1) if it is none of ours."""
    sender, _, rest = text.partition(b" ")
    number, _, _ = rest.partition(b" ")
    return (int(sender), int(number)) if sender.isdigit() and number.isdigit() else (-1, -1)


def _read(dialect: Dialect, data: bytes | bytearray, start: int) -> Message | None:
    try:
        return dialect.read(data, start)
    except ValueError as exc:
        raise Fault(Kind.FOREIGN, f"{bytes(data[start : start + 120])!r}: {exc}") from exc


# ---------------------------------------------------------------- the same for everybody


@define(eq=False)
class Tape:
    """What everybody in a room is sent: as much of it as somebody has not been sent yet.

    Offsets are counted from the beginning. `stop`: the end of what has arrived anywhere.
    """

    dialect: Dialect
    numbering: Numbering
    latencies: Latencies
    window: bytearray = field(factory=bytearray, init=False)
    start: int = field(default=0, init=False)
    readers: "list[Comparing]" = field(factory=list, init=False)
    _first: int = field(default=0, init=False)  # the number of the message that ends first
    _ends: list[int] = field(factory=list, init=False)
    _said_at: list[float] = field(factory=list, init=False)
    _under_way: dict[int, deque[float]] = field(init=False)
    _forget_at: int = field(default=FORGET_BYTES, init=False)

    def __attrs_post_init__(self) -> None:
        self._under_way = {sender: deque() for sender in self.numbering.speakers}

    @property
    def stop(self) -> int:
        """The end of what has arrived anywhere."""
        return self.start + len(self.window)

    def expect(self, sender: int, count: int, now: float) -> None:
        """So many messages were said `now`."""
        self._under_way[sender].extend([now] * count)

    def extend(self, data: bytes) -> None:
        """More has arrived. Raises `Fault`."""
        begin = self._ends[-1] if self._ends else self.start
        self.window += data
        while message := _read(self.dialect, self.window, begin - self.start):
            sender = self.numbering.check(message)
            if not self._under_way[sender]:
                raise Fault(Kind.FOREIGN, f"{message.text!r:.80} has not been said yet")
            begin = self.start + message.end
            self._ends.append(begin)
            self._said_at.append(self._under_way[sender].popleft())

    def count_at(self, offset: int, known: int) -> int:
        """How many messages end at `offset` or before; `known` of them do for sure."""
        return self._first + bisect_right(self._ends, offset, known - self._first)

    def said_at(self, message: int) -> float:
        """When the message with that number was said."""
        return self._said_at[message - self._first]

    def end_of(self, messages: int) -> int:
        """Where the first so many messages end."""
        return self._ends[messages - self._first - 1] if messages > self._first else self.start

    def forget(self) -> None:
        """Forget what everybody has passed, from time to time."""
        if len(self.window) < self._forget_at:
            return
        passed = min(reader.passed for reader in self.readers)
        end = self.end_of(passed)
        del self.window[: end - self.start]
        del self._ends[: passed - self._first]
        del self._said_at[: passed - self._first]
        self.start, self._first = end, passed
        self._forget_at = len(self.window) + FORGET_BYTES


@define(eq=False)
class Comparing:
    """One member's stream, which has to be what its room's tape is.

    The latency of each chunk that arrives is that of the oldest message which it
    completes: more than that of the others in it, and cheap to know.
    `acks`: who checks this member's acks, if it speaks.
    """

    tape: Tape
    name: str
    acks: "Acks"
    passed: int = field(default=0, init=False)
    _offset: int = field(default=0, init=False)
    _rest: bytes = field(default=b"", init=False)

    def __attrs_post_init__(self) -> None:
        self.tape.readers.append(self)

    def take(self, data: memoryview, now: float) -> int:
        """Check what has arrived `now`; returns how many messages it completes."""
        tape = self.tape
        # A comparison that copies nothing; `==` on a memoryview is 30 times slower.
        if not self._rest and tape.window.startswith(data, self._offset - tape.start):
            self._offset += len(data)
        else:
            self._take_lines(bytes(data))
        before = self.passed
        self.passed = tape.count_at(self._offset, before)
        if self.passed > before:
            tape.latencies.add(now - tape.said_at(before))
        return self.passed - before

    def _take_lines(self, data: bytes) -> None:
        """Go back to where the last whole message ended, and cut out what is not shared."""
        tape = self.tape
        begin = tape.end_of(self.passed)
        seen = tape.window[begin - tape.start : self._offset - tape.start]
        self._offset = begin
        shared, own, self._rest = sift(tape.dialect, b"".join((seen, self._rest, data)))
        for line in own:
            self.acks.take(line)
        self._compare(shared)

    def _compare(self, shared: bytes) -> None:
        tape = self.tape
        known = tape.stop - self._offset
        if not tape.window.startswith(shared[:known], self._offset - tape.start):
            raise self._difference(shared)
        if len(shared) > known:
            tape.extend(shared[known:])
            tape.forget()
        self._offset += len(shared)

    def _difference(self, shared: bytes) -> Fault:
        """Say in which message the stream differs from the tape, and how."""
        tape = self.tape
        begin = 0
        while message := _read(tape.dialect, shared, begin):
            theirs = self._offset + begin - tape.start
            sent = shared[begin : message.end]
            if not tape.window.startswith(sent, theirs):
                others = _read(tape.dialect, tape.window, theirs)
                end = len(tape.window) if others is None else others.end
                kind = self._kind(message, others, theirs, shared)
                return Fault(kind, self._contrast(sent, tape.window[theirs:end]))
            begin = message.end
        return Fault(Kind.ALTERED, f"{self.name} was sent {shared[begin:]!r:.200}")

    def _contrast(self, sent: bytes, others: bytearray) -> str:
        return (
            f"{self.name} was sent {sent!r:.200} where others were sent {bytes(others)!r:.200}"
        )

    def _kind(
        self, message: Message, others: Message | None, theirs: int, shared: bytes
    ) -> Kind:
        if others is None or _parse(message.text)[0] not in self.tape.numbering.speakers:
            return Kind.FOREIGN
        if _parse(message.text) == _parse(others.text):
            return Kind.ALTERED
        if message.text in self.tape.window[:theirs]:
            return Kind.DOUBLED
        return Kind.REORDERED if others.text in shared else Kind.LOST


def sift(dialect: Dialect, data: bytes) -> tuple[bytes, list[bytes], bytes]:
    """What everybody is sent, this member's own lines, and the beginning of a line."""
    cut = data.rfind(dialect.end) + len(dialect.end)
    lines, rest = data[:cut], data[cut:]
    own = dialect.own
    if own is None or own not in lines:
        return lines, [], rest
    shared: list[bytes] = []
    mine: list[bytes] = []
    begin = 0
    while begin < len(lines):
        if lines.startswith(own, begin):
            stop = lines.index(b"\n", begin) + 1
            mine.append(lines[begin:stop])
        else:
            stop = lines.find(b"\n" + own, begin) + 1 or len(lines)
            shared.append(lines[begin:stop])
        begin = stop
    return b"".join(shared), mine, rest


# ---------------------------------------------------------------- each by itself


@frozen
class Passage:
    """What a chunk brings on: each speaker's numbers `before` and `after` it, how many
    messages it completes, and where the last of them ends."""

    before: dict[int, int]
    after: dict[int, int]
    count: int
    end: int


@define(eq=False)
class Reading:
    """One member's stream where it is not that of the others: each message is read, and
    each speaker's have to be in order.

    `known`: what others here were sent. Most chunks are sent to many, if not all in the same
    order: 19 of 20, where eight speak to a thousand.
    """

    dialect: Dialect
    numbering: Numbering
    acks: "Acks"
    known: dict[bytes, Passage]
    _rest: bytes = field(default=b"", init=False)

    def take(self, data: memoryview, now: float) -> int:  # noqa: ARG002 # takes no time
        """Check what has arrived; returns how many messages it completes."""
        shared, own, self._rest = sift(self.dialect, self._rest + data)
        for line in own:
            self.acks.take(line)
        passage = self.known.get(shared)
        if passage is None or not self.numbering.skip(passage.before, passage.after):
            passage = self._read(shared)
            self._remember(shared, passage)
        self._rest = shared[passage.end :] + self._rest
        return passage.count

    def _read(self, shared: bytes) -> Passage:
        before = self.numbering.due()
        count = end = 0
        while message := _read(self.dialect, shared, end):
            self.numbering.check(message)
            count, end = count + 1, message.end
        return Passage(before, self.numbering.due(), count, end)

    def _remember(self, shared: bytes, passage: Passage) -> None:
        if len(self.known) >= KNOWN_CHUNKS:
            self.known.clear()
        self.known[shared] = passage


# ---------------------------------------------------------------- acks


@define(eq=False)
class Acks:
    """The acks of one speaker: one for each say, in order."""

    dialect: Dialect
    name: str
    said: int = field(default=0, init=False)
    acked: int = field(default=0, init=False)

    @property
    def is_complete(self) -> bool:
        """Is all that was said acked?"""
        return self.acked == self.said or not self.dialect.acks

    def take(self, line: bytes) -> None:
        """Check one. Raises `Fault`."""
        try:
            number = self.dialect.acked(line)
        except ValueError as exc:
            raise Fault(Kind.UNACKED, f"{self.name}: {exc}") from exc
        if number is None:
            return
        if number != self.acked or number >= self.said:
            raise Fault(Kind.UNACKED, f"{self.name} had ack {number}, {self.acked} is due")
        self.acked += 1
